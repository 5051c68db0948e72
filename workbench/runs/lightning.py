"""PyTorch Lightning's CSV logger: metrics.csv with one row a logging call and most cells empty, and hparams.yaml."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from workbench.core import Problem, RunFormatError, RunWriter
from workbench.runs.format import Format, as_steps
from workbench.runs.hyperparameters import read_yaml

FILE = "metrics.csv"


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
    try:
        frame = pd.read_csv(
            file, dtype=str, na_values=[""], keep_default_na=False, encoding_errors="replace", on_bad_lines="skip"
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError) as error:
        raise RunFormatError(f"{file} is not a CSV table ({error}).") from None
    problems = []
    if "step" in frame:
        step = as_steps(frame.pop("step"))
    else:
        step = np.arange(len(frame))
        problems.append(Problem(file, "there is no column 'step'; rows are numbered instead"))
    modified = file.stat().st_mtime
    for tag in frame:
        filled = frame[tag].notna().to_numpy()
        numbers = pd.to_numeric(frame[tag].where(frame[tag].str.lower() != "nan"), errors="coerce").to_numpy(float)
        bad = filled & np.isnan(numbers) & (frame[tag].str.strip().str.lower() != "nan").to_numpy()
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            found = f"first {frame[tag].iloc[row]!r} in line {row + 2}"
            text = f"column '{tag}': {int(bad.sum())} cell(s) are no numbers, {found}"
            problems.append(Problem(file, text))
        kept = filled & ~bad
        columns = {"step": step[kept], "tag": str(tag), "value": numbers[kept], "wall_time": modified}
        writer.write("scalars", columns)
    if (path / "hparams.yaml").is_file():
        config, more = read_yaml(path / "hparams.yaml")
        problems += more
        writer.update(config=config)
    return problems


FORMAT = Format("lightning", "PyTorch Lightning CSV log", recognises, sources, read)
