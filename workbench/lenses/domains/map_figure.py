"""The map of embeddings, with marks that say where it cannot be believed."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.core import ConfigError
from workbench.lenses import palette
from workbench.lenses.domains.aligned import aligned_layouts
from workbench.lenses.domains.figures import chosen, label
from workbench.lenses.domains.maps import Layout, layout_of
from workbench.lenses.domains.measure import REFERENCE
from workbench.lenses.domains.statistics import DomainShift

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: WebGL above this many points; SVG draws fewer crisply.
_WEBGL_FROM = 1000
_MAX_LEVELS = 20


def map_figure(
    stats: DomainShift,
    layer: str | None = None,
    step: int | None = None,
    colour: str = "domain",
    method: str = "pca",
    layout: Layout | None = None,
    selected: Collection[int] = (),
) -> go.Figure:
    """The samples as points: colour by domain, class or an attribute; shape by domain; faint where the map misleads.

    ``customdata`` holds the sample ids. ``layout`` may be given when it was computed elsewhere; otherwise PCA is done
    on the spot, and for UMAP a finished job is looked up, with PCA shown until there is one. Those of
    ``selected`` get a ring.
    """
    import plotly.graph_objects as go

    if layout is None:
        layer, step = chosen(stats.layers, layer, "layer"), chosen(stats.steps, step, "step")
        if (layer, step) not in stats.points:
            raise ConfigError(f"No embeddings of layer '{layer}' were recorded at step {step}.")
        layout = layout_of(stats.points[layer, step], method)
    points = layout.points
    sample = stats.samples.loc[points.sample]
    values, continuous = _colour_values(stats, sample, colour)
    faint = np.zeros(len(points.sample), dtype=bool)
    faint[layout.doubtful] = True
    scatter = go.Scattergl if len(points.sample) > _WEBGL_FROM else go.Scatter
    size = _marker_size(len(points.sample))
    fig = go.Figure()
    for name, rows, style in _groups(stats, points.domain, values, continuous, colour):
        fig.add_trace(
            scatter(
                x=layout.xy[rows, 0], y=layout.xy[rows, 1], mode="markers", name=name, customdata=points.sample[rows],
                text=_hover(stats, sample, values, rows, faint, colour),
                hovertemplate="%{text}<br>sample %{customdata}<extra></extra>",
                marker={"size": size, "opacity": np.where(faint[rows], 0.2, 0.85), **style},
            )
        )  # fmt: skip
    ringed = np.flatnonzero(np.isin(points.sample, np.fromiter(selected, dtype=np.int64)))
    if len(ringed):
        fig.add_trace(_rings(scatter, layout, ringed, size))
    fig.update_layout(
        title={
            "text": f"{points.layer}, step {points.step}: {_method_name(layout)}",
            "subtitle": {"text": _caption(stats, layout, method, int(faint.sum()))},
        },
        height=600,
        margin={"l": 20, "r": 20, "t": 110, "b": 20},
        legend={"title": "domain" if continuous else colour, "itemsizing": "constant"},
        uirevision=f"{points.layer}-{points.step}-{layout.method}",
    )
    axes: dict[str, Any] = {"zeroline": False, "showticklabels": layout.method == "pca"}
    fig.update_xaxes(title=_axis(layout, 0), **axes)
    fig.update_yaxes(title=_axis(layout, 1), scaleanchor="x", **axes)
    return fig


def aligned_figure(
    stats: DomainShift, layer: str | None = None, colour: str = "domain", method: str = "pca"
) -> go.Figure:
    """The same samples at every checkpoint of a layer, turned onto one another: play it, or drag the step."""
    import plotly.graph_objects as go

    layer = chosen(stats.layers, layer, "layer")
    slices = [stats.points[layer, step] for step in stats.steps if (layer, step) in stats.points]
    layouts = aligned_layouts(slices, method)
    points = layouts[0].points
    sample = stats.samples.loc[points.sample]
    values, continuous = _colour_values(stats, sample, colour)
    groups = _groups(stats, points.domain, values, continuous, colour)
    size = _marker_size(len(points.sample))
    text = [_hover(stats, sample, values, rows, np.zeros(len(values), dtype=bool), colour) for _, rows, _ in groups]

    def traces(layout: Layout) -> list[go.Scatter]:
        faint = np.zeros(len(points.sample), dtype=bool)
        faint[layout.doubtful] = True
        return [
            go.Scatter(
                x=layout.xy[rows, 0], y=layout.xy[rows, 1], mode="markers", name=name,
                ids=points.sample[rows].astype(str), customdata=points.sample[rows], text=text[i],
                hovertemplate="%{text}<br>sample %{customdata}<extra></extra>",
                marker={"size": size, "opacity": np.where(faint[rows], 0.2, 0.85), **style},
            )
            for i, (name, rows, style) in enumerate(groups)
        ]  # fmt: skip

    frames = [
        go.Frame(
            name=str(layout.points.step),
            data=traces(layout),
            layout={"title": {"subtitle": {"text": _caption(stats, layout, method, len(layout.doubtful))}}},
        )
        for layout in layouts
    ]
    fig = go.Figure(data=frames[-1].data, frames=frames)
    reach = 1.08 * float(max(np.abs(layout.xy).max() for layout in layouts))
    fig.update_layout(
        title={
            "text": f"{layer} over training: {layouts[0].method.upper()}, each step turned onto the one before",
            "subtitle": {"text": _caption(stats, layouts[-1], method, len(layouts[-1].doubtful))},
        },
        height=680,
        margin={"l": 20, "r": 20, "t": 110, "b": 20},
        legend={"title": "domain" if continuous else colour, "itemsizing": "constant"},
        **_player([frame.name for frame in frames]),
    )
    axes: dict[str, Any] = {"range": [-reach, reach], "zeroline": False, "showticklabels": False, "title": None}
    fig.update_xaxes(**axes)
    fig.update_yaxes(**axes, scaleanchor="x")
    return fig


def _player(names: list[str]) -> dict[str, Any]:
    """A play button and a slider over the frames, the last one shown first."""
    move = {"duration": 600, "easing": "cubic-in-out"}
    play = {"frame": {"duration": 900, "redraw": False}, "transition": move, "fromcurrent": False}
    jump = {"mode": "immediate", "frame": {"duration": 0, "redraw": False}, "transition": {"duration": 300}}
    grey = palette.faded(palette.UNKNOWN, 0.25)
    buttons = [{"label": "▶ Play", "method": "animate", "args": [None, play]}]
    steps = [{"label": name, "method": "animate", "args": [[name], jump]} for name in names]
    return {
        "updatemenus": [
            {"type": "buttons", "buttons": buttons, "showactive": False, "x": 0, "y": -0.06, "xanchor": "left",
             "yanchor": "top", "bgcolor": grey, "bordercolor": palette.UNKNOWN}
        ],
        "sliders": [
            {"steps": steps, "active": len(names) - 1, "x": 0.12, "y": -0.04, "len": 0.88, "bgcolor": grey,
             "currentvalue": {"prefix": "step "}, "bordercolor": palette.UNKNOWN}
        ],
    }  # fmt: skip


def _rings(kind: type[go.Scatter] | type[go.Scattergl], layout: Layout, rows: np.ndarray, size: float) -> Any:
    """Rings around the points of the selection; hovering still tells of the points."""
    return kind(
        x=layout.xy[rows, 0], y=layout.xy[rows, 1], mode="markers", name=f"selection ({len(rows):,})", hoverinfo="skip",
        marker={"symbol": "circle-open", "size": size + 3, "color": palette.CATEGORICAL[3], "line": {"width": 1}},
    )  # fmt: skip


def _marker_size(n: int) -> float:
    return float(np.clip(180 / np.sqrt(max(n, 1)), 3, 9))


def colour_options(stats: DomainShift) -> tuple[str, ...]:
    """What the map can be coloured by: ``domain``, ``class`` when known, dataset, split and attributes that vary."""
    frame = stats.samples
    known = [name for name in frame.columns if name != "class" or stats.classes]
    return tuple(name for name in known if name == "domain" or frame[name].nunique() > 1)


def _colour_values(stats: DomainShift, sample: pd.DataFrame, colour: str) -> tuple[pd.Series, bool]:
    if colour not in sample.columns:
        raise ConfigError(f"The map cannot be coloured by '{colour}'. Choose from: {', '.join(colour_options(stats))}.")
    values = sample[colour]
    continuous = pd.api.types.is_numeric_dtype(values) and values.nunique() > _MAX_LEVELS
    return (values if continuous else values.astype(str)), continuous


def _groups(
    stats: DomainShift, domain: np.ndarray, values: pd.Series, continuous: bool, colour: str
) -> list[tuple[str, np.ndarray, dict[str, Any]]]:
    """Traces: name, rows, marker style. One a level, or one a domain where the colour is a number."""
    shape = palette.symbols(stats.domains)
    shapes = np.array([shape[name] for name in stats.domains], dtype=object)
    if continuous:
        bounds = {"cmin": float(values.min()), "cmax": float(values.max()), "colorscale": palette.SEQUENTIAL}
        groups = []
        for code, name in enumerate(stats.domains):
            rows = np.flatnonzero(domain == code)
            bar = {"showscale": code == 0, "colorbar": {"title": colour, "x": 1.02, "y": 0.35, "len": 0.7}}
            style = {"symbol": shape[name], "color": values.to_numpy(dtype=float)[rows], **bounds, **bar}
            groups.append((label(stats, name), rows, style))
        return groups
    levels = _levels(stats, values, colour)
    tint = palette.colours(levels)
    found = values.to_numpy(dtype=object)
    groups = []
    for level in levels:
        rows = np.flatnonzero(found == level)
        name = label(stats, level) if colour == "domain" else level
        if len(rows):
            symbol = shape[level] if colour == "domain" else shapes[domain[rows]]
            groups.append((name or "(unknown)", rows, {"color": tint[level], "symbol": symbol}))
    return groups


def _levels(stats: DomainShift, values: pd.Series, colour: str) -> list[str]:
    """All levels of the run in a fixed order, so that a level keeps its colour on every map."""
    if colour == "domain":
        return list(stats.domains)
    if colour == "class":
        return [*stats.classes, ""]
    return sorted(set(stats.samples[colour].astype(str)))


def _hover(
    stats: DomainShift, sample: pd.DataFrame, values: pd.Series, rows: np.ndarray, faint: np.ndarray, colour: str
) -> np.ndarray:
    domain, kind = sample["domain"].to_numpy()[rows], sample["class"].astype(str).to_numpy()[rows]
    shown = values.to_numpy()[rows]
    lines = []
    for i, row in enumerate(rows):
        parts = [f"domain {domain[i]}"]
        parts += [f"class {kind[i]}"] if stats.classes else []
        parts += [f"{colour} {shown[i]}"] if colour not in ("domain", "class") else []
        parts += ["neighbours on the map mislead here"] if faint[row] else []
        lines.append("<br>".join(parts))
    return np.array(lines, dtype=object)


def _method_name(layout: Layout) -> str:
    if layout.method == "pca":
        return f"PCA, two axes hold {100 * sum(layout.share):.0f} % of the variance"
    return "UMAP (read neighbourhoods only, not distances or sizes)"


def _axis(layout: Layout, i: int) -> str:
    if layout.method == "pca" and i < len(layout.share):
        return f"component {i + 1} ({100 * layout.share[i]:.0f} % of the variance)"
    return f"{layout.method.upper()} {i + 1} (no unit)"


def _caption(stats: DomainShift, layout: Layout, wanted: str, faint: int) -> str:
    found = layout.trust
    belief = "" if layout.reliable else "Unreliable map: do not judge by eye. "
    first = (
        f"{belief}Trustworthiness {found.trustworthiness:.2f}, continuity {found.continuity:.2f}, neighbour recall "
        f"{found.recall:.2f} (chance {found.chance:.2f}) at {found.k} neighbours; {faint} faint points mislead"
    )
    second = f"n = {len(layout.points.sample):,}. {_told_apart(stats, layout)}"
    if wanted != layout.method:
        second = f"The {wanted.upper()} map is not computed yet; PCA is shown. " + second
    return first + "<br>" + second


def _told_apart(stats: DomainShift, layout: Layout) -> str:
    """The largest proxy A-distance here: what a gap (or none) on the picture has to be checked against."""
    rows = stats.comparisons
    rows = rows[
        (rows["measure"] == "pad") & (rows["domain_b"] == REFERENCE)
        & (rows["layer"] == layout.points.layer) & (rows["step"] == layout.points.step)
    ]  # fmt: skip
    if rows.empty:
        return ""
    most = rows.iloc[int(rows["value"].argmax())]
    return (
        f"In the full space '{most['domain_a']}' is the easiest to tell apart: proxy A-distance {most['value']:.2f} "
        f"({most['low']:.2f} to {most['high']:.2f}) of 2"
    )
