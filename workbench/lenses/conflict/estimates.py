"""Cosines with intervals: their states, and pooling over steps.

Symbols: S recorded steps, M modules, T tasks, P pairs of tasks (i < j), K mini-batches. G_ij(s) is the unbiased inner
product at step s (``workbench.core.gramian``), u_i(s)² the mean squared norm of task i's mini-batch gradients there.

One step often says little. Steps are pooled so that each counts alike however the gradients shrink during training:

    cos_ij = sum_s A_s / sqrt(sum_s D_is · sum_s D_js),   A_s = G_ij(s) / (u_i u_j),   D_is = G_ii(s) / u_i²

that is the mean attenuated cosine divided by the mean reliability of the two gradients (Spearman 1904). The scale u
uses products within a mini-batch only, whose noise does not lean to either sign of A. The interval is for the mean over
the recorded steps: from the delete-one-batch jackknife inside each step where there are enough mini-batches, else from
the spread between neighbouring steps, whose mini-batches are independent. Pooling is our choice.

Inside steps, the linear part of the cosine has the jackknife variance V_s and the excess E_s that it counts twice
(``workbench.core.gramian``). The interval takes V = sum V_s - c sum E_s with Satterthwaite's degrees of freedom f of
sum V_s and c = f / (f + 8): the more steps are pooled, the more of the excess is taken off. Over planted cosines, noise
that tasks share or not, 4 to 16 mini-batches and 1 to 12 steps, intervals cover 93 to 97 % in every cell. That is not
possible with three mini-batches and fewer than five steps, where E_s cannot be estimated (95 to 99.9 %, on the safe
side), nor where a gradient is above its noise in few repetitions only: what is said there is a selection.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Int8

from workbench.core.gramian import (
    Additive,
    additive,
    cosine_matrix,
    cosines,
    excess_of,
    jackknife_se,
    kept_share,
    leave_one_out,
    student95,
    unbiased,
)

#: States of an estimated cosine, in the order of every legend.
CONFLICT, UNDETERMINED, ALIGNED, BELOW_NOISE, MISSING = range(5)
#: Mini-batches a step -> from how many steps on pooling rests on the spread between steps. Before, and with other
#: numbers of mini-batches from three on, it rests on those inside each step, and real changes from step to step do not
#: widen the interval. Three mini-batches leave intervals too wide where noise dominates, so steps take over sooner.
STEPS_FOR_SPREAD = {3: 5, 4: 8, 5: 8}
STATES = ("conflict", "undetermined", "aligned", "signal below noise", "not recorded")


@dataclass(frozen=True)
class Estimate:
    """Cosines with 95 % intervals.

    ``value`` is NaN where a signal is below its noise or nothing was recorded (``state`` tells which); ``low`` and
    ``high`` are infinite where there is a number but no interval. Not clipped to [-1, 1].
    """

    value: Float[np.ndarray, "..."]
    low: Float[np.ndarray, "..."]
    high: Float[np.ndarray, "..."]
    state: Int8[np.ndarray, "..."]

    def __getitem__(self, index: Any) -> Estimate:
        arrays = (self.value, self.low, self.high, self.state)
        return Estimate(*(np.asarray(array[index]) for array in arrays))


@dataclass(frozen=True)
class Spread:
    """Variances and covariances of A, D_i and D_j within every step, over S steps, M modules, P pairs and T tasks."""

    aa: Float[np.ndarray, "S M P"]
    ai: Float[np.ndarray, "S M P"]
    aj: Float[np.ndarray, "S M P"]
    ij: Float[np.ndarray, "S M P"]
    dd: Float[np.ndarray, "S M T"]

    def __getitem__(self, steps: slice) -> Spread:
        return Spread(*(getattr(self, field.name)[steps] for field in fields(self)))

    def of_sum(
        self, pairs: Int[np.ndarray, "P 2"], wi: Float[np.ndarray, "... M P"], wj: Float[np.ndarray, "... M P"]
    ) -> Float[np.ndarray, "S M P"]:
        """The variance of A + wi D_i + wj D_j."""
        di, dj = (self.dd[..., task] for task in pairs.T)
        return self.aa + wi**2 * di + wj**2 * dj + 2 * (wi * self.ai + wj * self.aj + wi * wj * self.ij)


@dataclass(frozen=True)
class Moments:
    """What pooling needs of every step, over S steps, M modules and P pairs (or T tasks).

    ``a``, ``d``: A and D above; NaN where not recorded. ``jackknife``: their (co)variances by the delete-one-batch
    jackknife within the step; NaN when fewer than three mini-batches were recorded. ``excess``: what it counts twice.
    """

    a: Float[np.ndarray, "S M P"]
    d: Float[np.ndarray, "S M T"]
    jackknife: Spread
    excess: Spread

    def __getitem__(self, steps: slice) -> Moments:
        return Moments(*(getattr(self, field.name)[steps] for field in fields(self)))


@dataclass(frozen=True)
class Sums:
    """Sums over steps of A, D_i and D_j per module and pair; or those of single steps."""

    a: Float[np.ndarray, "... M P"]
    i: Float[np.ndarray, "... M P"]
    j: Float[np.ndarray, "... M P"]

    @property
    def norm(self) -> Float[np.ndarray, "... M P"]:
        """sqrt(D_i D_j); NaN where one is not positive."""
        positive = (self.i > 0) & (self.j > 0)
        return np.sqrt(np.where(positive, self.i * self.j, np.nan))

    @property
    def cosine(self) -> Float[np.ndarray, "... M P"]:
        return self.a / self.norm

    @property
    def slopes(self) -> tuple[Float[np.ndarray, "... M P"], Float[np.ndarray, "... M P"]]:
        """Derivatives of the cosine by D_i and D_j over that by A."""
        positive = ~np.isnan(self.norm)
        one = np.where(positive, self.a, np.nan)
        return -0.5 * one / np.where(positive, self.i, 1.0), -0.5 * one / np.where(positive, self.j, 1.0)


@dataclass(frozen=True)
class Pooled:
    """A pooled cosine per module and pair, with the one-sided p-value of "not below 0"."""

    cosine: Estimate
    p_value: Float[np.ndarray, "M P"]


def states(
    value: Float[np.ndarray, "..."],
    low: Float[np.ndarray, "..."],
    high: Float[np.ndarray, "..."],
    missing: Bool[np.ndarray, "..."],
) -> Int8[np.ndarray, "..."]:
    """The state of every cosine: called only when the whole interval lies on one side of 0."""
    state = np.full(value.shape, UNDETERMINED, dtype=np.int8)
    state[high < 0] = CONFLICT
    state[low > 0] = ALIGNED
    state[np.isnan(value)] = BELOW_NOISE
    state[missing] = MISSING
    return state


def task_pairs(n_tasks: int) -> Int[np.ndarray, "P 2"]:
    """All pairs i < j, in the order of the upper triangle."""
    return np.stack(np.triu_indices(n_tasks, 1), axis=1)


def at_steps(dot: Float[np.ndarray, "S M T K T K"], pairs: Int[np.ndarray, "P 2"]) -> tuple[Estimate, Moments]:
    """Cosines per step and module, and what pooling them needs. Entries that were not recorded are NaN.

    The cosines are those of :func:`workbench.core.gramian.cosines`, for the pairs alone.
    """
    i, j = pairs.T
    square = np.einsum("smikik->smi", dot) / dot.shape[-1]  # u², [S, M, T]
    scale = np.sqrt(np.where(square > 0, square, np.nan))
    pair_scale = scale[..., i] * scale[..., j]
    gram = unbiased(dot)
    a, d = gram[..., i, j] / pair_scale, np.einsum("smii->smi", gram) / scale**2
    missing = np.isnan(np.einsum("smikjk->smij", dot)[..., i, j])
    if dot.shape[-1] < 3:
        unknown_pair, unknown_task = np.full_like(a, np.nan), np.full_like(d, np.nan)
        unknown = Spread(unknown_pair, unknown_pair, unknown_pair, unknown_pair, unknown_task)
        found = cosines(dot)
        value, low, high = (array[..., i, j] for array in (found.value, found.low, found.high))
        return Estimate(value, low, high, states(value, low, high, missing)), Moments(a, d, unknown, unknown)
    left = leave_one_out(dot)  # [K, S, M, T, T]
    left_a, left_d = left[..., i, j] / pair_scale, np.einsum("ksmii->ksmi", left) / scale**2
    moments = Moments(a, d, _jackknife(left_a, left_d, pairs), _excess(dot, scale, pairs))
    return _single(moments, left_a, left_d, pairs, missing), moments


def _jackknife(
    left_a: Float[np.ndarray, "K S M P"], left_d: Float[np.ndarray, "K S M T"], pairs: Int[np.ndarray, "P 2"]
) -> Spread:
    n = len(left_a)
    da, dd = left_a - left_a.mean(axis=0), left_d - left_d.mean(axis=0)
    di, dj = (dd[..., task] for task in pairs.T)
    products = ((da, da), (da, di), (da, dj), (di, dj), (dd, dd))
    return Spread(*((n - 1) / n * np.einsum("k...,k...->...", x, y) for x, y in products))


def _excess(
    dot: Float[np.ndarray, "S M T K T K"], scale: Float[np.ndarray, "S M T"], pairs: Int[np.ndarray, "P 2"]
) -> Spread:
    i, j = pairs.T
    kernel = np.moveaxis(dot, -3, -2)
    fit = additive(kernel[..., i, j, :, :] / (scale[..., i] * scale[..., j])[..., None, None])
    own = additive(np.einsum("smiikl->smikl", kernel) / (scale**2)[..., None, None])
    fit_i, fit_j = (
        Additive(own.kernel[..., task, :, :], own.mean[..., task], own.own[..., task, :]) for task in (i, j)
    )
    products = ((fit, fit), (fit, fit_i), (fit, fit_j), (fit_i, fit_j), (own, own))
    return Spread(*(excess_of(x, y) for x, y in products))


def _single(
    moments: Moments,
    left_a: Float[np.ndarray, "K S M P"],
    left_d: Float[np.ndarray, "K S M T"],
    pairs: Int[np.ndarray, "P 2"],
    missing: Bool[np.ndarray, "S M P"],
) -> Estimate:
    """The cosine of every single step with its interval."""
    i, j = pairs.T
    n = len(left_a)
    below = ~(moments.d > 2 * np.sqrt(moments.jackknife.dd))
    hidden = below[..., i] | below[..., j]
    sums = Sums(moments.a, moments.d[..., i], moments.d[..., j])
    value = np.where(hidden, np.nan, sums.cosine)
    variance = jackknife_se(Sums(left_a, left_d[..., i], left_d[..., j]).cosine) ** 2
    excess = moments.excess.of_sum(pairs, *sums.slopes) / sums.norm**2
    se = np.sqrt(variance * kept_share(variance, np.maximum(excess, 0.0), n))
    # As there: a leave-one-out squared norm that is not positive leaves no standard error.
    half = student95(n - 1) * np.where(np.isnan(se), np.inf, se)
    half = np.where(hidden, np.nan, half)
    low, high = value - half, value + half
    return Estimate(value, low, high, states(value, low, high, missing))


def plug_in_cosine(dot: Float[np.ndarray, "S M T K T K"], pairs: Int[np.ndarray, "P 2"]) -> Float[np.ndarray, "S M P"]:
    """The naive cosine of the whole batch's gradients, biased by the noise that tasks share."""
    return cosine_matrix(dot.mean(axis=(3, 5)))[..., pairs[:, 0], pairs[:, 1]]


