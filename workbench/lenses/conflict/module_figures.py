"""Figures of the conflict lens over modules and gradient lengths; they draw what the statistics hold."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from workbench.lenses.conflict.drawing import (
    MAX_BARS,
    MAX_ROWS,
    ONE_TASK,
    READABLE_CELLS,
    STATE_STYLE,
    cells,
    describe,
    grid,
    module_index,
    number,
    pair_index,
    short,
)
from workbench.lenses.conflict.estimates import ALIGNED, BELOW_NOISE, CONFLICT, MISSING, STATES, UNDETERMINED, Estimate
from workbench.lenses.conflict.statistics import RECON_THRESHOLD, Conflict
from workbench.lenses.empty_figure import empty
from workbench.lenses.palette import UNKNOWN, colours, dashes, faded, symbols


def ladder(stats: Conflict, pair: str | None = None) -> go.Figure:
    """Pooled cosine of a pair in every module in the order of the forward pass, beside Recon's score of the module."""
    if len(stats.tasks) < 2:
        return empty(ONE_TASK)
    which = pair_index(stats, pair)
    names = [short(module, 32) for module in stats.modules]
    figure = make_subplots(
        1, 2, shared_yaxes=True, column_widths=[0.64, 0.36], horizontal_spacing=0.03,
        subplot_titles=(f"{stats.pair_name(which)}: pooled cosine, 95 % interval", "Recon's score, all pairs"),
    )  # fmt: skip
    chosen = stats.overall[:, which]
    for state in (CONFLICT, UNDETERMINED, ALIGNED):
        at = np.flatnonzero(chosen.state == state)
        if len(at):
            figure.add_trace(_ladder_dots(chosen, at, state), row=1, col=1)
    silent = np.flatnonzero(np.isin(chosen.state, (BELOW_NOISE, MISSING)))
    if len(silent):
        figure.add_scatter(
            y=silent, x=np.zeros(len(silent)), mode="markers", name="signal below noise, or not recorded",
            marker={"color": UNKNOWN, "symbol": "x-thin-open", "size": 9, "line": {"width": 2}},
            hovertemplate="nothing can be said<extra></extra>", row=1, col=1,
        )  # fmt: skip
    rows = np.arange(len(names))
    threshold = number(RECON_THRESHOLD, 1)
    for values, name, colour in (
        (stats.recon, f"pairs a step with naive cosine below {threshold}", faded(UNKNOWN, 0.55)),
        (stats.recon_called, f"pairs a {stats.share.unit} whose interval is below {threshold}", "#D55E00"),
    ):
        figure.add_bar(
            y=rows, x=values, orientation="h", name=name, marker={"color": colour, "line": {"width": 0}},
            hovertemplate="%{x:.2f}<extra>" + name + "</extra>", row=1, col=2,
        )  # fmt: skip
    figure.add_vline(x=0, line={"color": UNKNOWN, "width": 1}, row=1, col=1)
    row_height = float(np.clip(900 / len(names), 6, 30))
    figure.update_yaxes(range=[len(names) - 0.5, -0.5], automargin=True, showgrid=False, zeroline=False)
    figure.update_yaxes(tickvals=_thinned(rows, row_height), ticktext=[names[i] for i in _thinned(rows, row_height)])
    low, high = chosen.low[np.isfinite(chosen.low)], chosen.high[np.isfinite(chosen.high)]
    reach = max(0.1, np.abs(np.concatenate([low, high, [0.0]])).max() * 1.08)
    figure.update_xaxes(title_text="cosine", range=[-reach, reach], row=1, col=1)
    figure.update_xaxes(title_text=f"pairs of {len(stats.pairs)}", rangemode="tozero", row=1, col=2)
    return figure.update_layout(
        title="Where in the network, first layer on top", barmode="group", bargap=0.3, bargroupgap=0.05,
        height=int(230 + row_height * len(names)),
        legend={"orientation": "h", "y": -75 / (60 + row_height * len(names)), "yanchor": "top", "x": 0},
    )  # fmt: skip


def _thinned(rows: np.ndarray, row_height: float) -> np.ndarray:
    """Every n-th row, so that labels do not touch; the last one always."""
    kept = rows[:: max(1, int(np.ceil(15 / row_height)))]
    return kept if kept[-1] == rows[-1] else np.append(kept[:-1], rows[-1])


def _ladder_dots(chosen: Estimate, at: np.ndarray, state: int) -> go.Scatter:
    colour, symbol = STATE_STYLE[state]
    value = chosen.value[at]
    half = np.where(np.isfinite(chosen.high[at]), chosen.high[at] - value, 0.0)
    return go.Scatter(
        x=value, y=at, mode="markers", name=STATES[state],
        marker={"color": colour, "symbol": symbol, "size": 11, "line": {"width": 2, "color": colour}},
        error_x={"type": "data", "array": half, "color": colour, "thickness": 2, "width": 0},
        customdata=[describe(*cell) for cell in cells(chosen[at])],
        hovertemplate="%{customdata}<extra></extra>",
    )  # fmt: skip


def modules(stats: Conflict) -> go.Figure:
    """Pooled cosine of every pair in every module: where each conflict sits."""
    if len(stats.tasks) < 2:
        return empty(ONE_TASK)
    order = stats.ranking[:MAX_ROWS]
    chosen = stats.overall[:, order]
    text = None
    if len(order) <= 12 and len(stats.modules) <= 40:
        text = np.vectorize(number, otypes=[object])(chosen.value)
    names = [short(module, 32) for module in stats.modules]
    figure = grid(chosen, [_two_lines(stats, pair) for pair in order.tolist()], names, text)
    row_height = float(np.clip(900 / len(names), 5, 34))
    kept = _thinned(np.arange(len(names)), row_height)
    figure.update_yaxes(tickvals=kept, ticktext=[names[i] for i in kept])
    return figure.update_layout(
        title="Pooled cosine of every pair in every module, first layer on top",
        height=int(260 + row_height * len(names)),
    )


