"""The factors that samples are grouped by, with their levels: recorded values, or bins of a continuous attribute."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from workbench.core import ConfigError
from workbench.core.schema import RESERVED_SAMPLE_COLUMNS
from workbench.lenses.bias.cube import UNKNOWN_LEVEL, Factor, Selection, is_float, is_numeric, quoted

#: A column with more distinct values than this is an identifier or a measurement, not a set of groups.
MAX_LEVELS = 60
#: An undeclared column of numbers with more distinct values than this is cut into bins.
MAX_NUMERIC_LEVELS = 12
#: A whole number that so few samples share on average is an identifier: it is not cut into bins.
MIN_SHARED = 10

#: What bins have equally: samples, or a stretch of the attribute.
EQUAL = ("counts", "widths")


@dataclass(frozen=True)
class Binning:
    """How a continuous attribute is cut into levels.

    Attributes:
        n: Number of bins.
        equal: Bins hold equally many samples (``counts``: intervals of their values are alike in width), or span
            equally much of the attribute (``widths``: outer bins may hold few samples).
        edges: Inner edges of single attributes, by name, in place of both; a value on an edge belongs below it.
    """

    n: int = 4
    equal: str = "counts"
    edges: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.n < 2 or self.equal not in EQUAL:
            raise ConfigError(
                f"bins must be at least 2 and equal in 'counts' or 'widths'; got {self.n} and {self.equal!r}."
            )
        for name, edges in self.edges.items():
            if not edges or not all(map(math.isfinite, edges)):
                raise ConfigError(f"The edges of '{name}' must be finite numbers; got {list(edges)}.")


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
    selection: Selection, chosen: Sequence[str] | None, bins: Binning
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
    selection: Selection, columns: Mapping[str, str], bins: Binning
) -> tuple[tuple[Factor, ...], tuple[str, ...]]:
    if not columns:
        return (), ()
    counts = ", ".join(
        f"approx_count_distinct(s.{quoted(column)}) AS d{i}, "
        f"count(*) FILTER (WHERE {selection.missing(column)}) AS m{i}"
        for i, column in enumerate(columns.values())
    )
    summary = selection.of_samples(f"{counts}, count(*) AS n").iloc[0]
    distinct_values = {column: int(summary[f"d{i}"]) for i, column in enumerate(columns.values())}
    found = _distinct(selection, [column for column, n in distinct_values.items() if n <= 2 * MAX_LEVELS])
    factors, notes = [], []
    for i, (name, column) in enumerate(columns.items()):
        distinct, extra = distinct_values[column], (UNKNOWN_LEVEL,) if summary[f"m{i}"] else ()
        values = (distinct, found.get(column), float(summary["n"]) / max(distinct, 1))
        factor = _factor(selection, name, column, values, bins, extra)
        if factor is None:
            notes.append(f"'{name}' was left out: {distinct} different values are too many to form groups.")
        elif len(factor.levels) < 2:
            what = "lie in one bin" if name in bins.edges else "share one value"
            notes.append(f"'{name}' was left out: all samples {what}.")
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
    values: tuple[int, list[str] | None, float],
    bins: Binning,
    extra: tuple[str, ...],
) -> Factor | None:
    """One factor with its levels; None when it has too many for groups.

    Args:
        values: The number of its values, their list where they are few, and how many samples share one on average.
    """
    distinct, found, shared = values
    kind = selection.sample_types[column]
    attribute = next((a for a in selection.run.info.attributes if a.name == name), None)
    declared_kind = attribute.kind if attribute else None
    if is_numeric(kind) and distinct and _is_binned(name, kind, declared_kind, distinct, shared, bins):
        edges, low, high = _edges(selection, name, column, bins)
        return Factor(name, column, (*_bin_names(edges, low, high), *extra), edges)
    if found is None or len(found) > MAX_LEVELS:
        return None
    declared = [level for level in attribute.levels if level in found] if attribute else []
    stored = (*declared, *(level for level in found if level not in declared))
    return Factor(name, column, (*_shown(selection, column, stored), *extra), stored=stored)


def _shown(selection: Selection, column: str, stored: tuple[str, ...]) -> tuple[str, ...]:
    """Class names in place of class numbers; other levels as they are stored."""
    return shown_classes(selection, stored) if column == selection.target else stored


def shown_classes(selection: Selection, stored: Sequence[str]) -> tuple[str, ...]:
    """Classes as the task names them, where they are stored as its numbers."""
    task = next((task for task in selection.run.info.tasks if task.name == selection.task), None)
    names = dict(zip(map(str, range(len(task.classes))), task.classes, strict=True)) if task else {}
    return tuple(names.get(level, level) for level in stored)


def _is_binned(name: str, kind: str, declared: str | None, distinct: int, shared: float, bins: Binning) -> bool:
    """Whether a column of numbers is cut: declared so, given edges, or too many values that are no identifier."""
    if declared == "continuous" or name in bins.edges:
        return True
    if is_float(kind):
        return distinct > (MAX_LEVELS if declared else MAX_NUMERIC_LEVELS)
    return declared != "categorical" and distinct > MAX_LEVELS and shared >= MIN_SHARED


def _edges(selection: Selection, name: str, column: str, bins: Binning) -> tuple[tuple[float, ...], float, float]:
    """Inner bin edges (those that coincide count once), smallest and largest value."""
    shares = [i / bins.n for i in range(bins.n + 1)]
    sql = f"quantile_disc(CAST(s.{quoted(column)} AS DOUBLE), {shares}) AS q"
    quantiles = [float(value) for value in selection.of_samples(sql, f"NOT {selection.missing(column)}")["q"][0]]
    low, high = quantiles[0], quantiles[-1]
    if name in bins.edges:
        inner = bins.edges[name]
    elif bins.equal == "widths":
        inner = tuple(low + share * (high - low) for share in shares[1:-1])
    else:
        inner = tuple(quantiles[1:-1])
    return tuple(sorted({float(edge) for edge in inner if low <= edge < high})), low, high


def _bin_names(edges: Sequence[float], low: float, high: float) -> tuple[str, ...]:
    """Names like "0.12 to 0.4" with just as many digits as keep the edges apart."""
    limits = [low, *edges, high]
    texts: list[str] = []
    for digits in range(2, 17):
        texts = [_number(limit, digits) for limit in limits]
        if len(set(texts)) == len(set(limits)):
            break
    names = [f"{a} to {b}" if a != b else a for a, b in pairwise(texts)]
    return tuple(names)


def _number(value: float, digits: int) -> str:
    """So many significant digits; whole numbers below ten thousand keep all of theirs."""
    if 1 <= abs(value) < 10_000:
        text = f"{value:.{max(digits - len(str(int(abs(value)))), 0)}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:.{digits}g}"
