"""The proxy A-distance: how well a linear classifier tells two domains apart on points it has not seen.

d_A = max(0, 2 (1 - 2 error)) in [0, 2]: 0 when the domains cannot be told apart, 2 when never confused.
Sources: Ben-David et al. 2007, Analysis of Representations for Domain Adaptation; the test is the classifier
two-sample test of Lopez-Paz and Oquab 2017, arXiv:1610.06545. The classifier (logistic, ridge penalty 1, two folds) and
the standard error below are our choice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from workbench.lenses.intervals import wilson

#: One-sided 95 % quantile of the normal distribution.
Z95_ONE_SIDED = 1.6448536269514722
_MAX_NEWTON_STEPS = 50


@dataclass(frozen=True)
class ProxyADistance:
    """Held-out accuracy of the domain classifier and what follows from it.

    Attributes:
        accuracy: Mean over the two folds; 0.5 is chance.
        accuracy_low, accuracy_high: 95 % Wilson interval for ``n_test`` held-out points.
        n_test: Points of *one* fold: the errors of the two folds move together (under the null both follow the same
            inner product of the two halves' mean differences), so the second fold adds no independent evidence.
        p: One-sided, accuracy against N(1/2, 1 / (4 n_test)).
    """

    accuracy: float
    accuracy_low: float
    accuracy_high: float
    n_test: int
    p: float

    @property
    def value(self) -> float:
        return a_distance(1 - self.accuracy)

    @property
    def low(self) -> float:
        return a_distance(1 - self.accuracy_low)

    @property
    def high(self) -> float:
        return a_distance(1 - self.accuracy_high)


def a_distance(error: float) -> float:
    """max(0, 2 (1 - 2 error)) for a held-out error in [0, 1]."""
    return max(0.0, 2 * (1 - 2 * error))


def accuracy_test(accuracy: float, n_test: int) -> tuple[float, float]:
    """z and one-sided p of a held-out accuracy against guessing between two equally frequent domains."""
    z = (accuracy - 0.5) * 2 * math.sqrt(n_test)
    return z, 0.5 * math.erfc(z / math.sqrt(2))


def logistic(x: Float[np.ndarray, "R N D"], y: Float[np.ndarray, "R N"]) -> Float[np.ndarray, "R D+1"]:
    """Minimise sum of logistic losses + |w|² / 2 (intercept free) for R problems at once; the intercept comes last.

    Newton's method with step halving; the objective is strictly convex, so the answer is unique. It is the objective
    of scikit-learn's LogisticRegression with C = 1.
    """
    x = np.concatenate([x, np.ones((*x.shape[:2], 1), dtype=x.dtype)], axis=2).astype(np.float64)
    problems, _, width = x.shape
    penalty = np.append(np.ones(width - 1), 1e-10)
    sign = 2.0 * y - 1
    weights = np.zeros((problems, width))

    def objective(candidate: np.ndarray) -> np.ndarray:
        margin = sign * np.einsum("rnd,rd->rn", x, candidate)
        return np.logaddexp(0, -margin).sum(axis=1) + 0.5 * (penalty * candidate**2).sum(axis=1)

    current = objective(weights)
    for _ in range(_MAX_NEWTON_STEPS):
        probability = 0.5 * (1 + np.tanh(0.5 * np.einsum("rnd,rd->rn", x, weights)))
        gradient = np.einsum("rnd,rn->rd", x, probability - y) + penalty * weights
        curvature = np.maximum(probability * (1 - probability), 1e-12)
        hessian = np.swapaxes(x * curvature[:, :, None], 1, 2) @ x + np.eye(width) * penalty
        step = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        length = np.ones(problems)
        for _ in range(30):
            reached = objective(weights - length[:, None] * step)
            worse = reached > current + 1e-12 * np.abs(current)
            if not worse.any():
                break
            length[worse] /= 2
        weights = weights - np.where(worse, 0.0, length)[:, None] * step
        current = np.minimum(reached, current)
        if np.abs(gradient).max() < 1e-6:
            break
    return weights


def proxy_a_distances(x: Float[np.ndarray, "R N D"], y: Float[np.ndarray, "R N"]) -> list[ProxyADistance]:
    """Proxy A-distance of R pairs of domains with equally many points each.

    ``y`` holds 0 and 1, as many of each, alternating, and the rows are in random order otherwise: the first half
    (rounded to an even count) and the second half are the two folds. Columns are standardised by the training fold.
    """
    half = x.shape[1] // 4 * 2
    folds = (slice(0, half), slice(half, None))
    correct = np.zeros(len(x))
    for train, test in (folds, folds[::-1]):
        mean = x[:, train].mean(axis=1, keepdims=True)
        spread = x[:, train].std(axis=1, keepdims=True)
        spread = np.where(spread > 0, spread, 1.0)
        weights = logistic((x[:, train] - mean) / spread, y[:, train])
        score = np.einsum("rnd,rd->rn", (x[:, test] - mean) / spread, weights[:, :-1]) + weights[:, -1:]
        correct += 0.5 * ((score > 0) == (y[:, test] > 0.5)).mean(axis=1)
    n_test = half
    low, high = wilson(correct * n_test, np.full(len(x), float(n_test)))
    return [
        ProxyADistance(float(a), float(lo), float(hi), n_test, accuracy_test(float(a), n_test)[1])
        for a, lo, hi in zip(correct, low, high, strict=True)
    ]


def joint_error(
    x: Float[np.ndarray, "N D"], target: Int[np.ndarray, " N"], first: Bool[np.ndarray, " N"], seed: int = 0
) -> tuple[float, float, float] | None:
    """Held-out error on both sides, added, of one linear probe trained on both: value, low, high (95 %).

    One-vs-rest logistic regression, two folds. Estimates the term lambda of Ben-David et al. 2010: no classifier serves
    both sides when it is large. None with fewer than two classes or ten labelled points.
    """
    known = np.flatnonzero(target >= 0)
    classes = np.unique(target[known])
    if len(classes) < 2 or len(known) < 10:
        return None
    order = np.random.default_rng(seed).permutation(known)
    right = np.zeros(len(x), dtype=bool)
    for train, test in ((order[::2], order[1::2]), (order[1::2], order[::2])):
        mean, spread = x[train].mean(axis=0), x[train].std(axis=0)
        spread = np.where(spread > 0, spread, 1.0)
        copies = np.broadcast_to((x[train] - mean) / spread, (len(classes), len(train), x.shape[1]))
        weights = logistic(np.ascontiguousarray(copies), (target[train] == classes[:, None]).astype(np.float64))
        score = ((x[test] - mean) / spread) @ weights[:, :-1].T + weights[:, -1]
        right[test] = classes[score.argmax(axis=1)] == target[test]
    low, high = np.zeros(2), np.zeros(2)
    error = np.zeros(2)
    for side, mask in enumerate((first, ~first)):
        rows = known[mask[known]]
        if len(rows) == 0:
            return None
        n = np.array([float(len(rows))])
        error[side] = 1 - right[rows].mean()
        bounds = wilson(np.array([float((~right[rows]).sum())]), n)
        low[side], high[side] = float(bounds[0][0]), float(bounds[1][0])
    value = float(error.sum())
    return value, value - float(np.hypot(*(error - low))), value + float(np.hypot(*(high - error)))
