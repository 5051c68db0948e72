"""WILDS: the CSV logs of its example training script, <split>_eval.csv (one row an epoch) and <split>_algo.csv.

Column names are kept behind the split's name: ``val/acc_avg``, ``test/acc_wg``…
Written from the published file layout; not tested with files made by the WILDS script itself.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from workbench.core import Problem, RunFormatError, RunWriter
from workbench.runs.format import Curves, Format, as_steps
from workbench.runs.tables import load_table

_SUFFIXES = ("_eval.csv", "_algo.csv")


def recognises(path: Path) -> bool:
    return path.is_dir() and any(file.name.endswith("_eval.csv") for file in path.glob("*_eval.csv"))


def sources(path: Path) -> list[Path]:
    return sorted(file for suffix in _SUFFIXES for file in path.glob(f"*{suffix}"))


def read(path: Path, writer: RunWriter) -> list[Problem]:
    """Every numeric column is a tag; the step is the epoch, or the row of a table with several rows an epoch."""
    problems = []
    curves = Curves(writer)
    for file in sources(path):
        try:
            frame = load_table(file)
        except RunFormatError as error:
            problems.append(Problem(file, str(error)))
            continue
        split, kind = file.stem.rsplit("_", 1)
        step = as_steps(frame["epoch"]) if "epoch" in frame else np.arange(len(frame))
        if len(np.unique(step)) < len(step):
            step = np.arange(len(frame))
        for column in frame.select_dtypes("number").columns.difference(["epoch", "batch"], sort=False):
            tag = f"{split}/{column}" if kind == "eval" else f"{split}/batches/{column}"
            curves.add(tag, step, frame[column].to_numpy(float), file.stat().st_mtime)
    curves.write()
    return problems


FORMAT = Format("wilds", "WILDS training log", recognises, sources, read)
