"""Count every combination of factor levels once; each group, pair and triple is then a sum over the counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from workbench.core import Run

#: Level of samples whose attribute was not recorded.
UNKNOWN_LEVEL = "(not recorded)"

_SIGNED = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
_NUMERIC = (*_SIGNED, *(f"U{kind}" for kind in _SIGNED), "FLOAT", "DOUBLE", "DECIMAL")


@dataclass(frozen=True)
class Factor:
    """A possible cause of errors with its levels in their natural order.

    Attributes:
        column: Column of the samples table.
        edges: Inner bin edges of a continuous factor: bin i holds edges[i-1] < x <= edges[i].
        stored: The levels as the column holds them, as text; empty for a continuous factor.
    """

    name: str
    column: str
    levels: tuple[str, ...]
    edges: tuple[float, ...] = ()
    stored: tuple[str, ...] = ()


@dataclass(frozen=True)
class Margin:
    """Sums over the groups that some of a cube's factors form; only groups with samples are listed."""

    codes: Int[np.ndarray, "G K"]
    n: Float[np.ndarray, " G"]
    total: Float[np.ndarray, " G"]
    squares: Float[np.ndarray, " G"]


@dataclass(frozen=True)
class Cube:
    """Sums of a per-sample value over each occupied combination (cell) of factor levels.

    Attributes:
        codes: Level of every factor in every cell.
        n: Samples. total: sum of the value (for accuracy: right answers). squares: sum of its square.
        half: 0 or 1, a hash of the sample's number: each half is a random half of the samples.
    """

    factors: tuple[Factor, ...]
    codes: Int[np.ndarray, "M F"]
    n: Float[np.ndarray, " M"]
    total: Float[np.ndarray, " M"]
    squares: Float[np.ndarray, " M"]
    half: Int[np.ndarray, " M"]

    def part(self, half: int) -> Cube:
        """The cells of one half of the samples."""
        at = self.half == half
        return Cube(self.factors, self.codes[at], self.n[at], self.total[at], self.squares[at], self.half[at])

    def margin(self, axes: Sequence[int]) -> Margin:
        """The groups formed by the factors at these positions, summed over all others."""
        shape = tuple(len(self.factors[axis].levels) for axis in axes)
        if not axes:
            sums = [np.array([values.sum()]) for values in (self.n, self.total, self.squares)]
            return Margin(np.zeros((1, 0), dtype=np.int64), *sums)
        flat = np.ravel_multi_index(tuple(self.codes[:, axis] for axis in axes), shape)
        size = int(np.prod(shape))
        n, total, squares = (np.bincount(flat, values, size) for values in (self.n, self.total, self.squares))
        used = np.flatnonzero(n)
        codes = np.stack(np.unravel_index(used, shape), axis=1).astype(np.int64)
        return Margin(codes, n[used], total[used], squares[used])


def quoted(name: str) -> str:
    """A column name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def is_float(kind: str) -> bool:
    """Whether a DuckDB type can hold NaN."""
    return kind in ("FLOAT", "DOUBLE")


def is_numeric(kind: str) -> bool:
    return kind.startswith(_NUMERIC)


@dataclass(frozen=True)
class Selection:
    """The predictions under study: one task, in one split or in all (``split`` None), with the column types."""

    run: Run
    task: str
    split: str | None
    sample_types: Mapping[str, str]
    prediction_types: Mapping[str, str]

    @property
    def target(self) -> str:
        return f"target_{self.task}"

    def of_samples(self, sql: str, condition: str = "true") -> pd.DataFrame:
        """Run ``SELECT sql FROM samples s`` over the samples of the split that meet a condition."""
        return self.run.query(
            f"SELECT {sql} FROM samples s WHERE ($split IS NULL OR s.split = $split) AND {condition}",
            {"split": self.split},
        )

    def joined(self, columns: str) -> str:
        """SQL that selects columns of predictions ``p`` joined with samples ``s``; for :meth:`query`."""
        split = "" if self.split is None else " AND s.split = $split"
        return f"SELECT {columns} FROM predictions p JOIN samples s USING (sample) WHERE p.task = $task{split}"

    def query(self, sql: str) -> pd.DataFrame:
        """Run SQL around :meth:`joined`."""
        parameters = {"task": self.task} | ({} if self.split is None else {"split": self.split})
        return self.run.query(sql, parameters)

    def missing(self, column: str) -> str:
        """SQL condition that a sample's column was not recorded or is not finite."""
        name = f"s.{quoted(column)}"
        # Not isnan(): DuckDB takes Parquet statistics, which leave NaN out, as proof that there is none.
        return (
            f"({name} IS NULL OR NOT isfinite({name}))" if is_float(self.sample_types[column]) else f"({name} IS NULL)"
        )


