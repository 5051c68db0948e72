"""Figures of the conflict lens over tasks, modules and training; they draw what the statistics hold."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from workbench.core import ConfigError
from workbench.lenses.conflict.drawing import (
    HATCH,
    MAX_BARS,
    MAX_ROWS,
    NOISE_FILL,
    ONE_TASK,
    READABLE_CELLS,
    STATE_STYLE,
    UNDETERMINED_FILL,
    WHISKER,
    cells,
    describe,
    grid,
    interval,
    module_index,
    number,
    pair_index,
    short,
)
from workbench.lenses.conflict.estimates import ALIGNED, BELOW_NOISE, CONFLICT, MISSING, STATES, UNDETERMINED, Estimate
from workbench.lenses.conflict.statistics import Conflict
from workbench.lenses.empty_figure import empty
from workbench.lenses.palette import UNKNOWN, faded


def matrix(stats: Conflict, step: int | None = None, module: str | None = None, naive: bool = False) -> go.Figure:
    """Cosine of every pair of tasks.

    Args:
        step: A recorded step; pooled over all recorded steps by default.
        module: One module; all shared parameters together by default.
        naive: Above the diagonal, show the biased cosine of the whole batch's gradients instead.
    """
    if len(stats.tasks) < 2:
        return empty(ONE_TASK)
    at = module_index(stats, module)
    chosen, plain, when = stats.overall[at], stats.naive_overall[at], f"pooled over {len(stats.steps)} recorded steps"
    if step is not None:
        index = _step_index(stats, step)
        chosen, plain, when = stats.cosine[index, at], stats.naive[index, at], f"at step {step}"
    square = _square(stats, chosen)
    blank = np.eye(len(stats.tasks), dtype=bool)
    text = None
    if len(stats.tasks) <= READABLE_CELLS:
        text = np.array(
            [[_cell_text(*cell) for cell in cells(square[i])] for i in range(len(stats.tasks))], dtype=object
        )
    if naive:
        square, text = _with_naive(stats, square, text, plain)
    names = [short(task) for task in stats.tasks]
    figure = grid(square, names, names, text, blank)
    figure.update_traces(meta={"cells": _pair_cells(stats)}, selector={"type": "heatmap"})
    upper = "; above the diagonal the naive cosine of one batch" if naive else ""
    height = int(np.clip(190 + 62 * len(names), 400, 900))
    return figure.update_layout(
        title=f"Cosine between task gradients {when}, {short(stats.modules[at])} parameters{upper}"
        if stats.modules[at] == stats.modules[-1] and len(stats.modules) > 1
        else f"Cosine between task gradients {when}, {short(stats.modules[at], 40)}{upper}",
        xaxis_title="task", yaxis_title="task", height=height,
    )  # fmt: skip


def _pair_cells(stats: Conflict) -> list[list[str | None]]:
    """The name of the pair that every cell of the matrix stands for."""
    cells: list[list[str | None]] = [[None] * len(stats.tasks) for _ in stats.tasks]
    for pair, (i, j) in enumerate(stats.pairs.tolist()):
        cells[i][j] = cells[j][i] = stats.pair_name(pair)
    return cells


def _square(stats: Conflict, pairs: Estimate) -> Estimate:
    """The estimates of all pairs as a symmetric matrix."""
    n, (i, j) = len(stats.tasks), stats.pairs.T
    arrays = []
    for name, fill in (("value", np.nan), ("low", np.nan), ("high", np.nan), ("state", MISSING)):
        array = np.full((n, n), fill, dtype=getattr(pairs, name).dtype)
        array[i, j] = array[j, i] = getattr(pairs, name)
        arrays.append(array)
    return Estimate(*arrays)


def _with_naive(
    stats: Conflict, square: Estimate, text: np.ndarray | None, plain: np.ndarray
) -> tuple[Estimate, np.ndarray | None]:
    i, j = stats.pairs.T
    value, low, high, state = (array.copy() for array in (square.value, square.low, square.high, square.state))
    value[i, j], low[i, j], high[i, j] = plain, np.nan, np.nan
    state[i, j] = np.where(np.isnan(plain), MISSING, np.where(plain < 0, CONFLICT, ALIGNED))
    if text is not None:
        text = text.copy()
        text[i, j] = [f"naive<br>{number(cosine)}" for cosine in plain]
    return Estimate(value, low, high, state), text


def _cell_text(value: float, low: float, high: float, state: int) -> str:
    if state in (BELOW_NOISE, MISSING):
        return STATES[state].replace("signal ", "").replace(" ", "<br>")
    return f"<b>{number(value)}</b><br>{interval(low, high)}"


def share(stats: Conflict, module: str | None = None) -> go.Figure:
    """How much of what was looked at is in conflict, over training (above) and for every pair (below)."""
    if len(stats.tasks) < 2:
        return empty(ONE_TASK)
    at = module_index(stats, module)
    order = stats.ranking[:MAX_ROWS]
    rows = len(order)
    figure = make_subplots(
        2, 1, row_heights=[200, 28 * rows + 10], vertical_spacing=105 / (170 + 28 * rows + 105),
        subplot_titles=(
            "Over training, all pairs together",
            f"Every pair, by {stats.share.unit}s; the bar marks the 95 % interval of the conflicting share",
        ),
    )  # fmt: skip
    labels = [f"{first}–{last}" if first != last else f"{first}" for first, last in stats.windows]
    names = [short(stats.pair_name(pair), 34) for pair in order.tolist()]
    for state in (CONFLICT, UNDETERMINED, BELOW_NOISE, ALIGNED):
        style = _bar_style(state)
        by_window, by_pair = stats.share_over_time[:, at, state], stats.share.shares[at, order, state]
        figure.add_bar(
            x=labels, y=by_window, name=STATES[state], legendgroup=STATES[state], **style,
            hovertemplate=f"steps %{{x}}: %{{y:.0%}} {STATES[state]}<extra></extra>", row=1, col=1,
        )  # fmt: skip
        figure.add_bar(
            y=names, x=by_pair, orientation="h", name=STATES[state], legendgroup=STATES[state], showlegend=False,
            **style, hovertemplate=f"%{{y}}: %{{x:.0%}} {STATES[state]}<extra></extra>", row=2, col=1,
        )  # fmt: skip
    figure.add_trace(_whiskers(stats, at, order, names), row=2, col=1)
    figure.update_layout(
        barmode="stack", bargap=0.15, height=480 + 28 * rows,
        title=f"Share in conflict, {short(stats.modules[at], 40)}", margin={"t": 90},
        legend={"orientation": "h", "y": -70 / (140 + 28 * rows), "yanchor": "top", "x": 0, "traceorder": "normal"},
    )  # fmt: skip
    figure.update_xaxes(title_text="recorded steps", row=1, col=1)
    figure.update_yaxes(title_text="share", tickformat=".0%", range=[0, 1], row=1, col=1)
    figure.update_xaxes(title_text=f"share of {stats.share.unit}s", tickformat=".0%", range=[0, 1.002], row=2, col=1)
    figure.update_yaxes(range=[rows - 0.5, -0.5], automargin=True, row=2, col=1)
    return figure


def _bar_style(state: int) -> dict[str, object]:
    """The fills of the matrix: solid where called, hatched or dark grey where not."""
    colour = {UNDETERMINED: UNDETERMINED_FILL, BELOW_NOISE: NOISE_FILL}.get(state, STATE_STYLE[state][0])
    pattern = {"shape": "/" if state == UNDETERMINED else "", "fgcolor": HATCH, "size": 6}
    return {"marker": {"color": colour, "pattern": pattern, "line": {"width": 0}}}


def _whiskers(stats: Conflict, at: int, order: np.ndarray, names: list[str]) -> go.Scatter:
    value = stats.share.conflicting[at, order]
    low, high = stats.share.low[at, order], stats.share.high[at, order]
    hover = [
        f"{name}: {100 * v:.0f} % in conflict (95 % interval {100 * lo:.0f}–{100 * hi:.0f} %, {n} {stats.share.unit}s)"
        if n
        else f"{name}: not recorded"
        for name, v, lo, hi, n in zip(names, value, low, high, stats.share.n[at, order], strict=True)
    ]
    return go.Scatter(
        x=value, y=names, mode="markers", showlegend=False, customdata=hover,
        hovertemplate="%{customdata}<extra></extra>",
        marker={"symbol": "line-ns", "size": 12, "color": WHISKER, "line": {"color": WHISKER, "width": 2}},
        error_x={
            "type": "data", "symmetric": False, "array": high - value, "arrayminus": value - low,
            "color": WHISKER, "thickness": 2, "width": 5,
        },
    )  # fmt: skip


def pairs(stats: Conflict, module: str | None = None) -> go.Figure:
    """Pooled cosine of every pair in every window of training, the pairs with the most evidence of conflict first."""
    if len(stats.tasks) < 2:
        return empty(ONE_TASK)
    at = module_index(stats, module)
    order = stats.ranking[:MAX_ROWS]
    chosen = stats.window[:, at][:, order]
    columns = [f"{first}–{last}" if first != last else f"{first}" for first, last in stats.windows]
    turned = Estimate(chosen.value.T, chosen.low.T, chosen.high.T, chosen.state.T)
    text = np.vectorize(number, otypes=[object])(turned.value) if len(columns) <= 12 else None
    figure = grid(turned, columns, [short(stats.pair_name(pair), 34) for pair in order.tolist()], text)
    more = f", {len(stats.pairs) - len(order)} more in the table" if len(stats.pairs) > len(order) else ""
    return figure.update_layout(
        title=f"Cosine of every pair over training, {short(stats.modules[at], 40)}{more}",
        xaxis_title="recorded steps, pooled within each window", height=210 + 34 * len(order),
    )  # fmt: skip


def over_time(stats: Conflict, pair: str | None = None, module: str | None = None, naive: bool = False) -> go.Figure:
    """Cosine of one pair over training: single recorded steps, and windows of steps with their 95 % interval.

    Args:
        pair: "task – task"; the pair with the most evidence of conflict by default.
        module: One module; all shared parameters together by default.
        naive: Add the biased cosine of the whole batch's gradients.
    """
    if len(stats.tasks) < 2:
        return empty(ONE_TASK)
    at, which = module_index(stats, module), pair_index(stats, pair)
    steps, single = stats.steps, stats.cosine[:, at, which]
    figure = go.Figure()
    window_band(figure, stats, stats.window[:, at, which])
    for state in (CONFLICT, UNDETERMINED, ALIGNED):
        chosen = single.state == state
        if not chosen.any():
            continue
        colour, symbol = STATE_STYLE[state]
        half = np.where(np.isfinite(single.high), single.high - single.value, 0.0)[chosen]
        figure.add_scatter(
            x=steps[chosen], y=single.value[chosen], mode="markers", name=f"one step: {STATES[state]}",
            marker={"color": colour, "symbol": symbol, "size": 8 if len(steps) <= MAX_BARS else 5},
            opacity=0.75,
            error_y={"type": "data", "array": half, "color": faded("#8F8F8F", 0.45), "thickness": 1, "width": 0}
            if len(steps) <= MAX_BARS else None,
            customdata=[describe(*cell) for cell in cells(single[chosen])],
            hovertemplate="step %{x}: %{customdata}<extra></extra>",
        )  # fmt: skip
    known = np.concatenate([single.value, stats.window.low[:, at, which], stats.window.high[:, at, which]])
    reach = float(np.clip(1.15 * np.abs(known[np.isfinite(known)]).max(initial=0.0), 0.25, 1.15))
    silent = np.flatnonzero(np.isin(single.state, (BELOW_NOISE, MISSING)))
    if len(silent):
        figure.add_scatter(
            x=steps[silent], y=np.full(len(silent), -0.96 * reach), mode="markers",
            name="signal below noise, or not recorded",
            marker={"color": UNKNOWN, "symbol": "x-thin-open", "size": 6}, hovertemplate="step %{x}<extra></extra>",
        )  # fmt: skip
    if naive:
        figure.add_scatter(
            x=steps, y=stats.naive[:, at, which], mode="lines", name="naive cosine of one batch (biased)",
            line={"color": "#CC79A7", "width": 1.5, "dash": "dot"},
        )  # fmt: skip
    figure.add_hline(y=0, line={"color": UNKNOWN, "width": 1})
    if at == stats.total:
        _change(figure, stats, which)
    return figure.update_layout(
        title=f"{stats.pair_name(which)}, {short(stats.modules[at], 40)}",
        xaxis_title="step", yaxis_title="cosine between task gradients", height=440, yaxis_range=[-reach, reach],
        legend={"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0},
    )  # fmt: skip


def _change(figure: go.Figure, stats: Conflict, pair: int) -> None:
    """A vertical line where the pair's cosine over all shared parameters changes."""
    mine = stats.changes[stats.changes["pair"] == pair]
    for step, before, after in zip(*(mine[name].tolist() for name in ("step", "before", "after")), strict=True):
        figure.add_vline(
            x=step, line={"color": "#8C6BB1", "width": 2, "dash": "dash"},
            annotation={"text": f"change: {number(before)} to {number(after)}", "font": {"color": "#8C6BB1"}},
        )  # fmt: skip


