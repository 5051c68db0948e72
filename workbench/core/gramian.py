"""Inner products of task gradients, and what can honestly be said from them.

Symbols: T tasks, K disjoint mini-batches, M modules (disjoint parts of the shared parameters), g_i^k the gradient of
task i's mean loss on mini-batch k. The cross-Gramian holds <g_i^k, g_j^l> for every pair of (task, mini-batch); it is
all that is needed for unbiased inner products, intervals and replays, and it has M·(TK)² numbers however large the
network is.

The product of two gradients from the *same* samples is biased by their shared noise, so even its sign can be wrong.
Products across different mini-batches are not:

    G_ij = 1 / (K (K - 1)) · sum over k != l of <g_i^k, g_j^l>                     (U-statistic)
    cos_ij = G_ij / sqrt(G_ii G_jj)
    SE² = (K - 1) / K · sum over k of (cos^(-k) - mean cos^(-k))²                  (delete-one-batch jackknife)

The products h_kl = θ + a_k + a_l + b_kl hold a part b that belongs to the pair of mini-batches alone. The variance of
their mean is 4 var(a) / K + 2 var(b) / (K (K - 1)); the jackknife expects 4 var(a) / K + 4 var(b) / (K (K - 2)) and so
counts b twice. :func:`doubled` estimates the excess; with K = 3 nothing tells b from a, and intervals stay too wide
where noise dominates.

Sources: Yu et al. 2020, arXiv:2001.06782, Definitions 1, 2 (cosine, magnitude similarity); McCandlish et al. 2018,
arXiv:1812.06162 (noise scale); Efron and Stein 1981 (bias of the jackknife variance). The U-statistic and the jackknife
are standard; applying them here is our choice, as is calling a task whose squared norm is not above two standard errors
"signal below noise", and the share of the excess that is taken off, :func:`correction_share`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from workbench.core.errors import ConfigError

#: Two-sided 95 % quantile of the normal distribution.
Z95 = 1.959963984540054


def student95(df: int) -> float:
    """Two-sided 95 % quantile of Student's t with ``df`` >= 1 degrees of freedom, to 0.1 %.

    Exact for 1 and 2, else the normal quantile's expansion in 1/df to the fourth order, so that nothing has to be
    imported. Source: Abramowitz and Stegun 26.7.5.
    """
    if df < 1:
        raise ConfigError(f"Student's t needs at least 1 degree of freedom; got {df}.")
    if df == 1:
        return 12.706204736432095
    if df == 2:
        return 4.302652729911275
    z = Z95
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / df ** (i + 1) for i, term in enumerate(terms))


@dataclass(frozen=True)
class Cosines:
    """Cosines between task gradients with 95 % intervals. The last two axes are task by task.

    ``value`` is not clipped: the ratio of unbiased estimates may leave [-1, 1]. It is NaN where a task's signal is
    below its noise, and so are ``low`` and ``high``; with too few mini-batches for a jackknife only the interval is.
    """

    value: Float[np.ndarray, "... T T"]
    se: Float[np.ndarray, "... T T"]
    low: Float[np.ndarray, "... T T"]
    high: Float[np.ndarray, "... T T"]
    below_noise: Bool[np.ndarray, "... T"]

    @property
    def conflict(self) -> Bool[np.ndarray, "... T T"]:
        """Where the whole interval lies below 0."""
        return self.high < 0

    @property
    def aligned(self) -> Bool[np.ndarray, "... T T"]:
        """Where the whole interval lies above 0."""
        return self.low > 0


@dataclass(frozen=True)
class Gramian:
    """The cross-Gramian of one step.

    Attributes:
        dot: ``dot[m, i, k, j, l]`` = <g_i^k, g_j^l> restricted to module m.
        samples: Number of samples behind the gradient of (task, mini-batch).
    """

    modules: tuple[str, ...]
    tasks: tuple[str, ...]
    dot: Float[np.ndarray, "M T K T K"]
    samples: Int[np.ndarray, "T K"]

    def __post_init__(self) -> None:
        n_tasks, n_batches = self.samples.shape
        expected = (len(self.modules), len(self.tasks), n_batches, len(self.tasks), n_batches)
        if self.dot.shape != expected or n_tasks != len(self.tasks):
            raise ConfigError(
                f"A Gramian of these modules, tasks and batches has shape {expected}; got {self.dot.shape}."
            )

    @property
    def n_batches(self) -> int:
        return self.samples.shape[1]

    def select(self, modules: Sequence[str]) -> Gramian:
        """Restrict to some modules, in the order given."""
        index = [self.modules.index(name) for name in modules]
        return Gramian(tuple(modules), self.tasks, self.dot[index], self.samples)

    def total(self, name: str = "all") -> Gramian:
        """Sum over modules: the Gramian of all recorded parameters together, as one module."""
        return Gramian((name,), self.tasks, self.dot.sum(axis=0, keepdims=True), self.samples)

    def plug_in(self) -> Float[np.ndarray, "M T T"]:
        """Inner products of the gradients of the whole batch (mean over mini-batches): biased by shared noise."""
        return self.dot.mean(axis=(2, 4))

    def unbiased(self) -> Float[np.ndarray, "M T T"]:
        """The U-statistic. NaN when only one mini-batch was recorded."""
        return unbiased(self.dot)

    def cosines(self) -> Cosines:
        """Unbiased cosines with jackknife intervals, per module."""
        return cosines(self.dot)

    def magnitude_similarity(self) -> Float[np.ndarray, "M T T"]:
        """2 |g_i| |g_j| / (|g_i|² + |g_j|²) in (0, 1] from unbiased norms; NaN where a squared norm is not positive.

        Source: Yu et al. 2020, Definition 2.
        """
        return magnitude_similarity(self.unbiased())


def unbiased(dot: Float[np.ndarray, "... T K T K"]) -> Float[np.ndarray, "... T T"]:
    """U-statistic of <g_i, g_j> over pairs of different mini-batches, symmetrised. NaN for K = 1."""
    n = dot.shape[-1]
    if n < 2:
        return np.full((*dot.shape[:-4], dot.shape[-4], dot.shape[-4]), np.nan)
    same = np.einsum("...ikjk->...ij", dot)
    both = (_sum_of_last(dot.sum(axis=-3)) - same) / (n * (n - 1))
    return 0.5 * (both + np.swapaxes(both, -1, -2))


def leave_one_out(dot: Float[np.ndarray, "... T K T K"]) -> Float[np.ndarray, "K ... T T"]:
    """The U-statistics without one mini-batch each, without copying the Gramian K times. Needs K >= 3."""
    n = dot.shape[-1]
    same = np.einsum("...ikjk->...ijk", dot)  # [..., T, T, K]
    columns = dot.sum(axis=-3)  # [..., T, T, K]: <sum_k g_i^k, g_j^l>
    total = (_sum_of_last(columns) - _sum_of_last(same))[..., None]
    rows = np.moveaxis(_sum_of_last(dot), -2, -1)  # [..., T, T, K]: <g_i^k, sum_l g_j^l>
    left = (total - rows - columns + 2 * same) / ((n - 1) * (n - 2))
    left = 0.5 * (left + np.swapaxes(left, -2, -3))
    return np.moveaxis(left, -1, 0)


def magnitude_similarity(gram: Float[np.ndarray, "... T T"]) -> Float[np.ndarray, "... T T"]:
    """2 sqrt(G_ii G_jj) / (G_ii + G_jj); NaN where a diagonal entry is not positive."""
    square = np.einsum("...ii->...i", gram)
    square = np.where(square > 0, square, np.nan)
    norm = np.sqrt(square)
    return 2 * norm[..., :, None] * norm[..., None, :] / (square[..., :, None] + square[..., None, :])


def cosine_matrix(gram: Float[np.ndarray, "... T T"]) -> Float[np.ndarray, "... T T"]:
    """G_ij / sqrt(G_ii G_jj); NaN where a diagonal entry is not positive. Not clipped."""
    square = np.einsum("...ii->...i", gram)
    norm = np.sqrt(np.where(square > 0, square, np.nan))
    return gram / (norm[..., :, None] * norm[..., None, :])


def cosines(dot: Float[np.ndarray, "... T K T K"]) -> Cosines:
    """Unbiased cosines, delete-one-batch jackknife intervals and the "signal below noise" rule.

    A task is below noise when its unbiased squared norm is not above two of its own jackknife standard errors; nothing
    is said about its pairs. With K < 3 there is no jackknife: intervals are infinite, so nothing is called.

    Half-widths are Student's t with K - 1 degrees of freedom times the corrected jackknife standard error: with the
    normal quantile the intervals cover only 84 to 90 % at K = 3 or 4, and without the correction up to 99 % where
    noise dominates. K = 3 leaves no correction: there they cover 95 to 99 %.
    """
    n = dot.shape[-1]
    gram = unbiased(dot)
    if n < 3:
        value = cosine_matrix(gram)
        infinite = np.full_like(value, np.inf)
        below = ~(np.einsum("...ii->...i", gram) > 0)
        return Cosines(value, infinite, -infinite, infinite, below)
    left = leave_one_out(dot)  # [K, ..., T, T]
    square = np.einsum("...ii->...i", gram)
    square_se = jackknife_se(np.einsum("...ii->...i", left))
    below = ~(square > 2 * square_se)
    hidden = below[..., :, None] | below[..., None, :]
    value = np.where(hidden, np.nan, cosine_matrix(gram))
    variance = jackknife_se(cosine_matrix(left)) ** 2
    se = np.where(hidden, np.nan, np.sqrt(variance * _kept(dot, gram, variance)))
    diagonal = np.eye(value.shape[-1], dtype=bool)
    se = np.where(diagonal & ~np.isnan(value), 0.0, se)
    # A leave-one-out squared norm that is not positive leaves no standard error: the pair stays undetermined.
    half = student95(n - 1) * np.where(np.isnan(se) & ~hidden, np.inf, se)
    return Cosines(value, se, value - half, value + half, below)


def _kept(
    dot: Float[np.ndarray, "... T K T K"], gram: Float[np.ndarray, "... T T"], variance: Float[np.ndarray, "... T T"]
) -> Float[np.ndarray, "... T T"]:
    """Share of the jackknife variance of the cosines that is kept, from the products that a cosine is linear in."""
    kernel = np.moveaxis(dot, -3, -2)  # [..., T, T, K, K]
    length = np.sqrt(np.maximum(np.einsum("...ii->...i", gram), 0.0))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        linear = kernel / length[..., :, None, None, None] / length[..., None, :, None, None]
        own = np.einsum("...iikl->...ikl", linear)
        cosine = cosine_matrix(gram)[..., None, None]
        linear = linear - 0.5 * cosine * (own[..., :, None, :, :] + own[..., None, :, :, :])
        return kept_share(variance, doubled(linear), dot.shape[-1])


def kept_share(
    variance: Float[np.ndarray, "..."],
    excess: Float[np.ndarray, "..."],
    n_batches: int,
    df: Float[np.ndarray, "..."] | None = None,
) -> Float[np.ndarray, "..."]:
    """What is left of a jackknife variance, as a share of it, once ``correction_share`` of its excess is taken off.

    Not below (K - 2) / (2 (K - 1)), which is right where products are noise times noise alone. ``df``: degrees of
    freedom of the variance; K - 1, those of a single step, by default.
    """
    share = correction_share(n_batches, np.asarray(n_batches - 1.0) if df is None else df) * excess
    kept = np.clip(1 - share / np.where(variance > 0, variance, np.nan), (n_batches - 2) / (2 * (n_batches - 1)), 1.0)
    return np.where(np.isnan(kept), 1.0, kept)


def correction_share(n_batches: int, df: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """df / (df + 8); 0 at three mini-batches, where the excess cannot be estimated.

    Taking off all of the estimated excess leaves intervals that cover 90 to 94 %, since a variance of few degrees of
    freedom is itself uncertain; taking off none, up to 99.8 %. The constant was chosen where simulated intervals cover
    94 to 97 % whatever the share of noise, for 4 to 16 mini-batches and 1 to 40 pooled steps. Our choice.
    """
    return np.asarray(df / (df + 8) if n_batches > 3 else 0 * df)


def doubled(kernel: Float[np.ndarray, "... K K"], other: Float[np.ndarray, "... K K"] | None = None) -> np.ndarray:
    """By how much the jackknife variance of the mean over k != l of h_kl is too large on average; 0 for K <= 3.

    2 var(b) / ((K - 1) (K - 2)), with var(b) from the residuals of the additive fit θ + a_k + a_l, which leaves
    K (K - 3) / 2 degrees of freedom. With ``other``, the same for the jackknife covariance of two means.
    """
    n = kernel.shape[-1]
    if n <= 3:
        return np.zeros(kernel.shape[:-2])
    first = additive(kernel)
    return excess_of(first, first if other is None else additive(other))


@dataclass(frozen=True)
class Additive:
    """A symmetric kernel without its diagonal, and the θ (``mean``) and a_k (``own``) of its additive fit."""

    kernel: Float[np.ndarray, "... K K"]
    mean: Float[np.ndarray, "..."]
    own: Float[np.ndarray, "... K"]


def additive(kernel: Float[np.ndarray, "... K K"]) -> Additive:
    """The fit θ + a_k + a_l of a kernel that is first made symmetric. Needs K >= 3."""
    n = kernel.shape[-1]
    both = 0.5 * (kernel + np.swapaxes(kernel, -1, -2))
    both[..., np.arange(n), np.arange(n)] = 0.0
    row = _sum_of_last(both) / (n - 1)
    mean = _sum_of_last(row) / n
    return Additive(both, mean, (n - 1) / (n - 2) * (row - mean[..., None]))


def excess_of(first: Additive, second: Additive) -> Float[np.ndarray, "..."]:
    """:func:`doubled` of two fitted kernels; 0 for K <= 3."""
    n = first.kernel.shape[-1]
    if n <= 3:
        return np.zeros(first.mean.shape)
    residual = 0.5 * np.einsum("...kl,...kl->...", first.kernel, second.kernel)
    residual = residual - n * (n - 1) / 2 * first.mean * second.mean
    residual = residual - (n - 2) * np.einsum("...k,...k->...", first.own, second.own)
    if first is second:
        residual = np.maximum(residual, 0.0)
    return residual / (n * (n - 3) / 2) * 2 / ((n - 1) * (n - 2))


def _sum_of_last(values: Float[np.ndarray, "... K"]) -> Float[np.ndarray, "..."]:
    """Sums along a short last axis: as a product with ones, several times faster than a reduction."""
    n = values.shape[-1]
    return (np.ascontiguousarray(values).reshape(-1, n) @ np.ones(n)).reshape(values.shape[:-1])


def jackknife_se(left: Float[np.ndarray, "K ..."]) -> Float[np.ndarray, "..."]:
    """Standard error from leave-one-out estimates along the first axis."""
    n = left.shape[0]
    return np.sqrt((n - 1) / n * ((left - left.mean(axis=0)) ** 2).sum(axis=0))