def judged_by_batches(n_batches: int, n_steps: int) -> bool:
    """Whether pooled intervals come from the mini-batches inside each step rather than from the spread of steps."""
    return n_batches >= 3 and n_steps < STEPS_FOR_SPREAD.get(n_batches, n_steps + 1)


def pool(
    moments: Moments, pairs: Int[np.ndarray, "P 2"], n_batches: int, starts: Int[np.ndarray, " W"] | None = None
) -> Pooled:
    """The pooled cosine over all steps of ``moments``.

    ``starts``: index of the first step of every window; the spread between steps is taken within windows, so that a
    cosine that changes slowly during training does not widen the interval. Below noise when a task's summed
    reliability is not above two of its standard errors. Nothing is said from fewer than three steps of two
    mini-batches.
    """
    i, j = pairs.T
    di, dj = moments.d[..., i], moments.d[..., j]
    valid = np.isfinite(moments.a) & np.isfinite(di) & np.isfinite(dj)
    by_batches = judged_by_batches(n_batches, len(moments.a))
    if by_batches:
        valid &= np.isfinite(moments.jackknife.aa)
    a, di, dj = (np.where(valid, x, 0.0) for x in (moments.a, di, dj))
    sums = Sums(a.sum(axis=0), di.sum(axis=0), dj.sum(axis=0))
    n = valid.sum(axis=0)
    if by_batches:
        se, low_signal, df = _within(moments, pairs, valid, sums, n_batches)
    else:
        starts = np.zeros(1, dtype=np.int64) if starts is None else starts
        se, low_signal, df = _between(a, di, dj, valid, sums, starts)
    return _conclude(sums.cosine, se, low_signal, n, df)


