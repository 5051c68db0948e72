"""What a reader of a foreign log is: how it recognises its format, and how it fills the tables of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from workbench.core import Problem, RunWriter


def as_number(value: object) -> float | None:
    """A JSON number as a float; None for anything else, truth values included."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


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
