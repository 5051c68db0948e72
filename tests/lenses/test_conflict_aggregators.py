"""Weights of the aggregators: golden values worked out by hand and by two routes, properties, and a second library."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from workbench.lenses.conflict import aggregators
from workbench.lenses.conflict.aggregators import (
    AGGREGATORS,
    BY_NAME,
    cagrad,
    gradnorm,
    gradnorm_step,
    gradnorm_targets,
    gradvac,
    next_target,
)

J1 = np.array([[-4.0, 1, 1], [6, 1, 1]])
J3 = np.array([[2.0, 0, 0], [-1, 1, 0], [0, -1, 1]])
GOLDEN = {
    "MGDA": ([0.6, 0.4], [0.257143, 0.457143, 0.285714]),
    "CAGrad": ([0.704124, 0.5], [1 / 3, 0.5, 1 / 3]),
    "IMTL-G": ([0.592330, 0.407670], [0.264477, 0.455921, 0.279603]),
    "Nash-MTL": ([0.591461, 0.407071], [1.334634, 2.294633, 1.484199]),
    "Aligned-MTL": ([0.559072, 0.408261], [0.256125, 0.405729, 0.282137]),
    "UPGrad": ([1.111111, 0.789474], [0.666667, 1.111111, 0.722222]),
    "DualProj": ([0.611111, 0.5], [1 / 3, 0.5, 1 / 3]),
    "PCGrad": ([2.222222, 1.578947], [1.625, 2.5, 1.75]),
    "ConFIG": ([1.226483, 0.844124], [0.813826, 1.402920, 0.860370]),
}
PRICE_OF_PEACE = {
    "MGDA": 0.1835,
    "IMTL-G": 0.1534,
    "Nash-MTL": 0.1534,
    "CAGrad": 0.1263,
    "UPGrad": 0.1259,
    "PCGrad": 0.1259,
    "Aligned-MTL": 0.1043,
    "DualProj": 0.0377,
}
NAMES = [aggregator.name for aggregator in AGGREGATORS]


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_weights(name):
    weights = BY_NAME[name].weights
    np.testing.assert_allclose(weights(J1 @ J1.T), GOLDEN[name][0], atol=1e-4)
    np.testing.assert_allclose(weights(J3 @ J3.T), GOLDEN[name][1], atol=1e-4)


@pytest.mark.parametrize("name", PRICE_OF_PEACE)
def test_golden_price_of_peace_at_equal_norm(name):
    gram, one = J1 @ J1.T, np.ones(2)
    w = BY_NAME[name].weights(gram)
    w = w * np.sqrt(one @ gram @ one / (w @ gram @ w))
    assert 1 - (one @ gram @ w) / (one @ gram @ one) == pytest.approx(PRICE_OF_PEACE[name], abs=1e-4)


def test_gradvac_golden():
    gram = np.array([[1.0, -1], [-1, 2]])  # g_i = (1, 0), g_j = (-1, 1)
    for goal, share in ((0.0, 0.5), (0.3, 0.657244)):
        target = np.full((2, 2), goal)
        coefficients = aggregators._lift(np.eye(2)[None], np.array([[-1.0, 2.0]]), gram, np.array([1]), target)
        assert coefficients[0, 0] == pytest.approx(share, abs=1e-5)
        changed = np.array([1.0, coefficients[0, 0]])
        cosine = (gram @ changed)[1] / np.sqrt(changed @ gram @ changed * 2)
        assert cosine == pytest.approx(goal, abs=1e-5)


def test_gradvac_with_target_0_is_pcgrad():
    gram = J3 @ J3.T
    np.testing.assert_allclose(gradvac(gram, np.zeros((3, 3))), BY_NAME["PCGrad"].weights(gram), atol=1e-12)
    assert next_target(gram, np.zeros((3, 3)), beta=0.5)[0, 1] == pytest.approx(-0.707107 / 2, abs=1e-6)


def test_gradnorm_golden():
    norms, w, ratio = np.array([2.0, 1.0]), np.ones(2), np.array([0.5, 1.0])
    targets = gradnorm_targets(norms, w, ratio)
    np.testing.assert_allclose(targets, [0.816497, 2.309401], atol=1e-6)
    assert np.abs(w * norms - targets).sum() == pytest.approx(2.492904, abs=1e-6)
    np.testing.assert_allclose(gradnorm_step(norms, w, ratio, lr=0.025), [0.962025, 1.037975], atol=1e-6)


def test_gradnorm_rests_at_its_balance_point():
    gram, ratio = np.diag([4.0, 1.0, 0.25]), np.array([0.5, 1.0, 0.8])
    w = gradnorm(gram, ratio)
    assert w.sum() == pytest.approx(3)
    weighed = w * np.sqrt(np.diag(gram))
    # At balance the weighted lengths stand to one another as the targets do.
    targets = gradnorm_targets(np.sqrt(np.diag(gram)), w, ratio)
    np.testing.assert_allclose(weighed / weighed.sum(), targets / targets.sum())
    assert np.isnan(gradnorm(gram, np.full(3, np.nan))).all()


def drawn(seed: int, n_tasks: int, size: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n_tasks, size))


@pytest.mark.parametrize("name", NAMES)
@given(st.integers(0, 500), st.floats(0.1, 10))
def test_equal_gradients_leave_the_direction(name, seed, length):
    g = drawn(seed, 1)
    gradients = np.repeat(length * g, 3, axis=0)
    direction = gradients.T @ BY_NAME[name].weights(gradients @ gradients.T)
    if name == "Nash-MTL":
        assume(np.isfinite(direction).all())
    cosine = direction @ g[0] / (np.linalg.norm(direction) * np.linalg.norm(g))
    assert cosine == pytest.approx(1.0, abs=1e-6)


def test_orthogonal_gradients_are_left_alone():
    gram = np.diag([1.0, 4.0, 9.0])
    np.testing.assert_allclose(BY_NAME["PCGrad"].weights(gram), np.ones(3), atol=1e-9)
    for name in ("UPGrad", "DualProj"):
        np.testing.assert_allclose(BY_NAME[name].weights(gram), np.full(3, 1 / 3), atol=1e-9)


@given(st.integers(0, 500), st.integers(2, 6))
def test_who_promises_to_harm_nobody_harms_nobody(seed, n_tasks):
    g = drawn(seed, n_tasks)
    gram = g @ g.T
    for name in ("MGDA", "UPGrad", "DualProj", "Nash-MTL", "IMTL-G"):
        w = BY_NAME[name].weights(gram)
        gain = gram @ w
        if name == "IMTL-G":
            np.testing.assert_allclose(gain / np.sqrt(np.diag(gram)), np.full(n_tasks, gain[0] / g_norm(g[0])))
        elif name == "Nash-MTL":
            np.testing.assert_allclose(w * gain, np.ones(n_tasks), atol=1e-8)
            assert np.linalg.norm(g.T @ w) == pytest.approx(np.sqrt(n_tasks))
        else:
            assert gain.min() >= -1e-8 * np.abs(gram).max()


def g_norm(g: np.ndarray) -> float:
    return float(np.linalg.norm(g))


@given(st.integers(0, 500), st.integers(2, 7))
def test_mgda_is_optimal(seed, n_tasks):
    g = drawn(seed, n_tasks)
    gram = g @ g.T
    w = BY_NAME["MGDA"].weights(gram)
    gain, square = gram @ w, w @ gram @ w
    assert w.sum() == pytest.approx(1)
    assert (gain >= square - 1e-8 * np.trace(gram)).all()
    np.testing.assert_allclose(gain[w > 1e-6], square, atol=1e-7 * np.trace(gram))


@given(st.integers(0, 500))
def test_two_tasks(seed):
    g = drawn(seed, 2)
    gram = g @ g.T
    weights = {name: BY_NAME[name].weights(gram) for name in NAMES}
    if gram[0, 1] < 0:
        np.testing.assert_allclose(weights["PCGrad"], 2 * weights["UPGrad"], rtol=1e-6)
    for name in ("IMTL-G", "Nash-MTL", "ConFIG"):
        ratio = weights[name] * np.sqrt(np.diag(gram))
        assert ratio[0] == pytest.approx(ratio[1], rel=1e-6)


@given(st.integers(0, 500), st.permutations(range(4)))
def test_permuting_tasks_permutes_weights(seed, order):
    g = drawn(seed, 4)
    gram, index = g @ g.T, np.array(order)
    for name in NAMES:
        w = BY_NAME[name].weights(gram)
        np.testing.assert_allclose(BY_NAME[name].weights(gram[np.ix_(index, index)]), w[index], rtol=1e-3, atol=1e-3)


@given(st.integers(0, 500))
def test_cagrad_between_mean_and_mgda(seed):
    g = drawn(seed, 3)
    gram = g @ g.T
    np.testing.assert_allclose(cagrad(gram, c=0.0), np.full(3, 1 / 3))
    far, mgda = cagrad(gram, c=1e4), BY_NAME["MGDA"].weights(gram)
    cosine = far @ gram @ mgda / np.sqrt((far @ gram @ far) * (mgda @ gram @ mgda))
    assert cosine == pytest.approx(1.0, abs=1e-3)


@given(st.integers(0, 200), st.floats(1e-6, 1e6))
def test_direction_of_scale_free_methods_ignores_a_common_scale(seed, scale):
    g = drawn(seed, 3)
    for name in NAMES:
        w, scaled = (BY_NAME[name].weights(factor**2 * g @ g.T) for factor in (1.0, scale))
        np.testing.assert_allclose(scaled / np.linalg.norm(scaled), w / np.linalg.norm(w), atol=2e-4)


def test_forty_tasks_are_fine():
    g = drawn(0, 40, size=200)
    for name in NAMES:
        assert np.isfinite(BY_NAME[name].weights(g @ g.T)).all()


def assert_same_direction(name: str, other, tolerance: float) -> None:
    torch = pytest.importorskip("torch")
    for seed in range(5):
        g = drawn(seed, 3)
        theirs = other(torch.tensor(g, dtype=torch.float64)).numpy()
        ours = g.T @ BY_NAME[name].weights(g @ g.T)
        np.testing.assert_allclose(ours / g_norm(ours), theirs / g_norm(theirs), atol=tolerance)


@pytest.mark.parametrize(
    ("name", "other", "options", "tolerance"),
    [
        ("IMTL-G", "IMTLG", {}, 1e-6),
        ("ConFIG", "ConFIG", {}, 1e-6),
        ("Aligned-MTL", "AlignedMTL", {}, 1e-6),
        ("MGDA", "MGDA", {"epsilon": 1e-9, "max_iters": 20_000}, 2e-2),
    ],
)
def test_another_library_agrees(name, other, options, tolerance):
    aggregation = pytest.importorskip("torchjd.aggregation", reason="torchjd is not installed")
    assert_same_direction(name, getattr(aggregation, other)(**options), tolerance)


@pytest.mark.parametrize("name", ["UPGrad", "DualProj"])
def test_another_library_agrees_on_projections(name):
    # The library adds 1e-4 to the diagonal of the normalised Gramian: equal to the third digit only.
    aggregation = pytest.importorskip("torchjd.aggregation", reason="torchjd is not installed")
    pytest.importorskip("qpsolvers", reason="torchjd's projector needs qpsolvers")
    pytest.importorskip("quadprog", reason="torchjd's projector needs quadprog")
    assert_same_direction(name, getattr(aggregation, name)(), 5e-3)
