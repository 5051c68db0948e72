"""What lies behind a shift at the last recorded step: which kind it is, what it costs, and samples that show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from workbench.core import Run
from workbench.lenses.domains.accuracy import Answers, answers_of, reference_codes
from workbench.lenses.domains.classifier import joint_error
from workbench.lenses.domains.distances import against_null, relabellings
from workbench.lenses.domains.estimation import (
    MIN_DOMAINS_FOR_A_LINE,
    accuracy_from_distance,
    agreements,
    average_thresholded_confidence,
    bootstrap_agreements,
    bootstrap_estimates,
    difference_of_agreements,
    difference_of_confidences,
)
from workbench.lenses.domains.label_shift import accuracy_split, black_box_shift, bootstrap_split, split_lengths
from workbench.lenses.domains.measure import REFERENCE, Slice, labellings
from workbench.lenses.domains.points import Cohort, Points
from workbench.lenses.domains.similarity import cka_interval, gram

_POINTS_OF_CKA = 400
_BOOTSTRAPS = 200
_RELABELLINGS = 99
#: A shift within classes at this level contradicts the assumption of BBSE.
RESIDUAL_ALPHA = 0.05
#: Names of the estimators of accuracy, as figures show them.
ESTIMATORS: Mapping[str, str] = {
    "atc": "thresholded confidence (ATC)",
    "doc": "fall of confidence (DoC)",
    "agreement": "fall of agreement with class means",
    "line": "line through distance and accuracy",
}


@dataclass(frozen=True)
class Depth:
    """Tables about the last recorded step (``similarity``: about all steps). Empty where the run lacks what they need.

    Attributes:
        similarity: layer_a, step_a, layer_b, step_b, cka (debiased, linear), low, high (95 % jackknife), n: all steps
            of each layer, and all layers at the last step, on the same samples.
        witness: layer, compared (the domain), sample, of_domain, witness (mean kernel to the domain minus mean kernel
            to its reference, the sample itself left out): high = typical of the domain, low = typical of the reference.
        class_mix: domain, class, share (true, in the domain), reference_share, estimate, low, high (BBSE without the
            domain's labels, 95 % bootstrap), condition (of the confusion matrix), residual_p (of a shift that remains
            within classes at the last layer, where labels tell), usable.
        split: domain, change of accuracy against the reference, its label part and conditional part, each with a 95 %
            bootstrap interval (columns change, label, conditional, then label_low…), n.
        mean_split: layer (the last one), domain, part ("class mix" or "within classes"), length (of that part of the
            shift of the mean embedding, in within-domain deviations), null_mean, null_high, p (relabelling: over all
            points for the mix, within classes for the other part).
        estimates: domain, method (a key of ``ESTIMATORS``), estimate, low, high; accuracy, accuracy_low,
            accuracy_high (the true one, where labels exist).
        bound: domain, layer, source_error, half_distance, joint_error, target_error, each with low and high.
    """

    similarity: pd.DataFrame
    witness: pd.DataFrame
    class_mix: pd.DataFrame
    split: pd.DataFrame
    mean_split: pd.DataFrame
    estimates: pd.DataFrame
    bound: pd.DataFrame


def depth_of(
    run: Run,
    who: Cohort,
    points: Mapping[tuple[str, int], Points],
    last: list[Slice],
    comparisons: pd.DataFrame,
    accuracy: pd.DataFrame,
    seed: int,
) -> Depth:
    """Compute the tables; ``last`` holds the slices of the last step, input to output."""
    step = max(key[1] for key in points)
    answers = answers_of(run, who, step)
    return Depth(
        similarity=_similarity(points),
        witness=_witness(last, who),
        class_mix=_class_mix(who, answers, _to_reference(comparisons, last, "mmd2", "p"), seed),
        split=_split(who, answers, seed),
        mean_split=_mean_split(last[-1:], seed),
        estimates=_estimates(who, answers, points, last, comparisons, accuracy, seed),
        bound=_bound(last, comparisons, accuracy, seed),
    )


# -- similarity of representations ------------------------------------------------------------------------------------


def _similarity(points: Mapping[tuple[str, int], Points]) -> pd.DataFrame:
    columns = ["layer_a", "step_a", "layer_b", "step_b", "cka", "low", "high", "n"]
    shared = _shared_samples(points)
    if len(shared) < 16:
        return pd.DataFrame(columns=columns)
    grams = {}
    for key, found in points.items():
        row_of = pd.Index(found.sample).get_indexer(pd.Index(shared))
        grams[key] = gram(found.features[row_of])
    last_step = max(step for _, step in points)
    rows = []
    keys = sorted(points, key=lambda key: key[1])
    for i, a in enumerate(keys):
        for b in keys[i + 1 :]:
            if a[0] == b[0] or a[1] == b[1] == last_step:
                rows.append((*a, *b, *cka_interval(grams[a], grams[b]), len(shared)))
    return pd.DataFrame(rows, columns=columns)


def _shared_samples(points: Mapping[tuple[str, int], Points]) -> np.ndarray:
    """Samples that every layer and step holds, at most ``_POINTS_OF_CKA``, evenly spread in a random order."""
    shared: np.ndarray | None = None
    for found in points.values():
        shared = np.unique(found.sample) if shared is None else np.intersect1d(shared, found.sample)
    if shared is None:
        return np.zeros(0, dtype=np.int64)
    return np.random.default_rng(0).permutation(shared)[:_POINTS_OF_CKA]


# -- evidence ---------------------------------------------------------------------------------------------------------


def _witness(last: list[Slice], who: Cohort) -> pd.DataFrame:
    parts = []
    for part in last:
        kernel = part.kernel()
        for pair in part.against_reference:
            inside = kernel[np.ix_(pair.rows, pair.rows)].astype(np.float64)
            np.fill_diagonal(inside, 0)
            near, first = inside[:, pair.first].sum(axis=1), pair.first
            far = inside[:, ~first].sum(axis=1)
            value = near / (pair.n - first) - far / (pair.n - ~first)  # without the sample itself
            found = {"layer": part.points.layer, "compared": pair.domain_a, "sample": part.points.sample[pair.rows]}
            parts.append(pd.DataFrame(found | {"of_domain": first, "witness": value}))
    columns = ["layer", "compared", "sample", "of_domain", "witness"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


# -- kind of shift ----------------------------------------------------------------------------------------------------


def _of(who: Cohort, domain: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the cohort in a domain and in its reference."""
    return who.domain == domain, np.isin(who.domain, reference_codes(domain, who.held_out))


