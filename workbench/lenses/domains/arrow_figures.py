"""Arrows on a fixed plane: from where to where the centres of groups move."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workbench.core import ConfigError
from workbench.lenses import palette
from workbench.lenses.domains.accuracy import reference_codes
from workbench.lenses.domains.distances import principal_components
from workbench.lenses.domains.figures import NO_CLASSES, chosen, label, shifted_classes
from workbench.lenses.domains.map_figure import colour_options, is_continuous
from workbench.lenses.domains.moves import Moves, moves_between
from workbench.lenses.domains.points import Points
from workbench.lenses.domains.statistics import DomainShift
from workbench.lenses.domains.stream import Stream
from workbench.lenses.domains.verdicts import ALPHA, reference_name
from workbench.lenses.empty_figure import empty

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: More arrows than this cannot be told apart; the longest are drawn.
MOST_ARROWS = 24
_MARGIN = {"l": 20, "r": 20, "t": 100, "b": 20}


def has_shared_classes(stats: object) -> bool:
    return isinstance(stats, DomainShift) and len(stats.class_shift) > 0


def moves_figure(
    stats: DomainShift,
    layer: str | None = None,
    step: int | None = None,
    colour: str = "domain",
    since: int | None = None,
    other: DomainShift | Stream | None = None,
) -> go.Figure:
    """Where the centre of every group moves from an earlier checkpoint to a later one, or from this run to another.

    Args:
        colour: Column whose levels are the groups.
        since: The earlier step; by default the first one before ``step`` at this layer.
        other: The second run; the arrows then go from this run at ``step`` to that run at its last step.
    """
    layer, step = chosen(stats.layers, layer, "layer"), chosen(stats.steps, step, "step")
    if colour not in colour_options(stats) or is_continuous(stats, colour):
        return empty(f"Arrows need groups; '{colour}' has none. Colour by a domain, a class or a level.")
    here = _at(stats, layer, step)
    if isinstance(other, Stream):
        return empty(f"Run '{other.run}' recorded no embeddings to compare with.")
    if other is not None:
        there = _elsewhere(stats, other, layer)
        start, end, names = here, there, (f"{stats.run}, step {step}", f"{other.run}, step {there.step}")
    else:
        earlier = [s for s in stats.steps if (layer, s) in stats.points and s < step]
        if not earlier:
            return empty("Arrows need embeddings at two checkpoints, or a second run to compare with.")
        since = earlier[0] if since is None or int(since) not in earlier else int(since)
        start, end, names = stats.points[layer, since], here, (f"step {since}", f"step {step}")
    found = moves_between(start, end, stats.samples[colour])
    fig = _plane(found, _levels(stats, colour))
    _arrows(fig, found.centres.head(MOST_ARROWS), _levels(stats, colour), names)
    left_out = len(found.centres) - MOST_ARROWS
    turn = f"turned onto it, which explains {100 * found.kept:.0f} %"
    note = f"Hollow: {names[0]}, filled: {names[1]}, {turn}; numbers in radii, grey: chance"
    note += f"; the {MOST_ARROWS} longest of {len(found.centres)}" if left_out > 0 else ""
    fig.update_layout(title={"text": f"Where each {colour} moves at {layer}", "subtitle": {"text": note}})
    return fig


def class_moves_figure(
    stats: DomainShift, domain: str | None = None, layer: str | None = None, step: int | None = None
) -> go.Figure:
    """From each class's centre in the reference to its centre in a domain, on the first two principal components."""
    domain, layer, step, rows = shifted_classes(stats, domain, layer, step)
    if rows.empty:
        return empty(NO_CLASSES.format(domain=domain))
    points = _at(stats, layer, step)
    place = stats.domains.index(domain)
    plane = principal_components(points.features, 2)
    if plane.points.shape[1] < 2:
        return empty("Arrows need features of at least two dimensions.")
    there, here = np.isin(points.domain, reference_codes(place, stats.held_out)), points.domain == place
    codes = {name: code for code, name in enumerate(stats.classes)}
    centres = pd.DataFrame([_class_centre(row, codes, plane.points, points, there, here) for _, row in rows.iterrows()])
    names = np.array([*stats.classes, ""], dtype=object)[points.target]
    found = Moves(plane.points, names, centres, (float(plane.share[0]), float(plane.share[1])), np.nan)
    fig = _plane(found, list(stats.classes))
    _arrows(fig, centres.head(MOST_ARROWS), list(stats.classes), (reference_name(stats, domain), domain))
    note = f"Hollow: {reference_name(stats, domain)}, filled: {domain}; numbers in radii of the class, grey: chance"
    note += f"; the {MOST_ARROWS} longest of {len(centres)}" if len(centres) > MOST_ARROWS else ""
    title = f"Where {label(stats, domain)} moves each class at {layer}, step {step}"
    return fig.update_layout(title={"text": title, "subtitle": {"text": note}})


