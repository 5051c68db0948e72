"""Figures of two factors together; they draw what the statistics hold and compute nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from workbench.core import ConfigError
from workbench.lenses.bias.drawing import dots, metric_axis, metric_name, percent_ticks, rows_layout
from workbench.lenses.bias.statistics import Bias
from workbench.lenses.bias.words import capital, range_text, value_text
from workbench.lenses.empty_figure import empty
from workbench.lenses.palette import DIVERGING, UNKNOWN, faded
from workbench.lenses.words import count


def has_two(stats: Bias) -> bool:
    """Whether there are factors to form a pair."""
    return len(stats.factors) > 1


def pairs(stats: Bias, row: str | None = None, column: str | None = None) -> go.Figure:
    """The groups that two factors form, with each factor alone in the last row and column.

    Args:
        row, column: Factor names; by default the pair of factors that holds the most harmed group.
    """
    names = [factor.name for factor in stats.factors]
    row, column = _pair(stats, row, column)
    if row is None or column is None:
        return empty("Pairs need two factors; this run has fewer.")
    levels = {factor.name: list(factor.levels) for factor in stats.factors}
    for name in (row, column):
        if name not in levels:
            raise ConfigError(f"There is no factor '{name}' here. Factors: {', '.join(names)}.")
    n, value = _matrices(stats, row, column, levels)
    shown = np.where(n >= stats.min_support, value, np.nan)
    text = [
        [f"{value_text(v, stats.share)}<br>n = {count(k)}" if k else "no samples" for v, k in zip(vs, ks, strict=True)]
        for vs, ks in zip(value, n, strict=True)
    ]
    reach = max((abs(v - stats.overall) for v in shown.ravel() if np.isfinite(v)), default=1.0)
    x, y = [*levels[column], f"any {column}"], [*levels[row], f"any {row}"]
    heat = go.Heatmap(
        z=shown,
        x=x,
        y=y,
        text=text,
        texttemplate="%{text}",
        colorscale=DIVERGING,
        reversescale=not stats.share,
        zmin=stats.overall - reach,
        zmax=stats.overall + reach,
        xgap=3,
        ygap=3,
        hovertemplate=f"{row} = %{{y}}<br>{column} = %{{x}}<br>%{{text}}<extra></extra>",
        meta={"cells": _names(stats, row, column, levels)},
        colorbar={"title": {"text": metric_name(stats), "side": "right"}} | percent_ticks(stats.share),
    )
    figure = go.Figure(heat)
    for i, j in zip(*np.where((n > 0) & (n < stats.min_support)), strict=True):
        figure.add_annotation(x=x[j], y=y[i], text=text[i][j], showarrow=False, font={"color": UNKNOWN})
    return figure.update_layout(
        title=f"{capital(metric_name(stats))} of {row} and {column} together, "
        f"blue above and orange below the overall {value_text(stats.overall, stats.share)}",
        xaxis={"title": column, "type": "category", "showgrid": False},
        yaxis={"title": row, "type": "category", "autorange": "reversed", "showgrid": False, "automargin": True},
        height=160 + 62 * len(y),
    )


def _pair(stats: Bias, row: str | None, column: str | None) -> tuple[str | None, str | None]:
    """The wanted pair, filled up with the pair that holds the most surely harmed group."""
    names = [factor.name for factor in stats.factors]
    ranked = stats.interactions if len(stats.interactions) else stats.groups[stats.groups["order"] == 2]
    for _, candidate in ranked.iterrows():
        first, second = candidate["factor_1"], candidate["factor_2"]
        if row in (None, first) and column in (None, second):
            return first, second
        if row in (None, second) and column in (None, first):
            return second, first
    rest = [name for name in names if name not in (row, column)]
    row = row or (rest.pop(0) if rest else None)
    return row, column or (rest.pop(0) if rest else None)


def _names(stats: Bias, row: str, column: str, levels: dict[str, list[str]]) -> list[list[str | None]]:
    """The group [rows + 1, columns + 1] that every cell stands for; None for all samples and for empty cells."""
    known = {}
    for _, group in stats.groups[stats.groups["order"] <= 2].iterrows():
        parts = {(group[f"factor_{i}"], group[f"level_{i}"]) for i in range(1, int(group["order"]) + 1)}
        known[frozenset(parts)] = str(group["group"])
    down = [*(frozenset({(row, level)}) for level in levels[row]), frozenset()]
    across = [*(frozenset({(column, level)}) for level in levels[column]), frozenset()]
    return [[known.get(a | b) for b in across] for a in down]


def _matrices(stats: Bias, row: str, column: str, levels: dict[str, list[str]]) -> tuple[np.ndarray, np.ndarray]:
    """Samples and values [rows + 1, columns + 1] of a pair of factors; last row and column: one alone."""
    shape = (len(levels[row]) + 1, len(levels[column]) + 1)
    n, value = np.zeros(shape), np.full(shape, np.nan)
    n[-1, -1], value[-1, -1] = stats.n, stats.overall
    at = {name: {level: i for i, level in enumerate(levels[name])} for name in (row, column)}
    for _, group in stats.groups[stats.groups["order"] <= 2].iterrows():
        place = {group["factor_1"]: group["level_1"]}
        if group["order"] == 2:
            place[group["factor_2"]] = group["level_2"]
        if set(place) <= {row, column}:
            index = (at[row][place[row]] if row in place else -1, at[column][place[column]] if column in place else -1)
            n[index], value[index] = group["n"], group["value"]
    return n, value


def interaction(stats: Bias, row: str | None = None, column: str | None = None, limit: int = 15) -> go.Figure:
    """Pairs of levels against what their parts cost alone, the worst surplus first.

    Only pairs that do worse than one of the two levels alone and than neither.

    Args:
        row, column: Only pairs that involve these factors.
        limit: Show at most so many pairs.
    """
    rows = stats.interactions[stats.interactions["lowest"].astype(bool)]
    for name in (row, column):
        if name is not None:
            rows = rows[(rows["factor_1"] == name) | (rows["factor_2"] == name)]
    if not len(rows):
        return empty("No pair of levels has enough samples with both, one and neither.")
    rows = rows.head(limit)
    labels = [f"{pair['group']}  (n = {count(pair['n'])})" for _, pair in rows.iterrows()]
    sure = (rows["q"] <= 0.05).to_numpy()
    figure = go.Figure()
    for label, (_, pair) in zip(labels, rows.iterrows(), strict=True):
        figure.add_trace(
            go.Scatter(
                x=[pair["expected"], pair["value"]],
                y=[label, label],
                mode="lines",
                line={"color": faded(UNKNOWN, 0.8), "width": 3},
                hoverinfo="skip",
                showlegend=False,
            )
        )
    figure.add_trace(
        go.Scatter(
            x=rows["expected"],
            y=labels,
            mode="markers",
            name="sum of what each costs alone",
            marker={"color": UNKNOWN, "symbol": "diamond-open", "size": 12, "line": {"width": 2}},
            hovertemplate="expected from the parts: %{x:.3f}<extra></extra>",
        )
    )
    chosen: dict[str, np.ndarray] = {
        "both together, differs from the sum": sure,
        "both together, no difference shown": ~sure,
    }
    for (name, mask), colour in zip(chosen.items(), ("#D55E00", "#56B4E9"), strict=True):
        if mask.any():
            at = np.flatnonzero(mask)
            symbol = "circle" if mask is sure else "circle-open"
            trace = dots(stats, rows.iloc[at].assign(rest=np.nan, tested=True), [], name, colour, symbol)
            trace.y = [labels[i] for i in at]
            trace.customdata = [_pair_hover(stats, rows.iloc[i]) for i in at]
            figure.add_trace(trace)
    return rows_layout(
        figure, labels, "Do two factors together cost more than the sum of their parts?", metric_axis(stats)
    )


def _pair_hover(stats: Bias, pair: pd.Series) -> str:
    def show(name: str) -> str:
        return value_text(pair[name], stats.share)

    return (
        f"<b>{pair['group']}</b><br>both {show('value')} "
        f"(95 % interval {range_text(pair['low'], pair['high'], stats.share)}, {count(pair['n'])} samples)<br>"
        f"{pair['factor_1']} only {show('first_only')}, {pair['factor_2']} only {show('second_only')}, "
        f"neither {show('neither')}<br>corrected p = {pair['q']:.2g}"
    )
