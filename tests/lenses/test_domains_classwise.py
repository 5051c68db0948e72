import numpy as np
import pytest

from workbench.lenses.domains.classwise import centroid_shift


def test_shift_in_radii_of_the_class():
    # Class 0: centres 0 and 3, squared residuals 1 each: r² = 4 / (4 - 2) = 2, shift 3 / sqrt(2).
    x, y = np.array([[-1.0], [1.0]]), np.array([[2.0], [4.0]])
    found = centroid_shift(x, np.zeros(2, dtype=np.int64), y, np.zeros(2, dtype=np.int64))
    assert found.shift == pytest.approx([3 / np.sqrt(2)])
    assert np.isnan(found.coherence)


def test_false_alarms_of_centroid_shift_are_five_percent():
    rng = np.random.default_rng(0)
    spread = np.array([5.0, 2.0, 1.0, 1.0, 0.5, 0.5, 0.2, 0.1])  # far from isotropic
    p = []
    for _ in range(150):
        x, y = (rng.normal(size=(150, 8)) * spread for _ in range(2))
        a, b = (rng.integers(0, 4, 150) for _ in range(2))
        p.append(centroid_shift(x, a, y, b).p)
    rate = (np.concatenate(p) <= 0.05).mean()
    assert 0.03 <= rate <= 0.08


def test_coherence_tells_a_common_translation_from_single_moves():
    rng = np.random.default_rng(1)
    target = np.repeat(np.arange(6), 40)
    x, y = (rng.normal(size=(240, 10)) * 0.1 for _ in range(2))
    common = centroid_shift(x, target, y + 3, target)
    assert common.coherence > 0.99
    own = rng.normal(size=(6, 10))
    own -= own.mean(axis=0)
    assert centroid_shift(x, target, y + 3 * own[target], target).coherence < 0.1


def test_unknown_and_single_classes_are_left_out():
    x = np.random.default_rng(2).normal(size=(7, 3))
    found = centroid_shift(x, np.array([0, 0, 0, 1, 2, 2, -1]), x, np.array([0, 0, 0, 1, 1, 3, -1]))
    assert found.classes.tolist() == [0]
    assert found.n_a.tolist() == [3]
    nothing = centroid_shift(x, np.full(7, -1), x, np.full(7, -1))
    assert nothing.shift.size == 0
