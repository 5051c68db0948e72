import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.lenses.domains.estimation import (
    accuracy_from_distance,
    agreements,
    atc_threshold,
    average_thresholded_confidence,
    bootstrap_agreements,
    bootstrap_estimates,
    difference_of_agreements,
    difference_of_confidences,
    nearest_mean,
)

CONFIDENCE = np.array([0.5, 0.6, 0.7, 0.8, 0.9])
RIGHT = np.array([False, True, False, True, True])


def test_the_threshold_leaves_as_many_below_as_there_are_errors():
    assert atc_threshold(CONFIDENCE, RIGHT) == 0.7  # two errors, two samples below 0.7
    assert average_thresholded_confidence(CONFIDENCE, RIGHT, CONFIDENCE) == pytest.approx(0.6)  # its own accuracy
    assert average_thresholded_confidence(CONFIDENCE, RIGHT, np.array([0.6, 0.7, 0.95, 0.1])) == 0.5
    assert average_thresholded_confidence(CONFIDENCE, np.zeros(5, dtype=bool), CONFIDENCE) == 0


def test_difference_of_confidences():
    # Accuracy 0.6, mean confidence 0.7 in the source, 0.5 in the target.
    assert difference_of_confidences(CONFIDENCE, RIGHT, np.array([0.4, 0.6])) == pytest.approx(0.4)
    assert difference_of_confidences(CONFIDENCE, RIGHT, CONFIDENCE) == pytest.approx(0.6)
    assert difference_of_confidences(CONFIDENCE, np.zeros(5, dtype=bool), np.zeros(2)) == 0


def test_each_recovers_the_accuracy_where_its_assumption_holds():
    # Confidence differences: a model right with exactly its confidence, which falls in the target.
    rng = np.random.default_rng(0)
    source, target = rng.beta(8, 2, 4000), rng.beta(6, 3, 4000)
    right = rng.random(4000) < source
    truth = (rng.random(4000) < target).mean()
    assert difference_of_confidences(source, right, target) == pytest.approx(truth, abs=0.03)
    # Thresholds: a model right where its confidence exceeds a fixed one.
    assert average_thresholded_confidence(source, source > 0.7, target) == pytest.approx(
        (target > 0.7).mean(), abs=1e-3
    )
    low, high = np.quantile(bootstrap_estimates(source, right, target), [0.025, 0.975], axis=0)
    assert (high - low < 0.1).all()
    assert low[1] <= truth <= high[1]


@given(st.integers(0, 100))
def test_the_nearest_class_mean_is_that_of_scikit_learn(seed):
    from sklearn.neighbors import NearestCentroid

    rng = np.random.default_rng(seed)
    target = rng.integers(2, 5, 80)
    train, at = rng.normal(size=(80, 4)) + target[:, None], 3 + rng.normal(size=(30, 4))
    spread = np.concatenate([train[target == c] - train[target == c].mean(axis=0) for c in (2, 3, 4)]).std(axis=0)
    theirs = NearestCentroid().fit(train / spread, target).predict(at / spread)
    assert (nearest_mean(train, target, at) == theirs).all()


def test_an_axis_without_spread_is_left_as_it_is():
    train = np.array([[0.0, 1], [0, 1], [4, 1], [4, 1]])
    assert nearest_mean(train, np.array([0, 0, 1, 1]), np.array([[1.0, 9], [3, 9]])).tolist() == [0, 1]


def test_difference_of_agreements():
    right, agree = np.array([True, True, True, False]), np.array([True, True, False, True])
    assert difference_of_agreements(right, agree, np.array([True, False])) == pytest.approx(0.75 - (0.75 - 0.5))
    assert difference_of_agreements(right, agree, agree) == pytest.approx(0.75)
    assert difference_of_agreements(np.zeros(4, dtype=bool), agree, np.zeros(2, dtype=bool)) == 0


def test_no_sample_helps_to_judge_itself():
    # Labels without relation to the embeddings: the means of the own half would agree more often than chance.
    rng = np.random.default_rng(3)
    source, target = rng.normal(size=(600, 100)), rng.integers(2, size=600)
    agree, _ = agreements(source, target, target, source[:4], target[:4])
    assert agree.mean() == pytest.approx(0.5, abs=0.06)
    assert (nearest_mean(source, target, source) == target).mean() > 0.65


