"""Trackio projects: one SQLite file a project, several runs in it.

Tables: metrics(timestamp, run_name, step, metrics as JSON), configs(run_name, config as JSON). Values may be stored as
text or as bytes. The file is opened for reading only.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from workbench.core import Problem, RunFormatError, RunWriter
from workbench.runs.format import Format, as_number

#: Numbers that JSON lacks, as Trackio spells them.
_SPELLED = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_MAGIC = b"SQLite format 3\x00"


def recognises(path: Path) -> bool:
    if not path.is_file() or path.suffix not in (".db", ".sqlite", ".sqlite3"):
        return False
    with path.open("rb") as stream:
        if stream.read(16) != _MAGIC:
            return False
    try:
        return bool(_rows(path, "SELECT run_name, step, metrics FROM metrics LIMIT 1"))
    except RunFormatError:
        return False


def sources(path: Path) -> list[Path]:
    return [file for file in (path, path.with_name(path.name + "-wal")) if file.is_file()]


def members(path: Path) -> Mapping[str, Format]:
    """A format for every run of the project."""
    names = [str(name) for (name,) in _rows(path, "SELECT DISTINCT run_name FROM metrics ORDER BY run_name")]
    return {
        name: Format(f"trackio/{name}", FORMAT.name, recognises, sources, partial(_read_member, name)) for name in names
    }


def read(path: Path, writer: RunWriter) -> list[Problem]:
    """Read the first run of the project."""
    name = next(iter(members(path)), None)
    return [] if name is None else _read_member(name, path, writer)


def _read_member(name: str, path: Path, writer: RunWriter) -> list[Problem]:
    columns: dict[str, list[Any]] = {"step": [], "tag": [], "value": [], "wall_time": []}
    n_bad = 0
    rows = _rows(path, "SELECT step, metrics, timestamp FROM metrics WHERE run_name = ? ORDER BY id", (name,))
    for step, text, timestamp in rows:
        try:
            logged = json.loads(text)
            at = datetime.fromisoformat(str(timestamp)).timestamp()
            numbers = [(str(tag), number) for tag, value in logged.items() if (number := _number(value)) is not None]
            points = [(int(step), tag, number, at) for tag, number in numbers]
        except (ValueError, TypeError, AttributeError, OverflowError):
            n_bad += 1
            continue
        for point in points:
            for column, entry in zip(columns.values(), point, strict=True):
                column.append(entry)
    writer.write("scalars", columns)
    writer.update(config=_config(path, name))
    return (
        [Problem(path, f"{n_bad} record(s) of run '{name}' could not be understood and were skipped")] if n_bad else []
    )


def _config(path: Path, name: str) -> dict[str, Any]:
    try:
        rows = _rows(path, "SELECT config FROM configs WHERE run_name = ?", (name,))
        found = json.loads(rows[0][0]) if rows else {}
    except (RunFormatError, ValueError, TypeError):  # older projects have no such table
        return {}
    return found if isinstance(found, dict) else {}


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        return _SPELLED.get(value)
    return as_number(value)


def _rows(path: Path, sql: str, parameters: tuple[str, ...] = ()) -> list[tuple[Any, ...]]:
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True)) as connection:
            return connection.execute(sql, parameters).fetchall()
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise RunFormatError(f"{path} is not a readable Trackio project ({error}).") from None


FORMAT = Format("trackio", "Trackio project", recognises, sources, read, members)
