"""Find and open runs."""

from __future__ import annotations

from pathlib import Path

from workbench.core import Run
from workbench.runs.collection import RunCollection
from workbench.runs.samples import sample_runs

__all__ = ["RunCollection", "open_run", "open_runs", "sample_runs"]


def open_run(path: str | Path) -> Run:
    """Open one run folder. Raises RunFormatError when it is none."""
    return Run(path)


def open_runs(folder: str | Path) -> RunCollection:
    """Find the runs below a folder. Raises RunFormatError when the folder does not exist."""
    return RunCollection(folder)
