"""Trackio projects: one SQLite file a project, several runs in it.

Tables: metrics(timestamp, run_name, step, metrics as JSON), configs(run_name, config as JSON); in newer versions both
have a run_id, so that several runs may have one name. Values may be stored as text or as bytes. The file is opened for
reading only. Tested with data made by Trackio 0.43.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from workbench.core import Problem, RunFormatError, RunWriter
from workbench.runs.format import Format, Points, as_number

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
    key = _key(path)
    rows = _rows(path, f"SELECT {key}, run_name, min(id) AS first FROM metrics GROUP BY 1, 2 ORDER BY run_name, first")
    found: dict[str, Format] = {}
    for identity, name, _ in rows:
        unique = str(name) if str(name) not in found else f"{name} ({len(found)})"
        read_it = partial(_read_member, str(identity))
        found[unique] = Format(f"trackio/{unique}", FORMAT.name, recognises, sources, read_it)
    return found


def _key(path: Path) -> str:
    """The column that tells runs apart."""
    columns = {str(row[1]) for row in _rows(path, "PRAGMA table_info(metrics)")}
    return "run_id" if "run_id" in columns else "run_name"


def read(path: Path, writer: RunWriter) -> list[Problem]:
    """Read the first run of the project."""
    member = next(iter(members(path).values()), None)
    return [] if member is None else member.read(path, writer)


def _read_member(identity: str, path: Path, writer: RunWriter) -> list[Problem]:
    points = Points(writer)
    n_bad = 0
    key = _key(path)
    rows = _each_row(path, f"SELECT step, metrics, timestamp FROM metrics WHERE {key} = ? ORDER BY id", (identity,))
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
        rows = _rows(path, f"SELECT config FROM configs WHERE {key} = ?", (identity,))
        found = json.loads(rows[0][0]) if rows else {}
    except (RunFormatError, ValueError, TypeError):  # older projects have no such table
        return {}
    return {name: value for name, value in found.items() if name[:1] != "_"} if isinstance(found, dict) else {}


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        return _SPELLED.get(value)
    return as_number(value)


def _rows(path: Path, sql: str, parameters: tuple[str, ...] = ()) -> list[tuple[Any, ...]]:
    return list(_each_row(path, sql, parameters))


def _each_row(path: Path, sql: str, parameters: tuple[str, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The rows one by one, so that a large project is never in memory as a whole."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True)) as connection:
            yield from connection.execute(sql, parameters)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise RunFormatError(f"{path} is not a readable Trackio project ({error}).") from None


FORMAT = Format("trackio", "Trackio project", recognises, sources, read, members)
