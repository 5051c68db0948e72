"""Shapley values and interactions: golden numbers, axioms, and the planted joint effect."""

from __future__ import annotations

import numpy as np
import pytest
from bias_runs import write_run, write_table
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from workbench.core import Run, RunWriter
from workbench.lenses.bias import share_figures
from workbench.lenses.bias.depth_figures import attribution as figure
from workbench.lenses.bias.shapley import shapley_interactions, shapley_values
from workbench.lenses.bias.statistics import statistics

GOLDEN = np.array([0.30, 0.70, 0.40, 0.95])  # v of {}, {c}, {p}, {c, p}


def test_golden_values():
    assert shapley_values(GOLDEN, 2).tolist() == pytest.approx([0.475, 0.175])
    assert shapley_interactions(GOLDEN, 2).tolist() == pytest.approx([0.15])


@given(arrays(float, 16, elements=st.floats(0, 1)))
def test_values_add_up_to_the_gap(v):
    assert shapley_values(v, 4).sum() == pytest.approx(v[-1] - v[0], abs=1e-10)


@given(arrays(float, 4, elements=st.floats(0, 1)))
def test_a_factor_without_effect_gets_nothing_and_symmetric_ones_the_same(v):
    # Bits 0 and 1 play by v; bit 2 never matters.
    ignored = np.array([v[subset & 3] for subset in range(8)])
    assert shapley_values(ignored, 3)[2] == pytest.approx(0.0, abs=1e-12)
    by_size = np.array([v[subset.bit_count()] for subset in range(8)])
    values = shapley_values(by_size, 3)
    assert values == pytest.approx(np.full(3, values[0]), abs=1e-12)


def test_planted_shares_are_found(tmp_path):
    stats = statistics(write_run(tmp_path / "run", n=8000))
    found = stats.attribution
    parts = found.parts.set_index("factor")
    # Planted: neither 0.95, blur 0.85, rotation 0.83, both 0.48. phi(blur) = ((0.83 - 0.48) + (0.95 - 0.85)) / 2.
    assert parts.loc["blur", "low"] < 0.225 < parts.loc["blur", "high"]
    assert parts.loc["rotation", "low"] < 0.245 < parts.loc["rotation", "high"]
    assert parts.loc["ink", "low"] < 0 < parts.loc["ink", "high"]
    assert parts["phi"].sum() == pytest.approx(found.end[0] - found.start[0])
    pair = found.pairs.query("factor_1 == 'rotation' and factor_2 == 'blur'").iloc[0]
    assert pair["low"] < -0.25 < pair["high"]
    assert found.start[1] < found.start[0] < found.start[2]
    bars = figure(stats).data[0]
    assert bars.base[0] + bars.y[0] == pytest.approx(found.start[0])
    assert bars.base[-2] + bars.y[-2] == pytest.approx(found.end[0])


def test_factors_without_samples_are_left_out(tmp_path):
    stats = statistics(write_run(tmp_path / "run", n=70))
    assert set(stats.attribution.left_out) & {"blur", "rotation", "ink"}


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """Blur costs 20 points from the third step on; ink never costs anything."""
    rng = np.random.default_rng(0)
    n, path = 3000, tmp_path_factory.mktemp("course") / "run"
    blur, ink, target = rng.choice(["none", "strong"], n), rng.choice(["black", "red"], n), rng.integers(0, 4, n)
    with RunWriter(path, tasks=["digit"], attributes=["blur", "ink"]) as writer:
        writer.samples({"sample": np.arange(n), "target_digit": target, "blur": blur, "ink": ink})
        for step in range(6):
            right = rng.random(n) < 0.85 - 0.2 * (blur == "strong") * (step >= 2)
            said = np.where(right, target, (target + 1) % 4)
            writer.predictions(step, "digit", sample=np.arange(n), prediction=said, loss=1.0 - right)
    return Run(path)


def test_shares_over_training_add_up_and_end_at_the_last_step(course):
    stats = statistics(course)
    shares = stats.shares.pivot_table(index="step", columns="factor", values="value")
    assert shares[["blur", "ink"]].sum(axis=1).tolist() == pytest.approx(shares[""].tolist())
    last = stats.attribution.parts.set_index("factor")["phi"]
    assert shares.loc[5, ["blur", "ink"]].tolist() == pytest.approx(last[["blur", "ink"]].tolist())
    assert (stats.shares["low"] <= stats.shares["high"]).all()


def test_a_share_is_dated_when_it_opens(course):
    for options in ({}, {"metric": "loss"}):
        stats = statistics(course, **options)
        (row,) = stats.share_openings.to_dict("records")
        assert (row["factor"], row["before"], row["opened"]) == ("blur", 1, 2)
        assert row["low"] < 0.2 < row["high"]
    assert statistics(course, step=1).share_openings.empty
    figure = share_figures.over_training(stats)
    assert {trace.name for trace in figure.data if trace.name} == {"the whole gap", "blur (opens, steps 1–2)", "ink"}


def test_both_metrics_tell_the_same_extra_cost_of_a_pair(tmp_path):
    rng = np.random.default_rng(1)
    n = 6000
    a, b = rng.integers(0, 2, n), rng.integers(0, 2, n)
    right = rng.random(n) < 0.95 - 0.1 * a - 0.1 * b - 0.3 * a * b
    run = write_table(tmp_path / "run", {"a": a, "b": b, "loss": 1.0 - right}, np.ones(n, dtype=int), right.astype(int))
    for options in ({}, {"metric": "loss"}):
        (row,) = statistics(run, **options).attribution.pairs.to_dict("records")
        assert 0.2 < row["extra_low"] < 0.3 < row["extra_high"] < 0.4
    (dots,) = share_figures.interactions(statistics(run)).data
    assert dots.x[0] == pytest.approx(row["extra"])
