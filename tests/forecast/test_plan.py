"""Plans fit their budget."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from workbench.forecast import cost
from workbench.forecast.cost import duration, size
from workbench.forecast.plan import MAX_BATCHES, MIN_STEPS, PLANNED, Plan, Units, batches_for, fitting, seconds

UNITS = Units(alone=0.01, together=0.02, judging=0.005, gradients=0.05, lookahead=0.1, fetching=0.001)
PLAN = Plan(("a", "b", "c"), (0, 1), 1, False, 1, 8)


def test_time_of_a_plan_is_the_sum_of_its_pieces():
    # 4 steps and marks 0 to 4 (5 of them), 4 held-out batches; Gramians at 0, 2 and 4 (0.5 rounds to 0).
    plan = Plan(("a", "b"), (0,), 4, True, 1, 8)
    assert plan.marks == (0, 1, 2, 3, 4)
    assert plan.gradient_marks == (0, 2, 4)
    training = 4 * 0.02 + 2 * 4 * 0.01
    judging = 5 * 4 * 0.005 * (1 + 0.5 + 0.5)
    gradients = 3 * (0.05 + 0.001 + 0.1)
    assert seconds(plan, UNITS) == pytest.approx(training + judging + gradients + 8 * 0.001)


def test_trajectories_are_all_alone_and_in_pairs():
    assert Plan(("a", "b", "c"), (0,), 4, True, 1, 8).trajectories == [
        (0, 1, 2), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2),
    ]  # fmt: skip
    assert Plan(("a", "b"), (0,), 4, True, 1, 8).trajectories == [(0, 1), (0,), (1,)]


@pytest.mark.parametrize("budget", [5, 10, 20, 60])
def test_the_longest_plan_that_fits_is_taken(budget: float):
    plan = fitting(PLAN, UNITS, budget, 200)
    assert seconds(plan, UNITS) <= PLANNED * budget
    longer = Plan(plan.tasks, plan.seeds, plan.steps + 1, plan.paired, 1, 8)
    assert plan.steps == 200 or seconds(longer, UNITS) > PLANNED * budget


def test_pairs_are_given_up_before_trajectories_get_too_short():
    assert fitting(PLAN, UNITS, 60, 200).paired
    assert fitting(PLAN, UNITS, 60, 3).paired  # short because asked for
    short = fitting(PLAN, UNITS, 4.2, 200)
    assert not short.paired
    assert seconds(Plan(PLAN.tasks, PLAN.seeds, MIN_STEPS, True, 1, 8), UNITS) > PLANNED * 4.2
    assert fitting(PLAN, UNITS, 0.01, 200).steps == 1


def test_batches_behind_a_cosine():
    # ±0.4 at one point with one batch; pooled over 4 points 0.2; for ±0.1 four times the samples.
    assert batches_for(0.4, 0.1, 4) == 4
    assert batches_for(0.05, 0.1, 4) == 1
    assert batches_for(float("nan"), 0.1, 4) == MAX_BATCHES


def test_words():
    assert [duration(s) for s in (0.035, 1.24, 80, 240)] == ["35 ms", "1.2 s", "80 s", "4 min"]
    assert [size(b) for b in (100, 35e6, 2.5e9)] == ["1 MB", "35 MB", "2.5 GB"]


def test_slow_first_loading_is_not_counted_for_every_batch(monkeypatch):
    # A clock that only loading moves: the first batch takes 8 seconds, every later one a quarter of a second.
    now = [0.0]
    monkeypatch.setattr(cost, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def source(n: int) -> Iterator[int]:
        for batch in range(n):
            now[0] += 8.0 if batch == 0 else 0.25
            yield batch

    assert cost._fetched(source(40)) == ([0, 1, 2, 3, 4, 5], 0.25)
    assert cost._fetched(source(3)) == ([0, 1, 2], 0.25)
    # One batch is all there is: its time is all that is known.
    assert cost._fetched(source(1)) == ([0], 8.0)