def _class_mix(who: Cohort, answers: Answers | None, within_classes: dict[str, float], seed: int) -> pd.DataFrame:
    columns = [
        "domain",
        "class",
        "share",
        "reference_share",
        "estimate",
        "low",
        "high",
        "condition",
        "residual_p",
        "usable",
    ]
    rows: list[tuple[object, ...]] = []
    if answers is None:
        return pd.DataFrame(rows, columns=columns)
    n_classes = len(who.classes)
    for code, name in enumerate(who.domains):
        inside, reference = _of(who, code)
        inside, source = inside & answers.known, reference & answers.known & (who.target >= 0)
        joint = np.zeros((n_classes, n_classes))
        np.add.at(joint, (answers.predicted[source], who.target[source]), 1)
        seen = np.flatnonzero(joint.sum(axis=0) > 0)
        predicted = np.bincount(answers.predicted[inside], minlength=n_classes)[seen].astype(float)
        joint = joint[np.ix_(seen, seen)]
        if len(seen) < 2 or joint.sum() == 0 or predicted.sum() == 0:
            continue
        found = black_box_shift(
            joint / joint.sum(), predicted / predicted.sum(), int(joint.sum()), int(predicted.sum()), _BOOTSTRAPS, seed
        )
        share, reference_share = _shares(who.target[inside], seen), _shares(who.target[source], seen)
        # With labels, the kernel test swaps within classes: what it still sees is no label shift.
        residual_p = within_classes.get(name, np.nan) if (who.target[inside] >= 0).all() else np.nan
        usable = found.usable and not residual_p <= RESIDUAL_ALPHA
        for i, c in enumerate(seen):
            values = (share[i], reference_share[i], found.shares[i], found.low[i], found.high[i])
            rows.append((name, who.classes[c], *values, found.condition, residual_p, usable))
    return pd.DataFrame(rows, columns=columns)


