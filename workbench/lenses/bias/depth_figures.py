"""Figures of attribution, slices and further metrics; they draw what the statistics hold and compute nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from workbench.core import ConfigError
from workbench.lenses.bias.drawing import STATES, metric_axis, percent_ticks, rows_layout
from workbench.lenses.bias.statistics import Bias
from workbench.lenses.bias.words import capital, difference_range, difference_text, range_text, value_text
from workbench.lenses.empty_figure import empty
from workbench.lenses.palette import UNKNOWN
from workbench.lenses.words import count

#: What a level's metric is called on its axis.
METRICS = {
    "balanced_accuracy": "balanced accuracy (mean over classes)",
    "precision": "precision (mean over classes)",
    "false_positive_rate": "false positive rate (mean over classes)",
    "ece": "calibration error",
    "brier": "Brier score",
    "accuracy": "accuracy",
    "dice": "Dice (F1, mean over classes)",
    "iou": "IoU (mean over classes)",
    "loss": "mean loss",
}
#: Metrics that are no shares.
_PLAIN = ("ece", "brier", "loss")
#: What a difference between the levels of a factor is called.
MEASURES = {
    "accuracy_gap": "accuracy gap (best − worst)",
    "equalised_odds": "equalised odds difference",
    "demographic_parity": "demographic parity difference",
    "equity_scaled": "equity-scaled accuracy",
    "accuracy_ratio": "accuracy ratio (worst / best)",
    "unbiased_accuracy": "unbiased accuracy (mean over levels)",
    "equalised_odds_mean": "equalised odds difference, mean over classes",
    "demographic_parity_ratio": "demographic parity ratio",
    "worst": "accuracy of the worst level",
    "equity_scaled_sd": "equity-scaled accuracy (first version)",
    "iou_gap": "IoU gap (best − worst)",
    "dice_gap": "Dice gap (best − worst)",
    "equity_scaled_dice": "equity-scaled Dice",
}
#: Those shown at first, for answers of one class and of several.
_MAIN = (
    ("accuracy_gap", "equalised_odds", "demographic_parity", "equity_scaled"),
    ("dice_gap", "equalised_odds", "demographic_parity", "equity_scaled_dice"),
)


def attribution(stats: Bias) -> go.Figure:
    """From all factors at their worst level to none of them: what each factor accounts for on average."""
    found = stats.attribution
    if found is None:
        return empty("Too few samples to share out the gap among factors.")
    parts = found.parts.iloc[np.argsort(-np.abs(found.parts["phi"].to_numpy()), kind="stable")]
    phi = parts["phi"].to_numpy()
    gain = phi > 0 if stats.share else phi < 0
    colour = {"better than the rest": "#0072B2", "worse than the rest": "#D55E00"}
    names = [f"without {row['factor']} = {row['worst']}" for _, row in parts.iterrows()]
    ends = {"all at their worst": found.start, "none at its worst": found.end}
    first, last = ends
    bars = [first, *names, last]
    base = np.array([0.0, *(found.start[0] + np.cumsum([0.0, *phi[:-1]])), 0.0])
    height = np.array([found.start[0], *phi, found.end[0]])
    shades = [UNKNOWN, *(colour["better than the rest" if up else "worse than the rest"] for up in gain), UNKNOWN]
    texts = [
        value_text(found.start[0], stats.share),
        *(f"{'+' if value > 0 else '−'}{difference_text(value, stats.share)}" for value in phi),
        value_text(found.end[0], stats.share),
    ]
    limits = [found.start[1:], *zip(parts["low"], parts["high"], strict=True), found.end[1:]]
    top = base + height
    high = np.array([*(limits[0][1:]), *(base[1:-1] + parts["high"].to_numpy()), limits[-1][1]])
    low = np.array([limits[0][0], *(base[1:-1] + parts["low"].to_numpy()), limits[-1][0]])
    figure = go.Figure(
        go.Bar(
            x=bars,
            y=height,
            base=base,
            marker={"color": shades, "line": {"width": 0}},
            error_y={
                "type": "data", "symmetric": False, "array": high - top, "arrayminus": top - low, "color": UNKNOWN,
                "thickness": 2, "width": 5,
            },
            customdata=[
                f"{text} (95 % interval {_limits(pair, i in (0, len(bars) - 1), stats)})"
                for i, (text, pair) in enumerate(zip(texts, limits, strict=True))
            ],
            hovertemplate="%{x}: %{customdata}<extra></extra>",
        )
    )  # fmt: skip
    for bar, end, text in zip(bars, np.fmax(high, np.fmax(top, base)), texts, strict=True):
        figure.add_annotation(x=bar, y=end, text=f"<b>{text}</b>", yanchor="bottom", yshift=4, showarrow=False)
    left = f"; too few samples for {', '.join(found.left_out)}" if found.left_out else ""
    return figure.update_layout(
        title=f"What each factor accounts for (Shapley values){left}",
        yaxis=metric_axis(stats) | {"rangemode": "tozero"},
        xaxis={"automargin": True, "tickangle": 0 if len(bars) <= 5 else -30},
        height=470,
        bargap=0.35,
        showlegend=False,
    )


def _limits(pair: tuple[float, float], is_end: bool, stats: Bias) -> str:
    shown = range_text if is_end else difference_range
    return shown(float(pair[0]), float(pair[1]), stats.share)


def slices(stats: Bias, limit: int = 20) -> go.Figure:
    """Subgroups found on one half of the samples, with their value on the other half.

    Args:
        limit: Show at most so many subgroups.
    """
    rows = stats.slices.found
    if not len(rows):
        return empty(
            f"None of {count(stats.slices.searched)} subgroups is surely worse on the first half of the samples."
        )
    rows = rows.head(limit)
    labels = [f"{row['group']}  (n = {count(row['n'])})" for _, row in rows.iterrows()]
    figure = go.Figure()
    figure.add_trace(
        go.Scatter(
            x=rows["found_value"],
            y=labels,
            mode="markers",
            name="half that was searched (looks worse by selection)",
            marker={"color": UNKNOWN, "symbol": "diamond-open", "size": 11, "line": {"width": 2}},
            hovertemplate="searched half: %{x:.3f}<extra></extra>",
        )
    )
    confirmed = rows["confirmed"].to_numpy(dtype=bool)
    for mask, name, state in (
        (confirmed, "other half, confirmed", "worse than the rest"),
        (~confirmed, "other half, not confirmed", "no difference shown"),
    ):
        if mask.any():
            colour, symbol = STATES[state]
            chosen = rows[mask]
            value = chosen["value"].to_numpy()
            figure.add_trace(
                go.Scatter(
                    x=value,
                    y=[label for label, shown in zip(labels, mask, strict=True) if shown],
                    mode="markers",
                    name=name,
                    marker={"color": colour, "symbol": symbol, "size": 11, "line": {"width": 2, "color": colour}},
                    error_x={
                        "type": "data", "symmetric": False, "array": chosen["high"] - value,
                        "arrayminus": value - chosen["low"], "color": colour, "thickness": 2, "width": 0,
                    },
                    customdata=[
                        f"{value_text(row['value'], stats.share)} "
                        f"({range_text(row['low'], row['high'], stats.share)}), all others "
                        f"{value_text(row['rest'], stats.share)}<br>"
                        f"effect size {row['effect']:.2f}, corrected p = {row['q']:.2g}"
                        for _, row in chosen.iterrows()
                    ],
                    hovertemplate="<b>%{y}</b><br>%{customdata}<extra></extra>",
                )
            )  # fmt: skip
    return rows_layout(
        figure,
        labels,
        f"Worst of {count(stats.slices.searched)} subgroups, found on one half and tested on the other",
        metric_axis(stats),
    )


def metrics(stats: Bias, measure: str = "balanced_accuracy", factor: str | None = None) -> go.Figure:
    """One further metric of every level of every factor.

    Args:
        measure: A key of METRICS; ``ece`` also shows what a calibrated model of as many samples would have.
        factor: Only this factor.
    """
    if measure not in METRICS:
        raise ConfigError(f"There is no measure '{measure}'. Measures: {', '.join(METRICS)}.")
    rows = stats.metrics if factor is None else stats.metrics[stats.metrics["factor"] == factor]
    if not len(rows) or rows[measure].isna().all():
        return empty("This metric needs class predictions with targets (and confidences for calibration).")
    labels = [f"{row['factor']}: {row['level']}  (n = {count(row['n'])})" for _, row in rows.iterrows()]
    figure = go.Figure()
    if measure == "ece":
        figure.add_trace(
            go.Scatter(
                x=rows["ece_null"],
                y=labels,
                mode="markers",
                name="calibrated model with as many samples",
                marker={"color": UNKNOWN, "symbol": "line-ns-open", "size": 14, "line": {"width": 3}},
                hovertemplate="calibrated model: %{x:.3f}<extra></extra>",
            )
        )
    figure.add_trace(
        go.Scatter(
            x=rows[measure],
            y=labels,
            mode="markers",
            name=METRICS[measure],
            marker={"color": "#0072B2", "size": 11},
            error_x=_bars(rows, measure),
            hovertemplate="%{y}: %{x:.3f}<extra></extra>",
        )
    )
    axis = {"title": METRICS[measure]} | percent_ticks(measure not in _PLAIN)
    return rows_layout(figure, labels, f"{capital(METRICS[measure])} of every level", axis)


def _bars(rows: pd.DataFrame, measure: str) -> dict[str, Any]:
    """Error bars of a metric that has limits."""
    if f"{measure}_low" not in rows:
        return {}
    value = rows[measure]
    more, less = rows[f"{measure}_high"] - value, value - rows[f"{measure}_low"]
    return {"type": "data", "symmetric": False, "array": more, "arrayminus": less, "color": "#0072B2", "width": 0}


def differences(stats: Bias, measures: str = "all") -> go.Figure:
    """Fairness measures of every factor with bootstrap intervals.

    Args:
        measures: One measure (a key of MEASURES), or ``all`` for the main four.
    """
    if measures != "all" and measures not in MEASURES:
        raise ConfigError(f"There is no measure '{measures}'. Measures: all, {', '.join(MEASURES)}.")
    wanted = list(_MAIN[bool(stats.classes)]) if measures == "all" else [measures]
    rows = stats.differences[stats.differences["measure"].isin(wanted)]
    rows = rows[rows["value"].notna()] if len(rows) else rows
    if not len(rows):
        return empty("Fairness measures need class predictions with targets.")
    rows = pd.concat([rows[rows["measure"] == name] for name in wanted])
    labels = list(dict.fromkeys(rows["factor"]))
    figure = go.Figure()
    palette = ("#D55E00", "#0072B2", "#CC79A7", "#009E73")
    for i, name in enumerate(wanted):
        chosen, shift = rows[rows["measure"] == name], 0.16 * (i - (len(wanted) - 1) / 2)
        value = chosen["value"].to_numpy()
        figure.add_trace(
            go.Scatter(
                x=value,
                y=[labels.index(factor) + shift for factor in chosen["factor"]],
                mode="markers",
                name=MEASURES[name],
                marker={"color": palette[i], "symbol": ("circle", "square", "diamond", "star")[i], "size": 11},
                error_x={
                    "type": "data", "symmetric": False, "array": chosen["high"] - value,
                    "arrayminus": value - chosen["low"], "color": palette[i], "thickness": 2, "width": 0,
                },
                customdata=chosen["factor"],
                hovertemplate="%{customdata}: %{x:.3f}<extra></extra>",
            )
        )  # fmt: skip
    laid = rows_layout(figure, labels, "How far the levels of each factor lie apart", {"title": "as a fraction"}, 64)
    return laid.update_yaxes(type="linear", zeroline=False, tickvals=list(range(len(labels))), ticktext=labels)
