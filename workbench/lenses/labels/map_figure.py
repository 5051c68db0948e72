"""Pictures beside their label maps: what is true, and what one net or two said."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Int
from plotly.subplots import make_subplots

from workbench.core import ConfigError
from workbench.lenses.empty_figure import empty
from workbench.lenses.labels.maps import Maps
from workbench.lenses.labels.statistics import Labels
from workbench.lenses.palette import CATEGORICAL, UNKNOWN

NOTHING = "This run kept no label maps: Recorder.array('label_maps', step, {'sample': …, 'truth/<list>': …, …})."
#: Height of a row of pictures, in pixels.
_ROW = 104


def strip(stats: Labels) -> go.Figure:
    """One row a picture: the picture, and for every label list what is true and what the net said."""
    maps = stats.maps
    if maps is None:
        return empty(NOTHING)
    columns = [(f"{name}: {kind}", held[name]) for name in maps.lists for kind, held in _kinds(maps)]
    return _drawn(maps, columns, f"Labels by pixel at step {maps.step}")


def strip_of_two(first: Labels, second: Labels, names: tuple[str, str], label_list: str) -> go.Figure:
    """The same pictures in one label list: what is true, and what the nets of two runs said.

    Raises:
        ConfigError: a run kept no label maps, or the two runs kept those of different pictures or lists.
    """
    a, b = first.maps, second.maps
    if a is None or b is None or not np.array_equal(a.samples, b.samples):
        raise ConfigError("The two runs kept no label maps of the same pictures.")
    if label_list not in a.said or label_list not in b.said or a.names != b.names:
        raise ConfigError(f"The two runs kept no label maps in one list '{label_list}'.")
    columns = [("true", a.truth[label_list]), (names[0], a.said[label_list]), (names[1], b.said[label_list])]
    return _drawn(a, columns, f"The same pictures in {label_list}'s labels")


def _kinds(maps: Maps) -> tuple[tuple[str, dict[str, np.ndarray]], ...]:
    return ("true", dict(maps.truth)), ("said", dict(maps.said))


def _drawn(maps: Maps, columns: Sequence[tuple[str, Int[np.ndarray, "N H W"]]], title: str) -> go.Figure:
    n = len(maps.samples)
    figure = make_subplots(
        n, 1 + len(columns), horizontal_spacing=0.01, vertical_spacing=0.012,
        column_titles=["picture", *(name for name, _ in columns)], row_titles=list(maps.titles),
    )  # fmt: skip
    for row in range(n):
        picture = maps.pictures[row]
        if picture is not None:
            source = f"data:image/png;base64,{b64encode(picture).decode()}"
            figure.add_trace(go.Image(source=source, hoverinfo="skip"), row=row + 1, col=1)
        for column, (_, found) in enumerate(columns, start=2):
            figure.add_trace(_map(found[row], maps.names), row=row + 1, col=column)
    for title_of_row in figure.layout.annotations[-n:]:
        title_of_row.update(textangle=0, xanchor="left")
    figure.update_annotations(font_size=13)
    figure.update_xaxes(visible=False, constrain="domain")
    figure.update_yaxes(visible=False, constrain="domain", scaleanchor=None, autorange="reversed")
    used = np.unique(np.concatenate([found.ravel() for _, found in columns]))
    for k in used[used >= 0].tolist():
        figure.add_scatter(
            x=[None], y=[None], mode="markers", name=maps.names[k],
            marker={"symbol": "square", "size": 12, "color": _colour(k)},
        )  # fmt: skip
    return figure.update_layout(
        title=title, height=150 + _ROW * n, margin={"t": 90, "r": 110},
        legend={"orientation": "h", "y": -0.01, "yanchor": "top", "x": 0, "itemclick": False},
    )  # fmt: skip


def _map(found: Int[np.ndarray, "H W"], names: Sequence[str]) -> go.Heatmap:
    n = len(names)
    scale = [[(k + end) / n, _colour(k)] for k in range(n) for end in (0, 1)]
    return go.Heatmap(
        z=np.where(found < 0, np.nan, found), zmin=-0.5, zmax=n - 0.5, colorscale=scale, showscale=False,
        customdata=np.array([*names, ""], dtype=object)[found], hovertemplate="%{customdata}<extra></extra>",
    )  # fmt: skip


def _colour(k: int) -> str:
    """Beyond the palette, its colours come back halfway to grey."""
    colour = CATEGORICAL[k % len(CATEGORICAL)]
    if k < len(CATEGORICAL):
        return colour
    mixed = [(int(colour[i : i + 2], 16) + int(UNKNOWN[i : i + 2], 16) + 255) // 3 for i in (1, 3, 5)]
    return "#" + "".join(f"{value:02X}" for value in mixed)
