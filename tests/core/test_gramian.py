"""Unbiased inner products, cosines and intervals against closed forms and a slow twin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from workbench.core import ConfigError
from workbench.core.gramian import Gramian, cosines, leave_one_out, student95, unbiased


def cross_gramian(gradients: np.ndarray) -> np.ndarray:
    """[T, K, P] -> [T, K, T, K]."""
    return np.einsum("ikp,jlp->ikjl", gradients, gradients)


def draw(rng: np.random.Generator, n_repeats: int, n_batches: int, cosine: float, noise: float, shared: float):
    """Two tasks of known cosine in 1,000 dimensions; each mini-batch adds noise of squared norm ``noise``."""
    size = 1000
    truth = np.zeros((2, size))
    truth[0, 0], truth[1, :2] = 1.0, (cosine, np.sqrt(1 - cosine**2))
    z = rng.standard_normal((n_repeats, 3, n_batches, size)) * np.sqrt(noise / size)
    own, common = np.sqrt(1 - shared), np.sqrt(shared)
    return truth[None, :, None] + own * z[:, :2] + common * z[:, 2:]


@given(st.integers(0, 1000), st.integers(2, 5))
def test_unbiased_equals_the_sum_over_pairs_of_different_batches(seed, n_batches):
    g = np.random.default_rng(seed).standard_normal((3, n_batches, 4))
    slow = np.zeros((3, 3))
    for k in range(n_batches):
        for other in range(n_batches):
            if k != other:
                slow += g[:, k] @ g[:, other].T / (n_batches * (n_batches - 1))
    np.testing.assert_allclose(unbiased(cross_gramian(g)), slow, atol=1e-12)


@given(st.integers(0, 1000), st.integers(3, 6))
def test_leave_one_out_equals_leaving_a_batch_out(seed, n_batches):
    g = np.random.default_rng(seed).standard_normal((3, n_batches, 4))
    left = leave_one_out(cross_gramian(g))
    for k in range(n_batches):
        np.testing.assert_allclose(left[k], unbiased(cross_gramian(np.delete(g, k, axis=1))), atol=1e-12)


@pytest.mark.parametrize("df", [1, 2, 3, 5, 15, 100])
def test_student_quantile(df):
    assert student95(df) == pytest.approx(stats.t.ppf(0.975, df), rel=2e-3)


def test_student_quantile_needs_a_degree_of_freedom():
    with pytest.raises(ConfigError, match="at least 1 degree"):
        student95(0)


@pytest.mark.parametrize(("n_batches", "noise", "shared"), [(4, 0.5, 0.0), (8, 0.5, 0.5), (16, 4.0, 0.3)])
def test_intervals_cover_the_truth(n_batches, noise, shared):
    g = draw(np.random.default_rng(1), 1000, n_batches, -0.2, noise, shared)
    flat = g.reshape(1000, 2 * n_batches, -1)
    estimate = cosines((flat @ flat.transpose(0, 2, 1)).reshape(1000, 2, n_batches, 2, n_batches))
    covered = (estimate.low[:, 0, 1] <= -0.2) & (estimate.high[:, 0, 1] >= -0.2)
    assert 0.93 <= covered.mean() <= 0.98
    # The cosine of mean gradients would be pulled towards the shared noise, the estimate is not.
    assert estimate.value[:, 0, 1].mean() == pytest.approx(-0.2, abs=0.01)


def test_pure_noise_is_below_noise():
    g = draw(np.random.default_rng(2), 200, 8, 0.0, 1.0, 0.0) - draw(np.random.default_rng(2), 200, 8, 0.0, 0.0, 0.0)
    flat = g.reshape(200, 16, -1)
    estimate = cosines((flat @ flat.transpose(0, 2, 1)).reshape(200, 2, 8, 2, 8))
    assert estimate.below_noise.mean() > 0.9
    assert np.isnan(estimate.value[estimate.below_noise.all(axis=1)]).all()


def test_two_batches_give_a_number_without_an_interval():
    estimate = cosines(cross_gramian(draw(np.random.default_rng(3), 1, 2, -0.5, 0.1, 0.0)[0]))
    assert estimate.value[0, 1] == pytest.approx(-0.5, abs=0.1)
    assert estimate.high[0, 1] == np.inf
    assert not estimate.conflict.any()


def test_one_batch_says_nothing():
    estimate = cosines(np.ones((2, 1, 2, 1)))
    assert np.isnan(estimate.value).all()
    assert estimate.below_noise.all()


def test_a_gramian_checks_its_shape():
    with pytest.raises(ConfigError, match="has shape"):
        Gramian(("m", "n"), ("a", "b"), np.zeros((1, 2, 2, 2, 2)), np.ones((2, 2), dtype=np.int64))


def test_total_is_the_sum_over_modules():
    dot = np.random.default_rng(4).standard_normal((3, 2, 2, 2, 2))
    gramian = Gramian(("a", "b", "c"), ("x", "y"), dot, np.ones((2, 2), dtype=np.int64))
    np.testing.assert_allclose(gramian.total().dot[0], dot.sum(axis=0))
    np.testing.assert_allclose(gramian.select(["c"]).dot[0], dot[2])
