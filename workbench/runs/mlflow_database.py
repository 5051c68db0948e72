"""MLflow's database: mlflow.db, an SQLite file with the runs of all experiments. Deleted runs are left out.

Tables: runs(run_uuid, name, lifecycle_stage, experiment_id), metrics(key, value, timestamp, run_uuid, step, is_nan),
params(key, value, run_uuid), tags(key, value, run_uuid). Infinity is kept as the largest float. Tested with a database
made by MLflow 3.17.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from workbench.core import Problem, RunWriter
from workbench.runs.format import Format, Points, as_number
from workbench.runs.sqlite_files import each_row, has_rows, sources

_RUNS = "SELECT run_uuid, name FROM runs WHERE lifecycle_stage = 'active' ORDER BY start_time, run_uuid"
_METRICS = "SELECT key, value, timestamp, step, is_nan FROM metrics WHERE run_uuid = ? ORDER BY key, step, timestamp"


def recognises(path: Path) -> bool:
    return has_rows(path, f"{_RUNS} LIMIT 1") and has_rows(path, "SELECT count(is_nan) FROM metrics")


def members(path: Path) -> Mapping[str, Format]:
    """A format for every run; runs of one name are numbered."""
    found: dict[str, Format] = {}
    for identity, name in each_row(path, _RUNS):
        unique = str(name or identity)
        unique = unique if unique not in found else f"{unique} ({len(found)})"
        read_it = partial(_read_member, str(identity))
        found[unique] = Format(f"mlflow/{unique}", FORMAT.name, recognises, sources, read_it)
    return found


def read(path: Path, writer: RunWriter) -> list[Problem]:
    """Read the first run of the database."""
    member = next(iter(members(path).values()), None)
    return [] if member is None else member.read(path, writer)


def _read_member(identity: str, path: Path, writer: RunWriter) -> list[Problem]:
    points = Points(writer)
    n_bad = 0
    for key, value, timestamp, step, is_nan in each_row(path, _METRICS, (identity,)):
        number, time = as_number(value), as_number(timestamp)
        if number is None or time is None or not isinstance(step, int):
            n_bad += 1
            continue
        if abs(number) == sys.float_info.max:
            number *= 2
        points.add(step, str(key), float("nan") if is_nan else number, time / 1000)
    points.write()
    config = _texts(path, "params", identity)
    writer.update(config=config, parent=_texts(path, "tags", identity).get("mlflow.parentRunId"))
    return [Problem(path, f"{n_bad} point(s) are no numbers and were skipped")] if n_bad else []


def _texts(path: Path, table: str, identity: str) -> dict[str, Any]:
    rows = each_row(path, f"SELECT key, value FROM {table} WHERE run_uuid = ?", (identity,))
    return {str(key): value for key, value in rows}


FORMAT = Format("mlflow-database", "MLflow database", recognises, sources, read, members)
