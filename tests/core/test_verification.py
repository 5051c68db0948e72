"""True accept rates and rank-1 of pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.verification import rank_one, threshold_at, true_accept_rate

seeds = st.integers(0, 2**31 - 1)


def scored(seed):
    rng = np.random.default_rng(seed)
    genuine = rng.random(1500) < 0.3
    return rng.normal(size=1500) + genuine, genuine


def test_rate_of_four_genuine_pairs_is_its_count():
    # 100 impostors at 0.00, 0.01, ..., 0.99; at FAR 0.1 ten of them lie above 0.89.
    scores = np.concatenate([np.arange(100) / 100, [0.95, 0.90, 0.89, 0.1]])
    genuine = np.arange(104) >= 100
    assert threshold_at(scores[~genuine], 0.1) == 0.89
    assert true_accept_rate(scores, genuine, 0.1) == 0.5
    assert np.isnan(true_accept_rate(scores[:100], genuine[:100], 0.1))


@given(seeds)
def test_the_rate_grows_with_the_false_accept_rate(seed):
    scores, genuine = scored(seed)
    rates = [true_accept_rate(scores, genuine, far) for far in (0.01, 0.05, 0.1, 0.5)]
    assert rates == sorted(rates)


@given(seeds)
def test_an_increasing_transform_of_the_scores_changes_nothing(seed):
    scores, genuine = scored(seed)
    assert true_accept_rate(np.exp(3 * scores), genuine, 0.05) == true_accept_rate(scores, genuine, 0.05)


def test_rank_one_counts_the_nearest_entry():
    scores = np.array([[0.9, 0.1], [0.2, 0.3], [0.6, 0.5]])
    assert rank_one(scores, np.array([7, 8, 8]), np.array([7, 8])) == pytest.approx(2 / 3)
