"""When to record, so that it takes a small share of the time."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core import ConfigError
from workbench.diagnostics.cadence import Cadence


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def simulate(cadence: Cadence, clock: Clock, n_steps: int, step_seconds: float, cost: float) -> list[int]:
    recorded = []
    for step in range(n_steps):
        if cadence.due(step):
            recorded.append(step)
            with cadence.counted():
                clock.now += cost
        clock.now += step_seconds
    return recorded


def test_recording_that_costs_a_step_comes_every_twentieth():
    # 1 s of recording is at most 5 % of what lies between when 19 s of training do: 19 steps, rounded up to 20.
    clock = Clock()
    assert simulate(Cadence(share=0.05, clock=clock), clock, 61, 1.0, 1.0) == [0, 20, 40, 60]


@given(st.floats(1e-3, 10), st.floats(1e-3, 10), st.floats(0.01, 0.5))
def test_the_share_is_kept(step_seconds, cost, share):
    clock = Clock()
    cadence = Cadence(share=share, clock=clock)
    recorded = simulate(cadence, clock, 2000, step_seconds, cost)
    for last, following in pairwise(recorded):
        assert cost <= share * (cost + (following - last) * step_seconds) * (1 + 1e-9)


def test_a_fixed_cadence():
    clock = Clock()
    cadence = Cadence(25, clock=clock)
    assert simulate(cadence, clock, 100, 1.0, 50.0) == [0, 25, 50, 75]
    assert cadence.fraction == pytest.approx(200 / 300)


def test_asking_twice_at_one_step_says_the_same():
    clock = Clock()
    cadence = Cadence(clock=clock)
    assert cadence.due(7)
    with cadence.counted():
        clock.now += 1.0
    assert cadence.due(7)
    clock.now += 0.1
    assert not cadence.due(8)
    assert not cadence.due(8)


def test_blocks_inside_one_another_count_once():
    clock = Clock()
    cadence = Cadence(clock=clock)
    with cadence.counted(), cadence.counted():
        clock.now += 2.0
    assert cadence.seconds == 2.0


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match="at least 1 step"):
        Cadence(0)
    with pytest.raises(ConfigError, match="share"):
        Cadence(share=0.0)
