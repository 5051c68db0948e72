import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.lenses.domains.distances import (
    against_null,
    coral,
    coral_relabelled,
    covariance,
    frechet,
    frechet_of,
    frechet_relabelled,
    gaussian_kernel,
    median_distance,
    mmd2,
    mmd2_biased,
    mmd2_relabelled,
    moments_relabelled,
    paired_relabellings,
    principal_components,
    relabellings,
    squared_distances,
    witness,
)

FOUR = np.array([[0.0], [1.0], [2.0], [3.0]])
FIRST_TWO = np.array([True, True, False, False])


def _kernel(x: np.ndarray, sigma: float = 1.0) -> np.ndarray:
    return gaussian_kernel(squared_distances(x), sigma, (1.0,))


def _clouds(seed: int, n: int = 30, m: int = 24, width: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, width)), rng.normal(0.5, 1.5, size=(m, width))


def _rotation(seed: int, width: int = 4) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(width, width)))[0]


def test_mmd_of_zero_one_against_two_three():
    # k(0,1) = k(2,3) = e^-1/2; k(0,2) = e^-2 twice, k(0,3) = e^-9/2, k(1,2) = e^-1/2:
    # 2 e^-1/2 - (2 e^-2 + e^-9/2 + e^-1/2) / 2 = 0.768906.
    kernel = _kernel(FOUR)
    assert mmd2(kernel, FIRST_TWO) == pytest.approx(0.768906, abs=1e-5)
    assert mmd2_biased(kernel, FIRST_TWO) == pytest.approx(1.162376, abs=1e-5)
    assert median_distance(squared_distances(FOUR)) == pytest.approx(1.5)


def test_the_six_relabellings_give_p_of_one_third():
    masks = np.array([[i in pair for i in range(4)] for pair in itertools.combinations(range(4), 2)])
    values = mmd2_relabelled(_kernel(FOUR), masks)
    assert values == pytest.approx([0.7689, -0.6447, -0.1242, -0.1242, -0.6447, 0.7689], abs=1e-4)
    # All six are the null here, the observed one among them: p = 2/6 is what (1 + 1) / (1 + 5) gives without it.
    assert against_null(float(values[0]), values[1:]).p == pytest.approx(2 / 6)


def test_mmd_equals_the_plain_double_loop():
    x, y = _clouds(0, 7, 5)
    z = np.concatenate([x, y])
    kernel = gaussian_kernel(squared_distances(z), 1.3)
    n, m = len(x), len(y)
    inside_x = sum(kernel[i, j] for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    inside_y = sum(kernel[i, j] for i in range(n, n + m) for j in range(n, n + m) if i != j) / (m * (m - 1))
    across = sum(kernel[i, j] for i in range(n) for j in range(n, n + m)) / (n * m)
    assert mmd2(kernel, np.arange(n + m) < n) == pytest.approx(inside_x + inside_y - 2 * across, abs=1e-12)


def test_float32_relabellings_keep_the_digits():
    x, y = _clouds(1, 60, 60)
    square = squared_distances(np.concatenate([x, y]))
    masks = relabellings(60, 60, 20, np.random.default_rng(0))
    exact = mmd2_relabelled(gaussian_kernel(square, 2.0), masks)
    fast = mmd2_relabelled(gaussian_kernel(square.astype(np.float32), 2.0), masks)
    assert np.abs(exact - fast).max() < 1e-5


def test_kernel_and_distances_agree_with_scikit_learn():
    from sklearn.metrics.pairwise import euclidean_distances, rbf_kernel

    x, y = _clouds(2)
    assert squared_distances(x, y) == pytest.approx(euclidean_distances(x, y, squared=True), abs=1e-10)
    assert gaussian_kernel(squared_distances(x, y), 1.5, (1.0,)) == pytest.approx(
        rbf_kernel(x, y, gamma=1 / (2 * 1.5**2)), abs=1e-10
    )


def test_frechet_of_two_gaussians():
    # |(3, 4)|² + (1 - 3)² + 0 = 29.
    diagonal = frechet(np.zeros(2), np.diag([1.0, 4.0]), np.array([3.0, 4.0]), np.diag([9.0, 4.0]))
    assert diagonal == pytest.approx(29)
    tilted = frechet(np.zeros(2), np.array([[2.0, 1.0], [1.0, 2.0]]), np.zeros(2), np.diag([1.0, 4.0]))
    assert tilted == pytest.approx(0.771220, abs=1e-5)


def test_frechet_agrees_with_the_matrix_square_root():
    from scipy.linalg import sqrtm

    x, y = _clouds(3)
    a, b = covariance(x), covariance(y)
    slow = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a + b - 2 * np.real(sqrtm(a @ b)))
    assert frechet_of(x, y) == pytest.approx(slow, rel=1e-9)


