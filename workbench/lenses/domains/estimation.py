"""How accurate is the model on a domain without labels? Published estimates from confidences, disagreement, distances.

The source is the domain's reference, where labels exist. All assume that the model errs in the domain the way it errs
in the source; a shift that makes it wrong *and* sure fools the estimates from confidences, one that takes samples of
one class to where another lies fools the estimate from disagreement.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from workbench.core.gramian import student95
from workbench.lenses.domains.distances import squared_distances

#: With fewer labelled domains, a line through (distance, accuracy) predicts nothing.
MIN_DOMAINS_FOR_A_LINE = 4


def atc_threshold(confidence: Float[np.ndarray, " N"], right: Bool[np.ndarray, " N"]) -> float:
    """The confidence t with as many source samples below it as the source has errors."""
    wrong = int((~right).sum())
    ordered = np.sort(confidence)
    return float(ordered[wrong]) if wrong < len(ordered) else float("inf")


def average_thresholded_confidence(
    confidence: Float[np.ndarray, " N"], right: Bool[np.ndarray, " N"], target: Float[np.ndarray, " M"]
) -> float:
    """Share of target samples at least as confident as the source threshold.

    Source: Garg et al. 2022, Leveraging Unlabeled Data to Predict Out-of-Distribution Performance, arXiv:2201.04234,
    equations 1 and 2, with the maximum confidence as score.
    """
    return float((target >= atc_threshold(confidence, right)).mean())


def difference_of_confidences(
    confidence: Float[np.ndarray, " N"], right: Bool[np.ndarray, " N"], target: Float[np.ndarray, " M"]
) -> float:
    """Source accuracy minus the fall of the mean confidence, clipped to [0, 1].

    Source: Guillory et al. 2021, Predicting with Confidence on Unseen Distributions, arXiv:2107.03315, equation 5 with
    the coefficient 1.
    """
    return float(np.clip(right.mean() - (confidence.mean() - target.mean()), 0, 1))


def bootstrap_estimates(
    confidence: Float[np.ndarray, " N"],
    right: Bool[np.ndarray, " N"],
    target: Float[np.ndarray, " M"],
    draws: int = 200,
    seed: int = 0,
) -> Float[np.ndarray, "R 2"]:
    """Bootstrap replicates (source and target resampled) of both estimates above, in that order."""
    rng = np.random.default_rng(seed)
    found = np.empty((draws, 2))
    for i in range(draws):
        rows, others = rng.integers(0, len(right), len(right)), target[rng.integers(0, len(target), len(target))]
        found[i, 0] = average_thresholded_confidence(confidence[rows], right[rows], others)
        found[i, 1] = difference_of_confidences(confidence[rows], right[rows], others)
    return found


def nearest_mean(
    train: Float[np.ndarray, "N D"], target: Int[np.ndarray, " N"], at: Float[np.ndarray, "M D"]
) -> Int[np.ndarray, " M"]:
    """The class whose mean is nearest, each axis in units of its standard deviation within classes."""
    classes, codes = np.unique(target, return_inverse=True)
    means = np.stack([train[codes == code].mean(axis=0) for code in range(len(classes))])
    spread = (train - means[codes]).std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    return classes[squared_distances(at / scale, means / scale).argmin(axis=1)]


def agreements(
    source: Float[np.ndarray, "N D"],
    target: Int[np.ndarray, " N"],
    said: Int[np.ndarray, " N"],
    domain: Float[np.ndarray, "M D"],
    said_there: Int[np.ndarray, " M"],
    seed: int = 0,
) -> tuple[Bool[np.ndarray, " N"], Bool[np.ndarray, " M"]]:
    """Where the model says what a second, simpler model says that sees the same embeddings: the nearest class mean.

    In the source each half is judged by the means of the other half, so that no sample helps to judge itself.

    Args:
        target: Classes of the source samples.
        said, said_there: What the model says, in the source and in the domain.
    """
    order = np.random.default_rng(seed).permutation(len(target))
    halves = order[::2], order[1::2]
    agree = np.zeros(len(target), dtype=bool)
    for train, test in (halves, halves[::-1]):
        agree[test] = nearest_mean(source[train], target[train], source[test]) == said[test]
    return agree, nearest_mean(source, target, domain) == said_there


def difference_of_agreements(
    right: Bool[np.ndarray, " N"], agree: Bool[np.ndarray, " N"], agree_there: Bool[np.ndarray, " M"]
) -> float:
    """Source accuracy minus the fall of the agreement with a second model, clipped to [0, 1].

    Source: a second model's answers stand for the unknown labels in Chuang et al. 2020, Estimating Generalization under
    Distribution Shifts via Domain-Invariant Representations, arXiv:2007.03511. Taking the nearest class mean of the
    last layer as that model, and the fall of the agreement in place of the disagreement itself (which also holds the
    second model's own errors in the source), are our choice.
    """
    return float(np.clip(right.mean() - (agree.mean() - agree_there.mean()), 0, 1))


def bootstrap_agreements(
    right: Bool[np.ndarray, " N"],
    agree: Bool[np.ndarray, " N"],
    agree_there: Bool[np.ndarray, " M"],
    draws: int = 200,
    seed: int = 0,
) -> Float[np.ndarray, " R"]:
    """Bootstrap replicates (source and domain resampled, the second model kept) of the estimate above."""
    rng = np.random.default_rng(seed)
    gain = right.astype(float) - agree
    # Three outcomes in the source and two in the domain: counts of them are all that resampling changes.
    shares = np.array([(gain == value).mean() for value in (-1, 0, 1)])
    source = rng.multinomial(len(gain), shares / shares.sum(), draws) @ np.array([-1.0, 0, 1]) / len(gain)
    there = rng.binomial(len(agree_there), agree_there.mean(), draws) / len(agree_there)
    return np.clip(source + there, 0, 1)


def accuracy_from_distance(
    distance: Float[np.ndarray, " G"], accuracy: Float[np.ndarray, " G"], at: float
) -> tuple[float, float, float]:
    """A straight line through the (distance, accuracy) of labelled domains, read at a distance: value, low, high.

    The interval is the 95 % prediction interval of the line with G - 2 degrees of freedom; all clipped to [0, 1]; NaN
    with fewer than ``MIN_DOMAINS_FOR_A_LINE`` domains or equal distances. Source: the regression of Deng and Zheng
    2021, Are Labels Always Necessary for Classifier Accuracy Evaluation?, arXiv:2007.02915, section 4; there over many
    synthetic sets, here over the few real domains at hand, which is why the interval is wide.
    """
    n = len(distance)
    spread = float(((distance - distance.mean()) ** 2).sum()) if n else 0.0
    if n < MIN_DOMAINS_FOR_A_LINE or spread <= 0:
        return np.nan, np.nan, np.nan
    slope = float(((distance - distance.mean()) * (accuracy - accuracy.mean())).sum()) / spread
    value = float(accuracy.mean()) + slope * (at - float(distance.mean()))
    residual = accuracy - accuracy.mean() - slope * (distance - distance.mean())
    variance = float((residual**2).sum()) / (n - 2)
    half = student95(n - 2) * float(np.sqrt(variance * (1 + 1 / n + (at - distance.mean()) ** 2 / spread)))
    low, value, high = (float(np.clip(bound, 0, 1)) for bound in (value - half, value, value + half))
    return value, low, high
