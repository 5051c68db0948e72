"""Who decides the step, and who helps whom: shares of the gradients' length over training, and influence as arrows."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from workbench.lenses.conflict.drawing import module_index, number, short
from workbench.lenses.conflict.estimates import ALIGNED, CONFLICT
from workbench.lenses.conflict.split_figures import NO_INFLUENCE
from workbench.lenses.conflict.statistics import Conflict
from workbench.lenses.empty_figure import empty
from workbench.lenses.palette import DIVERGING, UNKNOWN, colours, faded

#: Colours of an arrow that helps, that harms, and of which neither is sure.
HELPS, HARMS = DIVERGING[-1][1], DIVERGING[0][1]
#: Distance of the two arrows between two tasks, and of an arrow's ends from the tasks, in radii of the circle.
_APART, _SHORT = 0.06, 0.2


def length_shares(norm: Float[np.ndarray, "S T"]) -> Float[np.ndarray, "S T"]:
    """Share of each task in the sum of the gradients' lengths, row by row.

    A length below its noise (NaN) counts as 0; a row without any length above noise is NaN.
    """
    known = np.nan_to_num(norm)
    total = known.sum(axis=1, keepdims=True)
    return known / np.where(total > 0, total, np.nan)


def domination(stats: Conflict, module: str | None = None) -> go.Figure:
    """Each task's share of the gradients' length, stacked, over training.

    Args:
        module: All modules together by default.
    """
    at = module_index(stats, module)
    share = length_shares(stats.norm[:, at])
    colour = colours(stats.tasks)
    figure = go.Figure()
    for index, task in enumerate(stats.tasks):
        figure.add_scatter(
            x=stats.steps, y=share[:, index], name=task, mode="lines", stackgroup="share",
            line={"color": colour[task], "width": 1}, fillcolor=faded(colour[task], 0.6),
            hovertemplate=f"{task}, step %{{x}}: %{{y:.0%}}<extra></extra>",
        )  # fmt: skip
    equal = 1 / max(len(stats.tasks), 1)
    known = share[np.isfinite(share).all(axis=1)]
    mean = known.mean(axis=0) if len(known) else np.full(len(stats.tasks), np.nan)
    said = "no length is above its noise"
    if len(known):
        said = f"{stats.tasks[int(mean.argmax())]} holds most, {mean.max():.0%} on average ({equal:.0%} would be equal)"
    return figure.update_layout(
        title=f"Share of the gradients' length, {short(stats.modules[at], 40)}: {said}",
        xaxis_title="step", yaxis={"title": "share of the sum of lengths", "tickformat": ".0%", "range": [0, 1]},
        height=430, legend={"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0},
    )  # fmt: skip


def arrows(stats: Conflict) -> go.Figure:
    """Influence as arrows from the task that is followed to the task whose loss is measured, where it is sure."""
    if stats.split is None or stats.split.influence is None:
        return empty(NO_INFLUENCE)
    z, n = stats.split.influence, len(stats.tasks)
    angle = np.pi / 2 - 2 * np.pi * np.arange(n) / n
    place = np.stack([np.cos(angle), np.sin(angle)], axis=1)  # [T, 2]
    largest = float(np.nanmax(np.abs(np.where(np.eye(n, dtype=bool), 0.0, z.value)))) or 1.0
    figure = go.Figure()
    middles, told, colour = [], [], []
    unsure = 0
    for i, j in ((i, j) for i in range(n) for j in range(n) if i != j):
        start, end = _ends(place[j], place[i])
        if z.state[i, j] not in (CONFLICT, ALIGNED):
            figure.add_scatter(
                x=[start[0], end[0]], y=[start[1], end[1]], mode="lines", hoverinfo="skip", showlegend=unsure == 0,
                line={"color": UNKNOWN, "width": 1, "dash": "dot"}, name="could be either", legendgroup="unsure",
            )  # fmt: skip
            unsure += 1
            continue
        shade = HELPS if z.value[i, j] > 0 else HARMS
        figure.add_annotation(
            x=end[0], y=end[1], ax=start[0], ay=start[1], xref="x", yref="y", axref="x", ayref="y", text="",
            showarrow=True, arrowhead=2, arrowsize=1, arrowcolor=shade,
            arrowwidth=1.5 + 4.5 * abs(float(z.value[i, j])) / largest,
        )  # fmt: skip
        middles.append((start + end) / 2)
        colour.append(shade)
        told.append(_told(stats, i, j))
    spots = np.array(middles).reshape(-1, 2)
    figure.add_scatter(
        x=spots[:, 0], y=spots[:, 1], mode="markers", customdata=told, hovertemplate="%{customdata}<extra></extra>",
        marker={"size": 9, "color": colour, "symbol": "diamond"}, showlegend=False,
    )  # fmt: skip
    shades = colours(stats.tasks)
    figure.add_scatter(
        x=place[:, 0], y=place[:, 1], mode="markers+text", text=[short(task, 18) for task in stats.tasks],
        textposition=["top center" if y > -0.1 else "bottom center" for y in place[:, 1]], hoverinfo="skip",
        marker={"size": 22, "color": [shades[task] for task in stats.tasks]}, showlegend=False, cliponaxis=False,
    )  # fmt: skip
    for name, shade in (("a step on the first helps the second", HELPS), ("harms it", HARMS)):
        figure.add_scatter(x=[None], y=[None], mode="lines", name=name, line={"color": shade, "width": 4})
    hidden = {"visible": False, "range": [-1.5, 1.5]}
    return figure.update_layout(
        title=f"Who helps whom: {len(told)} of {n * (n - 1)} influences are sure; {unsure} could be either",
        xaxis=hidden | {"range": [-2.6, 2.6]}, yaxis=hidden | {"scaleanchor": "x"}, height=520,
        legend={"orientation": "h", "y": -0.02, "yanchor": "top", "x": 0, "font": {"color": UNKNOWN}},
    )  # fmt: skip


def _ends(start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both ends of an arrow, short of the tasks and to the right of the line that joins them."""
    along = (end - start) / np.linalg.norm(end - start)
    aside = _APART * np.array([along[1], -along[0]])
    return start + _SHORT * along + aside, end - _SHORT * along + aside


def _told(stats: Conflict, i: int, j: int) -> str:
    assert stats.split is not None
    assert stats.split.influence is not None
    z = stats.split.influence
    value, low, high, back = (100 * float(x) for x in (z.value[i, j], z.low[i, j], z.high[i, j], z.value[j, i]))
    return (
        f"{stats.tasks[j]} → {stats.tasks[i]}: {number(value)} % of the loss taken off "
        f"(95 % interval {number(low)} to {number(high)} %)<br>the other way {number(back)} %, "
        f"difference {number(value - back)} %"
    )
