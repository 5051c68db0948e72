"""The map of many points as arrays that a browser can draw without plotly, and which of them a loop encloses."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from workbench.lenses import palette
from workbench.lenses.domains.map_figure import (
    CLEAR,
    FAINT,
    axis_title,
    grouped,
    is_continuous,
    legend_title,
    marker_size,
    ringed_rows,
)
from workbench.lenses.domains.maps import Layout
from workbench.lenses.domains.statistics import DomainShift

#: Steps of the colour scale of a column of numbers.
_TINTS = 64


@dataclass(frozen=True)
class Dots:
    """What the map of a layer shows, point by point.

    Attributes:
        xy: Coordinates on the map.
        sample: Sample ids.
        group: Entry of the legend, as a position in ``names``.
        tint: Position in ``colours``.
        faint: Whether the map misleads about the point's neighbours.
        ringed: Whether the point belongs to the selection.
        colours: One a group; steps of the scale for the column ``shade`` of numbers, with its ends in ``scale``.
        symbols: One a group.
        size: Diameter of a point in pixels.
    """

    xy: Float[np.ndarray, "N 2"]
    sample: Int[np.ndarray, " N"]
    group: Int[np.ndarray, " N"]
    tint: Int[np.ndarray, " N"]
    faint: Bool[np.ndarray, " N"]
    ringed: Bool[np.ndarray, " N"]
    names: tuple[str, ...]
    colours: tuple[str, ...]
    symbols: tuple[str, ...]
    legend: str
    shade: str
    scale: tuple[float, float] | None
    axes: tuple[str, str]
    size: float

    def packed(self) -> bytes:
        """For the browser: the length of a JSON header (uint32), the header, then the arrays one after the other.

        Arrays, little-endian: x, y (float32), sample (float64), group, tint (uint16), marks (uint8: 1 faint, 2 ringed);
        each begins at a multiple of 8 bytes.
        """
        header = {
            "n": len(self.sample), "names": self.names, "colours": self.colours, "symbols": self.symbols,
            "legend": self.legend, "shade": self.shade, "scale": self.scale, "axes": self.axes, "size": self.size,
            "faint": FAINT, "clear": CLEAR, "ring": palette.CATEGORICAL[3], "other": palette.UNKNOWN,
        }  # fmt: skip
        text = json.dumps(header).encode()
        arrays = (
            self.xy[:, 0].astype("<f4"), self.xy[:, 1].astype("<f4"), self.sample.astype("<f8"),
            self.group.astype("<u2"), self.tint.astype("<u2"), (self.faint + 2 * self.ringed).astype("u1"),
        )  # fmt: skip
        parts = [_padded(np.uint32(len(text)).astype("<u4").tobytes() + text)]
        return b"".join([*parts, *(_padded(array.tobytes()) for array in arrays)])


def _padded(part: bytes) -> bytes:
    return part + b"\0" * (-len(part) % 8)


def dots_of(stats: DomainShift, layout: Layout, colour: str = "domain", selected: Collection[int] = ()) -> Dots:
    """The points of a map with the colours and shapes that its figure has.

    Raises:
        ConfigError: unknown colour.
    """
    _, groups = grouped(stats, layout, colour)
    n = len(layout.points.sample)
    group, tint = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    faint, ringed = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    faint[layout.doubtful], ringed[ringed_rows(layout, selected)] = True, True
    scale = None
    for place, (_, rows, style) in enumerate(groups):
        group[rows] = tint[rows] = place
        if is_continuous(stats, colour):
            scale = (style["cmin"], style["cmax"])
            share = (np.asarray(style["color"], dtype=float) - scale[0]) / max(scale[1] - scale[0], 1e-300)
            tint[rows] = np.clip(np.nan_to_num(share) * _TINTS, 0, _TINTS - 1)
    shapes = [style["symbol"] for _, _, style in groups]
    return Dots(
        xy=layout.xy, sample=layout.points.sample, group=group, tint=tint, faint=faint, ringed=ringed,
        names=tuple(name for name, _, _ in groups),
        colours=tuple(style["color"] for _, _, style in groups) if scale is None else _scale(),
        symbols=tuple(shape if isinstance(shape, str) else "circle" for shape in shapes),
        legend=legend_title(stats, colour), shade=colour, scale=scale,
        axes=(axis_title(layout, 0), axis_title(layout, 1)), size=marker_size(n),
    )  # fmt: skip


def _scale() -> tuple[str, ...]:
    """The scale of amounts in steps, as hex colours."""
    from plotly.colors import sample_colorscale, unlabel_rgb

    found = sample_colorscale(palette.SEQUENTIAL, np.linspace(0, 1, _TINTS).tolist())
    return tuple("#" + "".join(f"{round(part):02x}" for part in unlabel_rgb(colour)) for colour in found)


def enclosed(polygon: Float[np.ndarray, "V 2"], xy: Float[np.ndarray, "N 2"]) -> Bool[np.ndarray, " N"]:
    """Which points a closed loop encloses: a ray from the point to the right crosses it an odd number of times."""
    inside = np.zeros(len(xy), dtype=bool)
    x, y = xy[:, 0], xy[:, 1]
    before = np.roll(polygon, 1, axis=0)
    for (x0, y0), (x1, y1) in zip(before, polygon, strict=True):
        crosses = (y0 > y) != (y1 > y)
        if y0 != y1:
            inside ^= crosses & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return inside
