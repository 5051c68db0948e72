"""What does it cost, and how well does it do? Ways of training in a plane of cost and accuracy, over paired seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workbench.core.gramian import student95
from workbench.lenses.palette import UNKNOWN, colours, symbols

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: Ways of training of one cost stand this far apart, as a share of the cost.
_APART = 0.035


@dataclass(frozen=True)
class Costed:
    """One way of training: its cost and what it gains, one number a seed each."""

    name: str
    cost: Sequence[float]
    gain: Sequence[float]


def cost_figure(points: Sequence[Costed], cost: str, gain: str) -> go.Figure:
    """Mean gain with its 95 % Student-t interval over seeds against the mean cost, on a logarithmic axis.

    The dotted steps join the ways of training that no other beats at the same or a lower cost, by their means.

    Args:
        cost, gain: What the axes show, with their units.
    """
    import plotly.graph_objects as go

    at = np.array([float(np.mean(point.cost)) for point in points])
    means = np.array([float(np.mean(point.gain)) for point in points])
    figure = go.Figure()
    best = _best(at, means)
    figure.add_scatter(
        x=at[best], y=means[best], mode="lines", line={"color": UNKNOWN, "dash": "dot", "width": 1.5, "shape": "hv"},
        name="best for its cost", hoverinfo="skip",
    )  # fmt: skip
    colour, symbol = (chosen([point.name for point in points]) for chosen in (colours, symbols))
    for point, x, y, shown in zip(points, at.tolist(), means.tolist(), _spread(at), strict=True):
        n = len(point.gain)
        half = student95(n - 1) * float(np.std(point.gain, ddof=1)) / n**0.5 if n > 1 else float("nan")
        figure.add_scatter(
            x=[shown], y=[y], mode="markers", name=point.name,
            marker={"color": colour[point.name], "symbol": symbol[point.name], "size": 12},
            error_y={"type": "data", "array": [half], "color": colour[point.name], "thickness": 2, "width": 0},
            hovertemplate=f"{point.name}: {y:.1f} ({y - half:.1f} to {y + half:.1f})<br>cost {x:,.0f}, "
            f"{n} seeds<extra></extra>",
        )  # fmt: skip
    return figure.update_layout(
        title="What each way of training costs, and how well it does",
        xaxis={"title": cost, "type": "log", "dtick": "D2", "tickformat": ".2~s"},
        yaxis={"title": gain},
        height=430,
    )


def _best(cost: np.ndarray, gain: np.ndarray) -> list[int]:
    """Indices from the cheapest up: each gains more than all that cost as much or less."""
    kept: list[int] = []
    for index in np.lexsort((-gain, cost)).tolist():
        if not kept or gain[index] > gain[kept[-1]]:
            kept.append(index)
    return kept


def _spread(cost: np.ndarray) -> list[float]:
    """Where to draw each cost: those that agree within a percent side by side, the others where they are."""
    drawn = cost.copy()
    for index in range(len(cost)):
        alike = np.flatnonzero(np.abs(cost / cost[index] - 1) < 0.01)
        place = alike.tolist().index(index) - (len(alike) - 1) / 2
        drawn[index] = cost[index] * (1 + _APART) ** place
    return [float(value) for value in drawn]
