"""From the probe's losses to the predicted cost of sharing: the number of the forecast, and the only file to change it.

An estimator turns the measurements into one number for every seed and ordered pair: C[r, i, j], what sharing with task
i costs task j. Everything else (intervals, calls, groups, verdicts) follows from those numbers.

The default, :func:`loss_cost`, is

    C_ij = (min over marks of L_j trained with i  -  min over marks of L_j trained alone) / L_j at the start

with held-out losses of trajectories from the same weights on the same batches. Minima, because whoever trains stops
at the best loss; the loss at the start, because progress of a task that learns nothing is no unit. It ranks pairs the
more like their realised cost the longer the trajectories are. The cosine at the start does not: before anything is
learnt all tasks pull the outputs to their means, alike, also those that will contradict each other later. Where there
is no time to train pairs, :func:`lookahead_cost` stands in.

Sources: the comparison with training alone is the definition of negative transfer; the estimator is ours. Lookahead:
Fifty et al. 2021, arXiv:2109.04617.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from workbench.core.gramian import student95
from workbench.forecast.measured import Measured
from workbench.lenses.intervals import benjamini_hochberg

#: Measurements -> cost for task j (last axis) of sharing with task i, per seed; NaN on the diagonal.
Estimator = Callable[[Measured], Float[np.ndarray, "R T T"]]
#: A conflict is called only when the cost is surely above this: short trajectories overstate the price of sharing a
#: narrow network with an unrelated task a little.
MARGIN = 0.02
#: Sharing surely costs and brings less than this: "neither".
NEGLIGIBLE = 0.05
FALSE_DISCOVERY_RATE = 0.05


@dataclass(frozen=True)
class Mean:
    """Means over R seeds with their 95 % intervals (Student's t); infinite limits with one seed, NaN where unknown."""

    value: Float[np.ndarray, "..."]
    low: Float[np.ndarray, "..."]
    high: Float[np.ndarray, "..."]


def loss_cost(measured: Measured) -> Float[np.ndarray, "R T T"]:
    """The default estimator; see the module docstring."""
    best = _lowest(measured.alone)  # [R, T]
    scale = np.maximum(np.abs(measured.alone[:, 0]), measured.alone[:, 0] - best)
    n_seeds, n_tasks = best.shape
    cost = np.full((n_seeds, n_tasks, n_tasks), np.nan)
    with_other = _lowest(np.moveaxis(_pair_losses(measured), 1, -1), axis=-1)  # [R, P, 2]
    for p, (i, j) in enumerate(pairs_of(n_tasks)):
        cost[:, j, i] = (with_other[:, p, 0] - best[:, i]) / scale[:, i]
        cost[:, i, j] = (with_other[:, p, 1] - best[:, j]) / scale[:, j]
    return cost


def lookahead_cost(measured: Measured) -> Float[np.ndarray, "R T T"]:
    """-Z_ij / Z_jj, averaged along the joint trajectory: 1 means that i's step undoes what j's own step gains."""
    known = np.isfinite(measured.lookahead)
    count = known.sum(axis=1)
    table = np.where(known, measured.lookahead, 0.0).sum(axis=1) / np.where(count > 0, count, np.nan)  # [R, T, T]
    own = np.einsum("rjj->rj", table)
    cost = -table / np.where(own > 0, own, np.nan)[:, None, :]
    diagonal = np.eye(table.shape[-1], dtype=bool)
    return np.where(diagonal, np.nan, cost)


def default_estimator(measured: Measured) -> Estimator:
    """Trajectories of pairs where the probe had the time for them, else lookahead."""
    return loss_cost if measured.has_pairs or measured.alone.shape[-1] == 2 else lookahead_cost


def together_cost(measured: Measured) -> Float[np.ndarray, "R T"]:
    """What training all tasks together costs each of them, as in :func:`loss_cost`."""
    best = _lowest(measured.alone)
    scale = np.maximum(np.abs(measured.alone[:, 0]), measured.alone[:, 0] - best)
    return (_lowest(measured.together) - best) / scale


def over_seeds(values: Float[np.ndarray, "R ..."]) -> Mean:
    """Mean over seeds with Student's interval."""
    n = len(values)
    if n == 0:
        unknown = np.full(values.shape[1:], np.nan)
        return Mean(unknown, unknown, unknown)
    mean = values.mean(axis=0)
    if n == 1:
        return Mean(mean, np.where(np.isnan(mean), np.nan, -np.inf), np.where(np.isnan(mean), np.nan, np.inf))
    half = student95(n - 1) * values.std(axis=0, ddof=1) / np.sqrt(n)
    return Mean(mean, mean - half, mean + half)


def calls(values: Float[np.ndarray, "R P"], margin: float = MARGIN, negligible: float = NEGLIGIBLE) -> list[str]:
    """What each pair's interval says: conflict, help, neither, or undetermined.

    "conflict": the interval lies above ``margin``; "help": below 0; both only as far as the false discovery rate over
    all pairs stays at 5 % (Benjamini-Hochberg). "neither": it lies within ± ``negligible``.
    """
    from scipy.stats import t

    found, n = over_seeds(values), len(values)
    if n < 2:
        return ["undetermined"] * values.shape[1]
    se = values.std(axis=0, ddof=1) / np.sqrt(n)
    with np.errstate(divide="ignore", invalid="ignore"):
        above, below = (found.value - margin) / se, found.value / se
    p = 2 * np.fmin(t.sf(above, n - 1), t.cdf(below, n - 1))
    p = np.where(se == 0, np.where((found.value > margin) | (found.value < 0), 0.0, 1.0), p)
    sure = np.nan_to_num(benjamini_hochberg(p), nan=1.0) < FALSE_DISCOVERY_RATE
    said = []
    for k, certain in enumerate(sure):
        low, high = found.low[k], found.high[k]
        if certain and low > margin:
            said.append("conflict")
        elif certain and high < 0:
            said.append("help")
        else:
            said.append("neither" if low > -negligible and high < negligible else "undetermined")
    return said


def seeds_to_settle(values: Float[np.ndarray, "R P"], margin: float = MARGIN) -> Int[np.ndarray, " P"]:
    """Seeds with which a pair's interval would leave the undecided range if its mean stayed; at most 999.

    The range is from 0 (help below) to ``margin`` (conflict above); a mean inside it would take the width of
    :data:`NEGLIGIBLE` to be called "neither".
    """
    mean, deviation = values.mean(axis=0), values.std(axis=0, ddof=1)
    distance = np.where(mean > margin, mean - margin, np.where(mean < 0, -mean, np.nan))
    inside = NEGLIGIBLE - np.abs(mean)
    distance = np.where(np.isnan(distance), inside, np.fmax(distance, inside))
    wanted = np.full(values.shape[1], 999)
    for n in range(998, 1, -1):
        wanted = np.where(student95(n - 1) * deviation / np.sqrt(n) < distance, n, wanted)
    return wanted


def pairs_of(n_tasks: int) -> list[tuple[int, int]]:
    """All pairs i < j, in the order of every table."""
    return [(i, j) for i in range(n_tasks) for j in range(i + 1, n_tasks)]


def _pair_losses(measured: Measured) -> Float[np.ndarray, "R S P 2"]:
    """With two tasks the joint trajectory is the pair's."""
    return measured.together[:, :, None, :] if measured.alone.shape[-1] == 2 else measured.paired


def _lowest(losses: Float[np.ndarray, "..."], axis: int = 1) -> Float[np.ndarray, "..."]:
    """The lowest finite loss over the marks; NaN where none is finite."""
    finite = np.where(np.isfinite(losses), losses, np.inf).min(axis=axis)
    return np.where(np.isfinite(finite), finite, np.nan)
