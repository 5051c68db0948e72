"""From recorded Gramians to cosines with intervals per step, window and module, in one pass over the table."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from workbench.core import Run
from workbench.lenses.conflict.affinity import Affinity, affinity, grouped
from workbench.lenses.conflict.agreement import Agreement, agreement
from workbench.lenses.conflict.channels import Routing, routing
from workbench.lenses.conflict.estimates import (
    ALIGNED,
    CONFLICT,
    MISSING,
    STATES,
    Estimate,
    Pooled,
    judged_by_batches,
    pool,
    states,
)
from workbench.lenses.conflict.evidence import (
    Floor,
    Losses,
    Matter,
    Plan,
    change_points,
    floor,
    matter,
    plan,
    read_losses,
)
from workbench.lenses.conflict.reading import CHUNK_ENTRIES, MAX_ENTRIES, Head, Record, joined, read_record
from workbench.lenses.conflict.replay import Replay, replay
from workbench.lenses.conflict.split import Split, read_split
from workbench.lenses.conflict.trials import Trials, read_trials
from workbench.lenses.intervals import benjamini_hochberg, wilson

#: Recon's threshold S: a pair counts at a step when its cosine is below it (the authors' value for Multi-Fashion).
RECON_THRESHOLD = -0.1
#: Windows hold at least so many recorded steps: when steps are judged by their mini-batches, and when by their spread.
STEPS_PER_WINDOW = {True: 3, False: 8}
MAX_WINDOWS = 12
#: False discoveries allowed among all called (pair, module) cells.
FALSE_DISCOVERY_RATE = 0.05


@dataclass(frozen=True)
class Share:
    """In which share of the recorded steps (or windows of steps) each state was found, per module and pair.

    Attributes:
        unit: "step" when steps alone carry enough signal, else "window" (a window of consecutive recorded steps).
        counts: By state, in the order of ``estimates.STATES``.
        low, high: Wilson 95 % interval of the conflicting share; NaN where nothing was recorded.
    """

    unit: str
    counts: Int[np.ndarray, "M P 5"]
    conflicting: Float[np.ndarray, "M P"]
    low: Float[np.ndarray, "M P"]
    high: Float[np.ndarray, "M P"]

    @property
    def n(self) -> Int[np.ndarray, "M P"]:
        """Steps or windows with a record of the pair."""
        return self.counts[..., :MISSING].sum(axis=-1)

    @property
    def shares(self) -> Float[np.ndarray, "M P 5"]:
        """Share of every state among what was recorded; NaN where nothing was."""
        n = self.n[..., None]
        return self.counts / np.where(n > 0, n, np.nan)


@dataclass(frozen=True)
class Conflict(Head):
    """All numbers of the lens. M modules, the last being all of them together when there are several; P pairs i < j.

    Attributes:
        cosine, naive: Per step: unbiased with interval, and the biased cosine of the whole batch's gradients
            (``naive_overall``: its mean over steps).
        norm: Unbiased gradient norms; NaN where below noise.
        below_noise: Per step and task.
        windows: First and last step of every window. window: the pooled cosine of each.
        overall: Pooled over all steps.
        share_over_time: Share of every state among all pairs, by window, in the order of ``estimates.STATES``.
        p_adjusted: "No conflict" per module and pair, over the whole run and in any window, adjusted over all
            modules and pairs (Benjamini-Hochberg).
        recon: Recon's score per module: pairs a step with naive cosine below ``RECON_THRESHOLD``.
        recon_called: The same counted by unbiased windows or steps whose interval lies wholly below it.
        log_ratio: Mean over steps of ln(norm_i / norm_j) with its interval; NaN below three usable steps.
        replay, affinity, floor, matter, plan, routing, split, trials, agreement: None where the record holds too
            little.
        changes: Change points of the cosine over all shared parameters; see ``evidence.change_points``.
    """

    cosine: Estimate
    naive: Float[np.ndarray, "S M P"]
    naive_overall: Float[np.ndarray, "M P"]
    norm: Float[np.ndarray, "S M T"]
    below_noise: Bool[np.ndarray, "S M T"]
    windows: Int[np.ndarray, "W 2"]
    window: Estimate
    overall: Estimate
    p_adjusted: Float[np.ndarray, "M P"]
    share: Share
    share_over_time: Float[np.ndarray, "W M 5"]
    recon: Float[np.ndarray, " M"]
    recon_called: Float[np.ndarray, " M"]
    log_ratio: Estimate
    replay: Replay | None
    affinity: Affinity | None
    floor: Floor | None
    matter: Matter | None
    plan: Plan | None
    routing: Routing | None
    split: Split | None
    trials: Trials | None
    agreement: Agreement | None
    changes: pd.DataFrame

    @property
    def true_affinity(self) -> Affinity | None:
        """Lookahead affinity from true trial steps, curvature included, with the best groups by it."""
        found = self.trials.affinity if self.trials is not None else None
        return None if found is None or self.trials is None else grouped(found, len(self.trials.steps))

    @property
    def total(self) -> int:
        """Index of all shared parameters together."""
        return len(self.modules) - 1

    @property
    def called(self) -> Bool[np.ndarray, "M P"]:
        """Where a conflict holds beyond noise after correction for looking at many cells."""
        return np.nan_to_num(self.p_adjusted, nan=1.0) < FALSE_DISCOVERY_RATE

    @property
    def n_usable(self) -> int:
        """Steps at which some pair of tasks was recorded with finite gradients."""
        return int((self.cosine.state[:, self.total] != MISSING).any(axis=1).sum())

    def pair_name(self, pair: int) -> str:
        i, j = self.pairs[pair]
        return f"{self.tasks[i]} – {self.tasks[j]}"

    @property
    def pair_names(self) -> list[str]:
        return [self.pair_name(pair) for pair in range(len(self.pairs))]

    @property
    def ranking(self) -> Int[np.ndarray, " P"]:
        """Pairs by evidence of conflict: first those called for all parameters, by their cosine there, then those
        called in single modules and the rest, by their lowest cosine."""
        lowest = np.nan_to_num(self.overall.value, nan=np.inf).min(axis=0)
        everywhere = self.called[self.total]
        depth = np.where(everywhere, self.overall.value[self.total], lowest)
        return np.lexsort((depth, ~self.called.any(axis=0), ~everywhere))

    @property
    def worst_pair(self) -> int:
        return int(self.ranking[0])

    @property
    def similarity(self) -> Float[np.ndarray, "M P"]:
        """Magnitude similarity 2 |g_i| |g_j| / (|g_i|² + |g_j|²) at the mean length ratio; in (0, 1]."""
        return 1 / np.cosh(self.log_ratio.value)

    @property
    def similarity_at_steps(self) -> Float[np.ndarray, "S P"]:
        """Magnitude similarity at every step, all shared parameters; NaN where a gradient is below its noise."""
        norm = self.norm[:, self.total]
        i, j = self.pairs.T
        return 2 * norm[:, i] * norm[:, j] / (norm[:, i] ** 2 + norm[:, j] ** 2)

    def ratio(self, module: int) -> Estimate:
        """How many times longer the longer gradient of every pair is, with interval."""
        found = self.log_ratio[module]
        turn = found.value < 0
        low, high = np.where(turn, -found.high, found.low), np.where(turn, -found.low, found.high)
        return Estimate(np.exp(np.abs(found.value)), np.exp(low), np.exp(high), found.state)

    def longer_first(self, module: int, pair: int) -> tuple[str, str]:
        """The tasks of a pair, the one with the longer gradient first."""
        i, j = self.pairs[pair]
        return (
            (self.tasks[j], self.tasks[i]) if self.log_ratio.value[module, pair] < 0 else (self.tasks[i], self.tasks[j])
        )


def statistics(
    run: Run, max_entries: int = MAX_ENTRIES, chunk_entries: int = CHUNK_ENTRIES, every_step: bool = False
) -> Conflict:
    """Read the recorded Gramians of a run.

    ``max_entries``: when the record holds more numbers, only evenly spaced steps are read (``steps_read`` tells).
    ``chunk_entries``: numbers held in memory at a time. ``every_step``: read as many steps as memory allows, which of
    a large record takes minutes.

    Raises:
        MissingTable: the run recorded no task gradients.
    """
    record = read_record(run, max_entries, chunk_entries, every_step)
    head = record.head
    found = _assemble(record, read_losses(run, head.tasks, head.steps), read_trials(run, head.tasks))
    return replace(found, split=read_split(run, record.layout, found.routing, head.steps))


def _assemble(record: Record, losses: Losses, trials: Trials | None) -> Conflict:
    head, numbers = record.head, record.numbers
    pairs, steps, n_batches = head.pairs, head.steps, head.n_batches
    cosine, moments, naive = numbers.cosine, numbers.moments, numbers.naive
    total = cosine[:, -1]
    length = STEPS_PER_WINDOW[judged_by_batches(n_batches, len(steps))]
    spans = np.array_split(np.arange(len(steps)), np.clip(len(steps) // length, 1, MAX_WINDOWS))
    pooled = [pool(moments[span[0] : span[-1] + 1], pairs, n_batches) for span in spans]
    window = joined([one.cosine for one in pooled], np.stack)
    starts = np.array([span[0] for span in spans])
    overall = pool(moments, pairs, n_batches, starts)
    naive_overall = _mean_known(naive)
    share = _share(cosine, window, judged_by_batches(n_batches, len(steps)))
    counted = cosine if share.unit == "step" else window
    first_order = affinity(numbers.gram, losses.now)
    return Conflict(
        **vars(head),
        cosine=cosine,
        naive=naive,
        naive_overall=naive_overall,
        norm=numbers.norm,
        below_noise=numbers.below_noise,
        windows=np.array([[steps[span[0]], steps[span[-1]]] for span in spans]),
        window=window,
        overall=overall.cosine,
        p_adjusted=_adjusted(overall, pooled),
        share=share,
        share_over_time=_share_over_time(cosine if share.unit == "step" else None, window, spans),
        recon=(naive < RECON_THRESHOLD).sum(axis=-1).mean(axis=0),
        recon_called=(counted.high < RECON_THRESHOLD).sum(axis=-1).mean(axis=0),
        log_ratio=_log_ratio(numbers.norm, pairs),
        replay=replay(numbers.halves, steps, losses.now),
        affinity=first_order,
        floor=floor(numbers.halves, pairs, numbers.shuffled),
        matter=matter(total, losses, pairs, head.tasks),
        plan=plan(total, n_batches),
        routing=routing(pool(numbers.groups, pairs, n_batches, starts).cosine, record.layout, pairs, len(head.tasks)),
        split=None,
        trials=trials,
        agreement=agreement(_measures(pairs, overall.cosine, naive_overall, first_order, trials)),
        changes=change_points(moments, pairs, steps, FALSE_DISCOVERY_RATE),
    )


def _measures(
    pairs: Int[np.ndarray, "P 2"],
    overall: Estimate,
    naive: Float[np.ndarray, "M P"],
    first_order: Affinity | None,
    trials: Trials | None,
) -> dict[str, Float[np.ndarray, " P"]]:
    """Every measure of affinity as one number per pair of tasks, all shared parameters; both directions averaged."""
    i, j = pairs.T
    found = {"cosine": overall.value[-1], "naive cosine": naive[-1]}
    tables = {
        "lookahead, first order": first_order.estimate if first_order is not None else None,
        "lookahead, true": trials.affinity if trials is not None else None,
    }
    return found | {
        name: 0.5 * (table.value[i, j] + table.value[j, i]) for name, table in tables.items() if table is not None
    }


def _share(cosine: Estimate, window: Estimate, by_batches: bool) -> Share:
    """Counted by steps when those are judged by their mini-batches or settle half as many cells as windows do."""
    settled = [np.isin(found.state[:, -1], (CONFLICT, ALIGNED)).sum() / len(found.state) for found in (cosine, window)]
    by_step = by_batches or (settled[0] >= 0.5 * settled[1] and settled[0] > 0)
    unit, found = ("step", cosine) if by_step else ("window", window)
    counts = np.stack([(found.state == state).sum(axis=0) for state in range(len(STATES))], axis=-1)
    n = counts[..., :MISSING].sum(axis=-1)
    low, high = wilson(counts[..., CONFLICT].astype(float), n.astype(float))
    conflicting = counts[..., CONFLICT] / np.where(n > 0, n, np.nan)
    return Share(unit, counts, conflicting, low, high)


def _share_over_time(steps: Estimate | None, window: Estimate, spans: list[np.ndarray]) -> Float[np.ndarray, "W M 5"]:
    """Counted over (step, pair) cells when steps are counted, else over the pairs of each window."""
    cells = [window.state[[i]] for i in range(len(spans))] if steps is None else [steps.state[span] for span in spans]
    counts = np.array([[(cell == state).sum(axis=(0, 2)) for state in range(len(STATES))] for cell in cells])
    counts[:, MISSING] = 0
    total = counts.sum(axis=1, keepdims=True)
    return np.moveaxis(counts / np.where(total > 0, total, np.nan), 1, 2)


def _mean_known(values: Float[np.ndarray, "S M P"]) -> Float[np.ndarray, "M P"]:
    known = ~np.isnan(values)
    n = known.sum(axis=0)
    return np.where(known, values, 0.0).sum(axis=0) / np.where(n > 0, n, np.nan)


def _adjusted(overall: Pooled, windows: list[Pooled]) -> Float[np.ndarray, "M P"]:
    """Twice the smaller of the overall p-value and Simes' p-value over windows, then Benjamini-Hochberg over all cells.

    Windows are there to find a conflict of one phase that the rest of training hides.
    """
    by_window = np.sort(np.stack([one.p_value for one in windows]), axis=0)  # NaN last
    tested = (~np.isnan(by_window)).sum(axis=0)
    rank = np.arange(1, len(windows) + 1).reshape(-1, 1, 1)
    simes = np.nanmin(np.vstack([by_window * tested / rank, np.full((1, *tested.shape), 2.0)]), axis=0)
    p = 2 * np.fmin(overall.p_value, simes)
    p = np.where(np.isnan(overall.p_value) & (tested == 0), np.nan, np.minimum(p, 1.0))
    return benjamini_hochberg(p.ravel()).reshape(p.shape)


def _log_ratio(norm: Float[np.ndarray, "S M T"], pairs: Int[np.ndarray, "P 2"]) -> Estimate:
    """Mean over steps of ln(norm_i / norm_j) with Student's interval."""
    from scipy.special import stdtrit

    with np.errstate(divide="ignore"):
        difference = np.log(norm[..., pairs[:, 0]]) - np.log(norm[..., pairs[:, 1]])
    valid = np.isfinite(difference)
    n = valid.sum(axis=0)
    count = np.maximum(n, 1)
    mean = np.where(valid, difference, 0.0).sum(axis=0) / count
    spread = (np.where(valid, difference - mean, 0.0) ** 2).sum(axis=0)
    half = stdtrit(np.maximum(n - 1, 1), 0.975) * np.sqrt(spread / (np.maximum(n - 1, 1) * count))
    enough = n >= 3
    mean, half = np.where(enough, mean, np.nan), np.where(enough, half, np.nan)
    low, high = mean - half, mean + half
    return Estimate(mean, low, high, states(mean, low, high, ~enough))
