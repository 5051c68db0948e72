"""Find and open runs: our own format and the logs of other programs."""

from __future__ import annotations

from pathlib import Path

from workbench.core.files import cache_folder
from workbench.runs.collection import RunCollection
from workbench.runs.foreign import convert
from workbench.runs.format import Format
from workbench.runs.formats import FORMATS, format_of, open_run
from workbench.runs.samples import sample_runs

__all__ = [
    "FORMATS",
    "Format",
    "RunCollection",
    "cache_folder",
    "convert",
    "format_of",
    "open_run",
    "open_runs",
    "sample_runs",
]


def open_runs(folder: str | Path) -> RunCollection:
    """Find the runs below a folder. Raises RunFormatError when the folder does not exist."""
    return RunCollection(folder)
