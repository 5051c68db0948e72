"""True accept rates at a fixed false accept rate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core import ConfigError
from workbench.lenses.bias.verification import tar_at_far, threshold_at

IMPOSTORS = np.array([0.10, 0.15, 0.20, 0.25, 0.30, 0.35, 0.40, 0.45, 0.50, 0.65])


def test_golden_rates():
    scores = np.concatenate([IMPOSTORS, [0.9, 0.8, 0.7, 0.4], [0.6, 0.55, 0.5, 0.3]])
    genuine = np.arange(18) >= 10
    groups = ["A", "B"] * 5 + ["A"] * 4 + ["B"] * 4
    found = tar_at_far(scores, genuine, groups, 0.1, least=1).set_index("group")
    assert found["threshold"].tolist() == [0.5, 0.5]
    assert found.loc["A", "tar"] == pytest.approx(0.75)
    assert found.loc["B", "tar"] == pytest.approx(0.50)
    assert found.loc["B", "far"] == pytest.approx(0.2)
    assert found["own_threshold"].isna().all()


def test_rates_that_few_impostors_cannot_carry_are_refused():
    with pytest.raises(ConfigError, match="needs at least 100 impostor scores; there are 10"):
        threshold_at(IMPOSTORS, 0.1)
    with pytest.raises(ConfigError, match="must lie between 0 and 1"):
        threshold_at(IMPOSTORS, 1.5)


@given(st.integers(0, 1000), st.sampled_from([0.02, 0.1, 0.3]))
def test_the_threshold_keeps_the_rate_and_is_the_smallest_score_that_does(seed, far):
    scores = np.random.default_rng(seed).normal(size=600)
    threshold = threshold_at(scores, far)
    assert (scores > threshold).mean() <= far
    smaller = scores[scores < threshold].max()
    assert (scores > smaller).mean() > far
