import numpy as np
import pytest

from workbench.lenses.domains.estimation import (
    accuracy_from_distance,
    atc_threshold,
    average_thresholded_confidence,
    bootstrap_estimates,
    difference_of_confidences,
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
