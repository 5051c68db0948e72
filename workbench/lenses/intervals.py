"""Intervals and corrections that several lenses share."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from workbench.core.gramian import Z95


def wilson(
    successes: Float[np.ndarray, "..."], n: Float[np.ndarray, "..."], z: float = Z95
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """Wilson score interval of a proportion; NaN where n = 0.

    Source: Wilson 1927; centre (p + z²/2n) / (1 + z²/n), half-width z / (1 + z²/n) · sqrt(p (1 - p) / n + z²/4n²).
    """
    n = np.where(np.asarray(n, dtype=float) > 0, n, np.nan)
    p = successes / n
    scale = 1 + z**2 / n
    centre = (p + z**2 / (2 * n)) / scale
    half = z / scale * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)


def benjamini_hochberg(p: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """Adjusted p-values that control the false discovery rate under independence or positive dependence.

    NaN stays NaN and does not count as a test. Source: Benjamini and Hochberg 1995.
    """
    p = np.asarray(p, dtype=float)
    adjusted = np.full_like(p, np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    ranks = np.arange(1, len(order) + 1)
    scaled = p[order] * len(order) / ranks
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted


def normal_p(z: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Two-sided p-value of a standard normal statistic; NaN stays NaN."""
    z = np.asarray(z, dtype=float)
    return np.array([math.erfc(abs(value) / math.sqrt(2)) for value in z.ravel()]).reshape(z.shape)