def _class_centre(
    row: pd.Series, codes: dict[str, int], xy: np.ndarray, points: Points, there: np.ndarray, here: np.ndarray
) -> dict[str, object]:
    inside = points.target == codes[str(row["class"])]
    (x_0, y_0), (x_1, y_1) = (xy[inside & side].mean(axis=0) for side in (there, here))
    return {
        "group": str(row["class"]), "n": int(row["n_a"]), "x_0": x_0, "y_0": y_0, "x_1": x_1, "y_1": y_1,
        "move": row["shift"], "null_high": row["null_high"], "p_adjusted": row["p_adjusted"],
    }  # fmt: skip


def _at(stats: DomainShift, layer: str, step: int) -> Points:
    """The points of a layer at a step.

    Raises:
        ConfigError: none were recorded there.
    """
    if (layer, step) not in stats.points:
        raise ConfigError(f"No embeddings of layer '{layer}' were recorded at step {step}.")
    return stats.points[layer, step]


def _elsewhere(stats: DomainShift, other: DomainShift, layer: str) -> Points:
    """The other run's points: of the same layer where it has one, else of its last; the same samples only.

    Raises:
        ConfigError: the same sample numbers stand for other samples.
    """
    layer = layer if layer in other.layers else other.layers[-1]
    step = max(s for name, s in other.points if name == layer)
    shared = stats.samples.index.intersection(other.samples.index)
    columns = ["domain", "class"]
    if not stats.samples.loc[shared, columns].equals(other.samples.loc[shared, columns]):
        raise ConfigError(
            f"Runs '{stats.run}' and '{other.run}' cannot be laid over one another: the same sample numbers stand for "
            "samples of other domains or classes."
        )
    return other.points[layer, step]


def _levels(stats: DomainShift, colour: str) -> list[str]:
    if colour == "domain":
        return list(stats.domains)
    return list(stats.classes) if colour == "class" else sorted(set(stats.samples[colour].astype(str)))


def _plane(found: Moves, levels: list[str]) -> go.Figure:
    """All samples of the first state, faint, on the plane on which the arrows are drawn."""
    import plotly.graph_objects as go

    tint = palette.colours(levels)
    fig = go.Figure()
    fig.add_scatter(
        x=found.xy[:, 0], y=found.xy[:, 1], mode="markers", hoverinfo="skip", showlegend=False,
        marker={"size": 4, "opacity": 0.22, "color": [tint.get(name, palette.UNKNOWN) for name in found.group]},
    )  # fmt: skip
    fig.update_layout(height=600, margin=_MARGIN, legend={"itemsizing": "constant"})
    for i, axis in enumerate((fig.update_xaxes, fig.update_yaxes)):
        axis(title=f"component {i + 1} ({100 * found.share[i]:.0f} % of the variance)", zeroline=False)
    return fig.update_yaxes(scaleanchor="x")


def _arrows(fig: go.Figure, centres: pd.DataFrame, levels: list[str], names: tuple[str, str]) -> None:
    """One arrow a group, grey where chance alone moves it as far."""
    tint = palette.colours(levels)
    for row in centres.to_dict("records"):
        group, ends = str(row["group"]), [float(row[name]) for name in ("x_0", "y_0", "x_1", "y_1")]
        sure = float(row["p_adjusted"]) <= ALPHA
        colour = tint.get(group, palette.UNKNOWN) if sure else palette.UNKNOWN
        fig.add_annotation(
            ax=ends[0], ay=ends[1], x=ends[2], y=ends[3], xref="x", yref="y", axref="x", ayref="y", text="",
            showarrow=True, arrowhead=2, arrowsize=1.1, arrowwidth=2.2 if sure else 1.4, arrowcolor=colour, standoff=5,
        )  # fmt: skip
        said = (
            f"{group}: {row['move']:.2f} radii from {names[0]} to {names[1]}<br>chance stays below "
            f"{row['null_high']:.2f}, corrected p = {row['p_adjusted']:.3g}, n = {row['n']}<extra></extra>"
        )
        fig.add_scatter(
            x=ends[::2], y=ends[1::2], mode="markers+text", name=f"{group}: {row['move']:.2f}",
            text=["", group], textposition="top center", legendgroup=group, hovertemplate=said,
            marker={"symbol": ["circle-open", "circle"], "size": [9, 11], "color": colour, "line": {"width": 2}},
        )  # fmt: skip