def _shares(target: np.ndarray, classes: np.ndarray) -> Float[np.ndarray, " C"]:
    counts = np.array([(target == code).sum() for code in classes], dtype=float)
    return counts / counts.sum() if counts.sum() else np.full(len(classes), np.nan)


def _split(who: Cohort, answers: Answers | None, seed: int) -> pd.DataFrame:
    columns = ["domain", "change", "change_low", "change_high", "label", "label_low", "label_high"]
    columns += ["conditional", "conditional_low", "conditional_high", "n"]
    rows: list[tuple[object, ...]] = []
    if answers is None:
        return pd.DataFrame(rows, columns=columns)
    for code, name in enumerate(who.domains):
        inside, reference = (mask & answers.known & (who.target >= 0) for mask in _of(who, code))
        if not inside.any() or not reference.any():
            continue
        counts = [_right_and_all(who, answers, mask) for mask in (reference, inside)]
        (right_a, n_a), (right_b, n_b) = counts
        with np.errstate(invalid="ignore"):
            split = accuracy_split(n_a / n_a.sum(), right_a / n_a, n_b / n_b.sum(), right_b / n_b)
        drawn = bootstrap_split(right_a, n_a, right_b, n_b, seed=seed)
        total = np.column_stack([drawn.sum(axis=1), drawn])
        low, high = np.quantile(total, [0.025, 0.975], axis=0)
        values = (float(split[0] + split[1]), float(split[0]), float(split[1]))
        rows.append((name, *np.stack([values, low, high], axis=1).ravel(), int(n_b.sum())))
    return pd.DataFrame(rows, columns=columns)


