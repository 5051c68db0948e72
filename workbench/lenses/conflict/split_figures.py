"""Figures of a split of channel groups: conflict before and after, flows, influence; they draw what the numbers say."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from workbench.lenses.conflict.drawing import READABLE_CELLS, grid, number, short
from workbench.lenses.conflict.estimates import ALIGNED, CONFLICT
from workbench.lenses.conflict.module_figures import NO_ROUTING
from workbench.lenses.conflict.split import Split
from workbench.lenses.conflict.statistics import Conflict
from workbench.lenses.empty_figure import empty
from workbench.lenses.palette import DIVERGING, SEQUENTIAL, UNKNOWN, colours, faded

NO_INFLUENCE = (
    "This run did not record the influence of every task on every other before it was split: "
    "Recorder.array('influence', 0, {'z': values [probes, tasks, tasks]})."
)
NO_USE = "This run did not record how much every task's head reads from every group of features."


def before_after(stats: Conflict, module: str | None = None) -> go.Figure:
    """Cosines of the tasks' gradients with the owner's on every group of channels, and those that the relation admits.

    Args:
        module: A layer that was recorded in groups; by default the one with the most conflict before.
    """
    split, routing = stats.split, stats.routing
    if split is None or routing is None:
        return empty(NO_ROUTING)
    at = _layer(split, module)
    n, names = len(stats.tasks), [short(task, 14) for task in stats.tasks]
    after = "After: what was let in" if split.applied else "After a split by these intervals"
    figure = make_subplots(1, 2, horizontal_spacing=0.16, subplot_titles=("Before: all gradients", after))
    text = np.vectorize(number, otypes=[object])(routing.cosine.value[at])
    own = np.eye(n, dtype=bool)
    for column, (blank, left) in enumerate(((own, split.before), (own | ~split.relation[at], split.after)), start=1):
        sure = ((routing.cosine.state[at] == CONFLICT) & ~blank).any(axis=1)
        rows = [
            f"{name}<br>{_percent(share)}{'' if called or not share > 0 else ' ?'}"
            for name, share, called in zip(names, left[at].tolist(), sure.tolist(), strict=True)
        ]
        part = grid(routing.cosine[at], names, rows, text if n <= READABLE_CELLS else None, blank)
        for trace in part.data:
            is_bar = isinstance(trace, go.Heatmap) and trace.showscale is not False
            figure.add_trace(trace.update({"showscale": False} if is_bar and column == 2 else {}), row=1, col=column)
        ticks = {"tickvals": list(range(n)), "showgrid": False, "zeroline": False}
        figure.update_xaxes(ticktext=names, range=[-0.5, n - 0.5], row=1, col=column, title_text="gradient of", **ticks)
        figure.update_yaxes(ticktext=rows, range=[n - 0.5, -0.5], automargin=True, row=1, col=column, **ticks)
    for k, j in np.argwhere(~split.relation[at] & ~own).tolist():
        figure.add_annotation(x=j, y=k, text="×", showarrow=False, font={"size": 20}, row=1, col=2)
    for k in range(n):
        for column in (1, 2):
            figure.add_annotation(x=k, y=k, text="own", showarrow=False, row=1, col=column)
    _one_key_each(figure)
    figure.update_yaxes(title_text="filters of, and conflict that reaches them", row=1, col=1)
    return figure.update_layout(
        title=f"{short(split.layers[at], 40)}: mean conflict {_percent(_mean(split.before[at]))} of the "
        f"owner's squared gradient before, {_percent(_mean(split.after[at]))} after",
        height=int(np.clip(260 + 62 * n, 420, 900)), barmode="overlay",
        legend={"orientation": "h", "y": -90 / (80 + 62 * n), "yanchor": "top", "x": 0},
    )  # fmt: skip


def flows(stats: Conflict, module: str | None = None) -> go.Figure:
    """How much gradient every task sends to every group of channels; what the relation keeps out is grey."""
    split = stats.split
    if split is None:
        return empty(NO_ROUTING)
    at, n = _layer(split, module), len(stats.tasks)
    colour = colours(stats.tasks)
    group, task = (index.ravel() for index in np.indices((n, n)))
    width, admitted = np.nan_to_num(split.flow[at].ravel()), split.relation[at].ravel()
    word = np.where(admitted, "may train", "kept out of")
    figure = go.Figure(
        go.Sankey(
            arrangement="fixed",
            node={
                "label": [*stats.tasks, *(f"filters of {name}" for name in stats.tasks)],
                "color": [colour[name] for name in stats.tasks] * 2,
                "x": [0.001] * n + [0.999] * n,
                "y": _places(np.bincount(task, width)) + _places(np.bincount(group, width)),
                "hovertemplate": "%{label}<extra></extra>", "pad": 18, "thickness": 18,
            },
            link={
                "source": task, "target": n + group, "value": width,
                "color": [
                    faded(colour[stats.tasks[j]], 0.55) if let_in else faded(UNKNOWN, 0.35)
                    for j, let_in in zip(task.tolist(), admitted.tolist(), strict=True)
                ],
                "customdata": word, "hovertemplate": "%{source.label} %{customdata} %{target.label}: "
                "gradient length %{value:.3g}<extra></extra>",
            },
        )
    )  # fmt: skip
    kept = float(width[~admitted].sum() / width.sum()) if width.sum() > 0 else 0.0
    return figure.update_layout(
        title=f"{short(split.layers[at], 40)}: {kept:.0%} of the tasks' gradient lengths kept out (grey)"
        + ("" if split.applied else ", if it were split"),
        height=int(np.clip(220 + 70 * n, 420, 900)), margin={"l": 20, "r": 20},
    )  # fmt: skip


def influence(stats: Conflict) -> go.Figure:
    """What one step along a task's gradient did for each task's loss before the split was chosen, in percent."""
    if stats.split is None or stats.split.influence is None:
        return empty(NO_INFLUENCE)
    split, found = stats.split, stats.split.influence
    names, n = [short(task, 18) for task in stats.tasks], len(stats.tasks)
    sure = np.isin(found.state, (CONFLICT, ALIGNED))
    mark = np.where(sure, "", " ?")
    percent = np.vectorize(lambda value: number(100 * value), otypes=[object])(found.value)
    hover = [
        [
            f"a step on {b} changes the loss of {a} by {number(-100 * found.value[i, j])} % "
            f"(95 % interval {number(-100 * found.high[i, j])} to {number(-100 * found.low[i, j])} %)"
            for j, b in enumerate(stats.tasks)
        ]
        for i, a in enumerate(stats.tasks)
    ]
    others = np.where(np.eye(n, dtype=bool), 0.0, found.value)  # what a task does for itself would drown the rest
    largest = float(np.nanmax(np.abs(others))) * 100 or 1.0
    figure = go.Figure(
        go.Heatmap(
            z=100 * found.value, x=list(range(n)), y=list(range(n)), zmin=-largest, zmax=largest,
            colorscale=DIVERGING, customdata=np.array(hover, dtype=object),
            hovertemplate="%{customdata}<extra></extra>", xgap=2, ygap=2,
            text=percent + mark, texttemplate="%{text}" if n <= READABLE_CELLS else "",
            colorbar={"title": {"text": "% of the loss<br>taken off"}, "thickness": 14, "len": 0.9},
        )
    )  # fmt: skip
    ticks = {"tickvals": list(range(n)), "ticktext": names, "showgrid": False, "zeroline": False, "automargin": True}
    figure.update_xaxes(title_text="step on", range=[-0.5, n - 0.5], **ticks)
    figure.update_yaxes(title_text="loss of", range=[n - 0.5, -0.5], **ticks)
    unlike = int((np.triu(np.sign(found.value) != np.sign(found.value.T), 1)).sum())
    return figure.update_layout(
        title=f"Influence at {split.probes} probes: {unlike} of {n * (n - 1) // 2} pairs help one way, harm the other",
        height=int(np.clip(210 + 62 * n, 400, 900)),
    )  # fmt: skip


def use(stats: Conflict) -> go.Figure:
    """From whose features every task's head reads: shares of its squared weights."""
    if stats.split is None or stats.split.use is None:
        return empty(NO_USE)
    share, n = 100 * stats.split.use, len(stats.tasks)
    names = [short(task, 18) for task in stats.tasks]
    figure = go.Figure(
        go.Heatmap(
            z=share, x=list(range(n)), y=list(range(n)), zmin=0, zmax=100, colorscale=SEQUENTIAL, xgap=2, ygap=2,
            texttemplate="%{z:.0f} %" if n <= READABLE_CELLS else "",
            hovertemplate="%{z:.1f} % of what the head reads<extra></extra>",
            colorbar={"title": {"text": "% of the head's<br>squared weights"}, "thickness": 14, "len": 0.9},
        )
    )  # fmt: skip
    ticks = {"tickvals": list(range(n)), "ticktext": names, "showgrid": False, "zeroline": False, "automargin": True}
    figure.update_xaxes(title_text="features of", range=[-0.5, n - 0.5], **ticks)
    figure.update_yaxes(title_text="head of", range=[n - 0.5, -0.5], **ticks)
    foreign = 100 - float(np.diag(share).mean())
    return figure.update_layout(
        title=f"Heads read {foreign:.0f} % from the features of other tasks ({100 * (1 - 1 / n):.0f} % if they made no "
        "difference)",
        height=int(np.clip(210 + 62 * n, 400, 900)),
    )  # fmt: skip


def _layer(split: Split, module: str | None) -> int:
    if module in split.layers:
        return split.layers.index(module)
    return int(np.argmax(np.nan_to_num(split.before).mean(axis=1)))


def _mean(shares: np.ndarray) -> float:
    known = shares[np.isfinite(shares)]
    return float(known.mean()) if len(known) else float("nan")


def _percent(share: float) -> str:
    return "unknown" if np.isnan(share) else f"{share:.0%}"


def _places(total: np.ndarray) -> list[float]:
    """Centres of nodes stacked in order, in (0, 1), each as high as its flow."""
    share = (total + 1e-12) / (total + 1e-12).sum()
    return np.clip(np.cumsum(share) - share / 2, 0.001, 0.999).tolist()


def _one_key_each(figure: go.Figure) -> None:
    """Entries of the legend that both panels have are shown once."""
    seen: set[str] = set()
    for trace in figure.select_traces(selector={"type": "bar"}):
        trace.showlegend = trace.name not in seen
        seen.add(trace.name)