def test_relabelled_frechet_equals_frechet_of_each_relabelling():
    x, y = _clouds(4)
    z = np.concatenate([x, y])
    masks = relabellings(len(x), len(y), 8, np.random.default_rng(1))
    slow = [frechet_of(z[mask], z[~mask]) for mask in masks]
    assert frechet_relabelled(moments_relabelled(z, masks)) == pytest.approx(slow, rel=1e-6)


def test_relabelled_coral_equals_coral_of_each_relabelling():
    x, y = _clouds(6)
    z = np.concatenate([x, y])
    masks = relabellings(len(x), len(y), 5, np.random.default_rng(2))
    slow = [coral(z[mask], z[~mask]) for mask in masks]
    assert coral_relabelled(moments_relabelled(z, masks)) == pytest.approx(slow, rel=1e-9)


def test_coral_of_a_stretched_square():
    # C_X = 4/3 I, C_Y = diag(4/3, 16/3): (4)² / (4 · 2²) = 1.
    square = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]])
    assert coral(square, square * np.array([1.0, 2.0])) == pytest.approx(1)


def test_identical_samples_are_at_distance_zero():
    x, _ = _clouds(5)
    kernel = gaussian_kernel(squared_distances(np.concatenate([x, x])), 1.0)
    assert mmd2_biased(kernel, np.arange(2 * len(x)) < len(x)) == pytest.approx(0, abs=1e-12)
    assert frechet_of(x, x) == pytest.approx(0, abs=1e-10)
    assert coral(x, x) == 0


@given(st.integers(0, 1000))
def test_distances_are_symmetric(seed):
    x, y = _clouds(seed)
    z = np.concatenate([x, y])
    first = np.arange(len(z)) < len(x)
    kernel = gaussian_kernel(squared_distances(z), 1.0)
    assert mmd2(kernel, first) == pytest.approx(mmd2(kernel, ~first), abs=1e-10)
    assert frechet_of(x, y) == pytest.approx(frechet_of(y, x), rel=1e-9)
    assert coral(x, y) == pytest.approx(coral(y, x), rel=1e-12)


@given(st.integers(0, 1000))
def test_rotating_both_domains_changes_no_distance(seed):
    x, y = _clouds(seed)
    turn = _rotation(seed)
    first = np.arange(len(x) + len(y)) < len(x)
    before = mmd2(gaussian_kernel(squared_distances(np.concatenate([x, y])), 1.0), first)
    after = mmd2(gaussian_kernel(squared_distances(np.concatenate([x, y]) @ turn), 1.0), first)
    assert after == pytest.approx(before, abs=1e-10)
    assert frechet_of(x @ turn, y @ turn) == pytest.approx(frechet_of(x, y), rel=1e-8)
    assert coral(x @ turn, y @ turn) == pytest.approx(coral(x, y), rel=1e-8)


@given(st.integers(0, 1000), st.floats(1, 5))
def test_a_translation_shows_in_mmd_and_frechet_but_not_in_coral(seed, length):
    x, _ = _clouds(seed)
    y = x + length / 2
    kernel = gaussian_kernel(squared_distances(np.concatenate([x, y])), 1.0)
    assert mmd2_biased(kernel, np.arange(2 * len(x)) < len(x)) > 1e-3
    assert frechet_of(x, y) == pytest.approx(length**2, rel=1e-6)  # |(length / 2) · (1, 1, 1, 1)|²
    assert coral(x, y) == pytest.approx(0, abs=1e-12)


