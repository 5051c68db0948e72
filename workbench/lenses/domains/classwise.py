"""Where the shift sits among the classes: centroids that move, and what is common to all of them.

Symbols: pi_c class prior, mu_c class mean in embedding space, for domains A and B of the same checkpoint.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from workbench.lenses.domains.classifier import Z95_ONE_SIDED


@dataclass(frozen=True)
class CentroidShift:
    """How far each class's centre moved from domain A to B, in units of the class's own radius.

    Attributes:
        classes: Codes of the classes with at least two points in both domains.
        shift: |mu_c^B - mu_c^A| / r_c with r_c² the pooled within-class mean squared radius.
        null_high: The value that sampling noise alone exceeds in 5 % of cases.
        p: One-sided p-value of the shift.
        coherence: |sum_c v_c| / sum_c |v_c| for v_c = mu_c^B - mu_c^A. Near 1: one translation common to all classes;
            near 0: every class moves its own way. NaN with fewer than two classes.
    """

    classes: Int[np.ndarray, " C"]
    shift: Float[np.ndarray, " C"]
    null_high: Float[np.ndarray, " C"]
    p: Float[np.ndarray, " C"]
    n_a: Int[np.ndarray, " C"]
    n_b: Int[np.ndarray, " C"]
    coherence: float


def centroid_shift(
    x: Float[np.ndarray, "N D"],
    class_x: Int[np.ndarray, " N"],
    y: Float[np.ndarray, "M D"],
    class_y: Int[np.ndarray, " M"],
) -> CentroidShift:
    """Centroid shift of every class that both samples hold; points of class -1 (unknown) are left out.

    Without a shift, |mu_b - mu_a|² / r² is (1/n_a + 1/n_b) times a mean of chi-squares weighted by the spectrum of the
    within-class covariance C: approximately chi²_nu / nu with nu = (tr C)² / tr C² (Box 1954), estimated without the
    upward bias of tr C² from few points; Wilson and Hilferty's cube root turns it into a normal quantile. Using this
    approximation here is our choice; the false-alarm rate is held by a simulation in the tests.
    """
    found = []
    moves = []
    shared = np.intersect1d(class_x[class_x >= 0], class_y[class_y >= 0])
    for code in shared:
        a, b = x[class_x == code].astype(np.float64), y[class_y == code].astype(np.float64)
        if len(a) < 2 or len(b) < 2:
            continue
        move = b.mean(axis=0) - a.mean(axis=0)
        residual = np.concatenate([a - a.mean(axis=0), b - b.mean(axis=0)])
        freedom = len(residual) - 2
        trace, effective = _spectrum(residual, freedom)
        noise = 1 / len(a) + 1 / len(b)
        square = float(move @ move) / trace if trace > 0 else np.nan
        found.append((code, square, noise, effective, len(a), len(b)))
        moves.append(move)
    if not found:
        empty, none = np.zeros(0), np.zeros(0, dtype=np.int64)
        return CentroidShift(none, empty, empty, empty, none, none, np.nan)
    codes, squares, noises, effectives, n_a, n_b = (np.array(column) for column in zip(*found, strict=True))
    lengths = np.linalg.norm(moves, axis=1).sum()
    coherence = float(np.linalg.norm(np.sum(moves, axis=0)) / lengths) if len(moves) > 1 and lengths > 0 else np.nan
    spread = 2 / (9 * effectives)
    high = noises * (1 - spread + Z95_ONE_SIDED * np.sqrt(spread)) ** 3
    z = (np.cbrt(squares / noises) - (1 - spread)) / np.sqrt(spread)
    p = np.array([0.5 * math.erfc(value / math.sqrt(2)) for value in z])
    return CentroidShift(codes.astype(np.int64), np.sqrt(squares), np.sqrt(high), p, n_a, n_b, coherence)


def _spectrum(residual: np.ndarray, freedom: int) -> tuple[float, float]:
    """tr C and the effective number of dimensions (tr C)² / tr C² of the covariance of residuals.

    tr C² is corrected for the (tr C)² / freedom that sampling adds (Bai and Saranadasa 1996).
    """
    smaller = residual.T @ residual if residual.shape[1] <= len(residual) else residual @ residual.T
    trace = float(np.trace(smaller)) / freedom
    squared = float((smaller**2).sum()) / freedom**2
    corrected = freedom**2 / ((freedom + 2) * (freedom - 1)) * (squared - trace**2 / freedom) if freedom > 1 else 0.0
    effective = trace**2 / corrected if corrected > 0 else float(residual.shape[1])
    return trace, float(np.clip(effective, 1.0, residual.shape[1]))
