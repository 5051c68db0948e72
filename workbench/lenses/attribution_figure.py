"""Attribution maps over the pictures they explain: one column a sample, one row a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from workbench.lenses.palette import DIVERGING, faded

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: Samples side by side; more start a new band of rows.
COLUMNS = 6
#: Width of a picture and height of one and of two lines of words above it, in pixels.
SIDE, WORDS = 146, (26, 42)
#: Share of the values that the colour scale covers; the few beyond it take its end colours.
COVERED = 0.98
#: Grey of the darkest place of the picture beneath a map, so that the colours stand out.
PALE = 0.74


def attribution_figure(
    pictures: Float[np.ndarray, "N C H W"],
    maps: Mapping[str, Float[np.ndarray, "N H W"]],
    names: Sequence[str],
    answers: Mapping[str, Sequence[str]],
    unit: str = "logits",
) -> go.Figure:
    """Each sample's picture, and below it the map of each task over the picture in pale grey.

    Blue speaks for the class the task names, orange against it, nothing shows where the map is 0; all maps share one
    scale. A picture on dark ground is turned light beneath its maps.

    Args:
        pictures: In [0, 1]; C is 1 or 3.
        maps: Task -> maps.
        names: What stands above each picture.
        answers: Task -> what stands above each map, e.g. the class it says and the true one; up to two lines.
        unit: Of the maps, for the colour bar.
    """
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    n, rows = len(pictures), 1 + len(maps)
    tall = round(SIDE * min(pictures.shape[2] / pictures.shape[3], 1.5))
    words = WORDS[any("<br>" in line for lines in answers.values() for line in lines)]
    columns, bands = min(COLUMNS, max(n, 3)), -(-n // COLUMNS)
    titles = [""] * (bands * rows * columns)
    for i in range(n):
        band, column = divmod(i, columns)
        for row, lines in enumerate([names, *(answers[task] for task in maps)]):
            titles[(band * rows + row) * columns + column] = lines[i]
    fig = make_subplots(
        bands * rows,
        columns,
        subplot_titles=titles,
        horizontal_spacing=0.012,
        vertical_spacing=words / (bands * rows * (tall + words)),
    )
    end = scale_end(list(maps.values()))
    for i in range(n):
        band, column = divmod(i, columns)
        place = {"row": band * rows + 1, "col": column + 1}
        fig.add_trace(go.Image(z=coloured(pictures[i]), hoverinfo="skip"), **place)
        for row, values in enumerate(maps.values(), start=2):
            place["row"] = band * rows + row
            fig.add_trace(beneath(pictures[i]), **place)
            fig.add_trace(
                go.Heatmap(z=values[i], coloraxis="coloraxis", hovertemplate="%{z:.3g}<extra></extra>"), **place
            )
    _lay_out(fig, bands * rows, tall + words, end, unit)
    return fig


def _lay_out(fig: go.Figure, rows: int, row: int, end: float, unit: str) -> None:
    fig.update_layout(
        height=rows * row + 12,
        margin={"l": 8, "r": 8, "t": 28, "b": 6},
        coloraxis={
            "cmin": -end,
            "cmax": end,
            "colorscale": see_through(),
            "colorbar": {
                "title": {"text": unit, "side": "right"},
                "thickness": 12,
                "lenmode": "pixels",
                "len": min(300, rows * row - 40),
                "y": 1,
                "yanchor": "top",
            },
        },
    )
    fig.update_annotations(font_size=12)
    fig.update_xaxes(visible=False, constrain="domain")
    fig.update_yaxes(visible=False, constrain="domain", autorange="reversed")
    for axis in fig.select_yaxes():
        axis.scaleanchor = axis.anchor


def see_through() -> list[tuple[float, str]]:
    """The scale of signed values with nothing at 0 and full colour at its ends."""
    against, for_it = str(DIVERGING[0][1]), str(DIVERGING[-1][1])
    shares = (1.0, 0.8, 0.5, 0.0)
    left = [(0.5 - 0.5 * share, faded(against, share**0.7)) for share in shares[:-1]]
    right = [(0.5 + 0.5 * share, faded(for_it, share**0.7)) for share in reversed(shares[:-1])]
    return [*left, (0.5, "rgba(255, 255, 255, 0)"), *right]


def scale_end(maps: Sequence[np.ndarray]) -> float:
    """The end of the colour scale: where :data:`COVERED` of the values that are not 0 lie; 1 without any."""
    sizes = np.concatenate([np.abs(values).ravel() for values in maps])
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    return float(np.quantile(sizes, COVERED)) if len(sizes) else 1.0


def coloured(picture: Float[np.ndarray, "C H W"]) -> np.ndarray:
    """Bytes [H, W, 3] of a picture in [0, 1]."""
    coloured = np.broadcast_to(picture, (3, *picture.shape[1:]))
    return np.round(255 * np.clip(np.moveaxis(coloured, 0, -1), 0, 1)).astype(np.uint8)


def beneath(picture: Float[np.ndarray, "C H W"]) -> go.Image:
    """A picture in pale grey, light ground, to lie beneath a map."""
    import plotly.graph_objects as go

    grey = np.clip(picture.mean(axis=0), 0, 1)
    if np.median(grey) < 0.5:
        grey = 1 - grey
    span = float(grey.max() - grey.min()) or 1.0
    pale = PALE + (1 - PALE) * (grey - grey.min()) / span
    return go.Image(z=coloured(pale[None]), hoverinfo="skip")
