"""Figures of pairs that are accepted or rejected by a score."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from workbench.core import ConfigError
from workbench.lenses.bias.drawing import ROW_HEIGHT
from workbench.lenses.bias.statistics import Bias
from workbench.lenses.bias.verified import Verified
from workbench.lenses.palette import UNKNOWN, colours, dashes, faded, symbols
from workbench.lenses.words import count, percent

COMMON, OWN = "#0072B2", "#E69F00"
GENUINE, IMPOSTOR = "#0072B2", "#D55E00"


def has_scores(stats: Bias) -> bool:
    return stats.verified is not None


def has_scored_tasks(stats: Bias) -> bool:
    return stats.verified is not None and stats.verified.tasks["task"].nunique() > 1


def rates(stats: Bias) -> go.Figure:
    """True accept rate of each level at one threshold for all, with its interval, and at the level's own threshold."""
    found = _verified(stats)
    rows = found.rates[found.rates["rate"] == found.rate]
    rows = rows.assign(order=rows["factor"].map(found.factors.index)).sort_values(["order", "tar"])
    labels = [
        f"{factor}: {level}  (n = {count(n)})"
        for factor, level, n in zip(rows["factor"], rows["level"], rows["genuine"], strict=True)
    ]
    value = rows["tar"].to_numpy()
    figure = go.Figure(
        go.Scatter(
            x=value,
            y=labels,
            mode="markers",
            name="one threshold for all",
            marker={"color": COMMON, "size": 11},
            error_x={
                "type": "data", "symmetric": False, "array": rows["high"] - value, "arrayminus": value - rows["low"],
                "color": COMMON, "thickness": 2, "width": 0,
            },
            customdata=rows[["far", "impostors"]],
            hovertemplate="TAR %{x:.1%}<br>FAR here %{customdata[0]:.2%} of %{customdata[1]} impostor pairs"
            "<extra>%{y}</extra>",
        )
    )  # fmt: skip
    figure.add_scatter(
        x=rows["own_tar"],
        y=labels,
        mode="markers",
        name="each level's own threshold",
        marker={"color": OWN, "size": 11, "symbol": "diamond-open", "line": {"width": 2}},
        hovertemplate="TAR at its own threshold %{x:.1%}<extra>%{y}</extra>",
    )
    return figure.update_layout(
        title=f"True accept rate at a false accept rate of {percent(found.rate)}",
        xaxis={"title": "true accept rate", "tickformat": ".0%", "rangemode": "tozero"},
        yaxis={"categoryarray": labels, "range": [len(labels) - 0.4, -0.6], "automargin": True, "title": ""},
        height=190 + ROW_HEIGHT * len(labels),
        legend={"orientation": "h", "y": -70 / (30 + ROW_HEIGHT * len(labels)), "yanchor": "top", "x": 0},
    )


def roc(stats: Bias, factor: str | None = None) -> go.Figure:
    """True over false accept rate of each level at its own thresholds; unseen groups are drawn thick."""
    found = _verified(stats)
    factor = _factor(found, factor)
    curves = found.curves[found.curves["factor"] == factor]
    levels = list(dict.fromkeys(curves["level"]))
    colour, symbol, dash = colours(levels), symbols(levels), dashes(levels)
    marked = sorted(found.thresholds)
    figure = go.Figure()
    for level in levels:
        rows = curves[curves["level"] == level]
        unseen = level in stats.held_out
        name = f"{level} (unseen in training)" if unseen else level
        line = {"color": colour[level], "width": 4.5 if unseen else 2, "dash": dash[level]}
        figure.add_scatter(x=rows["far"], y=rows["tar"], mode="lines", name=name, legendgroup=level, line=line)
        own = found.rates[(found.rates["factor"] == factor) & (found.rates["level"] == level)]
        own = own[np.isfinite(own["own_tar"])]
        figure.add_scatter(
            x=own["rate"],
            y=own["own_tar"],
            mode="markers",
            legendgroup=level,
            showlegend=False,
            marker={"color": colour[level], "symbol": symbol[level], "size": 10},
            hovertemplate=f"{level}: TAR %{{y:.1%}} at FAR %{{x:.1%}}<extra></extra>",
        )
    for rate in marked:
        figure.add_vline(x=rate, line={"color": UNKNOWN, "width": 1, "dash": "dot"})
    return figure.update_layout(
        title=f"Accepted pairs by {factor}, each level at its own thresholds",
        xaxis={"title": "false accept rate", "type": "log", "tickformat": ".1%", "tickvals": [0.001, 0.01, 0.1, 0.5]},
        yaxis={"title": "true accept rate", "tickformat": ".0%", "range": [0, 1.02]},
        height=460,
    )


