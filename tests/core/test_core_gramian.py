"""Unbiased inner products, cosines and intervals against closed forms and a slow twin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from workbench.core import ConfigError
from workbench.core.gramian import (
    Z95,
    Gramian,
    cosine_matrix,
    cosines,
    doubled,
    leave_one_out,
    magnitude_similarity,
    student95,
    unbiased,
)


def cross_gramian(gradients: np.ndarray) -> np.ndarray:
    """[T, K, P] -> [T, K, T, K]."""
    return np.einsum("ikp,jlp->ikjl", gradients, gradients)


def draw(
    rng: np.random.Generator,
    n_repeats: int,
    n_batches: int,
    cosine: float,
    noise: float,
    shared: float,
    size: int = 1000,
):
    """Two tasks of known cosine in ``size`` dimensions; each mini-batch adds noise of squared norm ``noise``."""
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


def estimated(g: np.ndarray):
    """Cosines of [repeats, 2, K, P]."""
    n_repeats, _, n_batches, _ = g.shape
    flat = g.reshape(n_repeats, 2 * n_batches, -1)
    return cosines((flat @ flat.transpose(0, 2, 1)).reshape(n_repeats, 2, n_batches, 2, n_batches))


@pytest.mark.parametrize("n_batches", [3, 4, 8, 16])
@pytest.mark.parametrize(("noise", "shared"), [(0.5, 0.0), (0.5, 0.5), (2.0, 0.3)])
def test_intervals_cover_the_truth(n_batches, noise, shared):
    estimate = estimated(draw(np.random.default_rng(1), 800, n_batches, -0.2, noise, shared, 200))
    said = ~np.isnan(estimate.value[:, 0, 1])
    covered = (estimate.low[:, 0, 1] <= -0.2) & (estimate.high[:, 0, 1] >= -0.2)
    assert said.mean() > 0.75
    # 800 repeats leave a standard error of 0.008 on 0.95.
    assert 0.93 <= covered[said].mean() <= 0.99
    # The cosine of mean gradients would be pulled towards the shared noise, the estimate is not.
    assert estimate.value[said, 0, 1].mean() == pytest.approx(-0.2, abs=0.015)


def test_over_a_thousand_planted_cases_intervals_cover_95_percent():
    # Each case has its own cosine, noise, share of common noise, size and number of mini-batches.
    rng = np.random.default_rng(20)
    hits = []
    for _ in range(1000):
        truth = rng.uniform(-0.9, 0.9)
        size, n_batches = int(rng.choice([40, 100, 400])), int(rng.choice([4, 6, 8, 12, 16]))
        g = draw(rng, 1, n_batches, truth, rng.choice([0.2, 1.0, 3.0]), rng.uniform(0, 0.6), size)
        found = estimated(g)
        if not np.isnan(found.value[0, 0, 1]):
            hits.append(found.low[0, 0, 1] <= truth <= found.high[0, 0, 1])
    assert len(hits) > 900
    assert 0.93 <= np.mean(hits) <= 0.97


def test_doubled_estimates_what_the_jackknife_counts_twice():
    # h_kl = b_kl alone, variance 1: the jackknife expects 4 / (K (K - 2)), the truth is 2 / (K (K - 1)).
    rng, n = np.random.default_rng(0), 8
    b = np.triu(rng.standard_normal((4000, n, n)), 1)
    excess = doubled(b + np.swapaxes(b, -1, -2))
    assert excess.mean() == pytest.approx(4 / (n * (n - 2)) - 2 / (n * (n - 1)), rel=0.02)
    additive = rng.standard_normal((5, n))
    np.testing.assert_allclose(doubled(additive[:, :, None] + additive[:, None, :]), 0, atol=1e-12)


@pytest.mark.parametrize("n_batches", [3, 4])
def test_the_normal_quantile_would_cover_too_little(n_batches):
    estimate = estimated(draw(np.random.default_rng(1), 800, n_batches, -0.2, 0.5, 0.5, 200))
    within = np.abs(estimate.value[:, 0, 1] + 0.2) <= Z95 * estimate.se[:, 0, 1]
    assert within.mean() < 0.9


@pytest.mark.parametrize(
    ("shared", "per_batch", "of_means"), [(0.0, -0.022, -0.134), (0.3, 0.244, -0.033)], ids=["own", "shared"]
)
def test_the_plain_estimates_are_biased_and_this_one_is_not(shared, per_batch, of_means):
    # Truth -0.2, noise eight times the signal, K = 16: per-batch cosines flip their sign when noise is shared.
    n_repeats = 150
    g = draw(np.random.default_rng(5), n_repeats, 16, -0.2, 8.0, shared)
    dot = np.einsum("rikp,rjkp->rkij", g, g)
    single = dot[..., 0, 1] / np.sqrt(dot[..., 0, 0] * dot[..., 1, 1])
    mean = g.mean(axis=2)
    whole = np.einsum("rip,rjp->rij", mean, mean)
    plug_in = whole[:, 0, 1] / np.sqrt(whole[:, 0, 0] * whole[:, 1, 1])
    value = estimated(g).value[:, 0, 1]
    assert single.mean() == pytest.approx(per_batch, abs=0.01)
    assert plug_in.mean() == pytest.approx(of_means, abs=0.02)
    assert value.mean() == pytest.approx(-0.2, abs=2.5 * value.std() / np.sqrt(n_repeats))
    # SE² = (1 / d_eff) [(N_i + N_j) / K + N_i N_j (1 + rho²) / (K (K - 1))] with d_eff = 1000.
    predicted = np.sqrt((16 / 16 + 64 * (1 + shared**2) / (16 * 15)) / 1000)
    assert value.std() == pytest.approx(predicted, rel=0.2)


J1 = np.array([[-4.0, 1, 1], [6, 1, 1]])
J3 = np.array([[2.0, 0, 0], [-1, 1, 0], [0, -1, 1]])


def test_closed_forms_of_cosine_and_magnitude_similarity():
    # <g_1, g_2> = -22, squares 18 and 38: cos = -22 / sqrt(684), similarity = 2 sqrt(684) / 56.
    assert cosine_matrix(J1 @ J1.T)[0, 1] == pytest.approx(-0.841191, abs=1e-6)
    assert magnitude_similarity(J1 @ J1.T)[0, 1] == pytest.approx(0.934050, abs=1e-6)
    found = cosine_matrix(J3 @ J3.T)
    assert [found[0, 1], found[0, 2], found[1, 2]] == pytest.approx([-0.707107, 0, -0.5], abs=1e-6)


gradients = hnp.arrays(np.float64, (3, 4, 5), elements=st.floats(-2, 2))


@given(gradients, st.permutations(range(4)))
def test_symmetric_and_the_order_of_batches_does_not_matter(g, order):
    found = unbiased(cross_gramian(g))
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_allclose(unbiased(cross_gramian(g[:, list(order)])), found, atol=1e-12)


@given(gradients, st.floats(0.1, 10))
def test_the_scale_of_a_loss_changes_lengths_but_no_cosine(g, scale):
    scaled = g * np.array([scale, 1.0, 1.0])[:, None, None]
    before, after = cosines(cross_gramian(g)), cosines(cross_gramian(scaled))
    clear = ~np.isnan(before.value) & ~np.isnan(after.value) & (np.abs(before.value) < 10)
    np.testing.assert_allclose(after.value[clear], before.value[clear], rtol=1e-6, atol=1e-6)


def test_unbiased_over_all_pairs_of_batches():
    # Four samples, two independent batches of one sample each: the mean over all 16 pairs is the product of means.
    g = np.random.default_rng(6).standard_normal((2, 4, 3))
    pairs = [unbiased(cross_gramian(g[:, [a, b]])) for a in range(4) for b in range(4)]
    mean = g.mean(axis=1)
    np.testing.assert_allclose(np.mean(pairs, axis=0), mean @ mean.T, atol=1e-12)


def test_two_batches_are_the_mean_of_both_cross_products():
    g = np.random.default_rng(7).standard_normal((2, 2, 3))
    expected = 0.5 * (g[0, 0] @ g[1, 1] + g[0, 1] @ g[1, 0])
    assert unbiased(cross_gramian(g))[0, 1] == pytest.approx(expected)


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