def _planted(seed: int, shift: str) -> tuple[float, float, float, float]:
    """A linear model that uses 3 of 40 axes, on Gaussian classes: estimate, low, high and truth in a shifted domain."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(4, 40))
    centres[:, :3] *= 2
    draws = []
    for kind in ("", "", shift):
        target = rng.integers(4, size=1500)
        cloud = centres[target] + rng.normal(size=(1500, 40))
        if kind == "shortcut":  # of a third of the samples, the axes that the model uses show another class
            broken = rng.random(1500) < 0.35
            cloud[broken, :3] += (centres[rng.permutation(target)] - centres[target])[broken, :3]
        if kind == "moved":
            cloud += 8.0 * centres[0] / np.linalg.norm(centres[0])
        draws.append((cloud, target))
    (train, labels), (source, target), (domain, truth) = draws
    model = LogisticRegression(max_iter=500).fit(train[:, :3], labels)
    said, there = model.predict(source[:, :3]), model.predict(domain[:, :3])
    right = said == target
    agree = agreements(source, target, said, domain, there)
    low, high = np.quantile(bootstrap_agreements(right, *agree), [0.025, 0.975])
    return difference_of_agreements(right, *agree), float(low), float(high), float((there == truth).mean())


def test_agreement_finds_the_accuracy_where_the_second_model_keeps_its_own():
    found = np.array([_planted(seed, "") for seed in range(10)])
    assert np.abs(found[:, 0] - found[:, 3]).mean() < 0.02
    estimate, low, high, truth = np.array([_planted(seed, "shortcut") for seed in range(10)]).T
    assert truth.mean() < found[:, 3].mean() - 0.12  # the shift does harm
    assert ((low <= estimate) & (estimate <= high)).all()
    half = 2.262 * (estimate - truth).std(ddof=1) / np.sqrt(10)  # Student's t with 9 degrees of freedom
    assert (estimate - truth).mean() + half < 0.08
    assert (estimate - truth).mean() - half > -0.08


def test_agreement_is_fooled_where_both_models_err_alike():
    estimate, _, _, truth = np.array([_planted(seed, "moved") for seed in range(10)]).T
    assert (estimate - truth).mean() > 0.1  # what the lens says of it: too high where classes land on other classes


def test_replicates_scatter_about_the_estimate_as_theory_says():
    rng = np.random.default_rng(0)
    right, agree, there = rng.random(400) < 0.8, rng.random(400) < 0.7, rng.random(300) < 0.5
    drawn = bootstrap_agreements(right, agree, there, draws=20_000)
    assert drawn.mean() == pytest.approx(difference_of_agreements(right, agree, there), abs=2e-3)
    variance = (right.astype(float) - agree).var() / 400 + there.var() / 300
    assert drawn.std() == pytest.approx(np.sqrt(variance), rel=0.03)


def test_a_line_through_domains_is_read_with_a_prediction_interval():
    distance, accuracy = np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.9, 0.8, 0.7, 0.6])
    assert accuracy_from_distance(distance, accuracy, 4.0) == pytest.approx((0.5, 0.5, 0.5))
    noisy = accuracy + np.array([0.02, -0.02, 0.02, -0.02])
    value, low, high = accuracy_from_distance(distance, noisy, 1.5)
    assert 0 <= low < value < high <= 1
    assert np.isnan(accuracy_from_distance(distance[:3], accuracy[:3], 1.0)).all()
    assert np.isnan(accuracy_from_distance(np.ones(5), np.ones(5), 1.0)).all()


def test_prediction_intervals_have_their_coverage():
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(400):
        distance = rng.uniform(0, 1, 7)
        accuracy = 0.6 - 0.2 * distance + rng.normal(0, 0.02, 7)
        _, low, high = accuracy_from_distance(distance[:6], accuracy[:6], float(distance[6]))
        inside += low <= accuracy[6] <= high
    assert 0.92 <= inside / 400 <= 0.98
