"""What a reader of a foreign log is: how it recognises its format, and how it fills the tables of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from workbench.core import Problem, RunWriter

#: Whole numbers are exact as floats up to here.
_LARGEST_STEP = 2.0**53


def as_number(value: object) -> float | None:
    """A JSON number as a float; None for anything else, truth values included."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def as_step(value: object, otherwise: int) -> int:
    """A JSON number as a step; ``otherwise`` for anything that is no whole-numbered step."""
    number = as_number(value)
    return int(number) if number is not None and abs(number) < _LARGEST_STEP else otherwise


def as_steps(values: pd.Series) -> np.ndarray:
    """A column as steps: what is no number, or too large for one, takes the step before it; 0 at the start."""
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    return numbers.where(numbers.abs() < _LARGEST_STEP).ffill().fillna(0).to_numpy().astype(np.int64)


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
    """

    slug: str
    name: str
    recognises: Callable[[Path], bool]
    sources: Callable[[Path], list[Path]]
    read: Callable[[Path, RunWriter], list[Problem]]
    members: Callable[[Path], Mapping[str, Format]] | None = None
