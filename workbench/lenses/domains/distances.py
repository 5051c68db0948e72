"""How far apart two samples of embeddings lie, and how far chance alone would put them.

X [n, D] and Y [m, D] are embeddings of two domains from the *same* checkpoint and layer: between checkpoints the axes
are arbitrary and none of these distances means anything. Functions named ``*_relabelled`` give the distance for many
relabellings of the pooled points at once: the permutation null that every distance is shown against.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

#: Bandwidths of the kernel mixture in units of the median distance (a common choice, not the paper's).
BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class AgainstNull:
    """A statistic beside its null distribution.

    Attributes:
        null_mean: Mean of the null.
        null_high: The value that chance alone exceeds in 5 % of relabellings.
        ratio: (value - null_mean) / (null_high - null_mean): how many times farther from the centre of the null than
            chance gets in 95 % of relabellings; NaN for a null without spread.
        p: One-sided, (1 + #{null >= value}) / (1 + #null): never 0.
    """

    value: float
    null_mean: float
    null_high: float
    ratio: float
    p: float


def against_null(value: float, null: Float[np.ndarray, " R"]) -> AgainstNull:
    """Place a value in its permutation null. Values equal up to rounding count as reached."""
    tolerance = 1e-6 * float(np.abs(null).max(initial=abs(value)))
    mean, high = float(null.mean()), _quantile(null, 0.95)
    p = (1 + int((null >= value - tolerance).sum())) / (1 + len(null))
    spread = high - mean
    return AgainstNull(value, mean, high, (value - mean) / spread if spread > tolerance else np.nan, p)


def _quantile(values: Float[np.ndarray, " R"], share: float) -> float:
    """np.quantile for one small array, without its overhead: it is called for every comparison."""
    ordered = np.sort(values)
    whole, part = divmod(share * (len(ordered) - 1), 1)
    below, above = ordered[int(whole)], ordered[min(int(whole) + 1, len(ordered) - 1)]
    return float(below + part * (above - below))


def relabellings(n: int, m: int, count: int, rng: np.random.Generator) -> Bool[np.ndarray, "R N"]:
    """Random ways of calling ``n`` of ``n + m`` points the first sample."""
    order = np.argsort(rng.random((count, n + m), dtype=np.float32), axis=1)
    masks = np.zeros((count, n + m), dtype=bool)
    np.put_along_axis(masks, order[:, :n], True, axis=1)
    return masks


def paired_relabellings(
    class_x: Int[np.ndarray, " N"], class_y: Int[np.ndarray, " M"], count: int, rng: np.random.Generator
) -> Bool[np.ndarray, "R N+M"]:
    """Relabellings that swap points of the same class only; X comes first in the pooled order.

    Points of X and Y are paired at random within their class and every pair changes places with probability 1/2;
    points without a partner stay. Both samples keep their mix of classes, so that a statistic beyond this null is a
    shift *within* classes and not another mix of them. Without the class structure in the null, class differences,
    which dwarf domain differences in a trained network, would hide the shift. With one class it is a permutation test
    on the group of swaps. Our choice; exact for domains that are exchangeable given the class.
    """
    n = len(class_x)
    partners = []
    for value in np.intersect1d(class_x, class_y):
        a, b = np.flatnonzero(class_x == value), n + np.flatnonzero(class_y == value)
        pairs = min(len(a), len(b))
        partners.append(np.stack([rng.permutation(a)[:pairs], rng.permutation(b)[:pairs]]))
    first, second = np.concatenate([np.zeros((2, 0), dtype=np.int64), *partners], axis=1)
    masks = np.zeros((count, n + len(class_y)), dtype=bool)
    masks[:, :n] = True
    stay = rng.random((count, len(first)), dtype=np.float32) < 0.5
    masks[:, first], masks[:, second] = stay, ~stay
    return masks


# -- maximum mean discrepancy -----------------------------------------------------------------------------------------


def squared_distances(
    x: Float[np.ndarray, "N D"], y: Float[np.ndarray, "M D"] | None = None
) -> Float[np.ndarray, "N M"]:
    """|x_i - y_j|², exactly 0 on the diagonal when ``y`` is left out. Centred first, against cancellation."""
    centre = x.mean(axis=0)
    x = x - centre
    other = x if y is None else y - centre
    square = (x**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)[None, :] - 2 * (x @ other.T)
    np.maximum(square, 0, out=square)
    if y is None:
        np.fill_diagonal(square, 0)
    return square


def median_distance(square: Float[np.ndarray, "N N"], at_most: int = 500) -> float:
    """Median of the pairwise distances i < j (over evenly spread points when there are more than ``at_most``)."""
    stride = -(-len(square) // at_most)
    part = square[::stride, ::stride]
    return float(np.median(np.sqrt(part[np.triu_indices(len(part), 1)])))


def gaussian_kernel(
    square: Float[np.ndarray, "N M"], sigma: float, factors: tuple[float, ...] = BANDWIDTHS
) -> Float[np.ndarray, "N M"]:
    """Mean over q of exp(-d² / (2 (sigma factor_q)²)). A sigma of 0 (all points equal) gives ones."""
    if sigma <= 0:
        return np.ones_like(square)
    widest, *narrower = sorted(factors, reverse=True)
    part = np.exp(square * (-0.5 / (sigma * widest) ** 2))
    mixture = part.copy()
    for before, factor in itertools.pairwise([widest, *narrower]):
        if before == 2 * factor:  # half the bandwidth is the fourth power: two products instead of an exponential
            part *= part
            part *= part
        else:
            part = np.exp(square * (-0.5 / (sigma * factor) ** 2))
        mixture += part
    return mixture / len(factors)


def mmd2(kernel: Float[np.ndarray, "N N"], first: Bool[np.ndarray, " N"]) -> float:
    """Unbiased MMD² of the points marked ``first`` against the others. May be negative; not clipped.

    Source: Gretton et al. 2012, A Kernel Two-Sample Test, Lemma 6.
    """
    return float(mmd2_relabelled(kernel.astype(np.float64), first[None])[0])


def mmd2_biased(kernel: Float[np.ndarray, "N N"], first: Bool[np.ndarray, " N"]) -> float:
    """The V-statistic: never negative, 0 for identical samples. Source: Gretton et al. 2012, equation 5."""
    weights = np.where(first, 1 / first.sum(), -1 / (~first).sum())
    return float(weights @ kernel.astype(np.float64) @ weights)


def mmd2_relabelled(kernel: Float[np.ndarray, "N N"], masks: Bool[np.ndarray, "R N"]) -> Float[np.ndarray, " R"]:
    """Unbiased MMD² for every relabelling, with one matrix product. Every row marks the same number of points."""
    n = int(masks[0].sum())
    m = masks.shape[1] - n
    # A constant on the off-diagonal leaves the statistic unchanged; without its mean, float32 keeps the digits.
    total = kernel.sum(dtype=np.float64) - np.trace(kernel)
    centred = kernel - kernel.dtype.type(total / (kernel.size - len(kernel)))
    np.fill_diagonal(centred, 0)
    chosen = masks.astype(centred.dtype)
    both = np.einsum("rn,rn->r", chosen @ centred, chosen).astype(np.float64)  # sum over i, j in the first sample
    rows = chosen @ centred.sum(axis=1)  # sum over i in the first sample and every j
    rest = centred.sum(dtype=np.float64) - 2 * rows + both
    return both / (n * (n - 1)) + rest / (m * (m - 1)) - 2 * (rows - both) / (n * m)


def witness(kernel_x: Float[np.ndarray, "Q N"], kernel_y: Float[np.ndarray, "Q M"]) -> Float[np.ndarray, " Q"]:
    """Mean kernel to X minus mean kernel to Y at Q places: large where X is dense and Y is not.

    Source: Gretton et al. 2012, section 2.3.
    """
    return kernel_x.mean(axis=1) - kernel_y.mean(axis=1)


# -- Gaussian approximations ------------------------------------------------------------------------------------------


def frechet(
    mean_x: Float[np.ndarray, " D"],
    cov_x: Float[np.ndarray, "D D"],
    mean_y: Float[np.ndarray, " D"],
    cov_y: Float[np.ndarray, "D D"],
) -> float:
    """|mean_x - mean_y|² + tr(C_x + C_y - 2 (C_x C_y)^½), squared units of the embedding.

    Source: Dowson and Landau 1982; the FID of Heusel et al. 2017. Biased upwards when points are few for D.
    """
    values, vectors = np.linalg.eigh(cov_x)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(root @ cov_y @ root), 0, None)).sum()
    return float(((mean_x - mean_y) ** 2).sum() + np.trace(cov_x) + np.trace(cov_y) - 2 * cross)


def frechet_of(x: Float[np.ndarray, "N D"], y: Float[np.ndarray, "M D"]) -> float:
    """Fréchet distance from the sample means and covariances (n - 1)."""
    return frechet(x.mean(axis=0), covariance(x), y.mean(axis=0), covariance(y))


@dataclass(frozen=True)
class Moments:
    """Means and covariances (n - 1) of both samples for R relabellings, gathered by one matrix product."""

    mean_x: Float[np.ndarray, "R D"]
    cov_x: Float[np.ndarray, "R D D"]
    mean_y: Float[np.ndarray, "R D"]
    cov_y: Float[np.ndarray, "R D D"]


def moments_relabelled(z: Float[np.ndarray, "N D"], masks: Bool[np.ndarray, "R N"]) -> Moments:
    """Moments for every relabelling. Every row marks the same number of points."""
    width = z.shape[1]
    z = (z - z.mean(axis=0)).astype(np.float64)
    products = (z[:, :, None] * z[:, None, :]).reshape(len(z), -1)
    chosen = masks.astype(np.float64)
    n = int(masks[0].sum())
    m = len(z) - n
    sum_x, second_x = chosen @ z, (chosen @ products).reshape(-1, width, width)
    sum_y, second_y = z.sum(axis=0) - sum_x, products.sum(axis=0).reshape(width, width) - second_x
    cov_x = (second_x - sum_x[:, :, None] * sum_x[:, None, :] / n) / (n - 1)
    cov_y = (second_y - sum_y[:, :, None] * sum_y[:, None, :] / m) / (m - 1)
    return Moments(sum_x / n, cov_x, sum_y / m, cov_y)


def frechet_relabelled(moments: Moments) -> Float[np.ndarray, " R"]:
    """Fréchet distance for every relabelling.

    tr (C_x C_y)^½ through a Cholesky factor L of C_x: the eigenvalues of L' C_y L are those of C_x C_y. A ridge of
    1e-9 of the mean variance keeps degenerate covariances factorable.
    """
    width = moments.cov_x.shape[-1]
    traces = np.trace(moments.cov_x, axis1=1, axis2=2) + np.trace(moments.cov_y, axis1=1, axis2=2)
    ridge = 1e-9 * float(traces.mean()) / width + 1e-300
    factor = np.linalg.cholesky(moments.cov_x + ridge * np.eye(width))
    inner = np.swapaxes(factor, 1, 2) @ moments.cov_y @ factor
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(inner), 0, None)).sum(axis=1)
    return ((moments.mean_x - moments.mean_y) ** 2).sum(axis=1) + traces - 2 * cross


def coral_relabelled(moments: Moments) -> Float[np.ndarray, " R"]:
    """CORAL loss for every relabelling."""
    width = moments.cov_x.shape[-1]
    return ((moments.cov_x - moments.cov_y) ** 2).sum(axis=(1, 2)) / (4 * width**2)


def covariance(x: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "D D"]:
    """Sample covariance with n - 1, as a matrix also for D = 1."""
    centred = x - x.mean(axis=0)
    return centred.T @ centred / (len(x) - 1)


def coral(x: Float[np.ndarray, "N D"], y: Float[np.ndarray, "M D"]) -> float:
    """|C_x - C_y|²_F / (4 D²): second-order shift only, blind to a shift of the mean.

    Source: Sun and Saenko 2016, Deep CORAL, equation 1.
    """
    return float(((covariance(x) - covariance(y)) ** 2).sum() / (4 * x.shape[1] ** 2))


# -- principal components ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Components:
    """Points in the coordinates of their principal components, widest first.

    ``share`` is the part of the total variance along each component; ``basis`` maps embeddings onto them.
    """

    points: Float[np.ndarray, "N K"]
    share: Float[np.ndarray, " K"]
    mean: Float[np.ndarray, " D"]
    basis: Float[np.ndarray, "D K"]


def principal_components(x: Float[np.ndarray, "N D"], at_most: int) -> Components:
    """The first components by eigendecomposition of the smaller of covariance and Gram matrix; signs are fixed so
    that each component's largest loading is positive."""
    mean = x.mean(axis=0)
    centred = (x - mean).astype(np.float64)
    n, width = centred.shape
    count = min(at_most, width, max(n - 1, 1))
    if width <= n:
        values, vectors = np.linalg.eigh(centred.T @ centred)
        values, basis = values[::-1][:count], vectors[:, ::-1][:, :count]
    else:
        values, vectors = np.linalg.eigh(centred @ centred.T)
        values, vectors = values[::-1][:count], vectors[:, ::-1][:, :count]
        basis = centred.T @ vectors
        basis /= np.maximum(np.linalg.norm(basis, axis=0), 1e-300)
    largest = np.take_along_axis(basis, np.abs(basis).argmax(axis=0)[None], axis=0)[0]
    basis = basis * np.where(largest < 0, -1.0, 1.0)
    total = float((centred**2).sum())
    share = np.clip(values, 0, None) / total if total > 0 else np.zeros(count)
    return Components((centred @ basis).astype(x.dtype), share, mean, basis)
