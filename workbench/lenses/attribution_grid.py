"""Attribution methods side by side: a row for every sample and task, a column for every method, its checks above it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from workbench.lenses.attribution_figure import beneath, coloured, scale_end, see_through

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: Width of a column at most, height of a picture at most and of the words above it, in pixels.
SIDE, TALL, WORDS = 220, 124, 34

#: Task, method -> one line of words a sample.
Words = Mapping[tuple[str, str], Sequence[str]]


def attribution_grid(
    pictures: Float[np.ndarray, "N C H W"],
    maps: Mapping[tuple[str, str], Float[np.ndarray, "N H W"]],
    names: Mapping[str, Sequence[str]],
    checks: Words,
) -> go.Figure:
    """Each row: a sample's picture, and the maps of one task by every method, over the picture in pale grey.

    Blue speaks for the class the task names, orange against it. Every method has a scale of its own, the same for all
    samples and tasks, since units differ; the numbers are on hover.

    Args:
        pictures: In [0, 1]; C is 1 or 3.
        maps: Task and method -> maps, every method for every task.
        names: Task -> what stands above the picture of each sample, e.g. what the net says of it.
        checks: What stands above each map.
    """
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    tasks, methods = (list(dict.fromkeys(items)) for items in zip(*maps, strict=True))
    n, rows = len(pictures), len(pictures) * len(tasks)
    titles = []
    for i in range(n):
        for task in tasks:
            titles += [names[task][i], *(checks[task, method][i] for method in methods)]
    height = rows * (TALL + WORDS)
    fig = make_subplots(
        rows, 1 + len(methods), subplot_titles=titles, horizontal_spacing=0.012, vertical_spacing=WORDS / height,
    )  # fmt: skip
    ends = {method: scale_end([maps[task, method] for task in tasks]) for method in methods}
    for i in range(n):
        for t, task in enumerate(tasks):
            row = i * len(tasks) + t + 1
            fig.add_trace(go.Image(z=coloured(pictures[i]), hoverinfo="skip"), row=row, col=1)
            for column, method in enumerate(methods, start=2):
                fig.add_trace(beneath(pictures[i]), row=row, col=column)
                fig.add_trace(
                    go.Heatmap(
                        z=maps[task, method][i], zmin=-ends[method], zmax=ends[method], colorscale=see_through(),
                        showscale=False, hovertemplate="%{z:.3g}<extra>" + method + "</extra>",
                    ),
                    row=row, col=column,
                )  # fmt: skip
    fig.update_layout(height=height + 30, margin={"l": 8, "r": 8, "t": 34, "b": 6}, showlegend=False)
    fig.update_annotations(font_size=11)
    fig.update_xaxes(visible=False, constrain="domain")
    fig.update_yaxes(visible=False, constrain="domain", autorange="reversed")
    for axis in fig.select_yaxes():
        axis.scaleanchor = axis.anchor
    return fig


def values_grid(
    maps: Mapping[tuple[str, str], Float[np.ndarray, "N F"]], names: Sequence[str], features: Sequence[str]
) -> go.Figure:
    """For inputs that are no pictures: a panel for every task and method, a row a sample, a column an input value.

    Every method has a scale of its own, the same for all tasks; the numbers are on hover.
    """
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    tasks, methods = (list(dict.fromkeys(items)) for items in zip(*maps, strict=True))
    panel = max(90, 22 * len(names))
    height = len(tasks) * (panel + 60)
    fig = make_subplots(
        len(tasks), len(methods), shared_yaxes=True, horizontal_spacing=0.015, vertical_spacing=60 / height,
        subplot_titles=[f"{task}: {method}" for task in tasks for method in methods],
    )  # fmt: skip
    ends = {method: scale_end([maps[task, method] for task in tasks]) for method in methods}
    for t, task in enumerate(tasks, start=1):
        for m, method in enumerate(methods, start=1):
            fig.add_trace(
                go.Heatmap(
                    z=maps[task, method], x=list(features), y=list(names), zmin=-ends[method], zmax=ends[method],
                    colorscale=see_through(), showscale=False, hovertemplate="%{y}, %{x}: %{z:.3g}<extra></extra>",
                ),
                row=t, col=m,
            )  # fmt: skip
    fig.update_layout(height=height + 20, margin={"l": 8, "r": 8, "t": 34, "b": 30})
    fig.update_annotations(font_size=12)
    fig.update_xaxes(title_text="input", row=len(tasks))
    fig.update_yaxes(autorange="reversed", automargin=True, type="category")
    fig.update_xaxes(type="category", showgrid=False)
    return fig