def _right_and_all(who: Cohort, answers: Answers, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    size = len(who.classes)
    n = np.bincount(who.target[mask], minlength=size).astype(float)
    return np.bincount(who.target[mask], answers.right[mask].astype(float), size), n


def _mean_split(last: list[Slice], seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    for part in last:
        for pair in part.against_reference:
            target = part.points.target[pair.rows]
            sides = target[: pair.n], target[pair.n :]
            if (target < 0).any() or set(sides[0]) != set(sides[1]):
                continue
            z = part.reduced[pair.rows].astype(np.float64)
            within = split_lengths(z, target, labellings(part, pair, _RELABELLINGS, rng))
            over_all = split_lengths(z, target, relabellings(pair.n, pair.n, _RELABELLINGS, rng))[:, 0]
            over_all = over_all[~np.isnan(over_all)]
            parts = {"within classes": against_null(float(within[0, 1]), within[1:, 1])}
            if len(over_all):
                parts["class mix"] = against_null(float(within[0, 0]), over_all)
            for name, found in parts.items():
                values = (found.value, found.null_mean, found.null_high, found.p)
                rows.append((part.points.layer, pair.domain_a, name, *values))
    return pd.DataFrame(rows, columns=["layer", "domain", "part", "length", "null_mean", "null_high", "p"])


# -- what it will cost ------------------------------------------------------------------------------------------------


def _estimates(
    who: Cohort,
    answers: Answers | None,
    points: Mapping[tuple[str, int], Points],
    last: list[Slice],
    comparisons: pd.DataFrame,
    accuracy: pd.DataFrame,
    seed: int,
) -> pd.DataFrame:
    columns = ["domain", "method", "estimate", "low", "high", "accuracy", "accuracy_low", "accuracy_high"]
    rows: list[tuple[object, ...]] = []
    if answers is None:
        return pd.DataFrame(rows, columns=columns)
    truth = _by_domain(accuracy, ["accuracy", "low", "high"])
    distance = _to_reference(comparisons, last, "frechet", "excess")
    for code, name in enumerate(who.domains):
        true = truth.get(name, np.full(3, np.nan))
        rows += [(name, *row, *true) for row in _from_confidence(who, answers, code, seed)]
        if last:
            where = last[-1].points
            found = _from_agreement(who, answers, points[where.layer, where.step], code, seed)
            rows += [(name, "agreement", *found, *true)] if found else []
        others = [other for other in distance if other != name and other in truth]
        if name in distance and len(others) >= MIN_DOMAINS_FOR_A_LINE:
            known = np.array([truth[other][0] for other in others])
            found = accuracy_from_distance(np.array([distance[other] for other in others]), known, distance[name])
            rows.append((name, "line", *found, *true))
    return pd.DataFrame(rows, columns=columns)


def _from_confidence(who: Cohort, answers: Answers, code: int, seed: int) -> list[tuple[str, float, float, float]]:
    sure = answers.known & ~np.isnan(answers.confidence)
    inside, reference = _of(who, code)
    inside, reference = inside & sure, reference & sure & (who.target >= 0)
    if inside.sum() < 2 or reference.sum() < 2:
        return []
    given = (answers.confidence[reference], answers.right[reference], answers.confidence[inside])
    low, high = np.quantile(bootstrap_estimates(*given, draws=_BOOTSTRAPS, seed=seed), [0.025, 0.975], axis=0)
    values = (average_thresholded_confidence(*given), difference_of_confidences(*given))
    return [(m, values[i], float(low[i]), float(high[i])) for i, m in enumerate(("atc", "doc"))]


def _from_agreement(
    who: Cohort, answers: Answers, points: Points, code: int, seed: int
) -> tuple[float, float, float] | None:
    """Estimate, low, high; None with too few samples, or where the reference holds one class alone."""
    at = pd.Index(who.frame.index).get_indexer(pd.Index(points.sample))
    inside, reference = (mask[at] & answers.known[at] for mask in _of(who, code))
    reference &= points.target >= 0
    sizes = np.unique(points.target[reference], return_counts=True)[1]
    if inside.sum() < 2 or len(sizes) < 2 or sizes.min() < 2:
        return None
    said = answers.predicted[at]
    agree, there = agreements(
        points.features[reference], points.target[reference], said[reference], points.features[inside], said[inside],
        seed,
    )  # fmt: skip
    right = answers.right[at][reference]
    low, high = np.quantile(bootstrap_agreements(right, agree, there, _BOOTSTRAPS, seed), [0.025, 0.975])
    return difference_of_agreements(right, agree, there), float(low), float(high)


def _by_domain(accuracy: pd.DataFrame, columns: list[str]) -> dict[str, np.ndarray]:
    """Columns of the accuracy table at its last step, by domain."""
    rows = accuracy[accuracy["step"] == accuracy["step"].max()]
    return dict(zip(rows["domain"], rows[columns].to_numpy(dtype=float), strict=True))


def _to_reference(comparisons: pd.DataFrame, last: list[Slice], measure: str, column: str) -> dict[str, float]:
    """A column of the comparisons with the reference at the last layer and step, by domain."""
    if not last:
        return {}
    where = last[-1].points
    rows = comparisons[
        (comparisons["measure"] == measure) & (comparisons["domain_b"] == REFERENCE)
        & (comparisons["layer"] == where.layer) & (comparisons["step"] == where.step)
    ]  # fmt: skip
    return dict(zip(rows["domain_a"], rows[column].to_numpy(dtype=float), strict=True))


def _bound(last: list[Slice], comparisons: pd.DataFrame, accuracy: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The three terms of Ben-David et al. 2010, Theorem 2, as a diagnosis and not as a certificate.

    Half the proxy A-distance of a linear classifier is a lower bound of the divergence term; the error of one linear
    probe trained on both sides' embeddings (source error + target error, two folds) stands for the best joint error.
    """
    names = ["source_error", "half_distance", "joint_error", "target_error"]
    columns = ["domain", "layer", *(f"{name}{end}" for name in names for end in ("", "_low", "_high"))]
    pad = [_to_reference(comparisons, last, "pad", column) for column in ("value", "low", "high")]
    # An error is 1 - accuracy, so its low end comes from the high end of the accuracy.
    accuracies = _by_domain(
        accuracy, ["reference_accuracy", "reference_high", "reference_low", "accuracy", "high", "low"]
    )
    rows = []
    for pair in last[-1].against_reference if last else ():
        name = pair.domain_a
        joint = joint_error(last[-1].reduced[pair.rows], last[-1].points.target[pair.rows], pair.first, seed)
        if joint is None or name not in accuracies or np.isnan(accuracies[name]).any():
            continue
        error, half = 1 - accuracies[name], [0.5 * bound[name] for bound in pad]
        rows.append((name, last[-1].points.layer, *error[:3], *half, *joint, *error[3:]))
    return pd.DataFrame(rows, columns=columns)
