"""Figures of what could be done: the replay board and who should train together; they draw what the statistics hold."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from workbench.core import ConfigError
from workbench.lenses.conflict.affinity import Affinity, Grouping
from workbench.lenses.conflict.drawing import ONE_TASK, READABLE_CELLS, STATE_STYLE, number, short
from workbench.lenses.conflict.estimates import ALIGNED, CONFLICT
from workbench.lenses.conflict.replay import Replay
from workbench.lenses.conflict.statistics import Conflict
from workbench.lenses.conflict.trials import ROUGH
from workbench.lenses.empty_figure import empty
from workbench.lenses.palette import CATEGORICAL, DIVERGING, UNKNOWN, faded

NO_REPLAY = "A replay needs at least three recorded steps with two or more mini-batches each."
NO_AFFINITY = (
    "Affinity divides by the loss: log scalars tagged loss/&lt;task&gt; at three or more of the steps "
    "at which task gradients are recorded."
)
#: One for every round through the colours.
_SYMBOLS = ("circle", "diamond", "square")

NO_TRIALS = (
    "True lookahead affinity needs trial steps at three or more steps: call Recorder.trial_steps(..., shared=...)."
)
NO_AGREEMENT = (
    "Comparing measures of affinity needs at least three tasks, and losses or trial steps beside the gradients."
)


def replay(stats: Conflict) -> go.Figure:
    """What each aggregator would have done with the same gradients, at equal step length, judged on other samples."""
    if len(stats.tasks) < 2:
        return empty(ONE_TASK)
    if stats.replay is None:
        return empty(NO_REPLAY)
    board = stats.replay
    figure = make_subplots(
        1, 2, shared_yaxes=True, column_widths=[0.7, 0.3], horizontal_spacing=0.02,
        subplot_titles=("How well the step serves each task (harmed at … of steps)", "Price of peace (95 %)"),
    )  # fmt: skip
    rows = np.arange(len(board.names))
    figure.add_trace(_board(stats, board), row=1, col=1)
    figure.add_trace(_outline(board), row=1, col=1)
    known = np.isfinite(board.price)
    figure.add_scatter(
        x=board.price[known], y=rows[known], mode="markers", showlegend=False,
        marker={"color": "#8C6BB1", "symbol": "diamond", "size": 10},
        error_x={
            "type": "data", "symmetric": False, "array": (board.price_high - board.price)[known],
            "arrayminus": (board.price - board.price_low)[known], "color": "#8C6BB1", "thickness": 2, "width": 0,
        },
        hovertemplate="%{x:.1%} less progress in sum than the plain sum<extra></extra>", row=1, col=2,
    )  # fmt: skip
    figure.add_vline(x=0, line={"color": UNKNOWN, "width": 1}, row=1, col=2)
    tasks = np.arange(len(stats.tasks))
    figure.update_xaxes(
        tickvals=tasks, ticktext=[short(task, 18) for task in stats.tasks], range=[-0.5, len(tasks) - 0.5],
        title_text="task", showgrid=False, zeroline=False, row=1, col=1,
    )  # fmt: skip
    figure.update_xaxes(title_text="progress given up, all tasks in sum", tickformat=".0%", nticks=6, row=1, col=2)
    figure.update_yaxes(
        tickvals=rows, ticktext=list(board.names), range=[len(rows) - 0.5, -0.5], showgrid=False, zeroline=False,
        automargin=True,
    )  # fmt: skip
    figure.add_annotation(
        text=caution(stats), showarrow=False, x=0, y=-105 / (60 + 34 * len(rows)), xref="paper", yref="paper",
        xanchor="left", yanchor="top", font={"color": UNKNOWN},
    )  # fmt: skip
    return figure.update_layout(
        title=f"The same gradients, other optimisers: {len(board.steps)} recorded steps replayed at equal step length",
        height=235 + 34 * len(rows), margin={"b": 130},
        legend={"orientation": "h", "y": -75 / (60 + 34 * len(rows)), "yanchor": "top", "x": 0},
    )  # fmt: skip


def peace(stats: Conflict) -> go.Figure:
    """What each aggregator gives up in sum against what it does for the task that is served worst."""
    if len(stats.tasks) < 2:
        return empty(ONE_TASK)
    if stats.replay is None:
        return empty(NO_REPLAY)
    board, figure = stats.replay, go.Figure()
    for at in np.flatnonzero(np.isfinite(board.price) & np.isfinite(board.worst_gain)).tolist():
        x, y = float(board.price[at]), float(board.worst_gain[at])
        colour = CATEGORICAL[at % len(CATEGORICAL)]
        figure.add_scatter(
            x=[x], y=[y], mode="markers", name=board.names[at],
            marker={"color": colour, "symbol": _SYMBOLS[at // len(CATEGORICAL) % len(_SYMBOLS)], "size": 12},
            error_x=_bar(board.price_low[at], x, board.price_high[at], colour),
            error_y=_bar(board.worst_gain_low[at], y, board.worst_gain_high[at], colour),
            hovertemplate=f"{board.names[at]}<br>gives up {100 * x:.0f} % of the progress in sum<br>"
            f"cosine of the worst-off task {number(y)} more than by the plain sum<extra></extra>",
        )  # fmt: skip
    figure.add_hline(y=0, line={"color": UNKNOWN, "width": 1})
    figure.add_vline(x=0, line={"color": UNKNOWN, "width": 1})
    figure.update_xaxes(title_text="progress given up, all tasks in sum", tickformat=".0%")
    figure.update_yaxes(title_text="worst-off task: cosine beyond the plain sum's")
    return figure.update_layout(
        title=f"What peace costs and what it buys: {len(board.steps)} recorded steps replayed at equal step length",
        height=520,
    )


def _bar(low: float, value: float, high: float, colour: str) -> dict[str, object]:
    return {
        "type": "data", "symmetric": False, "array": [high - value], "arrayminus": [value - low], "width": 0,
        "color": faded(colour, 0.5), "thickness": 1.5,
    }  # fmt: skip


def caution(stats: Conflict) -> str:
    """How far first order is from true steps, where that was measured."""
    if stats.trials is None or not np.isfinite(stats.trials.median_error):
        return "First order only; how far a true step differs was not recorded (Recorder.trial_steps)."
    error, lr = stats.trials.median_error, stats.trials.lr
    rough = ": read signs, not sizes" if error > ROUGH else ""
    return (
        f"First order only: true plain steps of {lr:g} changed the losses by {100 * error:.0f} % more or less than "
        f"foretold (median of {len(stats.trials.steps)} recorded steps){rough}."
    )


def agreement(stats: Conflict) -> go.Figure:
    """Kendall's tau between measures of affinity over the pairs of tasks."""
    if len(stats.tasks) < 2:
        return empty(ONE_TASK)
    if stats.agreement is None:
        return empty(NO_AGREEMENT)
    found = stats.agreement
    beyond = np.abs(found.tau) > found.chance
    text = np.array(
        [
            [
                "" if np.isnan(tau) else number(float(tau)) + ("" if sure else " ?")
                for tau, sure in zip(*row, strict=True)
            ]
            for row in zip(found.tau, beyond, strict=True)
        ],
        dtype=object,
    )
    figure = go.Figure(
        go.Heatmap(
            x=list(found.measures), y=list(found.measures), z=found.tau, text=text, texttemplate="%{text}",
            colorscale=DIVERGING, zmin=-1, zmax=1, xgap=3, ygap=3, hoverongaps=False,
            customdata=np.stack([found.n, found.chance], axis=-1),
            hovertemplate="%{y}<br>%{x}<br>tau %{z:.2f} over %{customdata[0]} pairs of tasks"
            "<br>chance alone: up to %{customdata[1]:.2f}<extra></extra>",
            colorbar={"title": {"text": "Kendall's tau"}, "thickness": 14},
        )
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed", automargin=True)
    return figure.update_layout(
        title="Do measures of affinity order the pairs of tasks alike? A question mark: no more than chance would",
        height=200 + 62 * len(found.measures),
    )


def _board(stats: Conflict, board: Replay) -> go.Heatmap:
    hover = np.array(
        [
            [
                f"{name}, {task}<br>cosine of the step with the task's gradient on other samples "
                f"{number(float(board.alignment[a, t]))} ({number(float(board.low[a, t]))} to "
                f"{number(float(board.high[a, t]))})<br>harmed at {100 * board.harmed[a, t]:.0f} % of steps "
                f"({100 * board.harmed_low[a, t]:.0f}–{100 * board.harmed_high[a, t]:.0f} %)"
                for t, task in enumerate(stats.tasks)
            ]
            for a, name in enumerate(board.names)
        ],
        dtype=object,
    )
    few = len(stats.tasks) <= READABLE_CELLS
    text = np.array(
        [
            [
                f"{number(float(a))}  ({100 * h:.0f} %)" if np.isfinite(a) else "no answer"
                for a, h in zip(*row, strict=True)
            ]
            for row in zip(board.alignment, board.harmed, strict=True)
        ],
        dtype=object,
    )
    shown = {"text": text, "texttemplate": "%{text}"} if few else {}
    return go.Heatmap(
        z=board.alignment, colorscale=DIVERGING, zmin=-1, zmax=1, customdata=hover, xgap=3, ygap=3,
        hovertemplate="%{customdata}<extra></extra>", hoverongaps=False, showscale=False, **shown,
    )  # fmt: skip


def _outline(board: Replay) -> go.Scatter:
    """A frame around the cells of tasks that are harmed on average beyond noise."""
    row, column = np.nonzero(np.nan_to_num(board.high, nan=1.0) < 0)
    dx = np.array([-0.46, 0.46, 0.46, -0.46, -0.46, np.nan])
    dy = np.array([-0.44, -0.44, 0.44, 0.44, -0.44, np.nan])
    return go.Scatter(
        x=(column[:, None] + dx).ravel(), y=(row[:, None] + dy).ravel(), mode="lines",
        line={"color": STATE_STYLE[CONFLICT][0], "width": 3}, hoverinfo="skip", showlegend=bool(len(row)),
        name="harmed on average, beyond noise",
    )  # fmt: skip


def together(stats: Conflict, budget: int = 2, measured: bool = False) -> go.Figure:
    """Affinity of every ordered pair, and the best groups of tasks for at most ``budget`` networks.

    Args:
        measured: From true trial steps, curvature included, instead of to first order from the Gramians.
    """
    if len(stats.tasks) < 2:
        return empty(ONE_TASK)
    if measured and stats.true_affinity is None:
        return empty(NO_TRIALS)
    if not measured and stats.affinity is None:
        return empty(NO_AFFINITY)
    found = stats.true_affinity if measured else stats.affinity
    assert found is not None
    grouping = _chosen(found, budget)
    figure = make_subplots(
        1, 2, column_widths=[0.52, 0.48], horizontal_spacing=0.08,
        subplot_titles=("A step on the row's task, for the column's", _title(grouping)),
    )  # fmt: skip
    figure.add_trace(_table(stats, found), row=1, col=1)
    for trace in _graph(stats, found, grouping):
        figure.add_trace(trace, row=1, col=2)
    names = [short(task, 16) for task in stats.tasks]
    kind = f"true steps of {stats.trials.lr:g}" if measured and stats.trials is not None else "first order"
    places = np.arange(len(names))
    figure.update_xaxes(
        tickvals=places,
        ticktext=names,
        title_text="whose loss is measured",
        showgrid=False,
        zeroline=False,
        row=1,
        col=1,
    )
    figure.update_yaxes(
        tickvals=places, ticktext=names, title_text="whose gradient is followed", autorange="reversed", showgrid=False,
        zeroline=False, automargin=True, row=1, col=1,
    )  # fmt: skip
    figure.update_xaxes(visible=False, range=[-1.75, 1.75], row=1, col=2)
    figure.update_yaxes(visible=False, range=[-1.4, 1.4], row=1, col=2)
    return figure.update_layout(
        title=f"Who should train together, from {found.n_steps} recorded steps ({kind})", height=460,
        legend={"orientation": "h", "y": -0.12, "yanchor": "top", "x": 0.54},
    )  # fmt: skip


def _chosen(found: Affinity, budget: int) -> Grouping:
    budgets = [grouping.budget for grouping in found.groupings]
    if budget not in budgets:
        if len(budgets) == 1:
            return found.groupings[0]
        raise ConfigError(f"Groups were sought for budgets {budgets[0]} to {budgets[-1]}; got {budget}.")
    return found.groupings[budgets.index(budget)]


def _title(grouping: Grouping) -> str:
    networks = "1 network" if grouping.budget == 1 else f"at most {grouping.budget} networks"
    return f"Best groups for {networks}" + ("" if grouping.exact else " (not proven best)")


def _table(stats: Conflict, found: Affinity) -> go.Heatmap:
    value = np.where(np.eye(len(stats.tasks), dtype=bool), np.nan, found.estimate.value)
    reach = float(np.abs(value[np.isfinite(value)]).max(initial=1e-12))
    low, high = found.estimate.low, found.estimate.high
    hover = np.stack([low, high], axis=-1)
    text = np.array([["" if np.isnan(cell) else f"{cell:.2g}".replace("-", "\u2212") for cell in row] for row in value])
    unsure = (low <= 0) & (high >= 0) & ~np.isnan(value)
    text = np.where(unsure, np.char.add(text, " ?"), text)
    shown = {"text": text, "texttemplate": "%{text}"} if len(value) <= READABLE_CELLS else {}
    return go.Heatmap(
        z=value, colorscale=DIVERGING, zmin=-reach, zmax=reach, customdata=hover, xgap=2, ygap=2, hoverongaps=False,
        showscale=False,
        hovertemplate="a step on %{y} changes the loss of %{x}<br>by a share of %{z:.3g} per unit of learning rate"
        "<br>(95 % interval %{customdata[0]:.3g} to %{customdata[1]:.3g})<extra></extra>", **shown,
    )  # fmt: skip


def _graph(stats: Conflict, found: Affinity, grouping: Grouping) -> list[go.Scatter]:
    """Tasks on a circle; an edge is the mean of both directions, where at least one is certain."""
    n = len(stats.tasks)
    angle = np.pi / 2 - 2 * np.pi * np.arange(n) / n
    x, y = np.cos(angle), np.sin(angle)
    value, state = found.estimate.value, found.estimate.state
    both = 0.5 * (value + value.T)
    reach = float(np.abs(both[~np.eye(n, dtype=bool)]).max()) or 1.0
    traces = []
    seen: set[int] = set()
    for i, j in stats.pairs.tolist():
        sure = np.isin([state[i, j], state[j, i]], (CONFLICT, ALIGNED)).any()
        if not sure:
            continue
        sign = CONFLICT if both[i, j] < 0 else ALIGNED
        traces.append(
            go.Scatter(
                x=[x[i], x[j]], y=[y[i], y[j]], mode="lines", hoverinfo="skip", showlegend=sign not in seen,
                name="harms" if sign == CONFLICT else "helps", legendgroup=str(sign),
                line={
                    "color": STATE_STYLE[sign][0], "width": 1 + 7 * abs(both[i, j]) / reach,
                    "dash": "dash" if sign == CONFLICT else "solid",
                },
            )
        )  # fmt: skip
        seen.add(sign)
    traces.extend(_hulls(grouping, x, y))
    traces.append(
        go.Scatter(
            x=x, y=y, mode="markers+text" if n <= 24 else "markers", showlegend=False,
            text=[short(task, 16) for task in stats.tasks],
            textposition=[_side(across, up) for across, up in zip(x.tolist(), y.tolist(), strict=True)],
            marker={"size": 18 if n <= 12 else 10, "color": _group_colours(grouping, n), "line": {"width": 0}},
            customdata=[_membership(stats, grouping, task) for task in range(n)],
            hovertemplate="%{customdata}<extra></extra>",
        )
    )  # fmt: skip
    return traces


def _side(across: float, up: float) -> str:
    """Where the name of a task on the circle stands clear of the lines."""
    if abs(across) > 0.2:
        return "middle right" if across > 0 else "middle left"
    return "top center" if up > 0 else "bottom center"


def _hulls(grouping: Grouping, x: np.ndarray, y: np.ndarray) -> list[go.Scatter]:
    """Every group as a faint filled shape through its tasks."""
    shapes = []
    for place, group in enumerate(grouping.groups):
        members = [*group, group[0]]
        colour = CATEGORICAL[place % len(CATEGORICAL)]
        shapes.append(
            go.Scatter(
                x=x[members], y=y[members], mode="lines", fill="toself", fillcolor=faded(colour, 0.15),
                line={"color": faded(colour, 0.5), "width": 14, "shape": "spline" if len(group) > 2 else "linear"},
                name=f"network {place + 1}", hoverinfo="skip",
            )
        )  # fmt: skip
    return shapes


def _group_colours(grouping: Grouping, n_tasks: int) -> list[str]:
    first = {task: place for place, group in reversed(list(enumerate(grouping.groups))) for task in group}
    return [CATEGORICAL[first[task] % len(CATEGORICAL)] if task in first else UNKNOWN for task in range(n_tasks)]


def _membership(stats: Conflict, grouping: Grouping, task: int) -> str:
    networks = [str(place + 1) for place, group in enumerate(grouping.groups) if task in group]
    return f"{stats.tasks[task]}: network {' and '.join(networks)}<br>affinity of its group {grouping.scores[task]:.3g}"
