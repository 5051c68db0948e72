"""Trial steps read back: error of first order, lost gain, true affinity; and agreement of measures."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kendalltau
from synthetic_gradients import conflict_run, pair

from workbench.core import Run, RunWriter
from workbench.lenses.base import read
from workbench.lenses.conflict import LENS
from workbench.lenses.conflict.agreement import agreement, kendall
from workbench.lenses.conflict.trials import read_trials

COLUMNS = ("along", "batch_along", "task", "batch", "before", "after", "slope", "slope_after")
NAN = float("nan")


def trial_run(path, n_steps: int = 4, bend: float = 0.0) -> Run:
    """A step of 0.1 on "left" lowers its own loss of 2 by 0.2 and raises right's of 4 by 0.04 · (1 + bend)."""
    rows = [
        ("left", 0, "left", 0, 2.0, 1.8, 2.0, NAN),
        ("left", 0, "right", -1, 4.0, 4.0 + 0.04 * (1 + bend), -0.4, NAN),
        ("left", 0, "left", -1, 2.0, 1.9, 1.0, NAN),
        ("right", 0, "right", -1, 4.0, 3.2, 8.0, NAN),
        ("right", 0, "left", -1, 2.0, 2.1, -1.0, NAN),
        ("", 0, "left", 0, 2.0, 1.9, 1.0, 0.5),
        ("", 0, "right", 0, 4.0, 3.7, 3.0, 1.5),
    ]
    run = conflict_run(path, {"m": pair(-0.4)}, n_steps=6)
    with RunWriter(path / "trials", tasks=["left", "right"]) as writer:
        for step in range(n_steps):
            columns = {name: [row[i] for row in rows] for i, name in enumerate(COLUMNS)}
            writer.write("trial_steps", {"step": step, "moved": "shared", "samples": 8, "lr": 0.1} | columns)
    (path / "trials" / "tables" / "trial_steps").rename(path / "tables" / "trial_steps")
    return run


def test_true_affinity_and_first_order(tmp_path):
    found = read_trials(trial_run(tmp_path / "run"), ("left", "right"))
    # Z / lr = -change / (loss · lr): left on right -0.04 / 4 / 0.1 = -0.1, right on left -0.1 / 2 / 0.1 = -0.5.
    np.testing.assert_allclose(found.affinity.value, [[0.5, -0.1], [-0.5, 2.0]])
    np.testing.assert_allclose(found.first_order.value, [[0.5, -0.1], [-0.5, 2.0]])


def test_the_error_of_first_order_is_measured(tmp_path):
    assert read_trials(trial_run(tmp_path / "a"), ("left", "right")).median_error == pytest.approx(0.0, abs=1e-12)
    found = read_trials(trial_run(tmp_path / "b", bend=1.0), ("left", "right"))
    # 0.04 missed of 0.2 + 0.08 + 0.1 + 0.8 + 0.1 + 0.1 + 0.3.
    assert found.median_error == pytest.approx(0.04 / 1.68)


def test_lost_gain_is_half_the_loss_of_slope(tmp_path):
    # Slopes 4 in sum before the step and 2 after it: H = 2 / lr, lr H / (2 · 4) = 1 / 4.
    found = read_trials(trial_run(tmp_path / "run"), ("left", "right"))
    np.testing.assert_allclose(found.lost_gain, 0.25)


def test_views_show_what_was_measured(tmp_path):
    reading = read(trial_run(tmp_path / "run"), LENS)
    assert reading.figure("triad").data[-1].y.tolist() == pytest.approx([0.25] * 4)
    assert reading.figure("together", measured=True, budget=1).data[0].z[1][0] == pytest.approx(-0.5)
    assert any("true plain steps of 0.1" in note.text for note in reading.figure("replay").layout.annotations)


def test_without_trial_steps_the_page_says_what_to_record(tmp_path):
    reading = read(conflict_run(tmp_path / "run", {"m": pair(-0.4)}, n_steps=6), LENS)
    assert reading.stats.trials is None
    assert any("trial_steps" in note.text for note in reading.figure("triad").layout.annotations)
    assert "trial_steps" in reading.figure("together", measured=True).layout.annotations[0].text


def test_kendall_equals_the_reference():
    rng = np.random.default_rng(0)
    for _ in range(10):
        x, y = rng.integers(0, 5, 12).astype(float), rng.standard_normal(12)
        assert kendall(x, y) == pytest.approx(kendalltau(x, y).statistic)


def test_unrelated_measures_exceed_chance_in_about_one_case_of_twenty():
    rng = np.random.default_rng(1)
    beyond = []
    for _ in range(400):
        found = agreement({"a": rng.standard_normal(15), "b": rng.standard_normal(15)})
        beyond.append(abs(found.tau[0, 1]) > found.chance[0, 1])
    assert 0.02 <= np.mean(beyond) <= 0.08


def test_agreement_needs_two_measures_and_three_pairs():
    assert agreement({"a": np.array([1.0, 2.0]), "b": np.array([1.0, 2.0])}) is None
    assert agreement({"a": np.arange(5.0)}) is None
    found = agreement({"a": np.arange(5.0), "b": -np.arange(5.0), "c": np.full(5, np.nan)})
    assert found.measures == ("a", "b")
    assert found.tau[0, 1] == -1
