"""Tables of groups, of spreads over a factor's levels, of interactions and of the course over training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from workbench.lenses.bias.cube import Cube, Factor, Margin
from workbench.lenses.bias.sample_metrics import Metric
from workbench.lenses.bias.uncertainty import (
    contrast_of_four,
    difference_interval,
    fisher_exact,
    mean_interval,
    null_gaps,
    variance,
    welch_p,
)
from workbench.lenses.intervals import benjamini_hochberg

#: Simulated repetitions of the null band.
NULL_DRAWS = 2000
#: Largest number of factors whose combinations form groups.
MAX_ORDER = 3
#: A split of more possible groups than this is not listed in the table of triples.
MAX_GROUPS = 20_000


def cube_of(factors: Sequence[Factor], codes: Int[np.ndarray, "N F"], value: Float[np.ndarray, " N"]) -> Cube:
    """The cube of samples held in memory: their levels' positions and the value of each (1 or 0 for right or wrong).

    The halves are odd and even rows.
    """
    shape = (*(len(factor.levels) for factor in factors), 2)
    parts = (*(codes[:, axis] for axis in range(len(factors))), np.arange(len(codes)) % 2)
    flat = np.ravel_multi_index(parts, shape)
    n = np.bincount(flat, minlength=int(np.prod(shape)))
    used = np.flatnonzero(n)
    total, squares = (np.bincount(flat, values, len(n))[used] for values in (value, value**2))
    *levels, half = np.unravel_index(used, shape)
    return Cube(tuple(factors), np.stack(levels, axis=1).astype(np.int64), n[used].astype(float), total, squares, half)


def group_table(cube: Cube, metric: Metric, min_support: int) -> pd.DataFrame:
    """One row a group of one, two or three factors, tested against all other samples; without q."""
    frames = []
    for order in range(1, min(MAX_ORDER, len(cube.factors)) + 1):
        for axes in combinations(range(len(cube.factors)), order):
            size = int(np.prod([len(cube.factors[axis].levels) for axis in axes]))
            if size <= MAX_GROUPS:
                frames.append(_groups_of(cube, axes, metric, min_support))
    columns = ["order", "factors", "group", "factor_1", "level_1", "n", "value", "low", "high", "gap", "p", "tested"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def _groups_of(cube: Cube, axes: Sequence[int], metric: Metric, min_support: int) -> pd.DataFrame:
    margin, whole = cube.margin(axes), cube.margin(())
    compared = against_rest(margin.n, margin.total, margin.squares, whole, metric)
    n_rest, total_rest, squares_rest = whole.n - margin.n, whole.total - margin.total, whole.squares - margin.squares
    tested = (margin.n >= min_support) & (n_rest >= min_support)
    p = np.full(len(margin.n), np.nan)
    if metric.counted:
        p[tested] = fisher_exact(margin.total[tested], margin.n[tested], float(whole.total[0]), float(whole.n[0]))
    else:
        inside, outside = variance(margin.n, margin.total, margin.squares), variance(n_rest, total_rest, squares_rest)
        p[tested] = welch_p(margin.n, compared["value"], inside, n_rest, compared["rest"], outside)[tested]
    named = _names(cube.factors, axes, margin.codes)
    return pd.DataFrame(named | {"n": margin.n.astype(np.int64)} | compared | {"p": p, "tested": tested})


def against_rest(
    n: Float[np.ndarray, " G"],
    total: Float[np.ndarray, " G"],
    squares: Float[np.ndarray, " G"],
    whole: Margin,
    metric: Metric,
) -> dict[str, Float[np.ndarray, " G"]]:
    """value, low, high of groups; rest, the value of all other samples; gap = value - rest with gap_low, gap_high.

    Args:
        n, total, squares: Sums of each group. whole: Those of all samples, the groups' among them.
    """
    value, low, high = mean_interval(n, total, squares, metric)
    others = whole.n - n, whole.total - total, whole.squares - squares
    rest, rest_low, rest_high = mean_interval(*others, metric)
    gap_low, gap_high = difference_interval(value, (low, high), rest, (rest_low, rest_high))
    return {
        "value": value,
        "low": low,
        "high": high,
        "rest": rest,
        "gap": value - rest,
        "gap_low": gap_low,
        "gap_high": gap_high,
    }


def _names(factors: Sequence[Factor], axes: Sequence[int], codes: Int[np.ndarray, "G K"]) -> dict[str, Any]:
    levels = [np.array(factors[axis].levels, dtype=object)[codes[:, i]] for i, axis in enumerate(axes)]
    titles = [f"{factors[axis].name}: " + level for axis, level in zip(axes, levels, strict=True)]
    group = titles[0]
    for title in titles[1:]:
        group = group + " · " + title
    named: dict[str, Any] = {
        "order": np.full(len(codes), len(axes)),
        "factors": " × ".join(factors[axis].name for axis in axes),
        "group": group,
    }
    for i, (axis, level) in enumerate(zip(axes, levels, strict=True), start=1):
        named |= {f"factor_{i}": factors[axis].name, f"level_{i}": level}
    return named


def spread_table(cube: Cube, metric: Metric, min_support: int, rng: np.random.Generator) -> pd.DataFrame:
    """One row a factor: best against worst tested level, and what chance alone makes of that gap."""
    whole = cube.margin(())
    mean, sd = float(whole.total[0] / whole.n[0]), 0.0
    if whole.n[0] > 1:
        sd = float(np.sqrt(variance(whole.n, whole.total, whole.squares)[0]))
    rows = []
    for axis, factor in enumerate(cube.factors):
        margin = cube.margin((axis,))
        tested = margin.n >= min_support
        if tested.sum() < 2:
            continue
        values, levels = (margin.total / margin.n)[tested], margin.codes[tested, 0]
        best, worst = (values.argmax(), values.argmin()) if metric.share else (values.argmin(), values.argmax())
        gap = float(abs(values[best] - values[worst]))
        null = null_gaps(margin.n[tested], mean, sd, metric.counted, NULL_DRAWS, rng)
        rows.append(
            {
                "factor": factor.name,
                "worst": factor.levels[levels[worst]],
                "worst_value": values[worst],
                "best": factor.levels[levels[best]],
                "best_value": values[best],
                "gap": gap,
                "ratio": values.min() / values.max() if values.max() > 0 else np.nan,
                "null_95": float(np.quantile(null, 0.95)),
                "p": (1 + int((null >= gap - 1e-12).sum())) / (1 + len(null)),
                "groups": int(tested.sum()),
            }
        )
    columns = ("factor", "worst", "worst_value", "best", "best_value", "gap", "ratio", "null_95", "p", "groups")
    frame = pd.DataFrame(rows, columns=list(columns))
    frame["q"] = benjamini_hochberg(frame["p"].to_numpy(dtype=float))
    return frame.sort_values("gap", ascending=False, ignore_index=True)


def interaction_table(cube: Cube, metric: Metric, min_support: int) -> pd.DataFrame:
    """One row a pair of levels of two factors: does the pair cost more than the sum of what each costs alone?

    With a = "has level a", b = "has level b": value = m(a, b), expected = m(a, not b) + m(not a, b) − m(not a, not b),
    extra = value − expected (a difference in differences on the scale of the metric). All four groups must reach the
    smallest support. ``lowest``: worse than each of the three other groups, so that "together they hurt more" is the
    right reading; for factors of two levels the other rows hold the same contrast up to its sign.
    """
    frames = []
    for first, second in combinations(range(len(cube.factors)), 2):
        frame = _interactions_of(cube, first, second, metric, min_support)
        if len(frame):
            frames.append(frame)
    columns = ["factors", "group", "factor_1", "level_1", "factor_2", "level_2", "n", "value", "extra", "p", "lowest"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def _interactions_of(cube: Cube, first: int, second: int, metric: Metric, min_support: int) -> pd.DataFrame:
    shape = (len(cube.factors[first].levels), len(cube.factors[second].levels))
    margin = cube.margin((first, second))
    tables = [np.zeros(shape) for _ in range(3)]
    for table, values in zip(tables, (margin.n, margin.total, margin.squares), strict=True):
        table[margin.codes[:, 0], margin.codes[:, 1]] = values
    a, b = (index.ravel() for index in np.indices(shape))
    n, total, squares = (_four(table, a, b) for table in tables)  # [G, 4]: with both, a only, b only, neither
    kept = (n >= min_support).all(axis=1)
    if not kept.any():
        return pd.DataFrame()
    codes = np.stack([a, b], axis=1)[kept]
    n, total, squares = n[kept], total[kept], squares[kept]
    extra, extra_low, extra_high, p = contrast_of_four(n, total, squares, metric.counted)
    mean, low, high = mean_interval(n[:, 0], total[:, 0], squares[:, 0], metric)
    means = total / n
    others = means[:, 1:].min(axis=1) if metric.share else means[:, 1:].max(axis=1)
    columns = _names(cube.factors, (first, second), codes) | {
        "n": n[:, 0].astype(np.int64),
        "value": mean,
        "low": low,
        "high": high,
        "first_only": means[:, 1],
        "second_only": means[:, 2],
        "neither": means[:, 3],
        "expected": means[:, 1] + means[:, 2] - means[:, 3],
        "extra": extra,
        "extra_low": extra_low,
        "extra_high": extra_high,
        "p": p,
        "lowest": mean < others if metric.share else mean > others,
    }
    return pd.DataFrame(columns)


def _four(table: Float[np.ndarray, "A B"], a: Int[np.ndarray, " G"], b: Int[np.ndarray, " G"]) -> np.ndarray:
    both, of_a, of_b = table[a, b], table.sum(axis=1)[a], table.sum(axis=0)[b]
    return np.stack([both, of_a - both, of_b - both, table.sum() - of_a - of_b + both], axis=1)


def corrected(groups: pd.DataFrame, interactions: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    """Both tables with q: one correction for groups of one or two factors and interactions, another for triples.

    Benjamini and Hochberg's, so that of what is called a difference 5 % are expected to be none.

    Returns:
        The tables, and the number of tests of the first family.
    """
    groups, interactions = groups.copy(), interactions.copy()
    few = (groups["order"] <= 2).to_numpy(dtype=bool)
    p = np.concatenate([groups["p"].to_numpy(dtype=float)[few], interactions["p"].to_numpy(dtype=float)])
    q = benjamini_hochberg(p)
    of_groups = np.full(len(groups), np.nan)
    of_groups[few] = q[: few.sum()]
    of_groups[~few] = benjamini_hochberg(groups["p"].to_numpy(dtype=float)[~few])
    groups["q"], interactions["q"] = of_groups, q[few.sum() :]
    return groups, interactions, int((~np.isnan(p)).sum())


def history_table(cubes: Mapping[int, Cube], metric: Metric) -> pd.DataFrame:
    """Value and limits of every group of one factor, and of all samples (factor ""), at every step."""
    frames = []
    for step, cube in cubes.items():
        for axis in (None, *range(len(cube.factors))):
            margin = cube.margin(() if axis is None else (axis,))
            value, low, high = mean_interval(margin.n, margin.total, margin.squares, metric)
            frames.append(
                pd.DataFrame(
                    {
                        "step": step,
                        "factor": "" if axis is None else cube.factors[axis].name,
                        "level": _levels(cube, axis, margin),
                        "n": margin.n.astype(np.int64),
                        "value": value,
                        "low": low,
                        "high": high,
                    }
                )
            )
    return pd.concat(frames, ignore_index=True)


def _levels(cube: Cube, axis: int | None, margin: Margin) -> list[str]:
    if axis is None:
        return ["all samples"]
    return [cube.factors[axis].levels[code] for code in margin.codes[:, 0]]
