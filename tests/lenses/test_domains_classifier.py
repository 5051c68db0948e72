import numpy as np
import pytest

from workbench.lenses.domains.classifier import a_distance, accuracy_test, logistic, proxy_a_distances


def _problem(rng: np.random.Generator, n: int, width: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Alternating domains, ``n`` points each."""
    y = np.arange(2 * n) % 2.0
    x = rng.normal(size=(2 * n, width))
    x[:, 0] += shift * y
    return x, y


def test_a_distance_of_a_tenth_of_errors():
    assert a_distance(0.1) == pytest.approx(1.6)
    assert a_distance(0.6) == 0


def test_sixty_right_of_a_hundred():
    z, p = accuracy_test(0.60, 100)
    assert z == pytest.approx(2.0)
    assert p == pytest.approx(0.0228, abs=1e-4)


def test_logistic_regression_agrees_with_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    problems = [_problem(rng, 40, 5, shift) for shift in (0.0, 1.0, 30.0)]  # the last one is separable
    fitted = logistic(np.stack([x for x, _ in problems]), np.stack([y for _, y in problems]))
    for weights, (x, y) in zip(fitted, problems, strict=True):
        theirs = LogisticRegression(C=1.0, tol=1e-10, max_iter=5000).fit(x, y)
        assert weights[:-1] == pytest.approx(theirs.coef_[0], abs=2e-4)
        assert weights[-1] == pytest.approx(theirs.intercept_[0], abs=2e-4)


def test_without_a_shift_the_distance_stays_near_zero_and_alarms_are_rare():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 400, 15))
    found = proxy_a_distances(x, np.tile(np.arange(400) % 2.0, (300, 1)))
    # The signed distance 2 (2 accuracy - 1), before the floor at 0, centres on 0.
    assert abs(np.mean([4 * one.accuracy - 2 for one in found])) < 0.05
    assert np.mean([one.value for one in found]) < 0.25
    assert np.mean([one.p <= 0.05 for one in found]) <= 0.08
    assert np.mean([one.accuracy_low <= 0.5 <= one.accuracy_high for one in found]) >= 0.92


def test_domains_far_apart_are_never_confused():
    x, y = _problem(np.random.default_rng(2), 50, 4, 20.0)
    found = proxy_a_distances(x[None], y[None])[0]
    assert found.value == 2
    assert found.low > 1.6
    assert found.p < 1e-6


def test_rotation_hardly_changes_the_distance():
    rng = np.random.default_rng(3)
    x, y = _problem(rng, 200, 6, 1.5)
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    before, after = proxy_a_distances(np.stack([x, x @ turn]), np.stack([y, y]))
    assert after.value == pytest.approx(before.value, abs=0.1)


def test_a_constant_column_does_no_harm():
    x, y = _problem(np.random.default_rng(4), 30, 3, 2.0)
    x[:, 1] = 7.0
    assert np.isfinite(proxy_a_distances(x[None], y[None])[0].value)
