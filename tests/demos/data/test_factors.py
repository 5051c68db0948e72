from __future__ import annotations

import numpy as np
import pytest

from workbench.demos.data import mnist
from workbench.demos.data.factors import TRAINING_SHARES, draw_factored, guess_labels

DIGITS = mnist().take(np.arange(0, 5000, 2))


def shares(pictures, factor):
    return {level: float((pictures.levels[factor] == level).mean()) for level in TRAINING_SHARES[factor]}


def test_training_levels_follow_the_shares_and_test_levels_are_even():
    skewed = draw_factored(DIGITS, np.random.default_rng(0))
    even = draw_factored(DIGITS, np.random.default_rng(0), balanced=True)
    for factor, expected in TRAINING_SHARES.items():
        assert sum(expected.values()) == pytest.approx(1)
        assert shares(skewed, factor) == pytest.approx(expected, abs=0.035)
        assert shares(even, factor) == pytest.approx(dict.fromkeys(expected, 1 / len(expected)), abs=0.035)


def test_factors_are_independent_of_each_other_and_of_the_digit():
    even = draw_factored(DIGITS, np.random.default_rng(0), balanced=True)
    tilted, blurred = even.levels["rotation"] == "tilted", even.levels["blur"] == "blurred"
    assert (tilted & blurred).mean() == pytest.approx(0.25, abs=0.03)
    assert abs(np.corrcoef(tilted, even.labels)[0, 1]) < 0.06


def test_levels_are_seen_in_the_pictures():
    even = draw_factored(DIGITS, np.random.default_rng(0), balanced=True)
    ink = even.images.sum(axis=(2, 3))  # [N, 3]
    assert (ink[even.where({"colour": "red"})][:, 0] > ink[even.where({"colour": "red"})][:, 2]).all()
    thin, thick = even.where({"stroke": "thin"}), even.where({"stroke": "thick"})
    assert ink[thick].mean() > 2 * ink[thin].mean()
    sharp, blurred = even.where({"blur": "sharp"}), even.where({"blur": "blurred"})
    assert even.images[sharp].max(axis=(1, 2, 3)).mean() > even.images[blurred].max(axis=(1, 2, 3)).mean() + 0.2


def test_only_labels_of_the_chosen_combination_are_guessed():
    chosen = {"rotation": "tilted", "blur": "blurred"}
    pictures = draw_factored(DIGITS, np.random.default_rng(0))
    guessed = guess_labels(pictures, chosen, np.random.default_rng(1))
    changed, meant = guessed.labels != pictures.labels, pictures.where(chosen)
    assert not changed[~meant].any()
    assert changed[meant].mean() == pytest.approx(0.9, abs=0.08)  # one guess in ten is right by chance
