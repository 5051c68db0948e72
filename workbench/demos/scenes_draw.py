"""Draw one road scene: a colour and a concept for every pixel, far things first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Float64, Int64

#: What a pixel can show, stuff before things.
CONCEPTS: tuple[str, ...] = (
    "background",
    "sky",
    "road",
    "sidewalk",
    "lane marking",
    "person",
    "cyclist",
    "motorcyclist",
    "car",
    "truck",
)
HEIGHT, WIDTH = 24, 32
#: Objects a scene holds, at least and at most.
N_OBJECTS = (4, 6)

Colour: TypeAlias = tuple[float, float, float]


def draw_scene(rng: np.random.Generator) -> tuple[Float64[np.ndarray, "H W 3"], Int64[np.ndarray, "H W"]]:
    """Colours in [0, 1] before style and noise, and concept indices, of one scene of HEIGHT × WIDTH pixels."""
    canvas = _Canvas(rng, np.zeros((HEIGHT, WIDTH, 3)), np.zeros((HEIGHT, WIDTH), dtype=np.int64))
    lane = _draw_street(canvas)
    depths = np.sort(rng.uniform(0.15, 1.0, rng.integers(N_OBJECTS[0], N_OBJECTS[1] + 1)))
    for depth in depths:
        name = str(rng.choice(list(_THINGS)))
        draw, on_sidewalk = _THINGS[name]
        draw(canvas, *lane.place(float(depth), on_sidewalk, rng))
    return canvas.colours, canvas.concepts


@dataclass(frozen=True)
class _Canvas:
    rng: np.random.Generator
    colours: np.ndarray
    concepts: np.ndarray

    def fill(self, concept: str, where: tuple[slice | int, slice | np.ndarray], colour: Colour) -> None:
        self.concepts[where] = CONCEPTS.index(concept)
        self.colours[where] = colour

    def box(self, concept: str, bottom: int, centre: float, height: int, width: int, colour: Colour) -> None:
        """A box that stands with its lowest row on ``bottom``; what leaves the picture is cut off."""
        left = round(centre - width / 2)
        rows = slice(max(bottom - height + 1, 0), max(bottom + 1, 0))
        self.fill(concept, (rows, slice(max(left, 0), max(left + width, 0))), colour)

    def vary(self, colour: Colour, by: float = 0.06) -> Colour:
        """The colour, shifted at random."""
        red, green, blue = np.clip(np.asarray(colour) + self.rng.uniform(-by, by, 3), 0, 1)
        return float(red), float(green), float(blue)


@dataclass(frozen=True)
class _Street:
    """The road in perspective. Depth runs from 0 at the horizon to 1 at the lower edge."""

    horizon: int
    vanishing: float
    foot: float  # column of the road's middle at the lower edge
    half_width: float  # of the road at the lower edge
    kerb: float  # width of each sidewalk at the lower edge

    def row(self, depth: float) -> int:
        return round(self.horizon + depth * (HEIGHT - 1 - self.horizon))

    def middle(self, depth: float) -> float:
        return self.vanishing + depth * (self.foot - self.vanishing)

    def place(self, depth: float, on_sidewalk: bool, rng: np.random.Generator) -> tuple[int, float, float]:
        """Row, column and scale of a thing that stands at a depth."""
        half = 1 + depth * self.half_width
        side = rng.choice([-1, 1])
        shift = half + depth * self.kerb / 2 if on_sidewalk else half * rng.uniform(0.1, 0.8)
        return self.row(depth), self.middle(depth) + side * shift, 0.4 + 0.6 * depth


def _draw_street(canvas: _Canvas) -> _Street:
    rng = canvas.rng
    street = _Street(
        horizon=int(rng.integers(6, 10)),
        vanishing=float(rng.uniform(11, 21)),
        foot=float(rng.uniform(12, 20)),
        half_width=float(rng.uniform(10, 13)),
        kerb=float(rng.uniform(4, 6)),
    )
    canvas.fill("background", (slice(None), slice(None)), canvas.vary((0.40, 0.50, 0.32)))
    canvas.fill("sky", (slice(0, street.horizon), slice(None)), canvas.vary((0.66, 0.78, 0.92)))
    _draw_skyline(canvas, street.horizon)
    asphalt, paving, paint = canvas.vary((0.34, 0.34, 0.36)), canvas.vary((0.60, 0.55, 0.52)), (0.92, 0.92, 0.86)
    dash = rng.uniform(0, 1)
    columns = np.arange(WIDTH)
    for row in range(street.horizon, HEIGHT):
        depth = (row - street.horizon) / (HEIGHT - 1 - street.horizon)
        away = np.abs(columns - street.middle(depth))
        half = 1 + depth * street.half_width
        canvas.fill("sidewalk", (row, away <= half + depth * street.kerb), paving)
        canvas.fill("road", (row, away <= half), asphalt)
        # Dashes of equal length on the ground: equal steps of 1 / depth in the picture.
        if (2.2 / max(depth, 0.1) + dash) % 1 < 0.6:
            canvas.fill("lane marking", (row, away <= 0.5 + depth), paint)
    return street


def _draw_skyline(canvas: _Canvas, horizon: int) -> None:
    column = 0
    while column < WIDTH:
        width = int(canvas.rng.integers(3, 8))
        top = horizon - int(canvas.rng.integers(0, 5))
        wall = canvas.vary((0.52, 0.42, 0.36) if canvas.rng.random() < 0.6 else (0.36, 0.46, 0.30), 0.08)
        canvas.fill("background", (slice(top, horizon), slice(column, column + width)), wall)
        column += width


def _person(canvas: _Canvas, row: int, column: float, scale: float) -> None:
    height = max(round(7 * scale), 3)
    coat = canvas.vary((0.75, 0.25, 0.30), 0.12)
    canvas.box("person", row, column, height, max(round(2 * scale), 1), coat)
    canvas.box("person", row - height + 1, column, 1, max(round(2 * scale), 1), (0.85, 0.66, 0.55))


def _two_wheeler(concept: str, frame: Colour, jacket: Colour, thick: int) -> Callable[..., None]:
    def draw(canvas: _Canvas, row: int, column: float, scale: float) -> None:
        width = max(round(5 * scale), 3)
        base = max(round(thick * scale), 1)
        rider = max(round(4 * scale), 2)
        canvas.box(concept, row, column, base, width, canvas.vary(frame))
        canvas.box(concept, row - base, column, rider, max(round(2 * scale), 1), canvas.vary(jacket, 0.1))

    return draw


def _car(canvas: _Canvas, row: int, column: float, scale: float) -> None:
    width, body, cabin = max(round(9 * scale), 4), max(round(3 * scale), 2), max(round(2 * scale), 1)
    paint = canvas.vary((0.22, 0.34, 0.70), 0.16)
    canvas.box("car", row, column, body, width, paint)
    canvas.box("car", row - body, column, cabin, max(width - 3, 2), (0.12, 0.15, 0.20))


def _truck(canvas: _Canvas, row: int, column: float, scale: float) -> None:
    width, height = max(round(9 * scale), 4), max(round(8 * scale), 4)
    canvas.box("truck", row, column, height, width, canvas.vary((0.84, 0.62, 0.28), 0.12))
    canvas.box("truck", row, column, max(round(2 * scale), 1), width, (0.16, 0.15, 0.16))


#: Concept -> how to draw it, and whether it stands on the sidewalk.
_THINGS: dict[str, tuple[Callable[..., None], bool]] = {
    "person": (_person, True),
    "cyclist": (_two_wheeler("cyclist", (0.20, 0.55, 0.45), (0.90, 0.85, 0.35), 2), False),
    "motorcyclist": (_two_wheeler("motorcyclist", (0.50, 0.12, 0.40), (0.25, 0.22, 0.24), 3), False),
    "car": (_car, False),
    "truck": (_truck, False),
}
