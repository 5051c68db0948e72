"""From recorded raw GSNR of n samples to GSNR that does not depend on n.

Symbols: r = m² / s² the raw GSNR of one parameter (sample mean and unbiased variance of its per-sample gradients),
n the number of samples. For Gaussian gradients E[r] = (n - 1) / (n - 3) · (GSNR + 1/n), so that

    corrected = (n - 3) / (n - 1) · r - 1/n

is exactly unbiased there, and nearly so for others once n is large (heavy tails make it too small by a little). It may
be negative, like every unbiased estimate of something near 0. The map is monotone in r, so quantiles and the edges of
histogram bins go through it as they are.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from workbench.core.schema import GSNR_LOG10_EDGES

#: Edges of the drawn bins, in log10 of the corrected GSNR. What lies at or below the first edge, negative values among
#: it, is counted in one more bin in front.
LOG10_EDGES = np.linspace(-5.0, 4.0, 37)


def corrected(raw: Float[np.ndarray, "..."], samples: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Corrected GSNR; NaN below 4 samples. Broadcasts."""
    n = np.where(samples > 3, samples, np.nan)
    return (n - 3) / (n - 1) * raw - 1 / n


def raw_of(value: Float[np.ndarray, "..."], samples: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """The raw GSNR whose corrected value is given: the inverse of :func:`corrected`."""
    n = np.where(samples > 3, samples, np.nan)
    return (value + 1 / n) * (n - 1) / (n - 3)


def share_up_to(
    histogram: Float[np.ndarray, "... 48"], log10_raw: Float[np.ndarray, "... Q"]
) -> Float[np.ndarray, "... Q"]:
    """Share of entries with log10 raw GSNR up to a limit, linear within a bin; NaN for an empty histogram.

    The outermost bins also hold what lies beyond them, so a limit outside the edges gives 0 or 1.
    """
    total = histogram.sum(axis=-1, keepdims=True)
    below = np.concatenate([np.zeros_like(total), np.cumsum(histogram, axis=-1)], axis=-1)
    below = below / np.where(total > 0, total, np.nan)  # [..., 49]
    width = GSNR_LOG10_EDGES[1] - GSNR_LOG10_EDGES[0]
    place = np.clip((log10_raw - GSNR_LOG10_EDGES[0]) / width, 0, len(GSNR_LOG10_EDGES) - 1)
    known = np.nan_to_num(place)
    left = np.minimum(np.floor(known).astype(np.int64), len(GSNR_LOG10_EDGES) - 2)
    start, end = np.take_along_axis(below, left, axis=-1), np.take_along_axis(below, left + 1, axis=-1)
    return np.where(np.isnan(place), np.nan, start + (known - left) * (end - start))


def corrected_density(
    histogram: Float[np.ndarray, "... 48"], samples: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "... 37"]:
    """Shares of the entries by corrected GSNR: at or below the first of ``LOG10_EDGES``, then between the edges.

    What lies above the last edge is counted in the last bin.
    """
    limits = np.log10(raw_of(10.0**LOG10_EDGES, samples[..., None]))
    up_to = share_up_to(histogram, limits)
    up_to[..., -1] = np.where(np.isnan(up_to[..., -1]), np.nan, 1.0)
    return np.diff(up_to, axis=-1, prepend=0.0)


def histogram_quantiles(
    histogram: Float[np.ndarray, "... 48"], probabilities: tuple[float, ...]
) -> Float[np.ndarray, "... Q"]:
    """Raw GSNR at the given probabilities, linear in log10 within a bin; NaN for an empty histogram."""
    total = histogram.sum(axis=-1, keepdims=True)
    below = np.cumsum(histogram, axis=-1) / np.where(total > 0, total, np.nan)
    width = GSNR_LOG10_EDGES[1] - GSNR_LOG10_EDGES[0]
    found = []
    for probability in probabilities:
        bin_ = np.argmax(below >= probability - 1e-12, axis=-1)[..., None]
        end = np.take_along_axis(below, bin_, axis=-1)
        start = np.where(bin_ > 0, np.take_along_axis(below, np.maximum(bin_ - 1, 0), axis=-1), 0.0)
        inside = (probability - start) / np.where(end > start, end - start, 1.0)
        found.append(10 ** (GSNR_LOG10_EDGES[0] + width * (bin_ + np.clip(inside, 0, 1))))
    return np.where(np.isnan(below[..., -1:]), np.nan, np.concatenate(found, axis=-1))


def noise_limit(samples: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Raw GSNR that a parameter without any signal exceeds in 5 % of cases: F(1, n - 1) at 95 %, over n.

    Exact for Gaussian gradients; by the central limit theorem close to it for others.
    """
    from scipy.special import fdtri

    n = np.where(samples > 1, samples, np.nan)
    return fdtri(1.0, n - 1, 0.95) / n
