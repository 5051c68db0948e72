"""WILDS: the CSV logs of its example training script, <split>_eval.csv (one row an epoch) and <split>_algo.csv.

Column names are kept behind the split's name: ``val/acc_avg``, ``test/acc_wg``…
Written from the published file layout; not tested with files made by the WILDS script itself.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from workbench.core import Problem, RunFormatError, RunWriter
from workbench.runs.format import Curves, Format, as_steps
from workbench.runs.table_files import TableFile, head, is_nameless

_SUFFIXES = ("_eval.csv", "_algo.csv")


def recognises(path: Path) -> bool:
    return path.is_dir() and any(file.name.endswith("_eval.csv") for file in path.glob("*_eval.csv"))


def sources(path: Path) -> list[Path]:
    return sorted(file for suffix in _SUFFIXES for file in path.glob(f"*{suffix}"))


def read(path: Path, writer: RunWriter) -> list[Problem]:
    """Every numeric column is a tag; the step is the epoch, or the row of a table with several rows an epoch."""
    problems = []
    for file in sources(path):
        try:
            _read_table(file, writer)
        except RunFormatError as error:
            problems.append(Problem(file, str(error)))
    return problems


def _read_table(file: Path, writer: RunWriter) -> None:
    split, kind = file.stem.rsplit("_", 1)
    before = f"{split}/" if kind == "eval" else f"{split}/batches/"
    table = TableFile.look_through(file, tuple(name for name in head(file).columns if not is_nameless(name)))
    tags = [name for name, kind in table.kinds.items() if kind in ("int", "float") and name not in ("epoch", "batch")]
    epochs = _epochs(table)
    row = 0
    for frame in table.chunks():
        rows = np.arange(row, row + len(frame))
        curves, row = Curves(writer), row + len(frame)
        for tag in tags:
            values = frame[tag].to_numpy(float)
            curves.add(before + tag, rows if epochs is None else epochs[rows], values, file.stat().st_mtime)
        curves.write()


def _epochs(table: TableFile) -> np.ndarray | None:
    """The epoch of every row; None where there are none, or several rows of one."""
    if "epoch" not in table.kinds:
        return None
    found = as_steps(pd.concat([frame["epoch"] for frame in table.chunks()] or [pd.Series(dtype=float)]))
    return found if len(np.unique(found)) == len(found) else None


FORMAT = Format("wilds", "WILDS training log", recognises, sources, read)
