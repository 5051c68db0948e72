"""Figures of single groups, of factors and of training; they draw what the statistics hold and compute nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from workbench.core import ConfigError
from workbench.lenses.bias.drawing import STATES, curve, dots, metric_axis, metric_name, overall_line, rows_layout
from workbench.lenses.bias.statistics import Bias
from workbench.lenses.bias.words import capital, difference_text
from workbench.lenses.empty_figure import empty
from workbench.lenses.palette import CATEGORICAL, UNKNOWN, colours, faded, symbols
from workbench.lenses.words import count


def groups(
    stats: Bias, order: int = 1, factor: str | None = None, limit: int = 30, selected: pd.DataFrame | None = None
) -> go.Figure:
    """Value and 95 % interval of each group of ``order`` factors, the most harmed first.

    Args:
        order: 1 for single factors, 2 for pairs, 3 for triples.
        factor: Only groups that involve this factor.
        limit: Show at most so many groups.
        selected: A row of chosen samples (:func:`workbench.lenses.bias.members.chosen_group`), shown at the top.
    """
    rows = stats.groups[stats.groups["order"] == order]
    if factor is not None:
        rows = rows[[factor in names.split(" × ") for names in rows["factors"]]]
    if not len(rows):
        return empty(f"No groups of {order} factors to show.")
    hidden = max(0, len(rows) - limit)
    rows = rows.head(limit)
    states = np.array([_state(stats, row) for _, row in rows.iterrows()])
    labels = [f"{row['group']}  (n = {count(row['n'])})" for _, row in rows.iterrows()]
    figure = go.Figure()
    for state, (colour, symbol) in STATES.items():
        chosen = np.flatnonzero(states == state)
        if len(chosen):
            figure.add_trace(dots(stats, rows.iloc[chosen], [labels[i] for i in chosen], state, colour, symbol))
    if selected is not None and len(selected):
        top = [f"{selected.iloc[0]['group']}  (n = {count(selected.iloc[0]['n'])})"]
        figure.add_trace(dots(stats, selected, top, "selection (not tested)", CATEGORICAL[3], "star"))
        labels = top + labels
    overall_line(figure, stats)
    more = f" · {hidden} more in the table" if hidden else ""
    kinds = {1: "one factor", 2: "two factors", 3: "three factors"}[order]
    return rows_layout(figure, labels, f"Groups of {kinds}, most harmed first{more}", metric_axis(stats))


def _state(stats: Bias, row: pd.Series) -> str:
    if not row["tested"]:
        return "too few samples to test"
    if not row["q"] <= 0.05:
        return "no difference shown"
    return "worse than the rest" if stats.harm_sign * row["gap"] > 0 else "better than the rest"


def factors(stats: Bias) -> go.Figure:
    """Best and worst level of every factor, joined, over the band that chance alone fills in 95 % of cases."""
    rows = stats.spread
    if not len(rows):
        return empty("No factor has two levels with enough samples.")
    labels = [f"{row['factor']}  (gap {difference_text(row['gap'], stats.share)})" for _, row in rows.iterrows()]
    figure = go.Figure()
    half = rows["null_95"].to_numpy() / 2
    figure.add_trace(
        go.Bar(
            x=2 * half,
            base=stats.overall - half,
            y=labels,
            orientation="h",
            width=0.62,
            name="gap that chance alone stays within (95 %)",
            marker={"color": faded(UNKNOWN, 0.35), "line": {"width": 0}},
            hovertemplate="chance alone: %{x:.3f}<extra></extra>",
        )
    )
    for i, (_, row) in enumerate(rows.iterrows()):
        figure.add_trace(
            go.Scatter(
                x=[row["worst_value"], row["best_value"]],
                y=[labels[i]] * 2,
                mode="lines",
                line={"color": UNKNOWN, "width": 3},
                showlegend=False,
                hoverinfo="skip",
            )
        )
    for column, name, (colour, symbol) in (
        ("worst", "worst level", STATES["worse than the rest"]),
        ("best", "best level", STATES["better than the rest"]),
    ):
        left = (column == "worst") == stats.share
        figure.add_trace(
            go.Scatter(
                x=rows[f"{column}_value"],
                y=labels,
                mode="markers+text",
                text=rows[column],
                textposition="middle left" if left else "middle right",
                cliponaxis=False,
                name=name,
                marker={"color": colour, "symbol": symbol, "size": 12},
                hovertemplate="%{text}: %{x:.3f}<extra></extra>",
            )
        )
    overall_line(figure, stats)
    figure = rows_layout(
        figure, labels, "Best and worst level of each factor against chance", metric_axis(stats), row_height=46
    )
    span = [rows[["worst_value", "best_value"]].min().min(), rows[["worst_value", "best_value"]].max().max()]
    pad = 0.22 * max(span[1] - span[0], float(2 * half.max()))
    return figure.update_xaxes(
        range=[min(span[0], stats.overall - half.max()) - pad, max(span[1], stats.overall + half.max()) + pad]
    )


def training(stats: Bias, factor: str | None = None) -> go.Figure:
    """The groups of one factor at every recorded step, with 95 % bands.

    Args:
        factor: By default the one with the widest gap.
    """
    names = [candidate.name for candidate in stats.factors]
    if factor is None:
        factor = str(stats.spread["factor"].iloc[0]) if len(stats.spread) else (names[0] if names else "")
    elif factor not in names:
        raise ConfigError(f"There is no factor '{factor}' here. Factors: {', '.join(names) or 'none'}.")
    history = stats.history
    levels = next((candidate.levels for candidate in stats.factors if candidate.name == factor), ())
    colour, symbol = colours(levels), symbols(levels)
    figure = go.Figure()
    curve(figure, history[history["factor"] == ""], "all samples", UNKNOWN, "line-ew-open", dash="dot", band=False)
    for level in levels:
        rows = history[(history["factor"] == factor) & (history["level"] == level)]
        if len(rows):
            curve(figure, rows, f"{factor}: {level}", colour[level], symbol[level])
    for opened in stats.openings[stats.openings["factor"] == factor].to_dict("records"):
        figure.add_vrect(
            x0=opened["before"], x1=opened["opened"], fillcolor=faded(UNKNOWN, 0.25), line_width=0, layer="below",
            annotation={"text": "the gap opens", "font": {"size": 12}}, annotation_position="top left",
        )  # fmt: skip
    return figure.update_layout(
        title=f"{capital(metric_name(stats))} over training by {factor}" if factor else "Over training",
        xaxis_title="step",
        yaxis=metric_axis(stats),
        height=460,
        legend={"title": ""},
        hovermode="x unified",
    )
