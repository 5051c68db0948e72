"""The samples of a table whose rows are read a chunk at a time: their numbers and their attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from workbench.core import Attribute
from workbench.core.schema import RESERVED_SAMPLE_COLUMNS

#: Numeric attributes with more distinct values than this are continuous.
MOST_LEVELS = 20
_MISSING = np.iinfo(np.int64).min
_BUCKETS = 16


def integers(column: pd.Series) -> np.ndarray | None:
    """The column as int64, or None when it holds anything but whole numbers."""
    numbers = numbers_of(column)
    whole = np.isfinite(numbers).all() and (numbers == np.round(numbers)).all() and (np.abs(numbers) < 2**53).all()
    return numbers.astype(np.int64) if whole else None


def numbers_of(column: pd.Series) -> np.ndarray:
    """The column as float64; what is no number is NaN, and a time is its seconds since 1970."""
    if pd.api.types.is_datetime64_any_dtype(column):
        return ((column - pd.Timestamp(0, tz=column.dt.tz)) / pd.Timedelta(seconds=1)).to_numpy(float)
    return pd.to_numeric(column, errors="coerce").to_numpy(float)


def texts(column: pd.Series, missing: str) -> np.ndarray:
    """The column as text, with a word for what is missing."""
    return column.astype(str).where(column.notna().to_numpy(), missing).to_numpy(object)


class SampleNumbers:
    """Numbers for the samples that a column of names or numbers tells apart; 8 bytes a row while they are collected.

    Whole numbers stay what they are. Anything else is numbered by its first appearance, and a missing one is -1. Names
    are told apart by 64 bits of a hash: among ten million names, two would be taken for one once in 400,000 tables.
    """

    def __init__(self, rows: int) -> None:
        self._keys = np.empty(rows, np.int64)
        self._rows, self._whole = 0, True
        self._numbers: np.ndarray | None = None  # what names stand for, while all of them are whole numbers

    def add(self, column: pd.Series) -> None:
        """The next rows, of the same type as the rows before."""
        place = slice(self._rows, self._rows + len(column))
        self._rows = place.stop
        found = integers(column) if self._whole else None
        self._whole = found is not None
        if column.dtype.kind in "if":
            keys = (column.to_numpy() + 0).view(np.int64)
        else:
            keys = pd.util.hash_array(texts(column, "")).view(np.int64)
            if found is not None and self._numbers is None:
                self._numbers = np.empty(len(self._keys), np.int64)
            if found is not None and self._numbers is not None:
                self._numbers[place] = found
        self._keys[place] = np.where(column.isna(), _MISSING, keys)
        self._is_float = column.dtype.kind == "f"

    def numbered(self) -> Numbered:
        """The number of every row's sample. Nothing can be added afterwards."""
        whole = self._whole
        keys = (self._numbers if whole and self._numbers is not None else self._keys)[: self._rows]
        if whole and self._rows and self._is_float:
            keys = keys.view(np.float64).astype(np.int64)
        self._keys, self._numbers = np.empty(0, np.int64), None
        if whole and (keys[1:] > keys[:-1]).all():
            return Numbered(keys, None)
        firsts_of = _first_rows(keys)
        is_first = firsts_of == np.arange(len(keys), dtype=firsts_of.dtype)
        if whole and is_first.all():
            return Numbered(keys, None)
        keys = keys[is_first]
        rank = np.cumsum(is_first, dtype=firsts_of.dtype) - 1
        if not whole:
            named = keys != _MISSING
            keys = np.where(named, np.cumsum(named, dtype=rank.dtype) - 1, -1)
        return Numbered(keys, rank[firsts_of])


def _first_rows(keys: np.ndarray) -> np.ndarray:
    """Of every row the first row with the same key. Bucket by bucket, for sorting all keys takes twice the memory."""
    found = np.empty(len(keys), np.int32 if len(keys) < 2**31 else np.int64)
    buckets = (keys % _BUCKETS).astype(np.uint8)
    for bucket in range(_BUCKETS):
        rows = np.flatnonzero(buckets == bucket)
        order = np.argsort(keys[rows], kind="stable")
        rows = rows[order]
        new = np.flatnonzero(np.diff(keys[rows], prepend=keys[rows[:1]] ^ 1))
        found[rows] = np.repeat(rows[new], np.diff(new, append=len(rows)))
    return found


@dataclass(frozen=True)
class Numbered:
    """Samples of rows.

    Attributes:
        values: Number of every distinct sample, by its first appearance; of every row where ``place`` is None.
        place: Of every row the position of its sample in ``values``; None where no sample comes twice.
    """

    values: np.ndarray
    place: np.ndarray | None

    def of(self, rows: slice) -> np.ndarray:
        """The numbers of some rows' samples."""
        found = self.values[rows] if self.place is None else self.values[self.place[rows]]
        return found.astype(np.int64)


@dataclass
class _Column:
    """What is known of one column that may be an attribute."""

    numeric: bool
    distinct: set[Any] = field(default_factory=set)
    has_gaps: bool = False
    overflown: bool = False

    def add(self, column: pd.Series, most: int) -> None:
        if self.overflown:
            return
        known = column.dropna()
        self.has_gaps |= len(known) < len(column)
        self.distinct.update((known if self.numeric else known.astype(str)).unique().tolist())
        if len(self.distinct) > most:
            self.overflown, self.distinct = True, set()


class AttributeColumns:
    """Columns as attributes: continuous numbers, or text with few levels. Free text and identifiers are left out.

    Args:
        names: The columns, by name whether they hold numbers.
        rows: How many rows there may be.
    """

    def __init__(self, names: Mapping[str, bool], rows: int) -> None:
        self._most = max(MOST_LEVELS, rows // 20)
        self._columns = {name: _Column(numeric) for name, numeric in names.items()}
        self._names: dict[str, str] = {}
        for name in names:
            self._names[name] = _free_name(name, {*self._names.values(), *(set(names) - {name})})
        self._levels: dict[str, tuple[str, ...]] = {}

    def add(self, frame: pd.DataFrame) -> None:
        """The next rows."""
        for name, column in self._columns.items():
            column.add(frame[name], MOST_LEVELS if column.numeric else self._most)

    def declared(self, rows: int) -> list[Attribute]:
        """The attributes, once all rows, so many, were added."""
        found = []
        for name, column in self._columns.items():
            if column.numeric and column.overflown:
                found.append(Attribute(self._names[name], "continuous"))
            elif not column.overflown and len(column.distinct) <= max(MOST_LEVELS, rows // 20):
                levels = {str(value) for value in column.distinct} | ({"unknown"} if column.has_gaps else set())
                self._levels[name] = tuple(sorted(levels))
                found.append(Attribute(self._names[name], "categorical", self._levels[name]))
        return found

    def values(self, frame: pd.DataFrame) -> dict[str, np.ndarray]:
        """The attributes of some rows: text, or numbers."""
        found = {}
        for name, column in self._columns.items():
            if name in self._levels:
                found[self._names[name]] = texts(frame[name], "unknown")
            elif column.numeric and column.overflown:
                found[self._names[name]] = frame[name].to_numpy(float)
        return found

    def levels(self) -> dict[str, Sequence[str]]:
        """The levels of the attributes that have some."""
        return {self._names[name]: levels for name, levels in self._levels.items()}


def _free_name(name: str, taken: set[str]) -> str:
    """A name that an attribute may have and none of the others has."""
    free = f"column {name}" if name.startswith("target_") else name
    while free in RESERVED_SAMPLE_COLUMNS or free in taken:
        free += "_"
    return free
