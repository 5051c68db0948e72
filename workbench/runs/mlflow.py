"""MLflow's file store: one folder a run with meta.yaml, metrics/<name> (lines "time value step"), params/ and tags/.

Written by and tested with MLflow 3.17.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from workbench.core import Problem, RunWriter
from workbench.runs.format import Curves, Format
from workbench.runs.hyperparameters import read_yaml


def recognises(path: Path) -> bool:
    if not (path / "metrics").is_dir() or not (path / "meta.yaml").is_file():
        return False
    return b"run_id" in (path / "meta.yaml").read_bytes()[:4096]


def sources(path: Path) -> list[Path]:
    folders = [path / name for name in ("metrics", "params", "tags")]
    inner = [file for folder in folders for file in sorted(folder.rglob("*")) if file.is_file()]
    return [path / "meta.yaml", *inner]


def read(path: Path, writer: RunWriter) -> list[Problem]:
    """Every line of every metric file is a point; parameters are the config."""
    meta, problems = read_yaml(path / "meta.yaml")
    curves = Curves(writer)
    for file in sorted((path / "metrics").rglob("*")):
        if not file.is_file():
            continue
        rows: list[tuple[int, float, float]] = []
        n_bad = 0
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                time, value, *step = line.split()
                rows.append((int(step[0]) if step else len(rows), float(value), int(time) / 1000))
            except (ValueError, IndexError):
                n_bad += 1
        if n_bad:
            problems.append(Problem(file, f"{n_bad} line(s) are not 'time value step' and were skipped"))
        if rows:
            step_column, values, times = (np.array(column) for column in zip(*rows, strict=True))
            curves.add(file.relative_to(path / "metrics").as_posix(), step_column, values, times)
    curves.write()
    writer.update(config=_texts(path / "params"), name=str(meta.get("run_name") or path.name))
    return problems


def _texts(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_text(encoding="utf-8", errors="replace") for file in files}


FORMAT = Format("mlflow", "MLflow run", recognises, sources, read)