def score_histograms(stats: Bias, factor: str | None = None, threshold: float | None = None) -> go.Figure:
    """Scores of genuine and impostor pairs of each level, with what a threshold would do to both.

    Args:
        threshold: By default the one for all at the main false accept rate.
    """
    found = _verified(stats)
    factor = _factor(found, factor)
    threshold = found.thresholds[found.rate] if threshold is None else threshold
    errors = found.at(threshold, factor).set_index("level")
    rows = found.histograms[found.histograms["factor"] == factor]
    levels = list(dict.fromkeys(rows["level"]))
    overlap = found.overlap[found.overlap["factor"] == factor].set_index("level")["overlap"]
    titles = [
        f"{level}: {percent(errors.loc[level, 'false rejects'])} of genuine rejected, "
        f"{percent(errors.loc[level, 'false accepts'])} of impostors accepted, overlap {percent(overlap[level])}"
        for level in levels
    ]
    figure = make_subplots(
        rows=len(levels), cols=1, shared_xaxes=True, subplot_titles=titles, vertical_spacing=0.25 / len(levels)
    )
    for place, level in enumerate(levels, start=1):
        for kind, colour in (("genuine", GENUINE), ("impostor", IMPOSTOR)):
            part = rows[(rows["level"] == level) & (rows["kind"] == kind)]
            line = {"color": colour, "shape": "hvh", "width": 1.5}
            figure.add_scatter(
                x=part["score"], y=part["share"], mode="lines", fill="tozeroy", fillcolor=faded(colour, 0.3),
                line=line, name=f"{kind} pairs", legendgroup=kind, showlegend=place == 1, row=place, col=1,
            )  # fmt: skip
        figure.add_vline(x=threshold, line={"color": UNKNOWN, "width": 2, "dash": "dash"}, row=place, col=1)
    figure.update_annotations(font_size=13)
    figure.update_yaxes(tickformat=".0%", nticks=3)
    figure.update_xaxes(title="score (cosine similarity)", row=len(levels), col=1)
    return figure.update_layout(
        title=f"Scores by {factor}; dashed: threshold {threshold:.2f}",
        height=170 + 135 * len(levels),
        legend={"orientation": "h", "y": -90 / (135 * len(levels)), "yanchor": "top", "x": 0},
    )


def task_matrix(stats: Bias, factor: str | None = None) -> go.Figure:
    """True accept rate of every task (row) on every level (column), each at its own threshold."""
    found = _verified(stats)
    factor = _factor(found, factor)
    rows = found.tasks[found.tasks["factor"] == factor]
    levels = next(candidate.levels for candidate in stats.factors if candidate.name == factor)
    table = rows.pivot(index="task", columns="level", values="own_tar").reindex(
        index=list(dict.fromkeys(rows["task"])), columns=[level for level in levels if level in set(rows["level"])]
    )
    values = table.to_numpy()
    return go.Figure(
        go.Heatmap(
            z=values,
            x=list(table.columns),
            y=list(table.index),
            colorscale="Blues",
            zmin=0,
            text=[[percent(value) for value in row] for row in values],
            texttemplate="%{text}",
            textfont={"size": 15},
            colorbar={"title": "TAR", "tickformat": ".0%"},
            xgap=2,
            ygap=2,
        )
    ).update_layout(
        title=f"True accept rate at a false accept rate of {percent(found.rate)} in each cell",
        xaxis={"title": f"tested on ({factor})", "side": "bottom"},
        yaxis={"title": "", "autorange": "reversed", "automargin": True},
        height=180 + 48 * len(table),
    )


def _verified(stats: Bias) -> Verified:
    if stats.verified is None:
        raise ConfigError(
            f"Task '{stats.task}' has no scored pairs. Record predictions with a column 'score' and targets "
            "1 (genuine) and 0 (impostor)."
        )
    return stats.verified


def _factor(found: Verified, factor: str | None) -> str:
    if factor is None:
        return found.factors[0]
    if factor not in found.factors:
        raise ConfigError(f"The pairs have no factor '{factor}'. Factors: {', '.join(found.factors)}.")
    return factor
