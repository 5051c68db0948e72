import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.lenses.domains.label_shift import (
    accuracy_split,
    bbse_weights,
    black_box_shift,
    bootstrap_split,
    mean_split,
    split_lengths,
)

JOINT = np.array([[0.45, 0.10], [0.05, 0.40]])


def test_black_box_shift_of_the_two_class_example():
    found = black_box_shift(JOINT, np.array([0.76, 0.24]))
    assert found.weights == pytest.approx([1.6, 0.4])
    assert found.shares == pytest.approx([0.8, 0.2])
    assert found.usable


@given(st.integers(0, 200))
def test_no_shift_gives_weights_of_one_and_mass_is_kept(seed):
    rng = np.random.default_rng(seed)
    joint = rng.dirichlet(np.ones(3), 3).T * rng.dirichlet(np.full(3, 5.0)) + 0.3 * np.eye(3)
    joint /= joint.sum()
    assert bbse_weights(joint, joint.sum(axis=1)) == pytest.approx(np.ones(3), abs=1e-8)
    predicted = rng.dirichlet(np.ones(3))
    assert bbse_weights(joint, predicted) @ joint.sum(axis=0) == pytest.approx(1, abs=1e-8)


def test_bootstrap_interval_covers_the_true_shares():
    rng = np.random.default_rng(0)
    recall = np.array([[0.9, 0.2], [0.1, 0.8]])  # P(prediction | class)
    inside = 0
    for _ in range(100):
        joint = rng.multinomial(400, (recall * [0.5, 0.5]).ravel()).reshape(2, 2) / 400
        predicted = rng.multinomial(300, recall @ [0.8, 0.2]) / 300
        found = black_box_shift(joint, predicted, 400, 300, 200)
        inside += found.low[0] <= 0.8 <= found.high[0]
    assert inside >= 88


def test_a_confused_matrix_or_a_broken_assumption_is_flagged():
    blind = np.array([[0.26, 0.24], [0.24, 0.26]])
    assert not black_box_shift(blind, np.array([0.5, 0.5])).usable
    impossible = black_box_shift(JOINT, np.array([0.999, 0.001]), 500, 500, 200)  # more than recall 0.9 can give
    assert impossible.negative
    assert impossible.shares.min() == 0


def test_the_mean_shift_splits_as_in_the_example():
    # Shares (.5, .5) -> (.8, .2), means (0, 10) -> (1, 10): -2.2 = -2.85 + 0.65.
    x, class_x = np.array([[0.0]] * 5 + [[10.0]] * 5), np.repeat([0, 1], 5)
    y, class_y = np.array([[1.0]] * 8 + [[10.0]] * 2), np.repeat([0, 1], [8, 2])
    split = mean_split(x, class_x, y, class_y)
    assert split.label == pytest.approx([-2.85])
    assert split.conditional == pytest.approx([0.65])
    assert split.total == pytest.approx(y.mean(axis=0) - x.mean(axis=0))
    lengths = split_lengths(np.concatenate([x, y]), np.concatenate([class_x, class_y]), np.arange(20)[None] < 10)
    assert lengths[0] == pytest.approx([2.85, 0.65])
    assert mean_split(x, class_x, y, class_y + 5) is None


def test_an_easier_mix_hides_a_loss():
    # -0.07 = +0.0675 - 0.1375.
    label, conditional = accuracy_split(
        np.array([0.5, 0.5]), np.array([0.9, 0.8]), np.array([0.8, 0.2]), np.array([0.85, 0.5])
    )
    assert label == pytest.approx(0.0675)
    assert conditional == pytest.approx(-0.1375)


@given(st.integers(0, 300))
def test_both_splits_add_up_exactly(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(30, 3)), rng.normal(1, 2, size=(40, 3))
    a, b = np.arange(30) % 3, rng.choice(3, 40, p=[0.6, 0.3, 0.1])
    b[:3] = [0, 1, 2]
    assert mean_split(x, a, y, b).total == pytest.approx(y.mean(axis=0) - x.mean(axis=0), abs=1e-10)
    share_a, share_b = rng.dirichlet(np.ones(4), 2)
    recall_a, recall_b = rng.uniform(size=(2, 4))
    parts = accuracy_split(share_a, recall_a, share_b, recall_b)
    assert sum(parts) == pytest.approx(share_b @ recall_b - share_a @ recall_a, abs=1e-10)


def test_a_class_on_one_side_only_counts_as_mix():
    label, conditional = accuracy_split(
        np.array([1.0, 0.0]), np.array([0.8, np.nan]), np.array([0.5, 0.5]), np.array([0.8, 0.4])
    )
    assert conditional == pytest.approx(0)
    assert label == pytest.approx(-0.2)


def test_the_bootstrap_of_the_split_covers_it():
    rng = np.random.default_rng(1)
    shares, recalls = (np.array([0.5, 0.5]), np.array([0.8, 0.2])), (np.array([0.9, 0.8]), np.array([0.85, 0.5]))
    truth = accuracy_split(shares[0], recalls[0], shares[1], recalls[1])
    inside = np.zeros(2)
    for i in range(100):
        n = [rng.multinomial(400, share).astype(float) for share in shares]
        right = [rng.binomial(size.astype(int), recall).astype(float) for size, recall in zip(n, recalls, strict=True)]
        drawn = bootstrap_split(right[0], n[0], right[1], n[1], draws=300, seed=i)
        low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
        inside += (low <= truth) & (truth <= high)
    assert (inside >= 88).all()