def _conclude(
    value: Float[np.ndarray, "M P"],
    se: Float[np.ndarray, "M P"],
    low_signal: Bool[np.ndarray, "M P"],
    n: Int[np.ndarray, "M P"],
    df: Float[np.ndarray, "M P"] | Int[np.ndarray, "M P"],
) -> Pooled:
    from scipy.special import stdtr, stdtrit

    value = np.where(low_signal, np.nan, value)
    half = np.where(np.isfinite(se), stdtrit(np.maximum(df, 1), 0.975) * se, np.inf)
    half = np.where(np.isnan(value), np.nan, half)
    low, high = value - half, value + half
    with np.errstate(divide="ignore", invalid="ignore"):
        p_value = stdtr(np.maximum(df, 1), value / se)
    # No spread at all (identical gradients everywhere): the sign is certain.
    p_value = np.where(se == 0, np.where(value < 0, 0.0, 1.0), p_value)
    p_value = np.where(np.isfinite(se), p_value, np.nan)
    return Pooled(Estimate(value, low, high, states(value, low, high, n == 0)), p_value)


def _within(
    moments: Moments, pairs: Int[np.ndarray, "P 2"], valid: Bool[np.ndarray, "S M P"], sums: Sums, n_batches: int
) -> tuple[Float[np.ndarray, "M P"], Bool[np.ndarray, "M P"], Float[np.ndarray, "M P"]]:
    """Standard error by the delta method from the jackknife covariances of every step; where a signal is too low;
    degrees of freedom."""
    di, dj = (np.where(valid, moments.jackknife.dd[..., task], 0.0).sum(axis=0) for task in pairs.T)
    low_signal = ~((sums.i > 2 * np.sqrt(di)) & (sums.j > 2 * np.sqrt(dj)))
    jackknife, excess = (
        np.where(valid, np.maximum(spread.of_sum(pairs, *sums.slopes), 0.0), 0.0)
        for spread in (moments.jackknife, moments.excess)
    )
    df = satterthwaite(jackknife, valid, n_batches - 1)
    variance = jackknife.sum(axis=0)
    variance = variance * kept_share(variance, excess.sum(axis=0), n_batches, df)
    return np.sqrt(variance) / sums.norm, low_signal, df


