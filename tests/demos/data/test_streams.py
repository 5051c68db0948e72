"""The stream of small digits: sizes, domains, no digit in training and test, and the shrinking of MNIST."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.demos.data import mnist
from workbench.demos.data.streams import DOMAINS, SEEN, UNSEEN, shrink, small_digits


@pytest.fixture(scope="module")
def parts():
    return small_digits(1000, np.random.default_rng(3))


def test_every_training_digit_is_shown_in_each_seen_domain_and_every_other_one_tested_in_all(parts):
    train, test = parts
    assert [int((train.domains == d).sum()) for d in range(len(DOMAINS))] == [1000] * len(SEEN) + [0] * len(UNSEEN)
    assert [int((test.domains == d).sum()) for d in range(len(DOMAINS))] == [797] * len(DOMAINS)
    assert train.images.shape == (3000, 8, 8)
    assert 0 <= min(train.images.min(), test.images.min()) <= max(train.images.max(), test.images.max()) <= 1
    assert np.array_equal(train.labels[:1000], train.labels[1000:2000])


def test_no_digit_is_in_training_and_test(parts):
    train, test = ({image.tobytes() for image in part.images[part.domains == 0]} for part in parts)
    assert not train & test


def test_domains_differ_from_the_clean_pictures_but_show_the_same_digits(parts):
    _, test = parts
    clean = test.images[test.domains == 0]
    for d, name in enumerate(DOMAINS[1:-1], start=1):
        other = test.images[test.domains == d]
        assert np.abs(other - clean).mean() > 0.03, name
        assert np.array_equal(test.labels[test.domains == d], test.labels[test.domains == 0])


def test_the_same_generator_gives_the_same_stream(parts):
    again = small_digits(1000, np.random.default_rng(3))
    assert all(np.array_equal(a.images, b.images) for a, b in zip(parts, again, strict=True))


def test_shrinking_takes_means_over_equal_areas():
    # The box of 20 x 20 pixels holds all of an MNIST digit, so its mean is kept.
    some = mnist().images[:50]
    small = shrink(some)
    assert small.shape == (50, 8, 8)
    assert small.mean(axis=(1, 2)) == pytest.approx(some[:, 4:24, 4:24].mean(axis=(1, 2)), abs=1e-6)
    # A lone pixel at the box's corner fills 4 of the 25 quarter pixels of the first square.
    lone = np.zeros((1, 28, 28), np.float32)
    lone[0, 4, 4] = 1
    assert shrink(lone)[0, 0, 0] == pytest.approx(4 / 25)
    assert shrink(lone).sum() == pytest.approx(4 / 25)
