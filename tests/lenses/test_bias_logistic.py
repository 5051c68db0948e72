"""Costs in odds: scikit-learn's regression, closed forms, and tests that keep their level."""

from __future__ import annotations

import numpy as np
import pytest
from bias_runs import write_run
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from workbench.lenses.bias.logistic import fit, logistic_table
from workbench.lenses.bias.statistics import statistics


def test_one_factor_has_the_log_of_its_odds_ratio():
    # Neither: 80 of 100 right, odds 4. At its worst: 50 of 100, odds 1. The standard error is Woolf's.
    row = logistic_table(np.array([100.0, 100.0]), np.array([80.0, 50.0]), ["blur"]).iloc[0]
    assert row["coefficient"] == pytest.approx(-np.log(4))
    error = np.sqrt(1 / 80 + 1 / 20 + 1 / 50 + 1 / 50)
    assert row["high"] - row["low"] == pytest.approx(2 * 1.959964 * error, rel=1e-5)
    # Likelihood ratio: 2 Σ observed log(observed / expected) over the four cells.
    observed, expected = np.array([80, 20, 50, 50]), np.array([65, 35, 65, 35])
    assert row["chi_square"] == pytest.approx(2 * (observed * np.log(observed / expected)).sum())


def test_weights_equal_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (2000, 3))
    y = rng.random(2000) < 1 / (1 + np.exp(-(1.5 - x @ [1.0, 0.5, 0.0] - 0.8 * x[:, 0] * x[:, 1])))
    cell = x @ [1, 2, 4]
    n, right = np.bincount(cell, minlength=8).astype(float), np.bincount(cell, y, 8)
    table = logistic_table(n, right, ["a", "b", "c"])
    plain = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(x, y)
    assert table["coefficient"][:3].tolist() == pytest.approx(plain.coef_[0].tolist(), abs=1e-4)
    products = np.column_stack([x, x[:, 0] * x[:, 1], x[:, 0] * x[:, 2], x[:, 1] * x[:, 2]])
    paired = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(products, y)
    assert table["term"].tolist() == ["a", "b", "c", "a × b", "a × c", "b × c"]
    assert table["coefficient"][3:].tolist() == pytest.approx(paired.coef_[0][3:].tolist(), abs=1e-4)


def test_terms_without_effect_are_seldom_called():
    rng = np.random.default_rng(1)
    n, cells = np.full(8, 120.0), np.arange(8)
    share = 1 / (1 + np.exp(-(1.0 - 0.9 * (cells & 1) - 0.6 * (cells >> 1 & 1))))  # c and all pairs: nothing
    p = np.array([logistic_table(n, rng.binomial(120, share).astype(float), ["a", "b", "c"])["p"] for _ in range(300)])
    assert (p[:, :2] < 0.05).mean(axis=0).min() > 0.5
    assert 0.02 < (p[:, 2:] < 0.05).mean() < 0.08


def test_an_interaction_of_accuracies_need_not_be_one_of_odds():
    logit = np.array([2.0, 0.0, 0.0, -2.0])  # each costs 2 in log odds; the costs in accuracy do not add up
    n = np.full(4, 4000.0)
    right = n / (1 + np.exp(-logit))
    accuracy = right / n
    assert abs(accuracy[0] - accuracy[1] - accuracy[2] + accuracy[3]) < 1e-12  # symmetric: even here they do
    shifted = n / (1 + np.exp(-(logit + 1.5)))
    assert abs(shifted @ [1, -1, -1, 1] / 4000) > 0.1
    assert logistic_table(n, shifted, ["a", "b"]).iloc[2]["p"] > 0.99


def test_a_factor_that_separates_has_no_number():
    row = logistic_table(np.array([50.0, 50.0]), np.array([50.0, 20.0]), ["a"]).iloc[0]
    assert np.isnan(row["coefficient"])
    assert row["p"] < 1e-6


counts = arrays(float, 4, elements=st.integers(2, 40).map(float))


@given(counts, st.lists(st.floats(0.05, 0.95), min_size=4, max_size=4))
def test_expected_right_answers_equal_those_given(n, shares):
    right = np.round(n * np.array(shares))
    bits = np.arange(4)[:, None] >> np.arange(2) & 1
    design = np.column_stack([np.ones(4), bits.astype(float)])
    weights, _, _ = fit(design, n, right)
    expected = n / (1 + np.exp(-design @ weights))
    np.testing.assert_allclose(design.T @ expected, design.T @ right, atol=1e-3)


def test_the_lens_tells_the_planted_pair_in_odds_too(tmp_path):
    found = statistics(write_run(tmp_path / "run", n=20_000)).attribution.logistic.set_index("term")
    assert found.loc["rotation", "q"] < 0.01
    assert found.loc["rotation × blur", "q"] < 0.05
    assert found.loc["rotation × blur", "high"] < 0
    assert (found.loc[["ink", "rotation × ink", "blur × ink"], "q"] > 0.01).all()
    assert statistics(write_run(tmp_path / "loss", n=500), metric="loss").attribution.logistic.empty