def select(run: Run, task: str, split: str | None) -> Selection:
    """The selection of a task and split, with the types of the columns that it may use."""
    return Selection(run, task, split, _column_types(run, "samples"), _column_types(run, "predictions"))


def _column_types(run: Run, table: str) -> dict[str, str]:
    frame = run.query(f"SELECT column_name, column_type FROM (DESCRIBE {table})")
    return dict(zip(frame["column_name"], frame["column_type"], strict=True))


def count_cells(selection: Selection, factors: Sequence[Factor], value: str) -> dict[int, Cube]:
    """One cube a recorded step, from one pass of DuckDB over predictions joined with samples.

    Args:
        value: SQL expression of the per-sample value over ``p`` (predictions) and ``s`` (samples); NULL is left out.
    """
    keys = [level_key(selection, factor) for factor in factors]
    columns = "".join(f", {key} AS k{i}" for i, key in enumerate(keys))
    groups = "".join(f", k{i}" for i in range(len(keys)))
    texts = "".join(f", CAST(k{i} AS VARCHAR) AS k{i}" for i in range(len(keys)))
    columns = f"p.step AS step, CAST(hash(sample) % 2 AS INTEGER) AS half{columns}, {value} AS v"
    counted = (
        f"SELECT step, half{groups}, count(v) AS n, sum(v) AS total, sum(v * v) AS squares FROM "
        f"({selection.joined(columns)}) GROUP BY step, half{groups} HAVING count(v) > 0"
    )
    frame = selection.query(f"SELECT step, half{texts}, n, total, squares FROM ({counted})")
    codes = np.zeros((len(frame), len(factors)), dtype=np.int64)
    for i, factor in enumerate(factors):
        codes[:, i] = level_codes(frame[f"k{i}"], factor)
    n, total, squares = (frame[name].to_numpy(dtype=float) for name in ("n", "total", "squares"))
    steps, half = frame["step"].to_numpy(), frame["half"].to_numpy(dtype=np.int64)
    cubes = {}
    for step in np.unique(steps):
        at = steps == step
        cubes[int(step)] = Cube(tuple(factors), codes[at], n[at], total[at], squares[at], half[at])
    return cubes


def count_by_factor(
    selection: Selection,
    factors: Sequence[Factor],
    columns: str,
    keys: str,
    sums: str,
    condition: str,
    derived: str = "1 AS one",
) -> list[pd.DataFrame]:
    """One table a factor, from one pass: sums by its level (position ``level``) and further keys.

    Args:
        columns: SQL of the columns read from ``p`` and ``s``, with their names.
        keys: Names of the further keys. sums: SQL of the sums, with their names. condition: SQL of the rows that count.
        derived: SQL of a column computed from the others, with its name.
    """
    if not factors:
        return []
    levels = ", ".join(f"{level_key(selection, factor)} AS k{i}" for i, factor in enumerate(factors))
    texts = ", ".join(f"GROUPING(k{i}) AS g{i}, CAST(k{i} AS VARCHAR) AS l{i}" for i in range(len(factors)))
    sets = ", ".join(f"(k{i}, {keys})" for i in range(len(factors)))
    frame = selection.query(
        f"SELECT {texts}, {keys}, {sums} FROM "
        f"(SELECT *, {derived} FROM ({selection.joined(f'{columns}, {levels}')})) WHERE {condition} "
        f"GROUP BY GROUPING SETS ({sets})"
    )
    tables = []
    for i, factor in enumerate(factors):
        rows = frame[frame[f"g{i}"] == 0]
        tables.append(rows.assign(level=level_codes(rows[f"l{i}"], factor)).reset_index(drop=True))
    return tables


def level_key(selection: Selection, factor: Factor) -> str:
    """SQL expression of a factor's level: the number of its bin, or its value as it is stored."""
    name, missing = f"s.{quoted(factor.column)}", selection.missing(factor.column)
    if not factor.edges:
        return (
            f"CASE WHEN {missing} THEN NULL ELSE {name} END"
            if is_float(selection.sample_types[factor.column])
            else name
        )
    cases = " ".join(f"WHEN {name} <= {edge!r} THEN {i}" for i, edge in enumerate(factor.edges))
    return f"CASE WHEN {missing} THEN NULL {cases} ELSE {len(factor.edges)} END"


def level_codes(texts: pd.Series, factor: Factor) -> Int[np.ndarray, " M"]:
    """Positions in the factor's levels of keys as text."""
    stored = factor.stored or tuple(str(i) for i in range(len(factor.edges) + 1))
    position = {level: i for i, level in enumerate(stored)}
    return texts.map(position).fillna(len(factor.levels) - 1).to_numpy(dtype=np.int64)
