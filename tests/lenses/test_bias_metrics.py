"""Metrics per group: number for number what scikit-learn and fairlearn say, and golden numbers."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
from bias_runs import write_table
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from workbench.lenses.bias import metrics as module
from workbench.lenses.bias.calibration import calibrated_null, calibration_error
from workbench.lenses.bias.metrics import differences, equity_scaled, one_against_rest, summary
from workbench.lenses.bias.statistics import statistics


def draw(n, n_classes, seed=0, levels=("a", "b", "c")):
    rng = np.random.default_rng(seed)
    group, target = rng.choice(levels, n), rng.integers(0, n_classes, n)
    right = rng.random(n) < np.where(group == "a", 0.9, 0.6)
    prediction = np.where(right, target, rng.integers(0, n_classes, n))
    return group, target, prediction


@pytest.mark.parametrize("n_classes", [2, 5])
def test_every_metric_equals_scikit_learn(tmp_path, n_classes):
    group, target, prediction = draw(600, n_classes)
    stats = statistics(write_table(tmp_path / "run", {"side": group}, target, prediction))
    for _, row in stats.metrics.iterrows():
        y, said = target[group == row["level"]], prediction[group == row["level"]]
        assert row["n"] == len(y)
        assert row["accuracy"] == pytest.approx(sk.accuracy_score(y, said))
        assert row["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(y, said))
        assert row["precision"] == pytest.approx(sk.precision_score(y, said, average="macro", zero_division=0))
        confusion = sk.multilabel_confusion_matrix(y, said)
        assert row["false_positive_rate"] == pytest.approx((confusion[:, 0, 1] / confusion[:, 0].sum(axis=1)).mean())
        assert row["balanced_accuracy_low"] < row["balanced_accuracy"] < row["balanced_accuracy_high"]


def test_groups_and_differences_equal_fairlearn(tmp_path):
    from fairlearn import metrics as fl

    group, target, prediction = draw(800, 2, seed=1)
    stats = statistics(write_table(tmp_path / "run", {"side": group}, target, prediction))
    frame = fl.MetricFrame(
        metrics={"accuracy": sk.accuracy_score, "tpr": fl.true_positive_rate, "fpr": fl.false_positive_rate},
        y_true=target,
        y_pred=prediction,
        sensitive_features=group,
    )
    ours = stats.groups.query("order == 1").set_index("level_1")["value"]
    assert ours[frame.by_group.index].tolist() == pytest.approx(frame.by_group["accuracy"].tolist())
    assert stats.overall == pytest.approx(frame.overall["accuracy"])
    found = stats.differences.set_index("measure")["value"]
    assert found["accuracy_gap"] == pytest.approx(frame.difference()["accuracy"])
    assert found["accuracy_ratio"] == pytest.approx(frame.ratio()["accuracy"])
    assert found["worst"] == pytest.approx(frame.group_min()["accuracy"])
    given_groups = {"y_true": target, "y_pred": prediction, "sensitive_features": group}
    assert found["equalised_odds"] == pytest.approx(fl.equalized_odds_difference(**given_groups))
    parity = fl.demographic_parity_difference(**given_groups)
    assert found["demographic_parity"] == pytest.approx(parity)
    ratios = [fl.demographic_parity_ratio(target == c, prediction == c, sensitive_features=group) for c in (0, 1)]
    assert found["demographic_parity_ratio"] == pytest.approx(min(ratios))


def test_pairs_of_factors_equal_fairlearn(tmp_path):
    from fairlearn.metrics import MetricFrame

    group, target, prediction = draw(900, 3, seed=2)
    other = np.random.default_rng(3).choice(["x", "y"], 900)
    stats = statistics(write_table(tmp_path / "run", {"side": group, "ink": other}, target, prediction))
    features = pd.DataFrame({"side": group, "ink": other})
    frame = MetricFrame(
        metrics={"accuracy": sk.accuracy_score}, y_true=target, y_pred=prediction, sensitive_features=features
    )
    pairs = stats.groups.query("order == 2").set_index(["level_1", "level_2"])["value"]
    assert len(pairs) == 6
    for key, value in frame.by_group["accuracy"].items():
        assert pairs[key] == pytest.approx(value)


def test_golden_equity_scaled():
    overall, each = np.array(0.80), np.array([0.9, 0.8, 0.6])
    assert equity_scaled(overall, each).item() == pytest.approx(0.615385, abs=1e-6)
    assert equity_scaled(overall, each, "sd").item() == pytest.approx(0.693991, abs=1e-6)


@given(st.floats(0.01, 1), st.integers(1, 6))
def test_equal_groups_keep_their_score(score, n):
    for form in ("sum", "sd"):
        assert equity_scaled(np.array(score), np.full(n, score), form).item() == pytest.approx(score)


def test_golden_calibration_error(tmp_path):
    # Four answers at 0.95 (3 right), four at 0.55 (2 right): (0.5)(0.2) + (0.5)(0.05) = 0.125.
    confidence = np.array([0.95] * 4 + [0.55] * 4)
    right = np.array([1, 1, 1, 0, 1, 1, 0, 0])
    n, c, r = (np.array([[4.0, 4.0]]), np.array([[2.2, 3.8]]), np.array([[2.0, 3.0]]))
    assert calibration_error(n, c, r).item() == pytest.approx(0.125)
    columns = {"side": ["a"] * 8 + ["b"] * 8, "confidence": np.tile(confidence, 2)}
    stats = statistics(write_table(tmp_path / "run", columns, np.ones(16, dtype=int), np.tile(right, 2)))
    assert stats.metrics["ece"].tolist() == pytest.approx([0.125, 0.125])
    assert stats.metrics["brier"].tolist() == pytest.approx([np.mean((confidence - right) ** 2)] * 2)


@pytest.mark.parametrize(("n", "expected", "tolerance"), [(50, 0.100, 0.01), (1000, 0.022, 0.003)])
def test_a_calibrated_model_shows_an_error_in_few_samples(n, expected, tolerance):
    # Ten bins of equal width on [0, 1], of which confidences between 0.5 and 1 fill five.
    confidence = np.sort(np.random.default_rng(0).uniform(0.5, 1, n)).reshape(5, -1)
    sizes = np.full(5, n / 5)
    null = calibrated_null(sizes, confidence.sum(axis=1), np.random.default_rng(1), draws=2000)
    assert null.mean() == pytest.approx(expected, abs=tolerance)


def test_calibrated_answers_have_no_excess(tmp_path):
    rng = np.random.default_rng(4)
    confidence = rng.uniform(0.5, 1, 4000)
    right = (rng.random(4000) < confidence).astype(int)
    columns = {"side": rng.choice(["a", "b"], 4000), "confidence": confidence}
    stats = statistics(write_table(tmp_path / "run", columns, np.ones(4000, dtype=int), right))
    assert np.abs(stats.metrics["ece_excess"]).max() < 0.02
    assert (stats.metrics["ece_p"] > 0.01).all()


def test_equal_groups_have_no_difference():
    table = np.tile(np.array([[30.0, 10.0], [5.0, 55.0]]), (3, 1, 1))
    found = differences(one_against_rest(table))
    for name in ("equalised_odds", "demographic_parity", "accuracy_gap"):
        assert found[name] == pytest.approx(0.0)
    for name in ("accuracy_ratio", "demographic_parity_ratio"):
        assert found[name] == pytest.approx(1.0)
    assert found["equity_scaled"] == pytest.approx(0.85)


def test_groups_without_samples_do_not_count():
    table = np.array([[[30.0, 10.0], [5.0, 55.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert differences(one_against_rest(table))["accuracy_gap"] == pytest.approx(0.0)
    assert np.isnan(summary(one_against_rest(table))["accuracy"][1])


def test_details_are_left_out_of_huge_runs_unless_asked_for(tmp_path, monkeypatch):
    group, target, prediction = draw(200, 2)
    run = write_table(tmp_path / "run", {"side": group}, target, prediction)
    monkeypatch.setattr(sys.modules[statistics.__module__], "MAX_ROWS", 100)
    assert len(statistics(run).metrics) == 0
    assert len(statistics(run, details=True).metrics) == 3
    assert module.MAX_ROWS == 2_000_000
