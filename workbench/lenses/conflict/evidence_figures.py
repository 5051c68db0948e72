"""Figures of the evidence: noise floor, what followed, triad and planner; they draw what the statistics hold."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from workbench.lenses.conflict.drawing import MAX_ROWS, ONE_TASK, STATE_STYLE, pair_index, short
from workbench.lenses.conflict.estimates import CONFLICT, STATES
from workbench.lenses.conflict.figures import window_band
from workbench.lenses.conflict.statistics import Conflict
from workbench.lenses.empty_figure import empty
from workbench.lenses.palette import CATEGORICAL, UNKNOWN, faded

NO_FLOOR = "The noise floor needs at least three recorded steps with two or more mini-batches each."
NO_MATTER = (
    "This needs scalars tagged loss/&lt;task&gt; after the recorded steps, and at least five cells (step, pair) "
    "with a conflict and five without."
)
NO_PLAN = "A forecast of the interval needs at least three mini-batches a step and some signal above the noise."


def noise_floor(stats: Conflict) -> go.Figure:
    """How often two half-batches of a pair point apart, beside two half-batches of one and the same task."""
    if len(stats.tasks) < 2:
        return empty(ONE_TASK)
    if stats.floor is None:
        return empty(NO_FLOOR)
    found, order = stats.floor, stats.ranking[: MAX_ROWS - len(stats.tasks[:10])]
    names = [short(stats.pair_name(pair), 34) for pair in order.tolist()]
    own = [f"{short(task, 24)} with itself" for task in stats.tasks[:10]]
    figure = go.Figure()
    figure.add_trace(
        _shares(found.pair[order], found.pair_low[order], found.pair_high[order], names, "two tasks", 0)
    )  # fmt: skip
    figure.add_trace(
        _shares(
            found.shuffled[order], found.shuffled_low[order], found.shuffled_high[order], names,
            "the same pair, names of the tasks shuffled", 2,
        )
    )  # fmt: skip
    figure.add_trace(_shares(found.own[:10], found.own_low[:10], found.own_high[:10], own, "one task: noise alone", 1))
    figure.add_vline(x=0.5, line={"color": UNKNOWN, "width": 1, "dash": "dot"})
    rows = [*names, *own]
    figure.update_yaxes(
        categoryorder="array", categoryarray=rows, range=[len(rows) - 0.5, -0.5], automargin=True, title_text=""
    )
    return figure.update_layout(
        title=f"How often two halves of a batch point apart, {found.n} recorded steps; dotted: chance",
        xaxis={"title": "share of recorded steps, 95 % interval", "tickformat": ".0%", "range": [-0.02, 1.02]},
        height=210 + 26 * len(rows), legend={"orientation": "h", "y": -75 / (60 + 26 * len(rows)), "yanchor": "top"},
    )  # fmt: skip


def _shares(
    value: np.ndarray, low: np.ndarray, high: np.ndarray, names: list[str], label: str, which: int
) -> go.Scatter:
    styles = ((STATE_STYLE[CONFLICT][0], "triangle-down"), (UNKNOWN, "square"), (CATEGORICAL[6], "circle-open"))
    colour, symbol = styles[which]
    return go.Scatter(
        x=value, y=names, mode="markers", name=label, marker={"color": colour, "symbol": symbol, "size": 11},
        error_x={
            "type": "data", "symmetric": False, "array": high - value, "arrayminus": value - low, "color": colour,
            "thickness": 2, "width": 0,
        },
        hovertemplate="%{y}: point apart at %{x:.0%} of steps<extra></extra>",
    )  # fmt: skip


def matter(stats: Conflict) -> go.Figure:
    """How often a loss rose after steps with and without a conflict."""
    if len(stats.tasks) < 2:
        return empty(ONE_TASK)
    if stats.matter is None:
        return empty(NO_MATTER)
    found = stats.matter
    word = "called conflict" if found.called else "negative cosine"
    figure = go.Figure()
    labels = [f"after a {word}<br>(n = {found.n[0]})", f"otherwise<br>(n = {found.n[1]})"]
    share, low, high = (np.array(side) for side in (found.share, found.low, found.high))
    figure.add_bar(
        x=labels, y=share, width=0.5, marker={"color": [STATE_STYLE[CONFLICT][0], faded(UNKNOWN, 0.7)]},
        error_y={
            "type": "data", "symmetric": False, "array": high - share, "arrayminus": share - low, "width": 8,
            "color": "#8C8C8C", "thickness": 2,
        },
        text=[f"{100 * value:.0f} %" for value in share], textposition="inside", insidetextanchor="start",
        hovertemplate="%{x}: %{y:.1%}<extra></extra>",
    )  # fmt: skip
    return figure.update_layout(
        title="How often the loss of one of the two tasks rose next, over all steps and pairs", showlegend=False,
        yaxis={"title": "share, 95 % interval", "tickformat": ".0%", "rangemode": "tozero"}, xaxis_title="", height=430,
    )  # fmt: skip


def triad(stats: Conflict, pair: str | None = None) -> go.Figure:
    """Direction, length and curvature for one pair: a conflict of unequal gradients in a curved place is the harmful
    one."""
    if len(stats.tasks) < 2:
        return empty(ONE_TASK)
    which, total = pair_index(stats, pair), stats.total
    figure = make_subplots(
        3, 1, shared_xaxes=True, vertical_spacing=0.09,
        subplot_titles=(
            "Direction: cosine (below 0 conflict)", "Length: magnitude similarity (near 0 one dominates)",
            "Curvature: share of the foretold gain of a plain step that it takes away (near 1 the step is too long)",
        ),
    )  # fmt: skip
    window_band(figure, stats, stats.window[:, total, which], row=1, col=1)
    single = stats.cosine[:, total, which]
    figure.add_scatter(
        x=stats.steps, y=single.value, mode="markers", name="one recorded step", showlegend=False,
        marker={"color": [STATE_STYLE.get(state, (UNKNOWN,))[0] for state in single.state.tolist()], "size": 6},
        customdata=[STATES[state] for state in single.state.tolist()],
        hovertemplate="step %{x}: %{y:.2f}, %{customdata}<extra></extra>", row=1, col=1,
    )  # fmt: skip
    figure.add_scatter(
        x=stats.steps, y=stats.similarity_at_steps[:, which], mode="lines+markers", showlegend=False,
        line={"color": "#8C6BB1", "width": 2}, marker={"size": 5},
        hovertemplate="step %{x}: similarity %{y:.2f}<extra></extra>", row=2, col=1,
    )  # fmt: skip
    _curvature(figure, stats)
    figure.add_hline(y=0, line={"color": UNKNOWN, "width": 1}, row=1, col=1)
    figure.update_yaxes(title_text="cosine", range=[-1.05, 1.05], row=1, col=1)
    figure.update_yaxes(title_text="similarity", range=[0, 1.05], row=2, col=1)
    figure.update_xaxes(title_text="step", row=3, col=1)
    return figure.update_layout(
        title=f"{stats.pair_name(which)}, all shared parameters", height=640,
        legend={"orientation": "h", "y": -0.11, "yanchor": "top", "x": 0},
    )  # fmt: skip


def _curvature(figure: go.Figure, stats: Conflict) -> None:
    """Third lane: mean over mini-batches, with a bar from the smallest to the largest."""
    found = stats.trials
    if found is None or not np.isfinite(found.lost_gain).any():
        figure.add_annotation(
            text="not recorded: call Recorder.trial_steps(..., shared=...)", showarrow=False, x=0.5, y=0.5,
            xref="x3 domain", yref="y3 domain",
        )  # fmt: skip
        figure.update_yaxes(range=[0, 1], row=3, col=1)
        return
    known = np.isfinite(found.lost_gain)
    value, low, high = (a[known] for a in (found.lost_gain, found.lost_low, found.lost_high))
    figure.add_scatter(
        x=found.steps[known], y=value, mode="lines+markers", showlegend=False, marker={"size": 6},
        line={"color": CATEGORICAL[2], "width": 2},
        error_y={
            "type": "data", "symmetric": False, "array": high - value, "arrayminus": value - low, "width": 0,
            "color": faded(CATEGORICAL[2], 0.5),
        },
        hovertemplate="step %{x}: %{y:.0%} of the gain<extra></extra>", row=3, col=1,
    )  # fmt: skip
    figure.add_hline(y=0, line={"color": UNKNOWN, "width": 1}, row=3, col=1)
    reach = float(np.clip(1.1 * np.abs(np.concatenate([low, high])).max(), 0.1, 2.0))
    figure.update_yaxes(
        title_text="gain lost", tickformat=".0%", range=[min(-0.05, 1.1 * float(low.min())), reach], row=3, col=1
    )


def planner(stats: Conflict, pair: str | None = None) -> go.Figure:
    """The half-width of a cosine's interval to expect from more mini-batches; the recorded steps are the pilot."""
    if len(stats.tasks) < 2:
        return empty(ONE_TASK)
    if stats.plan is None:
        return empty(NO_PLAN)
    found, which = stats.plan, pair_index(stats, pair)
    figure = go.Figure()
    others = [index for index in stats.ranking[:MAX_ROWS].tolist() if index != which]
    for index in others:
        figure.add_scatter(
            x=found.batches, y=found.expected[:, index], mode="lines", line={"color": faded(UNKNOWN, 0.45), "width": 1},
            name="other pairs", showlegend=index == others[0], legendgroup="others",
            hovertemplate=f"{stats.pair_name(index)}: ±%{{y:.2f}} with %{{x}} mini-batches<extra></extra>",
        )  # fmt: skip
    figure.add_scatter(
        x=found.batches, y=found.expected[:, which], mode="lines", name=stats.pair_name(which),
        line={"color": CATEGORICAL[0], "width": 3},
        hovertemplate="±%{y:.2f} with %{x} mini-batches<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=[found.pilot], y=[found.measured[which]], mode="markers", name=f"recorded: {found.pilot} mini-batches a step",
        marker={"color": CATEGORICAL[5], "size": 13, "symbol": "star"},
        hovertemplate="recorded: ±%{y:.2f}<extra></extra>",
    )  # fmt: skip
    return figure.update_layout(
        title="How sure a single recorded step can be: more mini-batches of the same size", height=430,
        xaxis={"title": "mini-batches a step (log scale)", "type": "log", "tickvals": found.batches.tolist()},
        yaxis={"title": "half-width of the 95 % interval (log scale)", "type": "log", "dtick": "D2"},
        legend={"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0},
    )  # fmt: skip
