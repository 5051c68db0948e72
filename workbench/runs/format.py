"""What a reader of a foreign log is: how it recognises its format, and how it fills the tables of a run."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from workbench.core import Problem, RunWriter

#: Whole numbers are exact as floats up to here.
_LARGEST_STEP = 2.0**53
#: Points that are collected before they are written.
_MOST_POINTS = 2**16


def as_number(value: object) -> float | None:
    """A JSON number as a float, infinite where too large for one; None for anything else, truth values included."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def as_step(value: object, otherwise: int) -> int:
    """A JSON number as a step; ``otherwise`` for anything that is no whole-numbered step."""
    number = as_number(value)
    return int(number) if number is not None and abs(number) < _LARGEST_STEP else otherwise


def as_steps(values: pd.Series, first: int = 0) -> np.ndarray:
    """A column as steps: what is no number, or too large for one, takes the step before it; ``first`` at the start."""
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    return numbers.where(numbers.abs() < _LARGEST_STEP).ffill().fillna(first).to_numpy().astype(np.int64)


class Curves:
    """Collects the points of many tags and writes them together: a call for each of 10,000 tags would take minutes."""

    def __init__(self, writer: RunWriter) -> None:
        self._writer = writer
        self._pieces: list[tuple[str, np.ndarray, np.ndarray, np.ndarray | float]] = []
        self._points = 0

    def add(self, tag: str, step: np.ndarray, value: np.ndarray, wall_time: np.ndarray | float) -> None:
        """The points of one tag."""
        self._pieces.append((tag, step, value, wall_time))
        self._points += len(step)
        if self._points >= _MOST_POINTS:
            self.write()

    def write(self) -> None:
        """Write what was collected."""
        if self._points:
            sizes = [len(step) for _, step, _, _ in self._pieces]
            tags = np.array([tag for tag, *_ in self._pieces], dtype=object)
            times = [
                np.broadcast_to(np.asarray(time, float), size)
                for (*_, time), size in zip(self._pieces, sizes, strict=True)
            ]
            columns = {
                "step": np.concatenate([step for _, step, _, _ in self._pieces]),
                "tag": np.repeat(tags, sizes),
                "value": np.concatenate([value for _, _, value, _ in self._pieces]),
                "wall_time": np.concatenate(times),
            }
            self._writer.write("scalars", columns)
            self._writer.flush()
        self._pieces, self._points = [], 0


class Points:
    """Collects single points in little memory and writes many together."""

    def __init__(self, writer: RunWriter) -> None:
        self._writer = writer
        self._tags: dict[str, str] = {}
        self._clear()

    def _clear(self) -> None:
        self._step, self._value, self._wall_time = array("q"), array("d"), array("d")
        self._tag: list[str] = []

    def add(self, step: int, tag: str, value: float, wall_time: float) -> None:
        """One point. Raises OverflowError, and adds nothing, for a step beyond 64 bits."""
        self._step.append(step)
        self._tag.append(self._tags.setdefault(tag, tag))
        self._value.append(value)
        self._wall_time.append(wall_time)
        if len(self._tag) >= _MOST_POINTS:
            self.write()

    def write(self) -> None:
        """Write what was collected."""
        if self._tag:
            columns = {"step": np.asarray(self._step), "tag": np.array(self._tag, dtype=object)}
            columns |= {"value": np.asarray(self._value), "wall_time": np.asarray(self._wall_time)}
            self._writer.write("scalars", columns)
            self._writer.flush()
        self._clear()


@dataclass(frozen=True)
class Format:
    """One format of training logs.

    Attributes:
        slug: Short name for messages and options.
        name: What a person calls it.
        recognises: Whether a file or folder is a log of this format; looks at names and first bytes only.
        sources: The files that the log consists of. When one grows, the log is read again.
        read: Fill a run from the log and return what could not be read. Nothing in the log is ever executed.
        members: For formats that keep several runs in one file: the name of each run, with the format that reads it.
        inner: For formats whose folders may hold further runs: the folders inside one that are runs of their own.
        shares: Whether other runs may lie in a folder beside what the format reads there.
    """

    slug: str
    name: str
    recognises: Callable[[Path], bool]
    sources: Callable[[Path], list[Path]]
    read: Callable[[Path, RunWriter], list[Problem]]
    members: Callable[[Path], Mapping[str, Format]] | None = None
    inner: Callable[[Path], list[Path]] | None = None
    shares: bool = False