def window_band(figure: go.Figure, stats: Conflict, window: Estimate, **place: int) -> None:
    """Every window as a box from low to high with its value as a line; ``place`` is a subplot's row and col."""
    known = np.isfinite(window.low) & np.isfinite(window.high)
    if not known.any():
        return
    first, last = stats.windows[known].T.astype(float)
    boxes = window[known]
    low, high, value = boxes.low, boxes.high, boxes.value
    gap = np.full(len(first), np.nan)
    text = [describe(*cell) for cell in cells(boxes)]
    figure.add_scatter(
        x=np.stack([first, last, last, first, first, gap], axis=1).ravel(),
        y=np.stack([low, low, high, high, low, gap], axis=1).ravel(),
        fill="toself", fillcolor=faded("#56B4E9", 0.28), line={"width": 0}, mode="lines", hoverinfo="skip",
        name="window of steps: 95 % interval", **place,
    )  # fmt: skip
    figure.add_scatter(
        x=np.stack([first, last, gap], axis=1).ravel(), y=np.stack([value, value, gap], axis=1).ravel(),
        mode="lines", line={"color": "#56B4E9", "width": 3}, name="window of steps: pooled cosine",
        customdata=np.repeat(np.array(text, dtype=object), 3), hovertemplate="%{customdata}<extra></extra>", **place,
    )  # fmt: skip


def _step_index(stats: Conflict, step: int) -> int:
    found = np.flatnonzero(stats.steps == step)
    if not len(found):
        raise ConfigError(
            f"No task gradients were read at step {step}. Steps run from {stats.steps[0]} to {stats.steps[-1]}."
        )
    return int(found[0])
