"""Null floor, what followed a conflict, change points and the planner of mini-batches."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_gradients import conflict_run, pair

from workbench.lenses.conflict.statistics import statistics


def test_the_floor_tells_conflict_from_noise(tmp_path):
    real = statistics(conflict_run(tmp_path / "a", {"m": pair(-0.5)}, noise=4.0))
    assert real.floor.pair[0] > 0.9
    assert real.floor.own.max() < 0.1
    assert real.floor.gap_low[0] > 0
    same = statistics(conflict_run(tmp_path / "b", {"m": pair(1.0)}, noise=4.0))
    assert same.floor.gap_low[0] < 0 < same.floor.gap_high[0]


def test_in_pure_noise_a_task_points_away_from_itself_half_the_time(tmp_path):
    def spoil(index: int, gradients: np.ndarray) -> None:
        gradients[:] = np.random.default_rng(index).standard_normal(gradients.shape)

    floor = statistics(conflict_run(tmp_path / "run", {"m": pair(0.0)}, n_steps=200, spoil=spoil)).floor
    assert floor.own == pytest.approx([0.5, 0.5], abs=0.1)
    assert floor.own_low[0] < 0.5 < floor.own_high[0]


def test_with_shuffled_names_a_conflict_is_gone(tmp_path):
    floor = statistics(conflict_run(tmp_path / "run", {"m": pair(-0.9)}, n_steps=300, n_batches=8, noise=0.2)).floor
    # Half of the products are then of a task with itself (+1), half of the pair (-0.9): together hardly below 0.
    assert floor.pair[0] == 1.0
    assert floor.shuffled[0] < 0.55
    assert floor.shuffled_high[0] < floor.pair_low[0]


def test_shuffling_the_names_of_one_task_changes_nothing(tmp_path):
    floor = statistics(conflict_run(tmp_path / "run", {"m": pair(1.0)}, n_steps=300, noise=40.0, scales=[1, 9])).floor
    assert floor.shuffled_low[0] < floor.pair[0] < floor.shuffled_high[0]


def alternating(progress: float) -> list[list[float]]:
    cosine = -0.5 if round(progress * 79) % 2 else 0.5
    return [[1.0, cosine], [cosine, 1.0]]


def test_conflicts_followed_by_rises_matter(tmp_path):
    # The loss goes up by 1 after every conflicting (odd) step and down by 1 after the others.
    run = conflict_run(
        tmp_path / "run",
        {"m": alternating},
        n_steps=80,
        n_batches=8,
        scalars=lambda index: {"loss/left": 2.0 - index % 2, "loss/right": 1.0},
    )
    matter = statistics(run).matter
    assert matter.called
    assert matter.share == (1.0, 0.0)
    assert matter.difference_low > 0.8
    assert matter.by_pair["with_conflict"].tolist() == [39]


def test_losses_that_ignore_conflicts_do_not(tmp_path):
    rng = np.random.default_rng(0)
    run = conflict_run(
        tmp_path / "run",
        {"m": alternating},
        n_steps=80,
        n_batches=8,
        scalars=lambda index: {"loss/left": rng.random(), "loss/right": rng.random()},
    )
    matter = statistics(run).matter
    assert matter.difference_low < 0 < matter.difference_high


def test_without_losses_nothing_is_said(tmp_path):
    assert statistics(conflict_run(tmp_path / "run", {"m": alternating}, n_steps=80)).matter is None


def test_a_change_is_dated(tmp_path):
    def turn(progress: float) -> list[list[float]]:
        cosine = 0.4 if progress < 0.5 else -0.4
        return [[1.0, cosine], [cosine, 1.0]]

    changes = statistics(conflict_run(tmp_path / "run", {"m": turn}, n_steps=60)).changes
    assert len(changes) == 1
    assert changes["step"].iloc[0] == pytest.approx(300, abs=10)
    assert changes["before"].iloc[0] == pytest.approx(0.4, abs=0.05)
    assert changes["after"].iloc[0] == pytest.approx(-0.4, abs=0.05)


def test_steady_pairs_rarely_change(tmp_path):
    matrix = np.eye(12).tolist()
    run = conflict_run(tmp_path / "run", {"m": lambda p: matrix}, tasks=[f"t{i}" for i in range(12)], n_steps=40)
    assert len(statistics(run).changes) <= 1


def test_the_planner_foresees_the_half_width(tmp_path):
    pilot = statistics(conflict_run(tmp_path / "a", {"m": pair(0.2)}, n_batches=6, noise=1.0)).plan
    real = statistics(conflict_run(tmp_path / "b", {"m": pair(0.2)}, n_batches=24, noise=1.0)).plan
    expected = pilot.expected[pilot.batches.tolist().index(24), 0]
    assert expected == pytest.approx(real.measured[0], rel=0.25)
    assert pilot.needed(pilot.measured[0] / 2).tolist() == [24]


def test_two_batches_are_no_pilot(tmp_path):
    assert statistics(conflict_run(tmp_path / "run", {"m": pair(0.2)}, n_batches=2)).plan is None
