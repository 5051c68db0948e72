"""How much of the gap between the best and the worst case each factor accounts for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from math import factorial

import numpy as np
import pandas as pd
from jaxtyping import Float

from workbench.lenses.bias.cube import Cube
from workbench.lenses.bias.logistic import COLUMNS, logistic_table
from workbench.lenses.bias.opening import opened
from workbench.lenses.bias.sample_metrics import Metric
from workbench.lenses.bias.uncertainty import variance

#: Every one of the 2^m cells needs so many samples, else the factor with the least gap is left out. Our choice.
MIN_CELL = 10
#: At most so many factors share the gap.
MAX_FACTORS = 5
#: Bootstrap repetitions within the cells.
REPETITIONS = 1000


@dataclass(frozen=True)
class Attribution:
    """The way from samples at the worst level of every factor to samples at none of them.

    Attributes:
        parts: One row a factor: its worst level, Shapley value phi with limits; the values add up to end − start.
        pairs: One row a pair of factors: Shapley interaction index with limits, and ``extra`` with limits: what both at
            their worst cost beyond the sum of each, above 0 whatever the metric.
        start, end: Value where all factors are at their worst level, and where none is, with limits.
        gap: end − start, with limits.
        left_out: Factors for which there were too few samples.
        logistic: The same factors and pairs on the scale of odds, where answers are right or wrong; see
            :func:`workbench.lenses.bias.logistic.logistic_table`.
    """

    parts: pd.DataFrame
    pairs: pd.DataFrame
    start: tuple[float, float, float]
    end: tuple[float, float, float]
    gap: tuple[float, float, float]
    left_out: tuple[str, ...]
    logistic: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(COLUMNS)))


def shapley_values(v: Float[np.ndarray, "... V"], m: int) -> Float[np.ndarray, "... m"]:
    """φ_i = Σ_{S ∌ i} |S|! (m − |S| − 1)! / m! [v(S ∪ i) − v(S)], with v indexed by the bits of S."""
    phi = np.zeros((*v.shape[:-1], m))
    for i in range(m):
        for subset in range(2**m):
            if not subset >> i & 1:
                size = subset.bit_count()
                weight = factorial(size) * factorial(m - size - 1) / factorial(m)
                phi[..., i] += weight * (v[..., subset | 1 << i] - v[..., subset])
    return phi


def shapley_interactions(v: Float[np.ndarray, "... V"], m: int) -> Float[np.ndarray, "... Q"]:
    """Shapley interaction index of every pair i < j, in the order of ``itertools.combinations``.

    Σ_{S ∌ i, j} |S|! (m − |S| − 2)! / (m − 1)! [v(S ∪ ij) − v(S ∪ i) − v(S ∪ j) + v(S)] (Grabisch and Roubens 1999).
    """
    pairs = list(combinations(range(m), 2))
    index = np.zeros((*v.shape[:-1], len(pairs)))
    for at, (i, j) in enumerate(pairs):
        for subset in range(2**m):
            if not subset >> i & 1 and not subset >> j & 1:
                size = subset.bit_count()
                weight = factorial(size) * factorial(m - size - 2) / factorial(m - 1)
                change = v[..., subset | 1 << i | 1 << j] - v[..., subset | 1 << i] - v[..., subset | 1 << j]
                index[..., at] += weight * (change + v[..., subset])
    return index


def attribute(cube: Cube, spread: pd.DataFrame, metric: Metric, rng: np.random.Generator) -> Attribution | None:
    """Split the gap between "every factor at its worst level" and "none" among the factors; None without factors.

    v(S) is the value over samples where the factors in S are at another than their worst level and all others are at
    it. Limits are percentiles of a bootstrap within the 2^m cells; they do not count that the worst levels were chosen
    by the same samples. Source: Shapley 1953; the choice of v follows aligned and conflicting bias factors.
    """
    worst = {row["factor"]: row["worst"] for _, row in spread.iterrows()}
    names = [str(name) for name in spread["factor"][:MAX_FACTORS]]
    while names:
        if _cells(cube, names, worst)[0].min() >= MIN_CELL:
            break
        names.pop()
    if not names:
        return None
    left_out = tuple(factor.name for factor in cube.factors if factor.name not in names)
    found = _shared_out(cube, names, worst, metric, rng, left_out)
    if not metric.counted:
        return found
    n, total, _ = _cells(cube, names, worst)
    return replace(found, logistic=logistic_table(n[::-1], total[::-1], names))


def _shared_out(
    cube: Cube,
    names: list[str],
    worst: dict[str, str],
    metric: Metric,
    rng: np.random.Generator,
    left_out: tuple[str, ...] = (),
) -> Attribution:
    n, total, squares = _cells(cube, names, worst)
    m, v = len(names), total / n
    draws = _resampled(n, total, squares, metric, rng)
    phi, drawn = shapley_values(v, m), shapley_values(draws, m)
    index, drawn_index = shapley_interactions(v, m), shapley_interactions(draws, m)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    parts = pd.DataFrame({"factor": names, "worst": [worst[name] for name in names], "phi": phi})
    parts["low"], parts["high"] = low, high
    pairs = pd.DataFrame(list(combinations(names, 2)), columns=["factor_1", "factor_2"]).assign(interaction=index)
    pairs["low"], pairs["high"] = np.quantile(drawn_index, [0.025, 0.975], axis=0) if m > 1 else (index, index)
    harm = ["interaction", "low", "high"] if not metric.share else ["interaction", "high", "low"]
    pairs[["extra", "extra_low", "extra_high"]] = pairs[harm] * (-1 if metric.share else 1)
    gap = draws[:, -1] - draws[:, 0]
    low_gap, high_gap = (float(limit) for limit in np.quantile(gap, [0.025, 0.975]))
    return Attribution(
        parts, pairs, _end(v, draws, 0), _end(v, draws, -1), (float(v[-1] - v[0]), low_gap, high_gap), left_out
    )


def attribution_history(
    cubes: Mapping[int, Cube], attribution: Attribution | None, metric: Metric, rng: np.random.Generator
) -> pd.DataFrame:
    """The shares of the same factors, with the same worst levels, at every recorded step.

    Returns:
        step, factor ("" for the whole gap, of which the shares are parts), value (above 0 towards harm, whatever the
        metric), low, high; steps at which a cell has fewer than 10 samples are left out.
    """
    rows = []
    sign, limits = (1, ["low", "high"]) if metric.share else (-1, ["high", "low"])
    parts = [] if attribution is None else attribution.parts[["factor", "worst"]].to_dict("records")
    worst = {str(row["factor"]): str(row["worst"]) for row in parts}
    for step, cube in cubes.items() if worst else ():
        if _cells(cube, list(worst), worst)[0].min() < MIN_CELL:
            continue
        found = _shared_out(cube, list(worst), worst, metric, rng)
        whole = pd.DataFrame([("", *found.gap)], columns=["factor", "phi", "low", "high"])
        for frame in (whole, found.parts):
            signed = sign * frame[["phi", *limits]].set_axis(["value", "low", "high"], axis=1)
            rows.append(signed.assign(step=step, factor=frame["factor"]))
    columns = ["step", "factor", "value", "low", "high"]
    return pd.concat(rows, ignore_index=True)[columns] if rows else pd.DataFrame(columns=columns)


def share_openings(shares: pd.DataFrame, step: int) -> pd.DataFrame:
    """Between which recorded steps each factor's share surely opened: factor, before, opened, gap and its limits.

    Args:
        shares: Of :func:`attribution_history`. step: The step studied; later ones are not looked at.

    Returns:
        One row a factor of which it can be said, by the rule of :mod:`workbench.lenses.bias.opening`.
    """
    rows = []
    known = shares[(shares["step"] <= step) & (shares["factor"] != "")].rename(columns={"value": "gap"})
    for factor, own in known.groupby("factor", sort=False):
        found = opened(own.sort_values("step", ignore_index=True))
        if found is not None:
            rows.append({"factor": factor} | found)
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=["factor", "before", "opened", "gap", "low", "high"])


def _end(v: Float[np.ndarray, " V"], draws: Float[np.ndarray, "R V"], at: int) -> tuple[float, float, float]:
    low, high = np.quantile(draws[:, at], [0.025, 0.975])
    return float(v[at]), float(low), float(high)


def _cells(
    cube: Cube, names: list[str], worst: dict[str, str]
) -> tuple[Float[np.ndarray, " V"], Float[np.ndarray, " V"], Float[np.ndarray, " V"]]:
    """Sums over samples by the set of factors that are not at their worst level, as bits."""
    position = {factor.name: axis for axis, factor in enumerate(cube.factors)}
    subset = np.zeros(len(cube.n), dtype=np.int64)
    for bit, name in enumerate(names):
        axis = position[name]
        favourable = cube.codes[:, axis] != cube.factors[axis].levels.index(worst[name])
        subset |= favourable.astype(np.int64) << bit
    n, total, squares = (np.bincount(subset, values, 2 ** len(names)) for values in (cube.n, cube.total, cube.squares))
    return n, total, squares


def _resampled(
    n: Float[np.ndarray, " V"],
    total: Float[np.ndarray, " V"],
    squares: Float[np.ndarray, " V"],
    metric: Metric,
    rng: np.random.Generator,
) -> Float[np.ndarray, "R V"]:
    """Means of resampled cells: binomial for a proportion, normal with the cell's standard error otherwise."""
    if metric.counted:
        return rng.binomial(n.astype(np.int64), total / n, (REPETITIONS, len(n))) / n
    return rng.normal(total / n, np.sqrt(variance(n, total, squares) / n), (REPETITIONS, len(n)))