def satterthwaite(
    variance: Float[np.ndarray, "S M P"], valid: Bool[np.ndarray, "S M P"], each: int
) -> Float[np.ndarray, "M P"]:
    """Degrees of freedom of a sum of variances of ``each`` degrees of freedom: S times as many where steps are equally
    noisy, fewer where some are much noisier.

    (sum V)² / (sum V² / (f + 2)) - 2, where V² / (f + 2) estimates the squared truth over f without bias; between f
    and S f. Source: Satterthwaite 1946, with V² / f; the correction for few degrees of freedom is a standard one.
    """
    square = (variance**2).sum(axis=0) / (each + 2)
    found = variance.sum(axis=0) ** 2 / np.where(square > 0, square, np.nan) - 2
    most = np.maximum(valid.sum(axis=0), 1) * each
    return np.clip(np.where(np.isnan(found), most, found), each, most)


def _between(
    a: Float[np.ndarray, "S M P"],
    di: Float[np.ndarray, "S M P"],
    dj: Float[np.ndarray, "S M P"],
    valid: Bool[np.ndarray, "S M P"],
    sums: Sums,
    starts: Int[np.ndarray, " W"],
) -> tuple[Float[np.ndarray, "M P"], Bool[np.ndarray, "M P"], Int[np.ndarray, "M P"]]:
    """Standard error by the delta method from the spread between the steps of a window; its degrees of freedom."""
    count = np.add.reduceat(valid, starts, axis=0, dtype=np.int64)  # [W, M, P]
    length = np.diff(np.append(starts, len(a)))

    def standard_error(x: Float[np.ndarray, "S M P"]) -> Float[np.ndarray, "M P"]:
        mean = np.add.reduceat(np.where(valid, x, 0.0), starts, axis=0) / np.maximum(count, 1)
        squares = np.where(valid, x - np.repeat(mean, length, axis=0), 0.0) ** 2
        return np.sqrt((np.add.reduceat(squares, starts, axis=0) * count / np.maximum(count - 1, 1)).sum(axis=0))

    wi, wj = sums.slopes
    df = np.maximum(count - 1, 0).sum(axis=0)
    enough = (df >= 2) & (count != 1).all(axis=0)
    low_signal = ~((sums.i > 2 * standard_error(di)) & (sums.j > 2 * standard_error(dj)))
    low_signal = (low_signal & enough) | np.isnan(sums.cosine)
    se = standard_error(a + wi * di + wj * dj) / sums.norm
    return np.where(enough, se, np.inf), low_signal, df
