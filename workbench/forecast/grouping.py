"""Which tasks to train together: the partition of the tasks into networks with the lowest predicted cost.

A task in a group pays the mean cost of sharing with the other members (the group score of Fifty et al. 2021,
arXiv:2109.04617, with costs in place of affinities); alone it pays nothing. Only costs and gains that are called count,
so that noise neither joins nor parts anybody; among equally cheap partitions the one with fewer networks wins. Counting
only what is called is our choice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

#: Up to so many tasks every partition is weighed (115,975 for ten).
EXACT_TASKS = 9


@dataclass(frozen=True)
class Grouping:
    """Networks by their task indices; ``costs``: of every task. ``exact``: proven the cheapest."""

    groups: tuple[tuple[int, ...], ...]
    costs: Float[np.ndarray, " T"]
    exact: bool

    @property
    def cost(self) -> float:
        """Mean over tasks."""
        return float(self.costs.mean())


def cheapest(cost: Float[np.ndarray, "T T"], n_networks: int | None = None) -> Grouping:
    """The cheapest partition, into at most ``n_networks`` networks.

    ``cost[i, j]``: for task j of sharing with task i; the diagonal is not used, NaN counts as 0.
    """
    n_tasks = len(cost)
    table = np.nan_to_num(np.where(np.eye(n_tasks, dtype=bool), 0.0, cost))
    most = n_tasks if n_networks is None else n_networks
    if n_tasks > EXACT_TASKS:
        return _merged(table, most)
    best: tuple[float, int, list[list[int]]] | None = None
    for groups in _partitions(n_tasks, most):
        key = (round(float(_costs(table, groups).mean()), 9), len(groups))
        if best is None or key < best[:2]:
            best = (*key, [list(group) for group in groups])
    assert best is not None
    return _grouping(table, best[2], exact=True)


def _partitions(n_tasks: int, most: int) -> Iterator[list[list[int]]]:
    """Every partition of the tasks into at most ``most`` groups; the yielded lists are reused."""
    groups: list[list[int]] = []

    def place(task: int) -> Iterator[list[list[int]]]:
        if task == n_tasks:
            yield groups
            return
        for group in list(groups):
            group.append(task)
            yield from place(task + 1)
            group.pop()
        if len(groups) < most:
            groups.append([task])
            yield from place(task + 1)
            groups.pop()

    return place(0)


def _merged(table: Float[np.ndarray, "T T"], most: int) -> Grouping:
    """From every task alone, merge the two groups that make it cheapest, as long as it helps or there are too many."""
    groups = [[task] for task in range(len(table))]
    while len(groups) > 1:
        options = []
        for a in range(len(groups)):
            for b in range(a + 1, len(groups)):
                rest = [group for k, group in enumerate(groups) if k not in (a, b)]
                options.append([*rest, groups[a] + groups[b]])
        best = min(options, key=lambda option: float(_costs(table, option).mean()))
        if len(groups) <= most and _costs(table, best).mean() > _costs(table, groups).mean() + 1e-9:
            break
        groups = best
    return _grouping(table, groups, exact=False)


def _costs(table: Float[np.ndarray, "T T"], groups: list[list[int]]) -> Float[np.ndarray, " T"]:
    costs = np.zeros(len(table))
    for group in groups:
        if len(group) > 1:
            inside = table[np.ix_(group, group)]
            costs[group] = inside.sum(axis=0) / (len(group) - 1)
    return costs


def _grouping(table: Float[np.ndarray, "T T"], groups: list[list[int]], exact: bool) -> Grouping:
    ordered = sorted(tuple(sorted(group)) for group in groups)
    return Grouping(tuple(ordered), _costs(table, groups), exact)
