"""MLflow's file store: one folder a run with meta.yaml, metrics/<name> (lines "time value step"), params/ and tags/.

Written by and tested with MLflow 3.17.
"""

from __future__ import annotations

from pathlib import Path

from workbench.core import Problem, RunWriter
from workbench.runs.format import Format, Points
from workbench.runs.hyperparameters import read_yaml

#: A run that was deleted stays in its folder, with this in its meta.yaml.
_DELETED = b"lifecycle_stage: deleted"
#: Characters of a parameter that are kept.
_MOST_CHARACTERS = 20_000


def recognises(path: Path) -> bool:
    if not (path / "metrics").is_dir() or not (path / "meta.yaml").is_file():
        return False
    with (path / "meta.yaml").open("rb") as stream:
        head = stream.read(4096)
    return b"run_id" in head and _DELETED not in head


def sources(path: Path) -> list[Path]:
    folders = [path / name for name in ("metrics", "params", "tags")]
    inner = [file for folder in folders for file in sorted(folder.rglob("*")) if file.is_file()]
    return [path / "meta.yaml", *inner]


def read(path: Path, writer: RunWriter) -> list[Problem]:
    """Every line of every metric file is a point; parameters are the config, and the parent of a nested run its own."""
    meta, problems = read_yaml(path / "meta.yaml")
    points = Points(writer)
    for file in sorted((path / "metrics").rglob("*")):
        if file.is_file() and (n_bad := _read_metric(file, file.relative_to(path / "metrics").as_posix(), points)):
            problems.append(Problem(file, f"{n_bad} line(s) are not 'time value step' and were skipped"))
    points.write()
    name, parent = str(meta.get("run_name") or path.name), _texts(path / "tags").get("mlflow.parentRunId")
    writer.update(config=_texts(path / "params"), name=name, parent=parent)
    return problems


def _read_metric(file: Path, tag: str, points: Points) -> int:
    """Add the points of one metric; how many lines hold none. A line without a step has the number of its point."""
    n_good = n_bad = 0
    with file.open(encoding="utf-8", errors="replace") as stream:
        for line in stream:
            try:
                time, value, *step = line.split()
                points.add(int(step[0]) if step else n_good, tag, float(value), int(time) / 1000)
                n_good += 1
            except (ValueError, IndexError, OverflowError):
                n_bad += 1
    return n_bad


def _texts(folder: Path) -> dict[str, str]:
    found = {}
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        with file.open(encoding="utf-8", errors="replace") as stream:
            found[file.relative_to(folder).as_posix()] = stream.read(_MOST_CHARACTERS)
    return found


FORMAT = Format("mlflow", "MLflow run", recognises, sources, read)