def _p_values(trials: int, n_classes: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(trials):
        target = rng.integers(0, n_classes, 60)
        z = rng.normal(size=(60, 3)) + 3 * target[:, None]
        kernel = gaussian_kernel(squared_distances(z), 2.0)
        masks = paired_relabellings(target[:30], target[30:], 99, rng)
        true = np.arange(60)[None] < 30
        values = mmd2_relabelled(kernel, np.concatenate([true, masks]))
        found.append(against_null(float(values[0]), values[1:]).p)
    return np.array(found)


@pytest.mark.parametrize("n_classes", [1, 3])
def test_without_a_shift_p_is_uniform(n_classes):
    from scipy.stats import kstest

    p = _p_values(200, n_classes, seed=n_classes)
    jitter = np.random.default_rng(0).uniform(0, 0.01, len(p))  # p is a multiple of 1/100
    assert kstest(p - jitter, "uniform").pvalue > 0.01
    assert 0.02 <= (p <= 0.05).mean() <= 0.09


def test_free_relabellings_give_uniform_p_too():
    from scipy.stats import kstest

    rng = np.random.default_rng(3)
    found = []
    for _ in range(200):
        kernel = gaussian_kernel(squared_distances(rng.normal(size=(40, 3))), 1.5)
        masks = np.concatenate([np.arange(40)[None] < 20, relabellings(20, 20, 99, rng)])
        values = mmd2_relabelled(kernel, masks)
        found.append(against_null(float(values[0]), values[1:]).p)
    p = np.array(found)
    assert kstest(p - rng.uniform(0, 0.01, len(p)), "uniform").pvalue > 0.01
    assert 0.02 <= (p <= 0.05).mean() <= 0.09


def test_relabellings_keep_the_sizes_and_the_classes():
    rng = np.random.default_rng(0)
    assert (relabellings(5, 9, 50, rng).sum(axis=1) == 5).all()
    x, y = rng.integers(0, 3, 20), rng.integers(0, 4, 30)
    masks = paired_relabellings(x, y, 50, rng)
    pooled = np.concatenate([x, y])
    for value in range(4):
        assert (masks[:, pooled == value].sum(axis=1) == (x == value).sum()).all()
    assert (masks != (np.arange(50) < 20)).any(axis=0).sum() > 20  # most points do change places


def test_another_mix_of_classes_alone_is_no_shift():
    rng = np.random.default_rng(1)
    x, y = rng.choice(2, 100, p=[0.8, 0.2]), rng.choice(2, 100, p=[0.3, 0.7])
    target = np.concatenate([x, y])
    z = rng.normal(size=(200, 3)) + 4 * target[:, None]
    masks = np.concatenate([np.arange(200)[None] < 100, paired_relabellings(x, y, 199, rng)])
    values = mmd2_relabelled(gaussian_kernel(squared_distances(z), 2.0), masks)
    assert values[0] > 0.1  # far apart as clouds
    assert against_null(float(values[0]), values[1:]).p > 0.05  # but not beyond their classes


def test_ratio_counts_from_the_centre_of_the_null():
    found = against_null(5.0, np.array([-1.0, 0.0, 1.0]))
    assert found.null_mean == 0
    assert found.ratio == pytest.approx(5 / 0.9)  # the 95 % quantile of (-1, 0, 1) is 0.9
    assert np.isnan(against_null(1.0, np.ones(9)).ratio)
    assert against_null(1.0, np.ones(9)).p == 1


@given(st.integers(0, 200), st.sampled_from([(20, 6), (6, 20)]))
def test_principal_components_are_those_of_the_singular_values(seed, shape):
    x = np.random.default_rng(seed).normal(size=shape)
    found = principal_components(x, 3)
    singular = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)
    assert np.linalg.norm(found.points, axis=0) == pytest.approx(singular[:3], rel=1e-8)
    assert found.share == pytest.approx(singular[:3] ** 2 / (singular**2).sum(), rel=1e-8)
    assert (x - found.mean) @ found.basis == pytest.approx(found.points, abs=1e-8)


@given(st.integers(0, 100), st.integers(1, 40))
def test_the_limit_of_chance_is_the_95_percent_quantile(seed, n):
    null = np.random.default_rng(seed).normal(size=n)
    assert against_null(0.0, null).null_high == pytest.approx(np.quantile(null, 0.95), abs=1e-12)


def test_the_kernel_mixture_is_the_mean_of_its_parts():
    square = squared_distances(np.random.default_rng(0).normal(size=(30, 4)))
    for factors in ((0.25, 0.5, 1.0, 2.0, 4.0), (0.3, 1.0, 2.0)):
        parts = [gaussian_kernel(square, 1.7, (factor,)) for factor in factors]
        assert gaussian_kernel(square, 1.7, factors) == pytest.approx(np.mean(parts, axis=0), abs=1e-12)


def test_the_witness_is_positive_where_the_first_sample_lives():
    x, y = np.array([[0.0], [0.1]]), np.array([[3.0], [3.1]])
    places = np.array([[0.0], [3.0]])
    values = witness(
        gaussian_kernel(squared_distances(places, x), 1.0, (1.0,)),
        gaussian_kernel(squared_distances(places, y), 1.0, (1.0,)),
    )
    assert values[0] > 0.9
    assert values[1] < -0.9
