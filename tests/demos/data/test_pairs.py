from __future__ import annotations

import numpy as np

from workbench.demos.data import Digits, mnist
from workbench.demos.data.pairs import APART, PAIR_SIZE, draw_pairs


def test_a_pair_shows_both_digits_where_its_labels_say():
    pairs = draw_pairs(mnist(), 60, np.random.default_rng(0))
    assert pairs.images.shape == (60, *PAIR_SIZE)
    means = {digit: mnist().images[mnist().labels == digit] for digit in range(10)}
    for image, left, right in zip(pairs.images, pairs.left, pairs.right, strict=True):
        # The outer 8 columns on either side belong to one digit alone.
        assert (means[int(left)][:, :, :APART] == image[:, :APART]).all(axis=(1, 2)).any()
        assert (means[int(right)][:, :, -APART:] == image[:, -APART:]).all(axis=(1, 2)).any()


def test_parity_is_same_for_two_even_or_two_odd_digits():
    pairs = draw_pairs(mnist(), 200, np.random.default_rng(1))
    assert np.array_equal(pairs.same_parity, (pairs.left % 2 == pairs.right % 2).astype(int))


def test_overlap_is_the_share_of_ink_that_both_cover():
    full = Digits(np.ones((1, 28, 28), np.float32), np.zeros(1, np.int64))
    # Two full squares of 28 columns, 8 apart, share 20 of 36 columns.
    assert draw_pairs(full, 2, np.random.default_rng(0)).overlap.tolist() == [np.float32(20 / 36)] * 2
