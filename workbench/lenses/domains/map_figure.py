"""The map of embeddings, with marks that say where it cannot be believed."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Int

from workbench.core import ConfigError
from workbench.lenses import palette
from workbench.lenses.domains.aligned import aligned_layouts
from workbench.lenses.domains.figures import chosen, label
from workbench.lenses.domains.maps import LANDMARKS, Layout
from workbench.lenses.domains.measure import REFERENCE
from workbench.lenses.domains.points import Points
from workbench.lenses.domains.statistics import DomainShift

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: WebGL above this many points; SVG draws fewer crisply.
_WEBGL_FROM = 1000
#: Above so many points, hovering names level and sample only, and the shape says nothing: too small to be told apart.
WRITTEN_UP_TO = 5000
_MAX_LEVELS = 20
#: Opacity of points that the map places badly, and of the others.
FAINT, CLEAR = 0.2, 0.85
#: What traces of samples are marked with: their ``customdata`` are sample ids.
SAMPLES = "samples"


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
        layout = stats.clouds.layout(layer, step, method)
    points = layout.points
    n = len(points.sample)
    scatter = go.Scattergl if n > _WEBGL_FROM else go.Scatter
    size, faint = marker_size(n), np.isin(np.arange(n), layout.doubtful)
    fig = go.Figure()
    sample, groups = grouped(stats, layout, colour)
    xy = layout.xy.astype(np.float32)
    for name, rows, style in groups:
        fig.add_trace(
            scatter(
                x=xy[rows, 0], y=xy[rows, 1], mode="markers", name=name, customdata=points.sample[rows], meta=SAMPLES,
                marker={"size": size, "opacity": np.where(faint[rows], FAINT, CLEAR), **style},
                **_hover(stats, sample, rows, faint, colour),
            )
        )  # fmt: skip
    ringed = ringed_rows(layout, selected)
    if len(ringed):
        fig.add_trace(_rings(scatter, layout, ringed, size))
    fig.update_layout(
        title={"text": map_title(layout), "subtitle": {"text": map_caption(stats, layout, method)}},
        height=600,
        margin={"l": 20, "r": 20, "t": 110, "b": 20},
        legend={"title": legend_title(stats, colour), "itemsizing": "constant"},
        uirevision=f"{points.layer}-{points.step}-{layout.method}",
    )
    axes: dict[str, Any] = {"zeroline": False, "showticklabels": layout.method == "pca"}
    fig.update_xaxes(title=axis_title(layout, 0), **axes)
    fig.update_yaxes(title=axis_title(layout, 1), scaleanchor="x", **axes)
    return fig


def slices_of(stats: DomainShift, layer: str) -> list[Points]:
    """The points of a layer at every checkpoint that has them."""
    return [stats.points[layer, step] for step in stats.steps if (layer, step) in stats.points]


def aligned_figure(
    stats: DomainShift, layer: str | None = None, colour: str = "domain", method: str = "pca"
) -> go.Figure:
    """The same samples at every checkpoint of a layer, turned onto one another: play it, or drag the step."""
    import plotly.graph_objects as go

    layer = chosen(stats.layers, layer, "layer")
    layouts = aligned_layouts(slices_of(stats, layer), method)
    points = layouts[0].points
    sample, groups = grouped(stats, layouts[0], colour)
    size, none = marker_size(len(points.sample)), np.zeros(len(points.sample), dtype=bool)
    hover = [_hover(stats, sample, rows, none, colour) for _, rows, _ in groups]

    def traces(layout: Layout) -> list[go.Scatter]:
        faint = np.zeros(len(points.sample), dtype=bool)
        faint[layout.doubtful] = True
        return [
            go.Scatter(
                x=layout.xy[rows, 0], y=layout.xy[rows, 1], mode="markers", name=name,
                ids=points.sample[rows].astype(str), customdata=points.sample[rows], meta=SAMPLES, **hover[i],
                marker={"size": size, "opacity": np.where(faint[rows], FAINT, CLEAR), **style},
            )
            for i, (name, rows, style) in enumerate(groups)
        ]  # fmt: skip

    frames = [
        go.Frame(
            name=str(layout.points.step),
            data=traces(layout),
            layout={"title": {"subtitle": {"text": map_caption(stats, layout, method)}}},
        )
        for layout in layouts
    ]
    fig = go.Figure(data=frames[-1].data, frames=frames)
    reach = 1.08 * float(max(np.abs(layout.xy).max() for layout in layouts))
    fig.update_layout(
        title={
            "text": f"{layer} over training: {layouts[0].method.upper()}, each step turned onto the one before",
            "subtitle": {"text": map_caption(stats, layouts[-1], method)},
        },
        height=680,
        margin={"l": 20, "r": 20, "t": 110, "b": 20},
        legend={"title": legend_title(stats, colour), "itemsizing": "constant"},
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


def marker_size(n: int) -> float:
    """Diameter of a point in pixels."""
    return float(np.clip(180 / np.sqrt(max(n, 1)), 3, 9))


def ringed_rows(layout: Layout, selected: Collection[int]) -> Int[np.ndarray, " M"]:
    """Rows of the selected samples."""
    return np.flatnonzero(np.isin(layout.points.sample, np.fromiter(selected, dtype=np.int64)))


def colour_options(stats: DomainShift) -> tuple[str, ...]:
    """What the map can be coloured by: ``domain``, ``class`` when known, dataset, split and attributes that vary."""
    frame = stats.samples
    known = [name for name in frame.columns if name != "class" or stats.classes]
    return tuple(name for name in known if name == "domain" or frame[name].nunique() > 1)


def grouped(
    stats: DomainShift, layout: Layout, colour: str
) -> tuple[pd.DataFrame, list[tuple[str, Int[np.ndarray, " M"], dict[str, Any]]]]:
    """What is known of the points, and the legend's entries with their rows and marker style.

    Raises:
        ConfigError: unknown colour.
    """
    sample = stats.samples.loc[layout.points.sample]
    if colour not in sample.columns:
        raise ConfigError(f"The map cannot be coloured by '{colour}'. Choose from: {', '.join(colour_options(stats))}.")
    continuous = is_continuous(stats, colour)
    values = sample[colour] if continuous else sample[colour].astype(str)
    return sample, _groups(stats, layout.points.domain, values, continuous, colour)


def is_continuous(stats: DomainShift, colour: str) -> bool:
    """Whether a column is drawn on a colour scale: numbers of many values."""
    return pd.api.types.is_numeric_dtype(stats.samples[colour]) and stats.samples[colour].nunique() > _MAX_LEVELS


def legend_title(stats: DomainShift, colour: str) -> str:
    return "domain" if is_continuous(stats, colour) else colour


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
            legible = len(domain) <= WRITTEN_UP_TO
            symbol = shape[level] if colour == "domain" else shapes[domain[rows]] if legible else "circle"
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
    stats: DomainShift, sample: pd.DataFrame, rows: np.ndarray, faint: np.ndarray, colour: str
) -> dict[str, Any]:
    """What hovering over the points says; with many points the level and the sample alone."""
    if len(sample) > WRITTEN_UP_TO:
        return {"hovertemplate": "%{fullData.name}<br>sample %{customdata}<extra></extra>"}
    names = ["domain", *(["class"] if stats.classes else [])]
    names += [colour] if colour not in ("domain", "class") else []
    lines = (
        "<br>".join(f"{name} {value}" for name, value in zip(names, values, strict=True))
        for values in sample[names].iloc[rows].itertuples(index=False)
    )
    doubt = ("", "<br>neighbours on the map mislead here")
    text = [line + doubt[bool(doubtful)] for line, doubtful in zip(lines, faint[rows], strict=True)]
    return {
        "text": np.array(text, dtype=object),
        "hovertemplate": "%{text}<br>sample %{customdata}<extra></extra>",
    }


def map_title(layout: Layout) -> str:
    if layout.method == "pca":
        how = f"PCA, two axes hold {100 * sum(layout.share):.0f} % of the variance"
    else:
        how = "UMAP (read neighbourhoods only, not distances or sizes)"
    return f"{layout.points.layer}, step {layout.points.step}: {how}"


def axis_title(layout: Layout, i: int) -> str:
    if layout.method == "pca" and i < len(layout.share):
        return f"component {i + 1} ({100 * layout.share[i]:.0f} % of the variance)"
    return f"{layout.method.upper()} {i + 1} (no unit)"


def map_caption(stats: DomainShift, layout: Layout, wanted: str) -> str:
    """How far the map can be believed, in two lines."""
    found, n = layout.trust, len(layout.points.sample)
    belief = "" if layout.reliable else "Unreliable map: do not judge by eye. "
    among = f" among {LANDMARKS:,} random points" if found.candidates < n else ""
    first = (
        f"{belief}Trustworthiness {found.trustworthiness:.2f}, continuity {found.continuity:.2f}, neighbour recall "
        f"{found.recall:.2f} (chance {found.chance:.2f}) at {found.k} neighbours{among}; {len(layout.doubtful):,} "
        "faint points mislead"
    )
    every = int(stats.samples.shape[0])
    second = f"n = {n:,}{f' of {every:,}' if n < every else ''}. {_told_apart(stats, layout)}"
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
