"""Which samples make up a group, and how a set of samples that somebody chose compares with all others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from workbench.core import ConfigError, Run
from workbench.lenses.bias.cube import Factor, Selection, level_key, select
from workbench.lenses.bias.groups import against_rest
from workbench.lenses.bias.sample_metrics import value_sql
from workbench.lenses.bias.statistics import Bias
from workbench.lenses.bias.words import difference_range, difference_text, range_text, value_text
from workbench.lenses.words import count


def group_members(run: Run, stats: Bias, group: str) -> list[int]:
    """Ids of the samples of a row of ``stats.groups``, by its ``group``, that have a value at the step studied.

    Raises:
        ConfigError: there is no such group.
    """
    rows = stats.groups[stats.groups["group"] == group]
    if not len(rows):
        raise ConfigError(f"There is no group '{group}' among these factors.")
    row = rows.iloc[0]
    factors = {factor.name: factor for factor in stats.factors}
    selection = select(run, stats.task, stats.split)
    conditions: list[str] = []
    values: dict[str, str] = {}
    for i in range(1, int(row["order"]) + 1):
        condition, stored = _of_level(selection, factors[row[f"factor_{i}"]], row[f"level_{i}"], f"level_{i}")
        conditions.append(condition)
        values |= stored
    return _ids(selection, stats, " AND ".join(conditions), values)


def pocket_members(stats: Bias, pocket: int) -> list[int]:
    """Ids of the searched samples inside a neighbourhood of the embedding, of both halves."""
    if stats.pockets is None or pocket not in set(stats.pockets.found["pocket"]):
        raise ConfigError(f"There is no pocket {pocket} in this embedding.")
    points = stats.pockets.points
    return [int(sample) for sample in points.loc[points["pocket"] == pocket, "sample"]]


def chosen_group(run: Run, stats: Bias, samples: Sequence[int], title: str) -> pd.DataFrame:
    """The chosen samples as one row like those of ``stats.groups``; no row where none of them has a value.

    It is not tested (p is NaN): whoever chose the samples may have seen their answers.
    """
    selection = select(run, stats.task, stats.split)
    inner = selection.joined(f"{value_sql(selection, stats.measured)} AS v")
    frame = run.query(
        f"SELECT count(v) AS n, coalesce(sum(v), 0) AS total, coalesce(sum(v * v), 0) AS squares FROM "
        f"({inner} AND p.step = $step AND p.sample IN (SELECT unnest($ids)))",
        _parameters(stats) | {"ids": [int(sample) for sample in samples]},
    )
    n, total, squares = (frame[name].to_numpy(dtype=float) for name in ("n", "total", "squares"))
    if not n[0]:
        return pd.DataFrame()
    compared = against_rest(n, total, squares, stats.cube.margin(()), stats.measured)
    return pd.DataFrame(
        {"order": 0, "group": title, **compared, "n": n.astype(np.int64), "p": np.nan, "q": np.nan, "tested": False}
    )


def chosen_words(stats: Bias, row: Mapping[Any, Any]) -> str:
    """One sentence on the row of :func:`chosen_group`."""
    value, gap = value_text(row["value"], stats.share), difference_text(row["gap"], stats.share)
    says = stats.measured.says.format(value)
    limits = range_text(row["low"], row["high"], stats.share)
    if np.isnan(row["gap"]):
        return f"The selection holds all {count(row['n'])} samples; they {says} (95 % interval {limits})."
    side = "above" if row["gap"] > 0 else "below"
    return (
        f"The selection: its samples {says} (task {stats.task}, 95 % interval {limits}, {count(row['n'])} samples), "
        f"{gap} {side} all others (95 % interval {difference_range(row['gap_low'], row['gap_high'], stats.share)}). "
        "This describes and is no test: samples that were chosen for their errors look bad by choice."
    )


def _of_level(selection: Selection, factor: Factor, level: str, name: str) -> tuple[str, dict[str, str]]:
    """SQL condition that a sample has a level, with its parameter."""
    key, position = level_key(selection, factor), factor.levels.index(level)
    stored = factor.stored or tuple(str(i) for i in range(len(factor.edges) + 1))
    if position >= len(stored):
        return f"({key}) IS NULL", {}
    return f"CAST({key} AS VARCHAR) = ${name}", {name: stored[position]}


def _ids(selection: Selection, stats: Bias, condition: str, values: dict[str, str]) -> list[int]:
    inner = selection.joined(f"p.sample AS sample, {value_sql(selection, stats.measured)} AS v")
    frame = selection.run.query(
        f"SELECT DISTINCT sample FROM ({inner} AND p.step = $step AND {condition}) WHERE v IS NOT NULL ORDER BY sample",
        _parameters(stats) | values,
    )
    return [int(sample) for sample in frame["sample"]]


def _parameters(stats: Bias) -> dict[str, Any]:
    return {"task": stats.task, "step": stats.step} | ({} if stats.split is None else {"split": stats.split})
