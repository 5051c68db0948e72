"""Count every combination of factor levels once; each group, pair and triple is then a sum over the counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from workbench.core import ConfigError, Run
from workbench.core.schema import RESERVED_SAMPLE_COLUMNS

Metric = Literal["accuracy", "loss"]

#: A column with more distinct values than this is an identifier or a measurement, not a set of groups.
MAX_LEVELS = 60
#: An undeclared column of numbers with more distinct values than this is cut into bins.
MAX_NUMERIC_LEVELS = 12
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


def available_factors(selection: Selection) -> dict[str, str]:
    """Column of every factor that can form groups, by its name: attributes, then domain, dataset and class."""
    columns = selection.sample_types
    declared = [name for name in selection.run.attribute_names if name in columns]
    usable = [
        name
        for name, kind in columns.items()
        if name not in RESERVED_SAMPLE_COLUMNS
        and not name.startswith("target_")
        and (is_numeric(kind) or kind in ("VARCHAR", "BOOLEAN"))
    ]
    factors = {name: name for name in (declared or usable)}
    built_in = {"domain": "domain", "dataset": "dataset", "class": selection.target}
    return factors | {name: column for name, column in built_in.items() if column in columns and name not in factors}


def build_factors(
    selection: Selection, chosen: Sequence[str] | None, bins: int
) -> tuple[tuple[Factor, ...], tuple[str, ...]]:
    """The factors with their levels among the samples, and notes on what was left out.

    Without a choice: the attributes; if none can form groups: domain, dataset and class.

    Raises:
        ConfigError: a chosen factor does not exist.
    """
    available = available_factors(selection)
    unknown = [name for name in chosen or () if name not in available]
    if unknown:
        known = ", ".join(available) or "none"
        raise ConfigError(f"Run '{selection.run.name}' has no factor '{unknown[0]}'. Factors: {known}.")
    built_in = ("domain", "dataset", selection.target)
    attributes = [name for name, column in available.items() if column not in built_in]
    if chosen is not None:
        return _with_levels(selection, {name: available[name] for name in chosen}, bins)
    factors, notes = _with_levels(selection, {name: available[name] for name in attributes}, bins)
    if factors:
        return factors, notes
    others = {name: column for name, column in available.items() if column in built_in}
    factors, more = _with_levels(selection, others, bins)
    return factors, notes + more


def _with_levels(
    selection: Selection, columns: Mapping[str, str], bins: int
) -> tuple[tuple[Factor, ...], tuple[str, ...]]:
    if not columns:
        return (), ()
    counts = ", ".join(
        f"approx_count_distinct(s.{quoted(column)}) AS d{i}, "
        f"count(*) FILTER (WHERE {selection.missing(column)}) AS m{i}"
        for i, column in enumerate(columns.values())
    )
    summary = selection.of_samples(counts).iloc[0]
    distinct_values = {column: int(summary[f"d{i}"]) for i, column in enumerate(columns.values())}
    found = _distinct(selection, [column for column, n in distinct_values.items() if n <= 2 * MAX_LEVELS])
    factors, notes = [], []
    for i, (name, column) in enumerate(columns.items()):
        distinct, extra = distinct_values[column], (UNKNOWN_LEVEL,) if summary[f"m{i}"] else ()
        factor = _factor(selection, name, column, (distinct, found.get(column)), bins, extra)
        if factor is None:
            notes.append(f"'{name}' was left out: {distinct} different values are too many to form groups.")
        elif len(factor.levels) < 2:
            notes.append(f"'{name}' was left out: all samples share one value.")
        else:
            factors.append(factor)
    return tuple(factors), tuple(notes)


def _distinct(selection: Selection, columns: Sequence[str]) -> dict[str, list[str]]:
    """Recorded values of each column as text, in the order of the values."""
    if not columns:
        return {}
    lists = ", ".join(
        f"list_transform(list_sort(list(DISTINCT s.{quoted(column)}) FILTER (WHERE NOT {selection.missing(column)})), "
        f"lambda x: CAST(x AS VARCHAR)) AS v{i}"
        for i, column in enumerate(columns)
    )
    row = selection.of_samples(lists).iloc[0]
    return {
        column: [str(x) for x in row[f"v{i}"]] if row[f"v{i}"] is not None else [] for i, column in enumerate(columns)
    }


def _factor(
    selection: Selection,
    name: str,
    column: str,
    values: tuple[int, list[str] | None],
    bins: int,
    extra: tuple[str, ...],
) -> Factor | None:
    """One factor with its levels, from the number and the list of its values; None when it has too many for groups."""
    distinct, found = values
    kind = selection.sample_types[column]
    attribute = next((a for a in selection.run.info.attributes if a.name == name), None)
    continuous = attribute.kind == "continuous" if attribute else is_float(kind) and distinct > MAX_NUMERIC_LEVELS
    if distinct and continuous and is_numeric(kind):
        edges, low, high = _quantile_edges(selection, column, bins)
        return Factor(name, column, (*_bin_names(edges, low, high), *extra), edges)
    if found is None or len(found) > MAX_LEVELS:
        return None
    declared = [level for level in attribute.levels if level in found] if attribute else []
    stored = (*declared, *(level for level in found if level not in declared))
    return Factor(name, column, (*_shown(selection, column, stored), *extra), stored=stored)


def _shown(selection: Selection, column: str, stored: tuple[str, ...]) -> tuple[str, ...]:
    """Class names in place of class numbers; other levels as they are stored."""
    task = next((task for task in selection.run.info.tasks if task.name == selection.task), None)
    if task is None or column != selection.target:
        return stored
    names = dict(zip(map(str, range(len(task.classes))), task.classes, strict=True))
    return tuple(names.get(level, level) for level in stored)


def _quantile_edges(selection: Selection, column: str, bins: int) -> tuple[tuple[float, ...], float, float]:
    """Inner bin edges (repeated quantiles count once), smallest and largest value."""
    shares = [i / bins for i in range(bins + 1)]
    sql = f"quantile_disc(CAST(s.{quoted(column)} AS DOUBLE), {shares}) AS q"
    quantiles = [float(value) for value in selection.of_samples(sql, f"NOT {selection.missing(column)}")["q"][0]]
    low, high = quantiles[0], quantiles[-1]
    return tuple(sorted({edge for edge in quantiles[1:-1] if edge < high})), low, high


def _bin_names(edges: Sequence[float], low: float, high: float) -> tuple[str, ...]:
    """Names like "0.12 to 0.4" with just as many digits as keep the edges apart."""
    limits = [low, *edges, high]
    texts: list[str] = []
    for digits in range(2, 17):
        texts = [f"{limit:.{digits}g}" for limit in limits]
        if len(set(texts)) == len(set(limits)):
            break
    names = [f"{a} to {b}" if a != b else a for a, b in pairwise(texts)]
    return tuple(names)


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
    selection: Selection, factors: Sequence[Factor], columns: str, keys: str, sums: str, condition: str
) -> list[pd.DataFrame]:
    """One table a factor, from one pass: sums by its level (position ``level``) and further keys.

    Args:
        columns: SQL of the columns read from ``p`` and ``s``, with their names.
        keys: Names of the further keys. sums: SQL of the sums, with their names. condition: SQL of the rows that count.
    """
    if not factors:
        return []
    levels = ", ".join(f"{level_key(selection, factor)} AS k{i}" for i, factor in enumerate(factors))
    texts = ", ".join(f"GROUPING(k{i}) AS g{i}, CAST(k{i} AS VARCHAR) AS l{i}" for i in range(len(factors)))
    sets = ", ".join(f"(k{i}, {keys})" for i in range(len(factors)))
    frame = selection.query(
        f"SELECT {texts}, {keys}, {sums} FROM ({selection.joined(f'{columns}, {levels}')}) WHERE {condition} "
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