NO_ROUTING = (
    "GradSplit's relation needs channel groups: record with Recorder.task_gradients(..., groups=number of tasks)."
)


def routing(stats: Conflict, module: str | None = None) -> go.Figure:
    """Whose gradient may train which group of channels of a layer: rows groups with their task, columns tasks.

    Args:
        module: A layer that was recorded in groups; by default the one in which most is kept out.
    """
    if len(stats.tasks) < 2:
        return empty(ONE_TASK)
    found = stats.routing
    if found is None:
        return empty(NO_ROUTING)
    at = found.layers.index(module) if module in found.layers else int(np.argmax(found.blocked))
    n = len(stats.tasks)
    owner = np.eye(n, dtype=bool)
    word = np.where(owner, "own", np.where(found.admitted[at], "may train", "kept out"))
    text = np.vectorize(number, otypes=[object])(found.cosine.value[at])
    text = np.where(owner, word, np.char.add(np.char.add(word.astype(str), "<br>"), text.astype(str)))
    rows = [
        f"channels {span}<br>of {short(task, 18)}" for span, task in zip(found.channels[at], stats.tasks, strict=True)
    ]
    figure = grid(
        found.cosine[at], [short(task, 18) for task in stats.tasks], rows, text if n <= READABLE_CELLS else None
    )
    for k in range(n if n <= READABLE_CELLS else 0):
        figure.add_annotation(x=k, y=k, text="own", showarrow=False)
    one_way = int(found.one_way[at])
    return figure.update_layout(
        title=f"Who may train which channels of {short(found.layers[at], 40)}: {int(found.blocked[at])} of "
        f"{n * (n - 1)} kept out, {one_way} pair{'' if one_way == 1 else 's'} one way only",
        xaxis_title="task whose gradient would enter", yaxis_title="group of channels",
        height=int(np.clip(210 + 62 * n, 400, 900)),
    )  # fmt: skip


def magnitude(stats: Conflict, module: str | None = None) -> go.Figure:
    """Length of every task's gradient over training, and how alike the lengths of each pair are."""
    at = module_index(stats, module)
    figure = make_subplots(
        1, 2, column_widths=[0.56, 0.44], horizontal_spacing=0.16,
        subplot_titles=("Length of the gradient", "How many times longer, mean over steps (95 %)"),
    )  # fmt: skip
    colour, dash, symbol = colours(stats.tasks), dashes(stats.tasks), symbols(stats.tasks)
    few = len(stats.steps) <= MAX_BARS
    for index, task in enumerate(stats.tasks):
        figure.add_scatter(
            x=stats.steps, y=stats.norm[:, at, index], name=task, mode="lines+markers" if few else "lines",
            line={"color": colour[task], "dash": dash[task], "width": 2}, marker={"symbol": symbol[task], "size": 6},
            hovertemplate=f"{task}, step %{{x}}: %{{y:.3g}}<extra></extra>", row=1, col=1,
        )  # fmt: skip
    order = np.argsort(-np.abs(np.nan_to_num(stats.log_ratio.value[at])), kind="stable")[:MAX_ROWS]
    ratio = stats.ratio(at)
    names = [_ratio_name(stats, at, pair) for pair in order.tolist()]
    value, low, high = (array[order] for array in (ratio.value, ratio.low, ratio.high))
    figure.add_scatter(
        x=value, y=np.arange(len(order)), mode="markers", showlegend=False,
        marker={"color": "#8C6BB1", "size": 11, "symbol": "diamond"},
        error_x={
            "type": "data", "symmetric": False, "array": high - value, "arrayminus": value - low,
            "color": "#8C6BB1", "thickness": 2, "width": 0,
        },
        customdata=np.stack([stats.similarity[at, order], low, high], axis=1),
        hovertemplate="%{x:.3g} times (95 % interval %{customdata[1]:.3g} to %{customdata[2]:.3g})"
        "<br>magnitude similarity %{customdata[0]:.2f}<extra></extra>",
        row=1, col=2,
    )  # fmt: skip
    figure.update_xaxes(title_text="step", row=1, col=1)
    figure.update_yaxes(title_text="length (log scale)", type="log", dtick="D2", row=1, col=1)
    figure.update_xaxes(title_text="times (log scale)", type="log", dtick="D2", row=1, col=2)
    figure.update_yaxes(
        tickvals=np.arange(len(order)), ticktext=names, range=[len(order) - 0.5, -0.5], automargin=True, row=1, col=2
    )
    if len(order):
        figure.add_vline(x=1, line={"color": UNKNOWN, "width": 1}, row=1, col=2)
    return figure.update_layout(
        title=f"Gradient length of each task, {short(stats.modules[at], 40)}", height=max(420, 200 + 26 * len(order)),
        legend={"orientation": "h", "y": -0.18, "yanchor": "top", "x": 0},
    )  # fmt: skip


def _ratio_name(stats: Conflict, at: int, pair: int) -> str:
    longer, shorter = stats.longer_first(at, pair)
    return f"{short(longer, 18)} over<br>{short(shorter, 18)}"


def _two_lines(stats: Conflict, pair: int) -> str:
    i, j = stats.pairs[pair]
    return f"{short(stats.tasks[i], 18)}<br>{short(stats.tasks[j], 18)}"
