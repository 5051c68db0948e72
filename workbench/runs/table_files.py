"""Read a CSV, TSV, JSONL or Parquet file a chunk at a time, in memory that does not grow with the file.

The separator, the decimal mark and the encoding of a text file are told from its beginning. Members of nested JSON
objects become columns with dotted names.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from workbench.core import Problem, RunFormatError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
#: Cells that are read at a time.
CELLS = 2**16
#: What a column holds over the whole file. A column that mixes kinds is text, one of whole numbers with gaps is float.
Kind = Literal["int", "float", "bool", "text"]

_TYPES: Mapping[str, Any] = {"int": np.int64, "float": np.float64, "bool": bool}
#: Bytes of text that are read at a time, about; bytes by which a text file is judged.
_BYTES, _HEAD = 2**22, 2**16
_LONGEST_LINE = 2**24
_SEPARATORS = {".csv": ",;\t|", ".tsv": "\t,;|"}
_COMMA, _POINT = re.compile(r"\s*[-+]?\d+,\d+\s*"), re.compile(r"\s*[-+]?\d*\.\d+([eE][-+]?\d+)?\s*")
#: Names that stand for no name: of a frame's index that was saved with it, or of an empty cell of a header.
_NAMELESS = re.compile(r"Unnamed: \d+|__index_level_\d+__")


def is_nameless(column: str) -> bool:
    """Whether a column has only the name that a table gives to a saved index or an empty header."""
    return _NAMELESS.fullmatch(column) is not None


def head(path: Path) -> pd.DataFrame:
    """The first rows of a table, by which it is recognised. Raises RunFormatError when it is none."""
    return next(chunks(path, 200), pd.DataFrame())


def load_table(path: Path) -> pd.DataFrame:
    """A whole table. Raises RunFormatError when it is none."""
    pieces = list(chunks(path, None))
    return pieces[0] if len(pieces) == 1 else pd.concat(pieces, ignore_index=True) if pieces else pd.DataFrame()


def chunks(path: Path, rows: int | None, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
    """The table so many rows at a time; None for all at once.

    Args:
        columns: Only these, in any order; those that a chunk of a JSONL file lacks are left out of it.

    Raises:
        RunFormatError: it is no table of the kind that its name says.
    """
    with readable(path):
        if path.suffix.lower() == ".parquet":
            yield from _parquet(path, rows, columns)
        elif path.suffix.lower() == ".jsonl":
            for records in _json_lines(path, rows):
                frame = pd.DataFrame.from_records(records)
                yield frame if columns is None else frame[[name for name in columns if name in frame]]
        else:
            options = csv_options(path)
            if rows is None:
                yield _chosen(pd.read_csv(path, **options), columns)
            else:
                with pd.read_csv(path, chunksize=rows, **options) as pieces:
                    yield from (_chosen(piece, columns) for piece in pieces)


def rows_at_a_time(path: Path, width: int) -> int:
    """How many rows of so many columns to read at a time: about :data:`CELLS` cells, fewer where lines are long."""
    rows = max(1, CELLS // max(1, width))
    if path.suffix.lower() == ".parquet":
        return rows
    with path.open("rb") as stream:
        data = stream.read(_HEAD)
    return max(1, min(rows, _BYTES * max(1, data.count(b"\n")) // max(1, len(data))))


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what the libraries raise on a damaged table into one RunFormatError."""
    try:
        yield
    except (ValueError, pa.ArrowException, csv.Error, OSError, OverflowError, RecursionError) as error:
        kind, reason = path.suffix.lower()[1:], (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RunFormatError(f"{path} is not a readable {kind} table ({reason}).") from None


@dataclass(frozen=True)
class TableFile:
    """Some columns of a table, looked through once so that every chunk comes in the types of the whole file.

    Attributes:
        kinds: What each of the columns holds.
        rows: How many rows there were; what is appended later is left out.
        width: How many columns the file has.
    """

    path: Path
    kinds: Mapping[str, Kind]
    rows: int
    width: int

    @classmethod
    def look_through(cls, path: Path, columns: Sequence[str]) -> TableFile:
        """Raises RunFormatError when the file is no table, or lacks one of the columns."""
        found: dict[str, set[str]] = {name: set() for name in columns}
        rows, width = 0, len(head(path).columns)
        for frame in chunks(path, rows_at_a_time(path, width), columns):
            rows += len(frame)
            for name in columns:
                found[name].add(_kind(frame[name]) if name in frame else "empty")
        return cls(path, {name: _united(kinds) for name, kinds in found.items()}, rows, width)

    def chunks(self, width: int = 0) -> Iterator[pd.DataFrame]:
        """The columns a chunk at a time, shorter chunks where ``width`` more columns are made of them."""
        rows, left = rows_at_a_time(self.path, self.width + width), self.rows
        pieces = self._csv(rows) if self.path.suffix.lower() in _SEPARATORS else self._others(rows)
        while left > 0 and (frame := next(pieces, None)) is not None:
            yield frame.iloc[:left]
            left -= len(frame)

    def _csv(self, rows: int) -> Iterator[pd.DataFrame]:
        types = {name: _TYPES.get(kind, str) for name, kind in self.kinds.items()}
        with readable(self.path):
            options = csv_options(self.path) | {"dtype": types, "nrows": self.rows}
            with pd.read_csv(self.path, chunksize=rows, **options) as pieces:
                yield from (_chosen(piece, tuple(self.kinds)) for piece in pieces)

    def _others(self, rows: int) -> Iterator[pd.DataFrame]:
        if self.path.suffix.lower() == ".jsonl":
            with readable(self.path):
                for records in _json_lines(self.path, rows):
                    columns = {name: [record.get(name) for record in records] for name in self.kinds}
                    yield pd.DataFrame({name: self._column(values, name) for name, values in columns.items()})
            return
        for frame in chunks(self.path, rows, tuple(self.kinds)):
            yield pd.DataFrame({name: self._column(frame[name], name) for name in self.kinds})

    def _column(self, values: Any, name: str) -> pd.Series:
        kind = self.kinds[name]
        return pd.Series(values, dtype=object) if kind == "text" else pd.Series(values).astype(_TYPES[kind])


def _kind(column: pd.Series) -> str:
    kind = column.dtype.kind if isinstance(column.dtype, np.dtype) else "O"
    if kind in "if" and column.isna().all():
        return "empty"
    if kind in "ifb":
        return {"i": "int", "f": "float", "b": "bool"}[kind]
    return "empty" if kind == "O" and column.isna().all() else "text"


def _united(kinds: set[str]) -> Kind:
    if kinds <= {"int"} and kinds:
        return "int"
    if kinds <= {"int", "float", "empty"}:
        return "float"
    return "bool" if kinds == {"bool"} else "text"


# -- text files --------------------------------------------------------------------------------------------------------


def csv_options(path: Path) -> dict[str, Any]:
    """Arguments of pandas' reader for this file: separator, decimal mark and encoding, told from its beginning."""
    with path.open("rb") as stream:
        data = stream.read(_HEAD)
    encoding = _encoding(data)
    text = data.decode(encoding, "replace")
    separator = _separator(text, _SEPARATORS[path.suffix.lower()])
    options: dict[str, Any] = {"sep": separator, "encoding": encoding, "encoding_errors": "replace"}
    options |= {"on_bad_lines": "skip", "low_memory": False}
    if separator != "," and _has_decimal_commas(text, separator):
        options["decimal"] = ","
    return options


def _chosen(frame: pd.DataFrame, columns: Sequence[str] | None) -> pd.DataFrame:
    """Some columns of a chunk. Asked for only these, pandas would keep lines of too many cells, in wrong columns."""
    named = _named(frame)
    return named if columns is None else named[[name for name in named if name in set(columns)]]


def left_out(path: Path) -> list[Problem]:
    """Lines of a CSV file that are no rows of the table, for they have more cells than it has columns.

    They are counted by a second, simpler reader; the table's own passes over them in silence.
    """
    if path.suffix.lower() not in _SEPARATORS:
        return []
    with readable(path):
        options, lines, widest = csv_options(path), 0, 0
        with path.open(encoding=options["encoding"], errors="replace", newline="") as stream, suppress(csv.Error):
            for cells in csv.reader(stream, delimiter=options["sep"]):
                if len(cells) > 1 or (cells and cells[0].strip()):
                    lines, widest = lines + 1, max(widest, len(cells))
    names = list(head(path).columns)
    if widest <= len(names):
        return []
    skipped = lines - 1 - sum(map(len, chunks(path, rows_at_a_time(path, len(names)))))
    reason = f"{skipped} line(s) with more than the {len(names)} cells of the header were skipped"
    return [Problem(path, reason)] if skipped > 0 else []


def _encoding(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    text = data.decode("utf-8", "replace").rstrip("\ufffd")  # the last character may be cut
    other = {character for character in text if character > "\x7f"}
    # Not one letter beyond ASCII is sound UTF-8: the file is of the usual one-byte encoding, as spreadsheets write.
    return "cp1252" if other == {"\ufffd"} else "utf-8"


def _separator(text: str, candidates: str) -> str:
    """The candidate that cuts the header into most cells; the first of them where several do."""
    counts = [len(next(csv.reader(io.StringIO(text), delimiter=candidate), [])) for candidate in candidates]
    return candidates[counts.index(max(counts))]


def _has_decimal_commas(text: str, separator: str) -> bool:
    cells = [cell for row in islice(csv.reader(io.StringIO(text), delimiter=separator), 1, 100) for cell in row]
    return any(map(_COMMA.fullmatch, cells)) and not any(map(_POINT.fullmatch, cells))


# -- JSON lines --------------------------------------------------------------------------------------------------------


def _json_lines(path: Path, rows: int | None) -> Iterator[list[dict[str, Any]]]:
    """The objects of a JSONL file, one a line. A last line that is still being written is left out."""
    with path.open(encoding="utf-8-sig", errors="replace") as stream:
        found = _json_objects(iter(lambda: stream.readline(_LONGEST_LINE), ""))
        while records := list(islice(found, rows)):
            yield records


def _json_objects(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if not line.strip():
            continue
        if len(line) == _LONGEST_LINE:
            raise ValueError(f"a line is longer than {_LONGEST_LINE} characters")
        try:
            record = json.loads(line)
        except ValueError:
            if line.endswith("\n"):
                raise
            return
        if not isinstance(record, dict):
            raise ValueError("a line holds no names with values")
        yield dict(_members(record))


def _members(record: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        if isinstance(value, dict) and value:
            yield from _members(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


# -- Parquet -----------------------------------------------------------------------------------------------------------


def _parquet(path: Path, rows: int | None, columns: Sequence[str] | None) -> Iterator[pd.DataFrame]:
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        unique = len(set(names)) == len(names)  # names that repeat cannot be asked for
        chosen = None if columns is None or not unique else [name for name in names if name in columns]
        index, first = _named_range(file), 0
        for batch in file.iter_batches(batch_size=rows or max(1, file.metadata.num_rows), columns=chosen):
            # Without the frame's own notes: they would turn a column that was the index into an index again.
            frame = _named(batch.to_pandas(ignore_metadata=True))
            plain = {name: _plain(frame[name]) for name in frame if columns is None or name in columns}
            if index is not None and (columns is None or index[0] in columns):
                plain[index[0]] = pd.Series(index[1] + index[2] * np.arange(first, first + batch.num_rows))
            first += batch.num_rows
            yield pd.DataFrame(plain)


def _named_range(file: pq.ParquetFile) -> tuple[str, int, int] | None:
    """Name, start and stride of an index that pandas keeps in its notes alone, as it does with numbers in a row."""
    notes = json.loads((file.schema_arrow.metadata or {}).get(b"pandas", b"{}"))
    for index in notes.get("index_columns", []) if isinstance(notes, dict) else []:
        if (
            isinstance(index, dict)
            and index.get("name")
            and {type(index.get(key)) for key in ("start", "step")} == {int}
        ):
            return str(index["name"]), index["start"], index["step"]
    return None


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    """With names as text, the second of equal ones numbered as in a CSV file."""
    seen: dict[str, int] = {}
    names = []
    for name in map(str, frame.columns):
        names.append(f"{name}.{seen[name]}" if name in seen else name)
        seen[name] = seen.get(name, 0) + 1
    return frame.set_axis(names, axis=1).reset_index(drop=True)


def _plain(column: pd.Series) -> pd.Series:
    """Without the types that only some files have: categories as their values."""
    return pd.Series(np.asarray(column)) if isinstance(column.dtype, pd.CategoricalDtype) else column
