"""Counterfactual replay: what each aggregator would have done on the recorded gradients, judged on other samples.

Each recorded step's mini-batches are cut into halves A and B. Weights w come from A alone (G^AA); the step they give is
scored on B: the first-order change of task i's loss is -eta (G^BA w)_i, with G^BA_ij = <g_i^B, g_j^A>. Both halves take
both parts. All methods take a step of the same length |J^T w|, since some only look better by stepping further.

    alignment  (G^BA w)_i / (|J^T w| u_i), u_i² the mean squared norm of task i: the cosine between the update and task
               i's gradient on samples it has not seen (attenuated by noise, alike for all methods); below 0 the update
               harms the task
    price of peace  1 - sum_s 1^T G^BA w / sum_s 1^T G^BA w_0 at equal length, w_0 the plain sum

First order only, one step at a time: a replay does not claim what another trajectory would have been, and momentum or
Adam change the step. Sources: the aggregators' papers (``aggregators``); scoring on the other half and the alignment
are our choice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from workbench.core.gramian import student95
from workbench.lenses.conflict.aggregators import AGGREGATORS, gradnorm, gradvac, next_target
from workbench.lenses.intervals import wilson

#: Methods of the board: those of G alone, then those that also need the steps before or the losses.
NAMES = (*(aggregator.name for aggregator in AGGREGATORS), "GradVac", "GradNorm")
#: Steps that are replayed, evenly spaced: fewer for many tasks, for the time of a page.
MAX_STEPS, STEP_BUDGET = 60, 6000


@dataclass(frozen=True)
class Halves:
    """Gramians of the mean gradients of two disjoint halves of every step's mini-batches; NaN where not recorded.

    ``ba[s, i, j]`` = <g_i^B, g_j^A>.
    """

    aa: Float[np.ndarray, "S T T"]
    ba: Float[np.ndarray, "S T T"]
    bb: Float[np.ndarray, "S T T"]


@dataclass(frozen=True)
class Replay:
    """A aggregators (the plain sum first) by T tasks, over the replayed steps.

    Attributes:
        alignment, low, high: Mean over steps with Student's 95 % interval.
        harmed, harmed_low, harmed_high: Share of replayed steps in which the task is harmed, with Wilson's interval.
        any_harmed: Share of replayed steps in which some task is harmed.
        price, price_low, price_high: Price of peace, with a delete-one-step jackknife interval.
        worst: Mean over steps of the worst task's alignment.
        worst_gain, worst_gain_low, worst_gain_high: The same minus that of the plain sum, paired by step.
        answered: Share of replayed steps with an answer (Nash-MTL has none for a singular Gramian).
    """

    names: tuple[str, ...]
    steps: Int[np.ndarray, " R"]
    alignment: Float[np.ndarray, "A T"]
    low: Float[np.ndarray, "A T"]
    high: Float[np.ndarray, "A T"]
    harmed: Float[np.ndarray, "A T"]
    harmed_low: Float[np.ndarray, "A T"]
    harmed_high: Float[np.ndarray, "A T"]
    any_harmed: Float[np.ndarray, " A"]
    price: Float[np.ndarray, " A"]
    price_low: Float[np.ndarray, " A"]
    price_high: Float[np.ndarray, " A"]
    worst: Float[np.ndarray, " A"]
    worst_gain: Float[np.ndarray, " A"]
    worst_gain_low: Float[np.ndarray, " A"]
    worst_gain_high: Float[np.ndarray, " A"]
    answered: Float[np.ndarray, " A"]

    @property
    def best(self) -> int | None:
        """The aggregator that lifts the worst task most, when that is beyond noise."""
        certain = np.flatnonzero(self.worst_gain_low > 0)
        return int(certain[np.argmax(self.worst_gain[certain])]) if len(certain) else None


def halves(dot: Float[np.ndarray, "S T K T K"]) -> Halves:
    """Mean gradients of the even and of the odd mini-batches; NaN with a single one."""
    n = dot.shape[-1]
    if n < 2:
        unknown = np.full((len(dot), dot.shape[1], dot.shape[1]), np.nan)
        return Halves(unknown, unknown, unknown)
    even, odd = np.arange(0, n, 2), np.arange(1, n, 2)

    def block(rows: Int[np.ndarray, " R"], columns: Int[np.ndarray, " C"]) -> Float[np.ndarray, "S T T"]:
        return dot[:, :, rows][..., columns].mean(axis=(2, 4))

    return Halves(block(even, even), block(odd, even), block(odd, odd))


def usable(found: Halves) -> Bool[np.ndarray, " S"]:
    """Steps at which every task has a finite gradient that is not 0 in both halves."""
    finite = np.isfinite(found.ba).all(axis=(1, 2))
    square = np.minimum(np.einsum("sii->si", found.aa), np.einsum("sii->si", found.bb))
    return finite & (np.nan_to_num(square) > 0).all(axis=1)


def replay(
    found: Halves, steps: Int[np.ndarray, " S"], losses: Float[np.ndarray, "S T"] | None = None
) -> Replay | None:
    """Replay every aggregator. None for fewer than two tasks or fewer than three usable steps.

    ``losses``: of every task at every step, for GradNorm, which has no answer without them.
    """
    n_tasks = found.aa.shape[1]
    chosen = np.flatnonzero(usable(found))
    if n_tasks < 2 or len(chosen) < 3:
        return None
    limit = int(np.clip(STEP_BUDGET // n_tasks**2, 6, MAX_STEPS))
    chosen = chosen[np.unique(np.linspace(0, len(chosen) - 1, limit).round().astype(int))]
    ratio = np.full((len(steps), n_tasks), np.nan) if losses is None else losses / losses[0]
    ways = ((found.aa, found.ba), (found.bb, np.swapaxes(found.ba, 1, 2)))
    gains, totals = zip(
        *(_one_way(own[chosen], across[chosen], found, chosen, ratio[chosen]) for own, across in ways), strict=True
    )
    gain, total = np.stack(gains), np.stack(totals)  # [2, R, A, T], [2, R, A]
    return _summary(gain, total, steps[chosen])


def _weights(own: Float[np.ndarray, "R T T"], ratio: Float[np.ndarray, "R T"]) -> Float[np.ndarray, "R A T"]:
    """In the order of ``NAMES``; GradVac's target for the cosines starts at 0."""
    target = np.zeros(own.shape[1:])
    rows = []
    for gram, losses in zip(own, ratio, strict=True):
        alone = [aggregator.weights(gram) for aggregator in AGGREGATORS]
        rows.append([*alone, gradvac(gram, target), gradnorm(gram, losses)])
        target = next_target(gram, target)
    return np.array(rows)


