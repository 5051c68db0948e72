"""Trackio projects: one SQLite file a project, several runs in it.

Tables: metrics(timestamp, run_name, step, metrics as JSON), configs(run_name, config as JSON); in newer versions both
have a run_id, so that several runs may have one name. Values may be stored as text or as bytes. The file is opened for
reading only. Tested with data made by Trackio 0.43.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from workbench.core import Problem, RunFormatError, RunWriter
from workbench.runs.format import Format, Points, as_number
from workbench.runs.sqlite_files import each_row, has_rows, sources

#: Numbers that JSON lacks, as Trackio spells them.
_SPELLED = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def recognises(path: Path) -> bool:
    return has_rows(path, "SELECT run_name, step, metrics FROM metrics LIMIT 1")


def members(path: Path) -> Mapping[str, Format]:
    """A format for every run of the project."""
    key = _key(path)
    rows = each_row(
        path, f"SELECT {key}, run_name, min(id) AS first FROM metrics GROUP BY 1, 2 ORDER BY run_name, first"
    )
    found: dict[str, Format] = {}
    for identity, name, _ in rows:
        unique = str(name) if str(name) not in found else f"{name} ({len(found)})"
        read_it = partial(_read_member, str(identity))
        found[unique] = Format(f"trackio/{unique}", FORMAT.name, recognises, sources, read_it)
    return found


def _key(path: Path) -> str:
    """The column that tells runs apart."""
    columns = {str(row[1]) for row in each_row(path, "PRAGMA table_info(metrics)")}
    return "run_id" if "run_id" in columns else "run_name"


def read(path: Path, writer: RunWriter) -> list[Problem]:
    """Read the first run of the project."""
    member = next(iter(members(path).values()), None)
    return [] if member is None else member.read(path, writer)


def _read_member(identity: str, path: Path, writer: RunWriter) -> list[Problem]:
    points = Points(writer)
    n_bad = 0
    key = _key(path)
    rows = each_row(path, f"SELECT step, metrics, timestamp FROM metrics WHERE {key} = ? ORDER BY id", (identity,))
    for step, text, timestamp in rows:
        try:
            logged = json.loads(text)
            at = datetime.fromisoformat(str(timestamp)).timestamp()
            numbers = [(str(tag), number) for tag, value in logged.items() if (number := _number(value)) is not None]
            place = int(step)
        except (ValueError, TypeError, AttributeError, OverflowError):
            n_bad += 1
            continue
        for tag, number in numbers:
            points.add(place, tag, number, at)
    points.write()
    writer.update(config=_config(path, key, identity))
    return [Problem(path, f"{n_bad} record(s) could not be understood and were skipped")] if n_bad else []


def _config(path: Path, key: str, identity: str) -> dict[str, Any]:
    """What the run was started with, without what Trackio adds about itself."""
    try:
        rows = list(each_row(path, f"SELECT config FROM configs WHERE {key} = ?", (identity,)))
        found = json.loads(rows[0][0]) if rows else {}
    except (RunFormatError, ValueError, TypeError):  # older projects have no such table
        return {}
    return {name: value for name, value in found.items() if name[:1] != "_"} if isinstance(found, dict) else {}


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        return _SPELLED.get(value)
    return as_number(value)


FORMAT = Format("trackio", "Trackio project", recognises, sources, read, members)
