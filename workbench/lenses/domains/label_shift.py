"""Another mix of classes, or other images of the same classes? Label shift against conditional shift.

Symbols: pi_c the share of class c, mu_c its mean embedding, r_c its recall; A the reference, B the domain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

#: A confusion matrix this badly conditioned turns noise into class shares.
MAX_CONDITION = 20.0


@dataclass(frozen=True)
class BlackBoxShift:
    """Class shares of an unlabelled domain, estimated from what the model predicts there.

    Attributes:
        weights: w = C^-1 mu: pi^B_c / pi^A_c, before clipping.
        shares: Estimated pi^B: weights clipped at 0, times pi^A, normalised.
        low, high: 95 % bootstrap interval of the shares (NaN where it was not asked for).
        condition: Condition number of C; above ``MAX_CONDITION`` nothing should be read from the estimate.
        negative: Whether a weight was clearly negative: p(x | class) is not the same, so this is not label shift alone.
    """

    weights: Float[np.ndarray, " C"]
    shares: Float[np.ndarray, " C"]
    low: Float[np.ndarray, " C"]
    high: Float[np.ndarray, " C"]
    condition: float
    negative: bool

    @property
    def usable(self) -> bool:
        return self.condition <= MAX_CONDITION and not self.negative


def bbse_weights(joint: Float[np.ndarray, "C C"], predicted: Float[np.ndarray, " C"]) -> Float[np.ndarray, " C"]:
    """w = C^-1 mu with C[i, j] = P_A(prediction i, class j) and mu[i] = P_B(prediction i).

    Source: Lipton et al. 2018, Detecting and Correcting for Label Shift with Black Box Predictors, arXiv:1802.03916.
    """
    return np.linalg.lstsq(joint, predicted, rcond=None)[0]


def black_box_shift(
    joint: Float[np.ndarray, "C C"],
    predicted: Float[np.ndarray, " C"],
    n_source: int = 0,
    n_target: int = 0,
    draws: int = 0,
    seed: int = 0,
) -> BlackBoxShift:
    """Estimate the class shares of a domain; ``draws`` > 0 bootstraps C and mu from their sample sizes."""
    prior = joint.sum(axis=0)
    weights = bbse_weights(joint, predicted)
    condition = float(np.linalg.cond(joint))
    unknown = np.full(len(prior), np.nan)
    if draws == 0 or not np.isfinite(condition):
        return BlackBoxShift(
            weights, _shares(weights, prior), unknown, unknown, condition, bool((weights < -1e-9).any())
        )
    rng = np.random.default_rng(seed)
    joints = rng.multinomial(n_source, (joint / joint.sum()).ravel(), draws).reshape(draws, *joint.shape) / n_source
    rates = rng.multinomial(n_target, predicted / predicted.sum(), draws) / n_target
    drawn = np.stack([bbse_weights(c, mu) for c, mu in zip(joints, rates, strict=True)])
    shares = np.stack([_shares(w, c.sum(axis=0)) for w, c in zip(drawn, joints, strict=True)])
    low, high = np.quantile(shares, [0.025, 0.975], axis=0)
    negative = bool((np.quantile(drawn, 0.975, axis=0) < 0).any())
    return BlackBoxShift(weights, _shares(weights, prior), low, high, condition, negative)


def _shares(weights: np.ndarray, prior: np.ndarray) -> np.ndarray:
    mass = np.clip(weights, 0, None) * prior
    return mass / mass.sum() if mass.sum() > 0 else np.full(len(prior), np.nan)


@dataclass(frozen=True)
class MeanSplit:
    """Exact split of the shift of the mean embedding (midpoint Kitagawa-Oaxaca): total = label + conditional."""

    label: Float[np.ndarray, " D"]
    conditional: Float[np.ndarray, " D"]

    @property
    def total(self) -> Float[np.ndarray, " D"]:
        return self.label + self.conditional


def mean_split(
    x: Float[np.ndarray, "N D"],
    class_x: Int[np.ndarray, " N"],
    y: Float[np.ndarray, "M D"],
    class_y: Int[np.ndarray, " M"],
) -> MeanSplit | None:
    """Split mean(y) - mean(x) over the classes that both samples hold; None when they share none.

        label       = sum_c (pi^B_c - pi^A_c) (mu^A_c + mu^B_c) / 2
        conditional = sum_c (pi^A_c + pi^B_c) / 2 (mu^B_c - mu^A_c)

    Sources: Kitagawa 1955; Oaxaca 1973; for embeddings our choice.
    """
    shared = np.intersect1d(class_x[class_x >= 0], class_y[class_y >= 0])
    if len(shared) == 0:
        return None
    share_x, mean_x = _by_class(x, class_x, shared)
    share_y, mean_y = _by_class(y, class_y, shared)
    label = (share_y - share_x) @ ((mean_x + mean_y) / 2)
    return MeanSplit(label, ((share_x + share_y) / 2) @ (mean_y - mean_x))


def _by_class(x: np.ndarray, target: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    count = np.array([(target == code).sum() for code in classes], dtype=float)
    mean = np.stack([x[target == code].mean(axis=0, dtype=np.float64) for code in classes])
    return count / count.sum(), mean


def split_lengths(
    z: Float[np.ndarray, "N D"], target: Int[np.ndarray, " N"], masks: Bool[np.ndarray, "R N"]
) -> Float[np.ndarray, "R 2"]:
    """Lengths of the label and the conditional part of :func:`mean_split` for every labelling of the pooled points.

    A labelling that leaves a class to one side only gets NaN.
    """
    classes = np.unique(target[target >= 0])
    member = (target[:, None] == classes).astype(np.float64)  # [N, C]
    lengths = np.empty((len(masks), 2))
    for i, mask in enumerate(masks):
        n_a, n_b = mask @ member, ~mask @ member
        with np.errstate(invalid="ignore", divide="ignore"):
            mean_a = (member * mask[:, None]).T @ z / n_a[:, None]
            mean_b = (member * ~mask[:, None]).T @ z / n_b[:, None]
        share_a, share_b = n_a / n_a.sum(), n_b / n_b.sum()
        lengths[i] = (
            np.linalg.norm((share_b - share_a) @ ((mean_a + mean_b) / 2)),
            np.linalg.norm(((share_a + share_b) / 2) @ (mean_b - mean_a)),
        )
    return lengths


def accuracy_split(
    share_a: Float[np.ndarray, "... C"],
    recall_a: Float[np.ndarray, "... C"],
    share_b: Float[np.ndarray, "... C"],
    recall_b: Float[np.ndarray, "... C"],
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """Change of accuracy from A to B as (label part, conditional part); they add up to it exactly.

        label       = sum_c (pi^B_c - pi^A_c) (r^A_c + r^B_c) / 2          conditional = sum_c mean pi_c (r^B_c - r^A_c)

    A recall that is unknown (no sample of the class on one side) takes the other side's: all of it is label shift then.
    """
    known_a = np.where(np.isnan(recall_a), recall_b, recall_a)
    known_b = np.where(np.isnan(recall_b), recall_a, recall_b)
    recall_a, recall_b = np.nan_to_num(known_a), np.nan_to_num(known_b)
    label = ((share_b - share_a) * (recall_a + recall_b) / 2).sum(axis=-1)
    conditional = ((share_a + share_b) / 2 * (recall_b - recall_a)).sum(axis=-1)
    return np.asarray(label), np.asarray(conditional)


def bootstrap_split(
    right_a: Float[np.ndarray, " C"],
    n_a: Float[np.ndarray, " C"],
    right_b: Float[np.ndarray, " C"],
    n_b: Float[np.ndarray, " C"],
    draws: int = 1000,
    seed: int = 0,
) -> Float[np.ndarray, "R 2"]:
    """Bootstrap replicates of :func:`accuracy_split` from counts of right answers and samples per class."""
    rng = np.random.default_rng(seed)
    sides = []
    for right, n in ((right_a, n_a), (right_b, n_b)):
        cells = np.concatenate([right, n - right]) / n.sum()
        drawn = rng.multinomial(int(n.sum()), cells, draws)
        hits = drawn[:, : len(right)]
        size = hits + drawn[:, len(right) :]
        sides.append((size / n.sum(), np.divide(hits, size, out=np.full(size.shape, np.nan), where=size > 0)))
    (share_a, recall_a), (share_b, recall_b) = sides
    return np.stack(accuracy_split(share_a, recall_a, share_b, recall_b), axis=1)