def _one_way(
    own: Float[np.ndarray, "R T T"],
    across: Float[np.ndarray, "R T T"],
    found: Halves,
    chosen: Int[np.ndarray, " R"],
    ratio: Float[np.ndarray, "R T"],
) -> tuple[Float[np.ndarray, "R A T"], Float[np.ndarray, "R A"]]:
    """Alignment of every task, and the summed gain at unit length over the size of the gradients."""
    weights = _weights(own, ratio)
    length = np.sqrt(np.einsum("rat,rtu,rau->ra", weights, own, weights))
    gain = np.einsum("rtu,rau->rat", across, weights) / np.where(length > 0, length, np.nan)[..., None]
    square = np.einsum("sii->si", 0.5 * (found.aa[chosen] + found.bb[chosen]))
    size = np.sqrt(square)
    return gain / size[:, None], gain.sum(axis=-1) / np.sqrt(square.sum(axis=-1))[:, None]


def _summary(
    gain: Float[np.ndarray, "2 R A T"], total: Float[np.ndarray, "2 R A"], steps: Int[np.ndarray, " R"]
) -> Replay:
    aligned = gain.mean(axis=0)
    alignment, half = _mean(aligned)
    known = np.isfinite(gain)
    harmed = np.where(known, gain < 0, np.nan).mean(axis=0)  # [R, A, T], NaN without an answer
    n = np.isfinite(harmed).sum(axis=0)
    share = np.nansum(harmed, axis=0) / np.where(n > 0, n, np.nan)
    harmed_low, harmed_high = wilson(share * n, n.astype(float))
    worst = gain.min(axis=-1).mean(axis=0)  # [R, A]
    lift, lift_half = _mean(worst - worst[:, :1])
    price, price_half = _price(total.mean(axis=0))
    some = np.where(known.all(axis=-1), (gain < 0).any(axis=-1), np.nan)
    answers = np.isfinite(aligned).all(axis=-1)
    return Replay(
        names=NAMES,
        steps=steps,
        alignment=alignment,
        low=alignment - half,
        high=alignment + half,
        harmed=share,
        harmed_low=harmed_low,
        harmed_high=harmed_high,
        any_harmed=_mean(some.mean(axis=0))[0],
        price=price,
        price_low=price - price_half,
        price_high=price + price_half,
        worst=_mean(worst)[0],
        worst_gain=lift,
        worst_gain_low=lift - lift_half,
        worst_gain_high=lift + lift_half,
        answered=answers.mean(axis=0),
    )


def _mean(values: Float[np.ndarray, "R ..."]) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """Mean over steps and the half-width of its 95 % interval; NaN entries are passed over."""
    known = np.isfinite(values)
    n = known.sum(axis=0)
    count = np.where(n > 0, n, np.nan)
    average = np.where(known, values, 0.0).sum(axis=0) / count
    spread = (np.where(known, values - average, 0.0) ** 2).sum(axis=0)
    quantile = student95(max(1, len(values) - 1))
    half = quantile * np.sqrt(spread / np.where(n > 1, n - 1, np.nan) / count)
    return average, half


def _price(total: Float[np.ndarray, "R A"]) -> tuple[Float[np.ndarray, " A"], Float[np.ndarray, " A"]]:
    """1 - ratio of sums over the steps with an answer, and its jackknife half-width. NaN without a gain to compare."""
    known = np.isfinite(total)
    top, bottom = np.where(known, total, 0.0), np.where(known, total[:, :1], 0.0)
    all_top, all_bottom = top.sum(axis=0), bottom.sum(axis=0)
    safe = np.where(all_bottom > 0, all_bottom, np.nan)
    left = (all_top - top) / np.where(safe - bottom > 0, safe - bottom, np.nan)
    n = len(total)
    half = student95(n - 1) * np.sqrt((n - 1) / n * ((left - left.mean(axis=0)) ** 2).sum(axis=0))
    return 1 - all_top / safe, half
