"""Distances and similarities that need no kernel: sliced Wasserstein, and CKA across layers and checkpoints."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from workbench.core.gramian import jackknife_se, student95

#: Groups of samples that are left out one at a time for the interval of CKA.
_FOLDS = 8


def unit_directions(count: int, width: int, rng: np.random.Generator) -> Float[np.ndarray, "L D"]:
    """Directions drawn uniformly from the unit sphere."""
    drawn = rng.normal(size=(count, width))
    return drawn / np.maximum(np.linalg.norm(drawn, axis=1, keepdims=True), 1e-300)


def wasserstein_1d(
    x: Float[np.ndarray, "N L"], y: Float[np.ndarray, "M L"], power: float = 1.0
) -> Float[np.ndarray, " L"]:
    """W_p of one-dimensional samples, column by column, by matching quantiles exactly (also for unequal sizes)."""
    x, y = np.sort(x, axis=0), np.sort(y, axis=0)
    edges = np.union1d(np.arange(1, len(x) + 1) / len(x), np.arange(1, len(y) + 1) / len(y))
    middle = edges - 0.5 * np.diff(edges, prepend=0.0)
    at_x = np.minimum((middle * len(x)).astype(int), len(x) - 1)
    at_y = np.minimum((middle * len(y)).astype(int), len(y) - 1)
    mass = np.diff(edges, prepend=0.0)
    return (mass @ np.abs(x[at_x] - y[at_y]) ** power) ** (1 / power)


def sliced_wasserstein(
    x: Float[np.ndarray, "N D"], y: Float[np.ndarray, "M D"], directions: Float[np.ndarray, "L D"], power: float = 1.0
) -> float:
    """(Mean over directions of W_p^p of the projections)^(1/p), in units of the embedding.

    Sources: Rabin et al. 2011; Bonneel et al. 2015, Sliced and Radon Wasserstein Barycenters.
    """
    each = wasserstein_1d(x @ directions.T, y @ directions.T, power)
    return float((each**power).mean() ** (1 / power))


def sliced_relabelled(projected: Float[np.ndarray, "N L"], masks: Bool[np.ndarray, "R N"]) -> Float[np.ndarray, " R"]:
    """Sliced W_1 for every relabelling: the area between two distribution functions, whose order never changes."""
    order = np.argsort(projected, axis=0)  # [N, L]
    gaps = np.diff(np.take_along_axis(projected, order, axis=0), axis=0)  # [N-1, L]
    n = int(masks[0].sum())
    weights = np.where(masks, 1 / n, -1 / (masks.shape[1] - n)).astype(np.float32)
    total = np.zeros(len(masks))
    for column in range(projected.shape[1]):
        between = np.cumsum(weights[:, order[:-1, column]], axis=1)
        total += np.abs(between, out=between) @ gaps[:, column].astype(np.float32)
    return total / projected.shape[1]


def linear_cka(x: Float[np.ndarray, "N D"], y: Float[np.ndarray, "N E"]) -> float:
    """|Y'X|² / (|X'X| |Y'Y|) of centred embeddings of the same N inputs, in [0, 1].

    Biased upwards when D is not small against N. Source: Kornblith et al. 2019, arXiv:1905.00414, equation 4.
    """
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    scale = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return float(np.linalg.norm(y.T @ x) ** 2 / scale) if scale > 0 else np.nan


def gram(x: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N N"]:
    """Inner products with the diagonal set to 0, as the unbiased HSIC wants them. Centred first, against rounding."""
    x = (x - x.mean(axis=0)).astype(np.float64)
    products = x @ x.T
    np.fill_diagonal(products, 0)
    return products


def unbiased_hsic(k: Float[np.ndarray, "N N"], other: Float[np.ndarray, "N N"]) -> float:
    """The U-statistic of HSIC from two Gram matrices with zero diagonals; needs N > 3.

    Source: Song et al. 2012, Feature Selection via Dependence Maximization, equation 5.
    """
    n = len(k)
    rows, columns = k.sum(axis=0), other.sum(axis=0)
    trace = float(np.vdot(k, other))
    means = float(rows.sum() * columns.sum()) / ((n - 1) * (n - 2))
    return (trace + means - 2 * float(rows @ columns) / (n - 2)) / (n * (n - 3))


def debiased_cka(k: Float[np.ndarray, "N N"], other: Float[np.ndarray, "N N"]) -> float:
    """Linear CKA from :func:`gram` matrices with unbiased HSIC: near 0 for unrelated embeddings of any width.

    May be slightly negative; NaN where an embedding does not vary. Source: Nguyen et al. 2021, arXiv:2010.15327.
    """
    scale = unbiased_hsic(k, k) * unbiased_hsic(other, other)
    return unbiased_hsic(k, other) / float(np.sqrt(scale)) if scale > 0 else np.nan


def cka_interval(k: Float[np.ndarray, "N N"], other: Float[np.ndarray, "N N"]) -> tuple[float, float, float]:
    """Debiased CKA with a 95 % interval (value, low, high): delete-a-group jackknife over samples."""
    value = debiased_cka(k, other)
    fold = np.arange(len(k)) % _FOLDS
    left = []
    for group in range(_FOLDS):
        kept = np.flatnonzero(fold != group)
        inside = np.ix_(kept, kept)
        left.append(debiased_cka(k[inside], other[inside]))
    half = student95(_FOLDS - 1) * float(jackknife_se(np.array(left)[:, None])[0])
    return value, value - half, min(value + half, 1.0)
