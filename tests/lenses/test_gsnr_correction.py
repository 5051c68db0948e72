"""The correction for the number of samples, and the map of histograms and quantiles through it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_gsnr import gaussian, row

from workbench.core.schema import GSNR_QUANTILES
from workbench.lenses.gsnr.correction import (
    LOG10_EDGES,
    corrected,
    corrected_density,
    histogram_quantiles,
    noise_limit,
    raw_of,
    share_up_to,
)


@given(st.floats(-0.001, 100), st.integers(4, 10_000))
def test_the_inverse_goes_back(value, n):
    n = np.array([float(n)])
    assert corrected(raw_of(np.array([value]), n), n) == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("n", [8, 32, 256])
@pytest.mark.parametrize("gsnr", [0.0, 0.1, 2.0])
def test_it_is_unbiased_for_gaussian_gradients(n, gsnr):
    g = gaussian(np.random.default_rng(n), n, 40_000, gsnr)
    raw = g.mean(axis=0) ** 2 / g.var(axis=0, ddof=1)
    estimate = corrected(raw, np.array(float(n)))
    assert estimate.mean() == pytest.approx(gsnr, abs=4 * estimate.std() / 200)
    assert raw.mean() > gsnr + 0.9 / n


def test_below_four_samples_it_is_unknown():
    assert np.isnan(corrected(np.array([1.0]), np.array([3.0]))).all()


def test_density_counts_the_corrected_values():
    n = 64
    g = np.concatenate([gaussian(np.random.default_rng(0), n, 2000, value) for value in (0.0, 0.3, 4.0)], axis=1)
    raw = g.mean(axis=0) ** 2 / g.var(axis=0, ddof=1)
    found = corrected_density(np.array(row(g)["histogram"], dtype=float), np.array(float(n)))
    values = corrected(raw, np.array(float(n)))
    truth = np.histogram(values, np.concatenate([[-np.inf], 10.0**LOG10_EDGES]))[0] / len(values)
    assert found.sum() == pytest.approx(1.0)
    # Bins a quarter of a decade wide, cut linearly: a few percent of the parameters may fall on the other side.
    np.testing.assert_allclose(found, truth, atol=0.03)


def test_quantiles_of_a_histogram():
    g = gaussian(np.random.default_rng(1), 64, 5000, 0.5)
    recorded = row(g)
    found = histogram_quantiles(np.array(recorded["histogram"], dtype=float), GSNR_QUANTILES)
    np.testing.assert_allclose(np.log10(found), np.log10(recorded["quantiles"]), atol=0.1)


def test_shares_end_at_0_and_1():
    counts = np.ones(48)
    assert share_up_to(counts, np.array([-9.0, -8.0, -2.0, 4.0, 9.0])).tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]
    assert np.isnan(share_up_to(np.zeros(48), np.array([0.0]))).all()


def test_noise_exceeds_its_limit_in_one_of_twenty():
    g = gaussian(np.random.default_rng(2), 20, 20_000, 0.0)
    raw = g.mean(axis=0) ** 2 / g.var(axis=0, ddof=1)
    assert (raw > noise_limit(np.array([20.0]))).mean() == pytest.approx(0.05, abs=0.005)
