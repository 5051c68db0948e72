"""Read SQLite files row by row; they are opened for reading only."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from workbench.core import RunFormatError

SUFFIXES = (".db", ".sqlite", ".sqlite3")
_MAGIC = b"SQLite format 3\x00"


def has_rows(path: Path, sql: str) -> bool:
    """Whether a path is an SQLite file in which a query finds something."""
    if not path.is_file() or path.suffix not in SUFFIXES:
        return False
    with path.open("rb") as stream:
        if stream.read(16) != _MAGIC:
            return False
    try:
        return next(each_row(path, sql), None) is not None
    except RunFormatError:
        return False


def sources(path: Path) -> list[Path]:
    """The file, with what was written but not yet moved into it."""
    return [file for file in (path, path.with_name(path.name + "-wal")) if file.is_file()]


def each_row(path: Path, sql: str, parameters: tuple[str, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The rows one by one, so that a large file is never in memory as a whole.

    Raises:
        RunFormatError: the file is damaged, or has other tables.
    """
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True)) as connection:
            yield from connection.execute(sql, parameters)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise RunFormatError(f"{path} is not a readable SQLite file of a training log ({error}).") from None
