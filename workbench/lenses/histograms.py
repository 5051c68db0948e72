"""How did weights, gradients or activations spread over training?

Lines are quantiles of a logged histogram over steps: the median, and bands that hold the middle 50 % and 90 % of the
numbers; the outermost lines are the smallest and the largest one. A band that widens without end, or shrinks to a line,
is a layer that diverges or dies. Quantiles are read off the bins as if numbers were spread evenly inside each bin, so
they are no finer than the bins. With one step only, the histogram itself is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from workbench.core import ConfigError, Run
from workbench.lenses.palette import colours, faded

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: Shares of the numbers below each line; the first and last are the smallest and largest number.
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
#: Steps that are drawn at most, evenly spread.
MOST_STEPS = 500


@dataclass(frozen=True)
class Histograms:
    """The histograms of one tag.

    Attributes:
        steps: Those that are drawn, S of them.
        quantiles: Of the numbers at each step, in the order of :data:`QUANTILES`.
        edges, counts: The last histogram: edges of its B bins, and how many numbers are in each.
        tags: Every tag that has histograms.
    """

    tag: str
    tags: tuple[str, ...]
    steps: Int[np.ndarray, " S"]
    quantiles: Float[np.ndarray, "S Q"]
    edges: Float[np.ndarray, " E"]
    counts: Float[np.ndarray, " B"]


def tags_of(run: Run) -> tuple[str, ...]:
    """The tags under which histograms were logged."""
    return tuple(run.query("SELECT DISTINCT tag FROM histograms ORDER BY tag")["tag"].astype(str))


def statistics(run: Run, tag: str | None = None) -> Histograms:
    """The histograms of one tag, the first one by default.

    Raises:
        MissingTable: the run logged none.
        ConfigError: none under that tag (names those there are).
    """
    run.require("histograms")
    tags = tags_of(run)
    chosen = tags[0] if tag is None else tag
    if chosen not in tags:
        raise ConfigError(f"No histograms were logged under '{chosen}'. Tags: {', '.join(tags)}.")
    steps = np.unique(run.query("SELECT DISTINCT step FROM histograms WHERE tag = ?", [chosen])["step"].to_numpy())
    kept = steps[np.unique(np.linspace(0, len(steps) - 1, min(len(steps), MOST_STEPS)).round().astype(int))]
    frame = run.query(
        "SELECT step, last(edges) AS edges, last(counts) AS counts FROM histograms "
        "WHERE tag = $tag AND list_contains($steps, step) GROUP BY step ORDER BY step",
        {"tag": chosen, "steps": kept.tolist()},
    )
    edges = [np.asarray(item, float) for item in frame["edges"]]
    counts = [np.asarray(item, float) for item in frame["counts"]]
    found = np.array([quantiles(*pair) for pair in zip(edges, counts, strict=True)])
    return Histograms(chosen, tags, frame["step"].to_numpy(), found, edges[-1], counts[-1])


def quantiles(edges: Float[np.ndarray, " E"], counts: Float[np.ndarray, " B"]) -> Float[np.ndarray, " Q"]:
    """The quantiles of a histogram, numbers spread evenly in each bin; NaN for one without numbers."""
    total = counts.sum()
    if len(edges) != len(counts) + 1 or not total > 0:
        return np.full(len(QUANTILES), np.nan)
    filled = np.flatnonzero(counts)
    edges, counts = edges[filled[0] : filled[-1] + 2], counts[filled[0] : filled[-1] + 1]
    below = np.concatenate([[0.0], np.cumsum(counts)]) / total
    return np.interp(np.array(QUANTILES), below, edges)


def figure(stats: Histograms) -> go.Figure:
    """The quantiles over steps, or the one histogram there is."""
    import plotly.graph_objects as go

    colour = colours([stats.tag])[stats.tag]
    fig = go.Figure()
    if len(stats.steps) == 1:
        centres, widths = 0.5 * (stats.edges[1:] + stats.edges[:-1]), np.diff(stats.edges)
        fig.add_bar(x=centres, y=stats.counts, width=widths, marker_color=colour)
        fig.update_layout(xaxis_title="value", yaxis_title=f"numbers at step {stats.steps[0]:,}", bargap=0)
    else:
        _bands(fig, stats, colour)
        fig.update_layout(xaxis_title="step", yaxis_title="value")
    fig.update_layout(title=stats.tag, height=360, margin={"t": 50, "b": 50}, hovermode="x unified")
    return fig


def _bands(fig: go.Figure, stats: Histograms, colour: str) -> None:
    bands = (("smallest to largest", 0, 6, 0.08), ("middle 90 %", 1, 5, 0.2), ("middle 50 %", 2, 4, 0.35))
    for name, low, high, strength in bands:
        for column, fill in ((low, None), (high, "tonexty")):
            fig.add_scatter(
                x=stats.steps, y=stats.quantiles[:, column], mode="lines", line={"width": 0.5, "color": colour},
                fill=fill, fillcolor=faded(colour, strength), name=name, legendgroup=name, showlegend=fill is not None,
                hovertemplate=f"{QUANTILES[column]:.0%} below: %{{y:.4g}}<extra></extra>",
            )  # fmt: skip
    fig.add_scatter(
        x=stats.steps, y=stats.quantiles[:, 3], mode="lines", line={"width": 2, "color": colour}, name="median",
        hovertemplate="median: %{y:.4g}<extra></extra>",
    )  # fmt: skip
