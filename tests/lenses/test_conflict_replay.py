"""Counterfactual replay: exact first order, honest scoring on the other half, the plain sum as baseline."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.lenses.conflict.aggregators import BY_NAME
from workbench.lenses.conflict.replay import Halves, halves, replay


def recorded(truth: np.ndarray, n_steps: int, noise: float, seed: int = 0, n_batches: int = 4) -> Halves:
    """Halves of steps with gradients ``truth`` [T, P] plus noise per mini-batch."""
    rng = np.random.default_rng(seed)
    error = noise * rng.standard_normal((n_steps, len(truth), n_batches, truth.shape[1]))
    g = truth[None, :, None] + error
    return halves(np.einsum("sikp,sjlp->sikjl", g, g))


def test_halves_are_products_of_mean_gradients():
    g = np.random.default_rng(0).standard_normal((1, 2, 5, 7))
    found = halves(np.einsum("sikp,sjlp->sikjl", g, g))
    even, odd = g[0, :, ::2].mean(axis=1), g[0, :, 1::2].mean(axis=1)
    np.testing.assert_allclose(found.aa[0], even @ even.T)
    np.testing.assert_allclose(found.ba[0], odd @ even.T)
    np.testing.assert_allclose(found.bb[0], odd @ odd.T)


def test_predicted_change_equals_the_full_gradients():
    # -eta (G^BA w)_i is the first-order change of task i on half B under the step J_A^T w.
    g = np.random.default_rng(1).standard_normal((1, 3, 4, 9))
    found = halves(np.einsum("sikp,sjlp->sikjl", g, g))
    even, odd = g[0, :, ::2].mean(axis=1), g[0, :, 1::2].mean(axis=1)
    w = BY_NAME["UPGrad"].weights(found.aa[0])
    np.testing.assert_allclose(found.ba[0] @ w, odd @ (even.T @ w), atol=1e-10)


def test_without_noise_alignment_and_price_are_those_of_the_gradients():
    truth = np.array([[-4.0, 1, 1], [6, 1, 1]])
    found = replay(recorded(truth, 5, 0.0), np.arange(5))
    assert found is not None
    price = dict(zip(found.names, found.price, strict=True))
    for name, expected in {"MGDA": 0.1835, "Nash-MTL": 0.1534, "CAGrad": 0.1263, "UPGrad": 0.1259}.items():
        assert price[name] == pytest.approx(expected, abs=1e-4)
    direction = truth.sum(axis=0)
    cosine = truth @ direction / (np.linalg.norm(truth, axis=1) * np.linalg.norm(direction))
    np.testing.assert_allclose(found.alignment[0], cosine, atol=1e-9)
    assert found.harmed[0].tolist() == [1.0, 0.0]
    assert found.any_harmed[found.names.index("MGDA")] == 0.0
    assert found.names[found.best].startswith(("MGDA", "IMTL-G", "Nash-MTL", "ConFIG"))


def test_gradnorm_answers_with_losses_only_and_gradvac_always():
    record, steps = recorded(np.array([[3.0, 0, 0], [0, 1.0, 0]]), 5, 0.01), np.arange(5)
    at = {name: place for place, name in enumerate(replay(record, steps).names)}
    assert replay(record, steps).answered[at["GradNorm"]] == 0
    found = replay(record, steps, np.ones((5, 2)))
    assert found.answered[at["GradNorm"]] == 1
    # Equal training rates: weighted lengths are equal, so both tasks are served alike.
    np.testing.assert_allclose(found.alignment[at["GradNorm"]], 0.5**0.5, atol=0.01)
    assert np.isfinite(found.alignment[at["GradVac"]]).all()


def test_the_plain_sum_is_the_baseline():
    found = replay(recorded(np.eye(3), 6, 0.1), np.arange(6))
    assert found.names[0] == "plain sum"
    assert found.price[0] == pytest.approx(0)
    assert found.worst_gain[0] == 0


def test_on_noise_alone_no_method_looks_better():
    wins = []
    for seed in range(10):
        found = replay(recorded(np.zeros((3, 30)), 20, 1.0, seed), np.arange(20))
        wins.append(found.best is not None)
        # Weights chosen and scored on the same samples would align every task with the update.
        assert np.nanmax(np.abs(found.alignment)) < 0.15
    assert np.mean(wins) <= 0.3


def test_a_singular_gramian_leaves_nash_without_an_answer():
    truth = np.array([[1.0, 0], [-1, 0]])
    found = replay(recorded(truth, 4, 0.0), np.arange(4))
    nash = found.names.index("Nash-MTL")
    assert found.answered[nash] == 0
    assert np.isnan(found.alignment[nash]).all()


def test_too_little_gives_nothing():
    assert replay(recorded(np.eye(2), 2, 0.1), np.arange(2)) is None
    assert replay(recorded(np.ones((1, 4)), 9, 0.1), np.arange(9)) is None
    assert replay(recorded(np.eye(2), 9, 0.1, n_batches=1), np.arange(9)) is None


def test_steps_without_a_task_are_left_out():
    record = recorded(np.eye(2), 9, 0.1)
    record.ba[3] = np.nan
    assert 3 not in replay(record, np.arange(9)).steps
