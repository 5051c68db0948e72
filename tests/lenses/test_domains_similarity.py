import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.lenses.domains.distances import relabellings
from workbench.lenses.domains.similarity import (
    cka_interval,
    debiased_cka,
    gram,
    linear_cka,
    sliced_relabelled,
    sliced_wasserstein,
    unbiased_hsic,
    unit_directions,
    wasserstein_1d,
)


def test_wasserstein_on_the_line():
    x, y = np.array([[0.0], [1.0], [2.0]]), np.array([[1.0], [2.0], [5.0]])
    assert wasserstein_1d(x, y)[0] == pytest.approx(5 / 3)
    assert wasserstein_1d(x, y, 2.0)[0] == pytest.approx(np.sqrt(11 / 3))


@given(st.integers(0, 100), st.integers(1, 9), st.integers(1, 9))
def test_wasserstein_of_unequal_sizes_agrees_with_scipy(seed, n, m):
    from scipy.stats import wasserstein_distance

    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, 1)), rng.normal(size=(m, 1))
    assert wasserstein_1d(x, y)[0] == pytest.approx(wasserstein_distance(x[:, 0], y[:, 0]), abs=1e-12)


def test_a_pure_shift_has_known_sliced_distances():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 2))
    directions = unit_directions(20000, 2, rng)
    moved = x + np.array([3.0, 4.0])
    assert sliced_wasserstein(x, moved, directions, 2.0) == pytest.approx(5 / np.sqrt(2), rel=0.02)
    assert sliced_wasserstein(x, moved, directions, 1.0) == pytest.approx(10 / np.pi, rel=0.02)
    assert sliced_wasserstein(x, x, directions[:50]) == 0


def test_rotation_changes_the_sliced_distance_within_monte_carlo_error_only():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(60, 3)), rng.normal(1.0, 2.0, size=(60, 3))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    directions = unit_directions(4000, 3, rng)
    assert sliced_wasserstein(x @ turn, y @ turn, directions) == pytest.approx(
        sliced_wasserstein(x, y, directions), rel=0.05
    )


def test_relabelled_sliced_distance_equals_the_plain_one():
    rng = np.random.default_rng(2)
    z = rng.normal(size=(25, 4))
    directions = unit_directions(7, 4, rng)
    masks = relabellings(10, 15, 6, rng)
    slow = [sliced_wasserstein(z[mask], z[~mask], directions) for mask in masks]
    assert sliced_relabelled(z @ directions.T, masks) == pytest.approx(slow, rel=1e-5)


def test_cka_of_three_points_and_of_a_stretched_square():
    # Centred (-1, 0, 1) and (-1, 1, 0): inner product 1, squares 2 and 2: 1² / (2 · 2).
    assert linear_cka(np.array([[1.0], [2.0], [3.0]]), np.array([[1.0], [3.0], [2.0]])) == pytest.approx(0.25)
    square = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    assert linear_cka(square, square * np.array([2.0, 1.0])) == pytest.approx(0.857493, abs=1e-6)


def test_debiasing_takes_the_width_out():
    rng = np.random.default_rng(3)
    raw, clean = [], []
    for _ in range(10):
        x, y = rng.normal(size=(50, 200)), rng.normal(size=(50, 200))
        raw.append(linear_cka(x, y))
        clean.append(debiased_cka(gram(x), gram(y)))
    assert np.mean(raw) == pytest.approx(0.82, abs=0.03)
    assert abs(np.mean(clean)) < 0.1


def test_unbiased_hsic_equals_the_written_formula():
    rng = np.random.default_rng(4)
    k, other = gram(rng.normal(size=(8, 3))), gram(rng.normal(size=(8, 2)))
    n, one = 8, np.ones(8)
    slow = np.trace(k @ other) + (one @ k @ one) * (one @ other @ one) / ((n - 1) * (n - 2))
    slow = (slow - 2 / (n - 2) * one @ k @ other @ one) / (n * (n - 3))
    assert unbiased_hsic(k, other) == pytest.approx(slow)


@given(st.integers(0, 200), st.floats(0.1, 10))
def test_cka_ignores_rotation_scale_and_translation(seed, scale):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(20, 4)), rng.normal(size=(20, 3))
    turn = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    changed = scale * x @ turn + 5
    assert linear_cka(x, x) == pytest.approx(1)
    assert linear_cka(changed, y) == pytest.approx(linear_cka(x, y), abs=1e-9)
    assert debiased_cka(gram(changed), gram(y)) == pytest.approx(debiased_cka(gram(x), gram(y)), abs=1e-7)


def test_the_interval_of_cka_covers_its_large_sample_value():
    rng = np.random.default_rng(5)
    mix = rng.normal(size=(6, 6))

    def sample(n: int) -> tuple[np.ndarray, np.ndarray]:
        x = rng.normal(size=(n, 6))
        return gram(x), gram(x @ mix + 2 * rng.normal(size=(n, 6)))

    truth = debiased_cka(*sample(3000))
    inside = 0
    for _ in range(60):
        _, low, high = cka_interval(*sample(200))
        inside += low <= truth <= high
    assert inside >= 51
