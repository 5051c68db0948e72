"""A CSV, JSONL or Parquet table of scalars, predictions or labels, from anywhere.

Roles of the columns come from a file ``<table>.columns.toml`` beside the table where there is one, else from a mapping
that was confirmed earlier and is kept in the user's cache, else they are guessed from the names. How the table was read
is written into the run's notes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from workbench.core import Problem, RunFormatError, RunWriter
from workbench.core.files import cache_folder, write_content_atomically
from workbench.runs import table_labels, table_predictions
from workbench.runs.columns import Mapped, guess, read_mapping
from workbench.runs.format import Format
from workbench.runs.table_files import SUFFIXES, chunks, head, left_out, rows_at_a_time
from workbench.runs.table_samples import integers, numbers_of

__all__ = ["FORMAT", "SUFFIXES", "head", "read", "recognises", "sources", "table_format"]


def recognises(path: Path) -> bool:
    if not path.is_file() or path.suffix.lower() not in SUFFIXES or path.match("tables/*/part-*.parquet"):
        return False
    try:
        return mapping_of(path) is not None
    except RunFormatError:
        return origin_of(path) != "guessed"


def mapping_file(path: Path) -> Path:
    return path.with_name(path.name + ".columns.toml")


def kept_file(path: Path) -> Path:
    """Where a confirmed mapping of a table is kept: in the cache, never beside the user's data."""
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:24]
    return cache_folder() / "mappings" / f"{digest}.columns.toml"


def keep_mapping(path: Path, mapped: Mapped) -> None:
    """Read the table in this way from now on."""
    file = kept_file(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_content_atomically(file, mapped.toml())


def forget_mapping(path: Path) -> None:
    """Guess again."""
    kept_file(path).unlink(missing_ok=True)


def origin_of(path: Path) -> Literal["file", "confirmed", "guessed"]:
    """Where the mapping of a table comes from: the file beside it, an earlier confirmation, or a guess."""
    if mapping_file(path).is_file():
        return "file"
    return "confirmed" if kept_file(path).is_file() else "guessed"


def sources(path: Path) -> list[Path]:
    return [file for file in (path, mapping_file(path), kept_file(path)) if file.is_file()]


def mapping_of(path: Path, mapping: Path | None = None) -> Mapped | None:
    """How a table would be read: a given mapping, the one beside it, the confirmed one, or a guess from the first rows.

    None when the columns do not tell what the table holds. Raises RunFormatError for a mapping that does not fit.
    """
    frame = head(path)
    beside = next((file for file in (mapping, mapping_file(path), kept_file(path)) if file and file.is_file()), None)
    if beside is not None:
        return read_mapping(beside, list(frame.columns))
    return guess(list(frame.columns), list(frame.select_dtypes("number").columns))


def read(path: Path, writer: RunWriter, mapping: Path | None = None) -> list[Problem]:
    """Fill the table that the mapping names.

    Args:
        mapping: A mapping file to use instead of the one beside the table or a guess.

    Raises:
        RunFormatError: the file is no table, or its columns do not tell what it holds.
    """
    mapped = mapping_of(path, mapping)
    if mapped is None:
        names = ", ".join(head(path).columns)
        raise RunFormatError(
            f"{path}: the columns ({names}) do not tell what the table holds. "
            f'Say it in {mapping_file(path).name}: table = "predictions" and a section [columns].'
        )
    if mapped.kind == "scalars":
        problems = _scalars(path, mapped, writer)
    else:
        fill = table_predictions.fill if mapped.kind == "predictions" else table_labels.fill
        problems = fill(path, mapped, writer)
    writer.update(notes=(*writer.info.notes, str(mapped)))
    return [*problems, *left_out(path)]


def _scalars(path: Path, mapped: Mapped, writer: RunWriter) -> list[Problem]:
    """Write the points a chunk at a time. Columns that begin behind the first rows of a JSONL file are tags, too."""
    known = list(head(path).columns)
    rows = rows_at_a_time(path, len(known))
    numbered = "step" not in mapped.columns or not all(
        integers(frame[mapped.columns["step"]]) is not None for frame in _complete(path, rows, known, mapped)
    )
    first = 0
    for frame in _complete(path, rows, known, mapped):
        count = np.arange(first, first + len(frame)) if "step" in mapped.columns else np.zeros(len(frame), np.int64)
        steps = count if numbered else integers(frame[mapped.columns["step"]])
        time = mapped.columns.get("wall_time")
        wall_time = path.stat().st_mtime if time is None else numbers_of(frame[time])
        assert steps is not None
        if "tag" in mapped.columns:
            tags = frame[mapped.columns["tag"]].astype(str).to_numpy(object)
            value = numbers_of(frame[mapped.columns["value"]])
            points = {"step": steps, "tag": tags, "value": value, "wall_time": wall_time}
        else:
            late = frame[frame.columns[len(known) :]].select_dtypes("number").columns
            points = _points(frame[[*mapped.rest, *late]], steps, wall_time)
        writer.write("scalars", points)
        writer.flush()
        first += len(frame)
    if not numbered or "step" not in mapped.columns:
        return []
    step = mapped.columns["step"]
    return [Problem(path, f"column '{step}' holds other things than whole numbers; rows are numbered")]


def _complete(path: Path, rows: int, known: Sequence[str], mapped: Mapped) -> Iterator[pd.DataFrame]:
    """The chunks of a table, without rows that say nothing; the known columns first, also where a chunk lacks one."""
    tag = mapped.columns.get("tag")
    for frame in chunks(path, rows):
        if list(frame.columns) != list(known):
            frame = frame.reindex(columns=[*known, *(name for name in frame.columns if name not in set(known))])
        filled = frame.notna().any(axis=1) if tag is None else frame[tag].notna()
        yield frame[filled.to_numpy()]


def _points(frame: pd.DataFrame, steps: np.ndarray, wall_time: np.ndarray | float) -> dict[str, Any]:
    """The filled cells of columns of numbers, column by column; what is no number is NaN."""
    texts = {str(name): pd.to_numeric(frame[name], errors="coerce") for name in frame.select_dtypes(exclude="number")}
    values = frame.assign(**texts).to_numpy(float, na_value=np.nan).T
    column, row = np.nonzero(frame.notna().to_numpy().T)
    times = wall_time[row] if isinstance(wall_time, np.ndarray) else wall_time
    names = frame.columns.to_numpy(object)
    return {"step": steps[row], "tag": names[column], "value": values[column, row], "wall_time": times}


def table_format(mapping: Path) -> Format:
    """The format of a table whose columns a mapping file explains."""
    return replace(FORMAT, recognises=lambda path: path.is_file(), read=partial(read, mapping=mapping))


FORMAT = Format("table", "table of scalars, predictions or labels", recognises, sources, read)
