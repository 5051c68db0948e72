"""Intervals, tests and null distributions of group values: proportions exactly, losses by their means."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from workbench.core.gramian import Z95
from workbench.lenses.bias.sample_metrics import Metric
from workbench.lenses.intervals import normal_p, wilson

#: Above this standard deviation of the count, Fisher's test is replaced by its normal limit with continuity correction.
NORMAL_SD = 100.0


def mean_interval(
    n: Float[np.ndarray, " G"], total: Float[np.ndarray, " G"], squares: Float[np.ndarray, " G"], metric: Metric
) -> tuple[Float[np.ndarray, " G"], Float[np.ndarray, " G"], Float[np.ndarray, " G"]]:
    """Mean with 95 % limits: Wilson's for counts, normal (mean ± 1.96 standard errors) otherwise.

    Limits of a share stay within 0 and 1. NaN where n = 0, and for limits of other means where n = 1.
    """
    safe = np.where(n > 0, n, np.nan)
    mean = total / safe
    if metric.counted:
        return mean, *wilson(total, n)
    half = Z95 * np.sqrt(variance(n, total, squares) / safe)
    if metric.share:
        return mean, np.maximum(mean - half, 0), np.minimum(mean + half, 1)
    return mean, mean - half, mean + half


def variance(
    n: Float[np.ndarray, "*G"], total: Float[np.ndarray, "*G"], squares: Float[np.ndarray, "*G"]
) -> Float[np.ndarray, "*G"]:
    """Unbiased variance from sums; NaN where n < 2."""
    safe = np.where(n > 1, n, np.nan)
    return np.maximum(squares - total**2 / safe, 0) / (safe - 1)


def difference_interval(
    mean_a: Float[np.ndarray, " G"],
    limits_a: tuple[Float[np.ndarray, " G"], Float[np.ndarray, " G"]],
    mean_b: Float[np.ndarray, " G"],
    limits_b: tuple[Float[np.ndarray, " G"], Float[np.ndarray, " G"]],
) -> tuple[Float[np.ndarray, " G"], Float[np.ndarray, " G"]]:
    """Limits of a - b of two independent means from their own limits.

    Source: Newcombe 1998, method 10 (square-and-add), for proportions with Wilson limits; for normal limits it is the
    ordinary interval.
    """
    difference = mean_a - mean_b
    low = difference - np.hypot(mean_a - limits_a[0], limits_b[1] - mean_b)
    high = difference + np.hypot(limits_a[1] - mean_a, mean_b - limits_b[0])
    return low, high


def fisher_exact(
    k: Float[np.ndarray, " G"], n: Float[np.ndarray, " G"], k_all: float, n_all: float
) -> Float[np.ndarray, " G"]:
    """Two-sided Fisher test of k successes among n inside a group against the k_all - k among n_all - n outside.

    The p-value is the probability of all tables that are no more probable than the observed one (Fisher 1935; the
    usual two-sided rule). NaN where inside or outside is empty.
    """
    return np.array([_fisher_one(float(a), float(b), float(k_all), float(n_all)) for a, b in zip(k, n, strict=True)])


def _fisher_one(k: float, n: float, k_all: float, n_all: float) -> float:
    if n <= 0 or n >= n_all:
        return float("nan")
    share = k_all / n_all
    sd = np.sqrt(n * share * (1 - share) * (n_all - n) / (n_all - 1))
    if sd == 0:
        return 1.0
    z = (abs(k - n * share) - 0.5) / sd
    if z > 38 or sd > NORMAL_SD:  # beyond 38 standard deviations the probability is below the smallest double
        return float(normal_p(np.array([max(z, 0.0)]))[0])
    support = np.arange(max(0.0, n + k_all - n_all), min(n, k_all) + 1)
    log_p = _log_choose(k_all, support) + _log_choose(n_all - k_all, n - support) - _log_choose(n_all, np.array(n))
    observed = log_p[round(k - support[0])]
    return float(min(1.0, np.exp(log_p[log_p <= observed + 1e-7]).sum()))


def _log_choose(n: float, k: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    from scipy.special import gammaln

    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))


def welch_p(
    n: Float[np.ndarray, " G"],
    mean: Float[np.ndarray, " G"],
    var: Float[np.ndarray, " G"],
    n_other: Float[np.ndarray, " G"],
    mean_other: Float[np.ndarray, " G"],
    var_other: Float[np.ndarray, " G"],
) -> Float[np.ndarray, " G"]:
    """Two-sided Welch test of two means. NaN where a variance is unknown or both are 0."""
    from scipy.special import stdtr

    part, part_other = var / n, var_other / n_other
    with np.errstate(invalid="ignore", divide="ignore"):
        t = (mean - mean_other) / np.sqrt(part + part_other)
        freedom = (part + part_other) ** 2 / (part**2 / (n - 1) + part_other**2 / (n_other - 1))
        return np.asarray(2 * stdtr(freedom, -np.abs(t)))


def contrast_of_four(
    n: Float[np.ndarray, "G 4"],
    total: Float[np.ndarray, "G 4"],
    squares: Float[np.ndarray, "G 4"],
    counted: bool,
) -> tuple[Float[np.ndarray, " G"], Float[np.ndarray, " G"], Float[np.ndarray, " G"], Float[np.ndarray, " G"]]:
    """The contrast m0 - m1 - m2 + m3 of four independent means: value, 95 % limits and two-sided p-value.

    For counts (``counted``) the limits and the test use (k + 0.5) / (n + 1) in place of k / n, which keeps their level
    in small and extreme cells; the value is the plain contrast. Source: Price and Bonett 2004 with four terms (2/m
    successes and 4/m trials added to each of m groups). Other means: normal limits from the four standard errors.
    """
    signs = np.array([1.0, -1.0, -1.0, 1.0])
    plain = (total / n) @ signs
    if counted:
        shrunk = (total + 0.5) / (n + 1)
        centre, error = shrunk @ signs, np.sqrt((shrunk * (1 - shrunk) / (n + 1)).sum(axis=1))
    else:
        centre, error = plain, np.sqrt((variance(n, total, squares) / n).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        p = normal_p(centre / error)
    return plain, centre - Z95 * error, centre + Z95 * error, p


def null_gaps(
    n: Float[np.ndarray, " G"], mean: float, sd: float, counted: bool, draws: int, rng: np.random.Generator
) -> Float[np.ndarray, " R"]:
    """Largest minus smallest group value, simulated when all groups share one mean (the winner's curse).

    Binomial counts at the pooled rate where values are 0 or 1 (``counted``), else normal means
    with the pooled standard deviation.
    """
    if counted:
        values = rng.binomial(n.astype(np.int64), min(max(mean, 0.0), 1.0), (draws, len(n))) / n
    else:
        values = rng.normal(mean, sd / np.sqrt(n), (draws, len(n)))
    return values.max(axis=1) - values.min(axis=1)
