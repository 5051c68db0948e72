"""Golden numbers and properties of the intervals and tests of groups."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from workbench.lenses.bias.sample_metrics import ACCURACY
from workbench.lenses.bias.uncertainty import (
    contrast_of_four,
    difference_interval,
    fisher_exact,
    mean_interval,
    null_gaps,
    welch_p,
)
from workbench.lenses.intervals import benjamini_hochberg, wilson


@pytest.mark.parametrize(
    ("k", "n", "low", "high"), [(8, 10, 0.49016, 0.94332), (0, 10, 0.0, 0.27753), (80, 100, 0.71117, 0.86663)]
)
def test_golden_wilson_intervals(k, n, low, high):
    k, n = np.array([float(k)]), np.array([float(n)])
    mean, *limits = mean_interval(n, k, k, ACCURACY)
    assert mean == pytest.approx(k / n)
    assert [limit.item() for limit in limits] == pytest.approx([low, high], abs=1e-5)


@given(st.integers(0, 500), st.integers(1, 500))
def test_wilson_holds_the_share_and_narrows_with_n(k, n):
    k = min(k, n)
    low, high = wilson(np.array([k, 2.0 * k]), np.array([n, 2.0 * n]))
    assert 0 <= low[0] <= k / n + 1e-12
    assert k / n - 1e-12 <= high[0] <= 1
    assert high[1] - low[1] < high[0] - low[0]


def test_golden_fisher_p():
    # Errors 10 of 20 inside against 10 of 80 outside.
    assert fisher_exact(np.array([10.0]), np.array([20.0]), 20, 100).item() == pytest.approx(6.475e-4, abs=1e-7)


@given(st.integers(0, 60), st.integers(1, 60), st.integers(0, 90), st.integers(1, 90))
def test_fisher_equals_scipy(k, n, k_other, n_other):
    k, k_other = min(k, n), min(k_other, n_other)
    expected = scipy_stats.fisher_exact([[k, n - k], [k_other, n_other - k_other]]).pvalue
    found = fisher_exact(np.array([float(k)]), np.array([float(n)]), k + k_other, n + n_other).item()
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_large_tables_use_the_normal_limit():
    # 200 000 samples each: the exact and the limiting p-value agree to two digits.
    expected = scipy_stats.chi2_contingency([[100_600, 99_400], [100_000, 100_000]]).pvalue
    found = fisher_exact(np.array([100_600.0]), np.array([200_000.0]), 200_600, 400_000).item()
    assert found == pytest.approx(expected, rel=0.02)


def test_fisher_without_an_outside_says_nothing():
    assert np.isnan(fisher_exact(np.array([3.0]), np.array([10.0]), 3, 10)).all()


def test_golden_benjamini_hochberg():
    p = np.array([0.001, 0.008, 0.039, 0.041, 0.042, 0.06, 0.074, 0.205])
    adjusted = benjamini_hochberg(p)
    assert adjusted == pytest.approx([0.008, 0.032, 0.0672, 0.0672, 0.0672, 0.08, 0.0846, 0.205], abs=1e-4)
    assert (adjusted <= 0.05).sum() == 2


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_adjusted_p_keeps_the_order_and_never_shrinks(p):
    p = np.array(p)
    adjusted = benjamini_hochberg(p)
    assert (adjusted >= p - 1e-12).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= -1e-12).all()


def test_welch_equals_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, 40), rng.normal(0.5, 2, 25)
    arguments = [np.array([float(v)]) for x in (a, b) for v in (len(x), x.mean(), x.var(ddof=1))]
    expected = scipy_stats.ttest_ind(a, b, equal_var=False).pvalue
    assert welch_p(*arguments).item() == pytest.approx(expected)


def test_newcombe_difference_interval():
    # Newcombe 1998, table II, method 10: 56/70 - 48/80 has limits 0.0524 and 0.3339.
    n, k = np.array([70.0]), np.array([56.0])
    m, j = np.array([80.0]), np.array([48.0])
    low, high = difference_interval(k / n, wilson(k, n), j / m, wilson(j, m))
    assert [low.item(), high.item()] == pytest.approx([0.0524, 0.3339], abs=1e-4)


def test_contrast_of_four_covers_and_keeps_its_level():
    # 4000 tables with no interaction on the additive scale, small and unequal cells: 0.95 - 0.85 - 0.80 + 0.70 = 0.
    rng = np.random.default_rng(1)
    n = np.tile(np.array([25.0, 60.0, 40.0, 30.0]), (4000, 1))
    k = rng.binomial(n.astype(int), [0.95, 0.85, 0.80, 0.70]).astype(float)
    value, low, high, p = contrast_of_four(n, k, k, counted=True)
    assert ((low <= 0) & (high >= 0)).mean() == pytest.approx(0.95, abs=0.02)
    assert (p <= 0.05).mean() == pytest.approx(0.05, abs=0.02)
    assert value.mean() == pytest.approx(0.0, abs=0.01)


def test_null_band_of_eight_groups_of_fifty():
    # All truly 0.80: expected gap 0.160, 95 % quantile 0.24.
    gaps = null_gaps(np.full(8, 50.0), 0.8, 0.0, True, 20_000, np.random.default_rng(0))
    assert gaps.mean() == pytest.approx(0.160, abs=0.003)
    assert np.quantile(gaps, 0.95) == pytest.approx(0.24, abs=0.011)


def test_null_band_of_losses_scales_with_their_spread():
    gaps = [null_gaps(np.full(4, 100.0), 1.0, sd, False, 4000, np.random.default_rng(0)).mean() for sd in (1.0, 2.0)]
    assert gaps[1] == pytest.approx(2 * gaps[0])
