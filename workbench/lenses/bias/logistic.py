"""Are the factors' costs and their interactions there on the scale of odds too?

Shares of a gap are taken on the scale of the metric, where a pair that meets the floor of 0 % or the ceiling of 100 %
can look better or worse than it is. A logistic regression of right or wrong on the factors and their products has no
such floor. Its terms are tested by likelihood ratios, each in a model that holds everything of its own order or below.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from jaxtyping import Float

from workbench.core.gramian import Z95
from workbench.lenses.intervals import benjamini_hochberg

#: Newton steps at most; a fit that needs more has a term that separates right from wrong.
MAX_STEPS = 50
#: Odds ratios beyond exp(this) mean that a term separates: its estimate is no number.
SEPARATED = 15.0

COLUMNS = ("term", "coefficient", "low", "high", "chi_square", "p", "q")


def logistic_table(n: Float[np.ndarray, " V"], right: Float[np.ndarray, " V"], names: Sequence[str]) -> pd.DataFrame:
    """One row a factor and a pair of factors.

    Args:
        n, right: Samples and right answers of the 2^m cells, by the set of factors at their worst level as bits.
        names: The m factors.

    Returns:
        term, the change of log odds with 95 % limits (normal; below 0 it harms), the likelihood ratio's chi-square with
        one degree of freedom, p, and q over all terms (Benjamini and Hochberg). Factors are tested among the factors
        alone, pairs among all factors and pairs. NaN where a term separates right from wrong.
    """
    m = len(names)
    at_worst = (np.arange(2**m)[:, None] >> np.arange(m) & 1).astype(float)  # [V, m]
    pairs = list(combinations(range(m), 2))
    products = np.stack([at_worst[:, i] * at_worst[:, j] for i, j in pairs], axis=1) if pairs else at_worst[:, :0]
    single = [(name, np.column_stack([np.ones(len(n)), at_worst]), 1 + i) for i, name in enumerate(names)]
    whole = np.column_stack([np.ones(len(n)), at_worst, products])
    double = [(f"{names[i]} × {names[j]}", whole, 1 + m + at) for at, (i, j) in enumerate(pairs)]
    rows = [(term, *_tested(design, column, n, right)) for term, design, column in (*single, *double)]
    table = pd.DataFrame(rows, columns=list(COLUMNS[:-1]))
    return table.assign(q=benjamini_hochberg(table["p"].to_numpy(dtype=float)))


def _tested(
    design: Float[np.ndarray, "V K"], column: int, n: Float[np.ndarray, " V"], right: Float[np.ndarray, " V"]
) -> tuple[float, float, float, float, float]:
    """Coefficient of a column with limits, chi-square of leaving it out, p."""
    from scipy.special import chdtrc

    weights, covariance, likelihood = fit(design, n, right)
    without = fit(np.delete(design, column, axis=1), n, right)[2]
    value, error = float(weights[column]), float(np.sqrt(covariance[column, column]))
    square = max(0.0, 2 * (likelihood - without))
    p = float(chdtrc(1, square)) if np.isfinite(square) else float("nan")
    if not np.isfinite(value) or abs(value) > SEPARATED:
        value = error = float("nan")
    return value, value - Z95 * error, value + Z95 * error, square, p


def fit(
    design: Float[np.ndarray, "V K"], n: Float[np.ndarray, " V"], right: Float[np.ndarray, " V"]
) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, "K K"], float]:
    """Logistic regression of grouped counts by Newton's method with step halving.

    Returns:
        Weights, their covariance (inverse of Fisher's information), and the log likelihood without its constant.
    """
    weights = np.zeros(design.shape[1])
    best = _likelihood(design @ weights, n, right)
    information = np.eye(design.shape[1])
    for _ in range(MAX_STEPS):
        share = 1 / (1 + np.exp(-design @ weights))
        information = design.T @ (design * (n * share * (1 - share))[:, None])
        step = np.linalg.lstsq(information, design.T @ (right - n * share), rcond=None)[0]
        found = _likelihood(design @ (weights + step), n, right)
        while found < best - 1e-12 and np.abs(step).max() > 1e-12:
            step = step / 2
            found = _likelihood(design @ (weights + step), n, right)
        weights, gain, best = weights + step, found - best, found
        if gain < 1e-10:
            break
    return weights, np.linalg.pinv(information), best


def _likelihood(logit: Float[np.ndarray, " V"], n: Float[np.ndarray, " V"], right: Float[np.ndarray, " V"]) -> float:
    return float((right * logit - n * np.logaddexp(0, logit)).sum())
