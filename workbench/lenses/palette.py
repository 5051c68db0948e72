"""Colours of tasks, domains, groups and signed values: the same name has the same colour on every page.

Okabe and Ito's palette, readable with every common form of colour blindness, on light and on dark ground.
"""

from __future__ import annotations

from collections.abc import Sequence

from workbench.lenses.base import Level

#: Categorical colours, in order of use.
CATEGORICAL = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#8C6BB1",
    "#B2A100",
    "#7F7F7F",
    "#A65628",
)
#: Marker symbols in the same order, so that a name never depends on colour alone.
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star", "cross", "triangle-down", "hexagon", "pentagon")
#: Line dashes in the same order.
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
#: Signed values: orange below 0 (conflict), white at 0, blue above.
DIVERGING = [[0.0, "#B35806"], [0.25, "#F1A340"], [0.5, "#F7F7F7"], [0.75, "#67A9CF"], [1.0, "#2166AC"]]
#: Amounts from 0 upwards.
SEQUENTIAL = "Viridis"
#: Cells and marks about which nothing can be said.
UNKNOWN = "#9E9E9E"
#: Level marks; each at least 4.5:1 against white and against Streamlit's dark ground when drawn as text on a chip.
LEVEL_COLOURS: dict[Level, str] = {
    "problem": "#C4320A",
    "watch": "#9A6700",
    "cannot tell": "#616874",
    "fine": "#1A7F37",
}


def colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for every name, by its position: pass all names of the run, shown or not, to keep colours stable."""
    return {name: CATEGORICAL[i % len(CATEGORICAL)] for i, name in enumerate(names)}


def symbols(names: Sequence[str]) -> dict[str, str]:
    """A marker symbol for every name, by its position."""
    return {name: SYMBOLS[i % len(SYMBOLS)] for i, name in enumerate(names)}


def dashes(names: Sequence[str]) -> dict[str, str]:
    """A line dash for every name, by its position; names beyond the colours repeat a colour with another dash."""
    return {name: DASHES[(i // len(CATEGORICAL)) % len(DASHES)] for i, name in enumerate(names)}


def faded(colour: str, opacity: float) -> str:
    """A hex colour as rgba with an opacity in [0, 1]."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {opacity:g})"
