"""Which tasks to train together."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from workbench.forecast import grouping
from workbench.forecast.grouping import cheapest


def costs(table: np.ndarray, groups: list[list[int]]) -> list[float]:
    """The definition, task by task."""
    found = []
    for task in range(len(table)):
        others = [j for group in groups if task in group for j in group if j != task]
        found.append(float(np.mean([table[j, task] for j in others])) if others else 0.0)
    return found


def test_two_that_help_and_one_that_harms():
    table = np.array([[0, -0.1, 0.3], [-0.1, 0, 0.3], [0.2, 0.2, 0]])
    found = cheapest(table)
    assert found.groups == ((0, 1), (2,))
    np.testing.assert_allclose(found.costs, [-0.1, -0.1, 0])
    one = cheapest(table, 1)
    assert one.groups == ((0, 1, 2),)
    np.testing.assert_allclose(one.costs, [0.05, 0.05, 0.3])


def test_without_costs_one_network_is_enough():
    assert cheapest(np.zeros((4, 4))).groups == ((0, 1, 2, 3),)
    assert cheapest(np.full((3, 3), np.nan)).groups == ((0, 1, 2),)


@given(arrays(float, (4, 4), elements=st.floats(-1, 1)), st.integers(1, 4))
def test_no_partition_is_cheaper(table: np.ndarray, most: int):
    def partitions(tasks: list[int]):
        if not tasks:
            yield []
            return
        for rest in partitions(tasks[1:]):
            yield [[tasks[0]], *rest]
            for k in range(len(rest)):
                yield [*rest[:k], [tasks[0], *rest[k]], *rest[k + 1 :]]

    found = cheapest(table, most)
    np.testing.assert_allclose(found.costs, costs(table, [list(group) for group in found.groups]))
    best = min(np.mean(costs(table, groups)) for groups in partitions([0, 1, 2, 3]) if len(groups) <= most)
    np.testing.assert_allclose(found.cost, best, atol=1e-8)
    assert found.exact


def test_many_tasks_are_merged_while_it_helps(monkeypatch):
    side = np.arange(12) % 3
    table = np.where(side[:, None] == side, -0.1, 0.2)
    found = cheapest(table)
    assert not found.exact
    assert found.groups == tuple(tuple(np.flatnonzero(side == s).tolist()) for s in range(3))
    assert len(cheapest(table, 2).groups) == 2
    monkeypatch.setattr(grouping, "EXACT_TASKS", 2)
    assert cheapest(table[:6, :6]).groups == ((0, 3), (1, 4), (2, 5))
