from __future__ import annotations

import numpy as np
import pytest

from workbench.demos.data import mnist, uci


def test_both_sets_ship_whole_and_look_alike_in_form():
    for digits, n in ((mnist(), 5000), (uci(), 1797)):
        assert digits.images.shape == (n, 28, 28)
        assert (digits.images.min(), digits.images.max()) == (0, 1)
        assert sorted(set(digits.labels.tolist())) == list(range(10))
    assert np.bincount(mnist().labels).tolist() == [500] * 10


def test_enlarged_uci_digits_keep_their_ink_inside_the_box_of_mnist():
    images = uci().images
    assert images[:, :4].sum() + images[:, -4:].sum() + images[:, :, :4].sum() + images[:, :, -4:].sum() == 0
    assert images[:, 4:24, 4:24].mean() == pytest.approx(np.mean(images) * 784 / 400)


def test_shared_arrays_cannot_be_changed_by_accident():
    with pytest.raises(ValueError, match="read-only"):
        mnist().images[0] = 0


def test_a_split_loses_no_digit_and_has_none_twice():
    train, test = uci().split(400, np.random.default_rng(3))
    assert (len(train), len(test)) == (1397, 400)
    both = np.concatenate([train.labels, test.labels])
    assert np.array_equal(np.bincount(both), np.bincount(uci().labels))
    again = uci().split(400, np.random.default_rng(3))[1]
    assert np.array_equal(test.images, again.images)
