"""Subgroups are found on one half, confirmed on the other, and not found where there are none."""

from __future__ import annotations

import numpy as np
import pytest
from bias_runs import write_run

from workbench.lenses.bias.depth_figures import slices as figure
from workbench.lenses.bias.slices import effect_size, sliceline_score
from workbench.lenses.bias.statistics import statistics


def test_golden_sliceline_score():
    score = sliceline_score(np.array([0.5]), 0.2, np.array([20.0]), 100.0)
    assert score.item() == pytest.approx(1.225)


def test_effect_size_of_one_standard_deviation():
    # Equal variances: √2 (1 - 0) / √(1 + 1) = 1.
    one, zero = np.array([1.0]), np.array([0.0])
    assert effect_size(one, zero, one, one).item() == pytest.approx(1.0)


def test_the_planted_subgroup_is_confirmed_with_fresh_samples(tmp_path):
    stats = statistics(write_run(tmp_path / "run", n=3000))
    found = stats.slices.found
    worst = found.iloc[0]
    assert worst["group"] == "blur: strong · rotation: 90"
    assert worst["confirmed"]
    assert worst["low"] < 0.48 < worst["high"]
    assert not any("ink" in group for group in found[found["confirmed"]]["group"])
    halves = [stats.cube.part(half).n.sum() for half in (0, 1)]
    assert sum(halves) == 3000
    assert min(halves) > 1350
    assert found["n"].max() <= halves[1]
    assert len(figure(stats).data) >= 2


def test_null_runs_confirm_nothing(tmp_path):
    confirmed = 0
    for seed in range(25):
        run = write_run(tmp_path / str(seed), n=1200, seed=seed, probability=0.8, steps=(1,))
        confirmed += bool(len(found := statistics(run, details=False).slices.found) and found["confirmed"].any())
    # At a rate of 5 %, more than 4 of 25 happen in 0.7 % of cases.
    assert confirmed <= 4
