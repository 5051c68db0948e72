"""Limits of the calibration error hold the true one, also where few samples alone make an error."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from workbench.lenses.bias.calibration import calibration_columns

BINS = 10


def tables(rng, levels, n, off):
    """``levels`` levels of n samples with confidences between 0.5 and 0.9; bin j is right more often by off[j]."""
    confidence = np.sort(rng.uniform(0.5, 0.9, (levels, n)), axis=1).reshape(levels, BINS, -1)
    share = np.clip(confidence + np.asarray(off)[:, None], 0, 1)
    right = rng.random(share.shape) < share
    squares = (confidence - right) ** 2
    table = {"n": np.full((levels, BINS), n / BINS), "confidence": confidence.sum(axis=2), "right": right.sum(axis=2)}
    table |= {"squares": squares.sum(axis=2), "fourth": (squares**2).sum(axis=2)}
    truth = np.abs((share - confidence).sum(axis=2)).sum(axis=1) / n
    brier = (share * (1 - confidence) ** 2 + (1 - share) * confidence**2).mean(axis=(1, 2))
    return {name: values.astype(float) for name, values in table.items()}, truth, brier


OFF = {
    "calibrated": np.zeros(BINS),
    "overconfident": np.full(BINS, -0.1),
    "up and down": np.tile([0.05, -0.05], BINS // 2),
    "half": np.repeat([0.0, -0.15], BINS // 2),
    "one bin": np.eye(BINS)[-1] * -0.5,
}


@pytest.mark.parametrize("case", OFF)
@pytest.mark.parametrize("n", [200, 1000])
def test_limits_hold_the_true_error(case, n):
    rng = np.random.default_rng(0)
    table, truth, brier = tables(rng, 200, n, OFF[case])
    found = calibration_columns(table, rng)
    held = (found["ece_low"] <= truth + 1e-9) & (truth - 1e-9 <= found["ece_high"])
    assert held.mean() > 0.91
    assert (found["ece_low"] <= found["ece"] + 1e-12).all()
    assert (found["ece"] <= found["ece_high"] + 1e-12).all()
    brier_held = (found["brier_low"] <= brier) & (brier <= found["brier_high"])
    assert 0.91 < brier_held.mean() <= 0.985


def test_a_calibrated_model_may_have_no_error():
    rng = np.random.default_rng(1)
    table, _, _ = tables(rng, 200, 200, OFF["calibrated"])
    found = calibration_columns(table, rng)
    assert (found["ece"] > 0.02).all()
    assert (found["ece_low"] == 0).mean() > 0.92
    table, _, _ = tables(rng, 200, 1000, OFF["overconfident"])
    low = calibration_columns(table, rng)["ece_low"]
    assert (low > 0).mean() > 0.97
    assert low.median() > 0.04


@given(arrays(float, (2, 4), elements=st.integers(0, 30).map(float)), st.floats(0.1, 0.9), st.floats(0, 1))
def test_limits_are_ordered_and_within_0_and_what_can_be(n, confidence, share):
    right = np.round(n * share)
    squares = right * (1 - confidence) ** 2 + (n - right) * confidence**2
    table = {"n": n, "confidence": n * confidence, "right": right, "squares": squares, "fourth": squares}
    found = calibration_columns(table, np.random.default_rng(0))
    known = found.dropna(subset=["ece"])
    assert len(known) == (n.sum(axis=1) > 0).sum()
    assert (known["ece_low"] >= 0).all()
    assert (known["ece_low"] <= known["ece"] + 1e-12).all()
    assert (known["ece"] <= known["ece_high"] + 1e-12).all()
