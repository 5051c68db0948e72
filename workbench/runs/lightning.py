"""PyTorch Lightning's CSV logger: metrics.csv with one row a logging call and most cells empty, and hparams.yaml."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workbench.core import Problem, RunFormatError, RunWriter
from workbench.runs.format import Format, as_steps
from workbench.runs.hyperparameters import read_yaml
from workbench.runs.table_files import left_out

FILE = "metrics.csv"
#: Cells that are read at a time.
_CELLS = 2**16


def recognises(path: Path) -> bool:
    return (path / FILE).is_file()


def sources(path: Path) -> list[Path]:
    return [file for file in (path / FILE, path / "hparams.yaml") if file.is_file()]


def read(path: Path, writer: RunWriter) -> list[Problem]:
    """One tag a column, one point a filled cell; ``step`` is Lightning's global step, or the row when it is missing.

    Raises:
        RunFormatError: the file is no CSV table.
    """
    file = path / FILE
    problems = []
    bad: dict[str, list[tuple[int, str]]] = {}
    rows = step = 0
    numbered = False
    for frame in _chunks(file):
        if "step" in frame:
            steps = as_steps(frame.pop("step"), step)
        else:
            steps, numbered = np.arange(rows, rows + len(frame)), True
        writer.write("scalars", {**_points(frame, steps, bad, rows), "wall_time": file.stat().st_mtime})
        writer.flush()
        rows += len(frame)
        step = int(steps[-1]) if len(steps) else step
    if numbered:
        problems.append(Problem(file, "there is no column 'step'; rows are numbered instead"))
    for tag, cells in bad.items():
        row, text = cells[0]
        found = f"first {text!r} in line {row + 2}"
        problems.append(Problem(file, f"column '{tag}': {len(cells)} cell(s) are no numbers, {found}"))
    problems += left_out(file)
    if (path / "hparams.yaml").is_file():
        config, more = read_yaml(path / "hparams.yaml")
        problems += more
        writer.update(config=config)
    return problems


def _chunks(file: Path) -> Iterator[pd.DataFrame]:
    """The table as text, so many rows at a time that a chunk has about :data:`_CELLS` cells."""
    options: dict[str, Any] = {
        "dtype": str, "na_values": [""], "keep_default_na": False, "encoding_errors": "replace", "on_bad_lines": "skip",
    }  # fmt: skip
    try:
        with file.open(encoding="utf-8", errors="replace", newline="") as stream:
            width = max(1, len(next(csv.reader(stream), [])))
        with pd.read_csv(file, chunksize=max(1, _CELLS // width), **options) as chunks:
            yield from chunks
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError, csv.Error) as error:
        raise RunFormatError(f"{file} is not a CSV table ({error}).") from None


def _points(
    frame: pd.DataFrame, steps: np.ndarray, bad: dict[str, list[tuple[int, str]]], first: int
) -> dict[str, np.ndarray]:
    """The filled cells of a chunk whose first row is ``first``, by column; cells that are no numbers go to ``bad``."""
    cells = frame.to_numpy(object).T
    column, row = np.nonzero(frame.notna().to_numpy().T)
    text = pd.Series(cells[column, row], dtype=str)
    spelled = (text.str.strip().str.lower() == "nan").to_numpy(bool)
    numbers = pd.to_numeric(text.where(~spelled), errors="coerce").to_numpy(float)
    odd = np.isnan(numbers) & ~spelled
    names = frame.columns.to_numpy(object)
    for place in np.flatnonzero(odd):
        bad.setdefault(str(names[column[place]]), []).append((first + int(row[place]), str(text.iloc[place])))
    return {"step": steps[row[~odd]], "tag": names[column[~odd]], "value": numbers[~odd]}


FORMAT = Format("lightning", "PyTorch Lightning CSV log", recognises, sources, read)
