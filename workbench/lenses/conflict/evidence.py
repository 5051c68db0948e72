"""Is a conflict more than noise, did it matter, when did it change, and how much must be recorded to know?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from workbench.core import Run
from workbench.core.gramian import student95
from workbench.lenses.conflict.estimates import CONFLICT, Estimate, Moments
from workbench.lenses.conflict.replay import Halves
from workbench.lenses.intervals import benjamini_hochberg, wilson

#: Fewest steps on either side of a change point.
CHANGE_MARGIN = 5
#: Fewest called (step, pair) cells for asking what followed conflicts; with fewer, the sign of the cosine decides.
ENOUGH_CALLED = 20
#: Mini-batches a step of the planner's curve.
PLAN_BATCHES = np.array([3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128])


@dataclass(frozen=True)
class Floor:
    """How often gradients of two disjoint halves of a batch point apart: of one task with itself, and of each pair.

    If a pair points apart hardly more often than a task with itself, its conflict is noise. All cosines here are of
    half-batch gradients on different samples: not biased in sign, but pulled towards 0 by noise, alike for all.

    Attributes:
        own, own_low, own_high: Share of steps at which the two halves of the same task point apart (Wilson).
        pair, pair_low, pair_high: The same for the two tasks of a pair, one half each.
        shuffled, shuffled_low, shuffled_high: The same when in half of the mini-batches the gradients of the two tasks,
            brought to one length, change places: what the pair would show if the tasks were one.
        gap, gap_low, gap_high: Mean over steps of the tasks' own cosine minus the pair's: 0 when the labels "first
            task" and "second task" could be shuffled; Student's interval over steps.
    """

    n: int
    own: Float[np.ndarray, " T"]
    own_low: Float[np.ndarray, " T"]
    own_high: Float[np.ndarray, " T"]
    pair: Float[np.ndarray, " P"]
    pair_low: Float[np.ndarray, " P"]
    pair_high: Float[np.ndarray, " P"]
    shuffled: Float[np.ndarray, " P"]
    shuffled_low: Float[np.ndarray, " P"]
    shuffled_high: Float[np.ndarray, " P"]
    gap: Float[np.ndarray, " P"]
    gap_low: Float[np.ndarray, " P"]
    gap_high: Float[np.ndarray, " P"]


@dataclass(frozen=True)
class Matter:
    """Was a conflict followed by a rise of a loss? Cells are (step, pair); a rise is of either task's logged loss.

    Attributes:
        called: Whether conflict means an interval below 0; otherwise a negative cosine, since too few were called.
        rose, n: Rises and cells with conflict first, then without.
        share, low, high: Wilson intervals of both shares.
        difference, difference_low, difference_high: Share with conflict minus share without (Newcombe).
        by_pair: task_a, task_b, with_conflict, share_with, without, share_without.
    """

    called: bool
    rose: tuple[int, int]
    n: tuple[int, int]
    share: tuple[float, float]
    low: tuple[float, float]
    high: tuple[float, float]
    difference: float
    difference_low: float
    difference_high: float
    by_pair: pd.DataFrame


@dataclass(frozen=True)
class Plan:
    """Half-width of the 95 % interval of a cosine against mini-batches a step, from the recorded steps as a pilot.

    Attributes:
        pilot: Mini-batches a step that were recorded.
        measured: Median half-width over steps, per pair; NaN where too often below noise.
        batches: The curve's abscissa. expected: measured · t(K) / t(pilot) · sqrt(pilot / K) per pair.
    """

    pilot: int
    measured: Float[np.ndarray, " P"]
    batches: Int[np.ndarray, " K"]
    expected: Float[np.ndarray, "K P"]

    def needed(self, half_width: float) -> Float[np.ndarray, " P"]:
        """Mini-batches a step for the wanted half-width: pilot · (measured / wanted)², rounded up."""
        return np.ceil(self.pilot * (self.measured / half_width) ** 2)


@dataclass(frozen=True)
class Losses:
    """The loss of every task at every recorded step (the last one logged up to there), and the next one logged."""

    now: Float[np.ndarray, "S T"]
    after: Float[np.ndarray, "S T"]


def read_losses(run: Run, tasks: tuple[str, ...], steps: Int[np.ndarray, " S"]) -> Losses:
    """From scalars tagged ``loss/<task>``; NaN where none was logged."""
    now, after = np.full((len(steps), len(tasks)), np.nan), np.full((len(steps), len(tasks)), np.nan)
    if run.has("scalars"):
        frame = run.query(
            "SELECT step, tag, value FROM scalars WHERE list_contains($tags, tag) ORDER BY step",
            {"tags": [f"loss/{task}" for task in tasks]},
        )
        for index, task in enumerate(tasks):
            mine = frame[frame["tag"] == f"loss/{task}"]
            logged, value = mine["step"].to_numpy(), mine["value"].to_numpy()
            place = np.searchsorted(logged, steps, side="right")
            has, follows = place > 0, place < len(logged)
            now[has, index] = value[place[has] - 1]
            after[follows, index] = value[place[follows]]
    return Losses(now, after)


def shuffled_apart(
    dot: Float[np.ndarray, "S T K T K"], pairs: Int[np.ndarray, "P 2"], steps: Int[np.ndarray, " S"]
) -> Float[np.ndarray, "S P"]:
    """Whether two halves of a batch point apart when the names of the two tasks are shuffled between mini-batches.

    Within each half, every mini-batch draws whether the two tasks change places; lengths are made equal first, so that
    the longer gradient does not decide. The draw depends on the step alone.

    Returns:
        1 for apart, 0 for not; NaN where not recorded or with a single mini-batch.
    """
    n_batches = dot.shape[-1]
    apart = np.full((len(dot), len(pairs)), np.nan)
    if n_batches < 2:
        return apart
    first, second = np.arange(0, n_batches, 2), np.arange(1, n_batches, 2)
    for place, (step, products) in enumerate(zip(steps.tolist(), dot, strict=True)):
        draw = np.random.default_rng(step).random((2, len(pairs), n_batches)) < 0.5
        task = np.where(draw, pairs[:, 1][:, None], pairs[:, 0][:, None])  # [2, P, K]: who plays the first, the second
        square = np.einsum("ikik->i", products) / n_batches
        length = np.sqrt(np.where(square > 0, square, np.nan))
        a, b = task[0][:, first, None], task[1][:, None, second]
        inner = products[a, first[:, None], b, second[None, :]] / (length[a] * length[b])
        total = inner.sum(axis=(1, 2))
        apart[place] = np.where(np.isfinite(total), total < 0, np.nan)
    return apart


def floor(found: Halves, pairs: Int[np.ndarray, "P 2"], shuffled: Float[np.ndarray, "S P"]) -> Floor | None:
    """None with fewer than three steps of two or more mini-batches. ``shuffled``: see :func:`shuffled_apart`."""
    norm_a, norm_b = (np.sqrt(np.maximum(np.einsum("sii->si", gram), 0.0)) for gram in (found.aa, found.bb))
    product = norm_b[:, :, None] * norm_a[:, None, :]
    cosine = found.ba / np.where(product > 0, product, np.nan)  # [S, T, T]: row in half B, column in half A
    known = np.isfinite(cosine).all(axis=(1, 2))
    if known.sum() < 3:
        return None
    cosine = cosine[known]
    n, (i, j) = len(cosine), pairs.T
    own = np.einsum("sii->si", cosine)
    pair = np.stack([cosine[:, i, j], cosine[:, j, i]])  # [2, S, P]
    own_share, pair_share = (own < 0).mean(axis=0), (pair < 0).mean(axis=(0, 1))
    gap = 0.5 * (own[:, i] + own[:, j]) - pair.mean(axis=0)
    half = student95(n - 1) * gap.std(axis=0, ddof=1) / np.sqrt(n)
    own_low, own_high = wilson(own_share * n, np.full(own_share.shape, float(n)))
    pair_low, pair_high = wilson(pair_share * n, np.full(pair_share.shape, float(n)))
    mean, by_chance = gap.mean(axis=0), np.nan_to_num(shuffled[known]).mean(axis=0)
    chance_low, chance_high = wilson(by_chance * n, np.full(by_chance.shape, float(n)))
    return Floor(
        n, own_share, own_low, own_high, pair_share, pair_low, pair_high, by_chance, chance_low, chance_high,
        mean, mean - half, mean + half,
    )  # fmt: skip


def matter(cosine: Estimate, losses: Losses, pairs: Int[np.ndarray, "P 2"], tasks: tuple[str, ...]) -> Matter | None:
    """``cosine``: per step and pair, all shared parameters. None where losses were not logged around the steps."""
    i, j = pairs.T
    rise = losses.after - losses.now
    usable = np.isfinite(rise[:, i]) & np.isfinite(rise[:, j]) & np.isfinite(cosine.value)
    rose = (rise[:, i] > 0) | (rise[:, j] > 0)
    called = int(((cosine.state == CONFLICT) & usable).sum()) >= ENOUGH_CALLED
    conflict = cosine.state == CONFLICT if called else cosine.value < 0
    cells = (usable & conflict, usable & ~conflict)
    n = tuple(int(cell.sum()) for cell in cells)
    if min(n, default=0) < 5:
        return None
    hits = tuple(int((rose & cell).sum()) for cell in cells)
    share = tuple(hit / count for hit, count in zip(hits, n, strict=True))
    low, high = wilson(np.array(hits, dtype=float), np.array(n, dtype=float))
    difference = share[0] - share[1]
    down = np.hypot(share[0] - low[0], high[1] - share[1])
    up = np.hypot(high[0] - share[0], share[1] - low[1])
    by_pair = pd.DataFrame(
        {
            "task_a": [tasks[index] for index in i],
            "task_b": [tasks[index] for index in j],
            "with_conflict": cells[0].sum(axis=0),
            "share_with": _ratio((rose & cells[0]).sum(axis=0), cells[0].sum(axis=0)),
            "without": cells[1].sum(axis=0),
            "share_without": _ratio((rose & cells[1]).sum(axis=0), cells[1].sum(axis=0)),
        }
    )
    return Matter(
        called=called,
        rose=(hits[0], hits[1]),
        n=(n[0], n[1]),
        share=(share[0], share[1]),
        low=(float(low[0]), float(low[1])),
        high=(float(high[0]), float(high[1])),
        difference=difference,
        difference_low=float(difference - down),
        difference_high=float(difference + up),
        by_pair=by_pair,
    )


def _ratio(top: Int[np.ndarray, " P"], bottom: Int[np.ndarray, " P"]) -> Float[np.ndarray, " P"]:
    return top / np.where(bottom > 0, bottom, np.nan)


def plan(cosine: Estimate, n_batches: int) -> Plan | None:
    """``cosine``: per step and pair, all shared parameters. None below three mini-batches or without a number."""
    half = np.where(np.isfinite(cosine.high), cosine.high - cosine.value, np.nan)
    enough = np.isfinite(half).sum(axis=0) >= max(1, len(half) // 4)
    if n_batches < 3 or not enough.any():
        return None
    measured = np.full(half.shape[1], np.nan)
    measured[enough] = np.nanmedian(half[:, enough], axis=0)
    scale = np.array([student95(int(k) - 1) / np.sqrt(k) for k in PLAN_BATCHES])
    scale = scale / (student95(n_batches - 1) / np.sqrt(n_batches))
    return Plan(n_batches, measured, PLAN_BATCHES, scale[:, None] * measured)


def change_points(
    moments: Moments, pairs: Int[np.ndarray, "P 2"], steps: Int[np.ndarray, " S"], false_discovery_rate: float
) -> pd.DataFrame:
    """The one step at which a pair's cosine over all shared parameters changes most, where that is beyond noise.

    For every split of the steps, Welch's t between the attenuated cosines before and after; the largest counts, with
    its p-value times the number of splits (Bonferroni), then Benjamini-Hochberg over pairs.

    Returns:
        One row a pair with a change: pair, step (the first after it), before, after (pooled cosines), p_adjusted.
    """
    from scipy.special import stdtr

    i, j = pairs.T
    x = moments.a[:, -1]
    known = np.isfinite(x).all(axis=1) & np.isfinite(moments.d[:, -1]).all(axis=1)
    x, d, at = x[known], moments.d[known, -1], steps[known]
    n = len(x)
    columns = ["pair", "step", "before", "after", "p_adjusted"]
    if n < 2 * CHANGE_MARGIN or not len(pairs):
        return pd.DataFrame(columns=columns)
    splits = np.arange(CHANGE_MARGIN, n - CHANGE_MARGIN + 1)
    first, total, squares = np.cumsum(x, axis=0)[splits - 1], x.sum(axis=0), np.cumsum(x**2, axis=0)
    n1, n2 = splits[:, None], n - splits[:, None]
    mean1, mean2 = first / n1, (total - first) / n2
    var1 = np.maximum(squares[splits - 1] - n1 * mean1**2, 0.0) / (n1 - 1) / n1
    var2 = np.maximum(squares[-1] - squares[splits - 1] - n2 * mean2**2, 0.0) / (n2 - 1) / n2
    spread = var1 + var2
    t = np.abs(mean1 - mean2) / np.sqrt(np.where(spread > 0, spread, np.nan))
    df = spread**2 / np.where(spread > 0, var1**2 / (n1 - 1) + var2**2 / (n2 - 1), np.nan)
    p = np.nan_to_num(2 * stdtr(df, -t), nan=1.0)
    best = np.argmin(p, axis=0)
    adjusted = benjamini_hochberg(np.minimum(p.min(axis=0) * len(splits), 1.0))
    found = np.flatnonzero(adjusted < false_discovery_rate)
    cut = splits[best]

    def pooled(pair: int, part: slice) -> float:
        norm = d[part, i[pair]].sum() * d[part, j[pair]].sum()
        return float(x[part, pair].sum() / np.sqrt(norm)) if norm > 0 else float("nan")

    rows = [
        (k, int(at[cut[k]]), pooled(k, slice(None, cut[k])), pooled(k, slice(cut[k], None)), float(adjusted[k]))
        for k in found.tolist()
    ]
    return pd.DataFrame(rows, columns=columns)
