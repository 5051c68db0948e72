"""Figures of how the shares of a gap came about; they draw what the statistics hold and compute nothing."""

from __future__ import annotations

import plotly.graph_objects as go

from workbench.lenses.bias.drawing import curve, percent_ticks, rows_layout
from workbench.lenses.bias.statistics import Bias
from workbench.lenses.bias.words import difference_range, difference_text
from workbench.lenses.empty_figure import empty
from workbench.lenses.palette import UNKNOWN, colours, symbols


def has_course(stats: Bias) -> bool:
    return stats.shares["step"].nunique() > 1


def has_pairs(stats: Bias) -> bool:
    return stats.attribution is not None and len(stats.attribution.pairs) > 0


def over_training(stats: Bias) -> go.Figure:
    """What each factor accounts for of the gap between its worst case and its best, at every recorded step."""
    if not has_course(stats) or stats.attribution is None:
        return empty("Predictions of at least two steps are needed, with enough samples in every combination.")
    names = [str(name) for name in stats.attribution.parts["factor"]]
    order = [factor.name for factor in stats.factors]  # as everywhere: a factor keeps its colour when others rank
    colour, symbol = colours(order), symbols(order)
    openings = {row["factor"]: row for row in stats.share_openings.to_dict("records")}
    figure = go.Figure()
    whole = stats.shares[stats.shares["factor"] == ""]
    curve(figure, whole, "the whole gap", UNKNOWN, "line-ew-open", dash="dot", band=False)
    for name in names:
        opened = openings.get(name)
        dated = f" (opens, steps {opened['before']}–{opened['opened']})" if opened else ""
        curve(figure, stats.shares[stats.shares["factor"] == name], f"{name}{dated}", colour[name], symbol[name])
    worst = ", ".join(f"{row['factor']} = {row['worst']}" for row in stats.attribution.parts.to_dict("records"))
    return figure.add_hline(y=0, line={"color": UNKNOWN, "width": 1}).update_layout(
        title=f"Shares of the gap (Shapley values) over training; worst levels: {worst}",
        xaxis_title="step",
        yaxis={"title": f"lost {stats.measured.title}" if stats.share else f"added {stats.measured.title}"}
        | percent_ticks(stats.share),
        height=460,
        hovermode="x unified",
    )


def interactions(stats: Bias) -> go.Figure:
    """Shapley interaction of every two factors: what both at their worst cost beyond the sum of each."""
    if not has_pairs(stats) or stats.attribution is None:
        return empty("Interactions need two factors that share the gap.")
    pairs = stats.attribution.pairs
    labels = [f"{row['factor_1']} × {row['factor_2']}" for row in pairs.to_dict("records")]
    odds = stats.attribution.logistic.set_index("term")["q"]
    figure = go.Figure()
    figure.add_vline(x=0, line={"color": UNKNOWN, "width": 1.5, "dash": "dot"})
    clear = (pairs["extra_low"] * pairs["extra_high"] > 0).to_numpy()
    for name, mask, colour, symbol in (
        ("interval away from 0", clear, "#D55E00", "circle"),
        ("may be nothing", ~clear, UNKNOWN, "circle-open"),
    ):
        if not mask.any():
            continue
        own = pairs[mask]
        value = own["extra"].to_numpy()
        figure.add_scatter(
            x=value, y=[label for label, shown in zip(labels, mask, strict=True) if shown], mode="markers", name=name,
            marker={"color": colour, "symbol": symbol, "size": 11, "line": {"width": 2, "color": colour}},
            error_x={"type": "data", "symmetric": False, "array": own["extra_high"] - value,
                     "arrayminus": value - own["extra_low"],
                     "color": colour, "thickness": 2, "width": 0},
            customdata=[
                f"{difference_text(row['extra'], stats.share)} {'more' if row['extra'] > 0 else 'less'} "
                f"(95 % interval {difference_range(row['extra_low'], row['extra_high'], stats.share)})"
                + _in_odds(odds.get(f"{row['factor_1']} × {row['factor_2']}"))
                for row in own.to_dict("records")
            ],
            hovertemplate="<b>%{y}</b><br>%{customdata}<extra></extra>",
        )  # fmt: skip
    axis = {"title": f"extra cost in {stats.measured.title}"} | percent_ticks(stats.share)
    return rows_layout(figure, labels, "What two factors at their worst cost together beyond the sum of each", axis, 44)


def _in_odds(q: float | None) -> str:
    """Whether the pair costs more than its parts on the scale of odds, too."""
    return "" if q is None else f"<br>on the scale of odds: corrected p = {q:.2g}"
