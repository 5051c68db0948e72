"""Who should train together: lookahead affinity from the recorded Gramians, and the best groups for a budget.

Z_ij = 1 - L_j(theta - eta g_i) / L_j(theta): the share by which one step on task i lowers task j's loss. To first order
Z_ij / eta = G_ij / L_j, which needs no further forward passes; the remainder is curvature, and not in the record.

A choice of at most b groups serves every task by its best group; in a group A, task a scores the mean of Z over the
other members, mean over i in A without a of Z_ia. A task alone scores nothing: Z says nothing about it. The choice with
the highest mean over tasks is found exactly for up to ten tasks, else by moving tasks while that helps.

Sources: Fifty et al. 2021, Efficiently Identifying Task Groupings, arXiv:2109.04617 (Z, the group score). The
first-order form from unbiased inner products, its interval over steps and the search are ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Int

from workbench.core.gramian import student95
from workbench.lenses.conflict.estimates import Estimate, states

#: Up to so many tasks all groups are weighed, by the number of groups; more would take seconds.
EXACT_TASKS = {1: 10, 2: 10, 3: 8, 4: 6}
#: So many groups at most are chosen.
MAX_GROUPS = 4
#: Restarts of the search for more tasks.
RESTARTS = 8


@dataclass(frozen=True)
class Grouping:
    """At most ``budget`` groups of task indices; ``score`` is the mean over tasks. ``exact``: proven the best."""

    budget: int
    groups: tuple[tuple[int, ...], ...]
    scores: Float[np.ndarray, " T"]
    exact: bool

    @property
    def score(self) -> float:
        return float(self.scores.mean())


@dataclass(frozen=True)
class Affinity:
    """Row the task whose gradient is followed, column the task whose loss is measured.

    ``estimate``: mean over steps of G_ij / L_j, or of the true relative change of the loss, per unit of learning rate.
    """

    estimate: Estimate
    n_steps: int
    groupings: tuple[Grouping, ...]


def affinity(gram: Float[np.ndarray, "S T T"], losses: Float[np.ndarray, "S T"]) -> Affinity | None:
    """From unbiased inner products and the losses at the same steps; None with fewer than three complete steps."""
    n_tasks = gram.shape[1]
    usable = np.isfinite(losses).all(axis=1) & (losses > 0).all(axis=1) & np.isfinite(gram).all(axis=(1, 2))
    if n_tasks < 2 or usable.sum() < 3:
        return None
    table = gram[usable] / losses[usable][:, None, :]  # [S, i, j]
    n = len(table)
    value = table.mean(axis=0)
    half = student95(n - 1) * table.std(axis=0, ddof=1) / np.sqrt(n)
    low, high = value - half, value + half
    estimate = Estimate(value, low, high, states(value, low, high, np.zeros(value.shape, dtype=bool)))
    return grouped(estimate, n)


def grouped(estimate: Estimate, n_steps: int) -> Affinity:
    """A table of affinities with the best groups for every budget."""
    budgets = range(1, min(MAX_GROUPS, len(estimate.value) - 1) + 1)
    return Affinity(estimate, n_steps, tuple(best_groups(estimate.value, budget) for budget in budgets))


def best_groups(z: Float[np.ndarray, "T T"], budget: int) -> Grouping:
    """The best choice of at most ``budget`` groups; ``z[i, j]``: what a step on i does for j (diagonal not used)."""
    n_tasks = len(z)
    if n_tasks > EXACT_TASKS.get(budget, 0):
        return _searched(z, budget)
    members = np.array([[bool(code >> task & 1) for task in range(n_tasks)] for code in range(1, 2**n_tasks)])
    members = members[members.sum(axis=1) > 1]
    scores = group_scores(z, members)
    chosen = _exhaust(scores, members, budget)
    return _grouping(z, [members[index] for index in chosen], budget, exact=True)


def group_scores(z: Float[np.ndarray, "T T"], members: Bool[np.ndarray, "C T"]) -> Float[np.ndarray, "C T"]:
    """Score of every task in every group: the mean of Z over the other members; -inf for those outside or alone."""
    inside = members.astype(float)
    clean = np.where(np.eye(len(z), dtype=bool), 0.0, z)
    others = inside.sum(axis=1, keepdims=True) - 1
    score = inside @ clean / np.where(others > 0, others, np.nan)
    return np.where(members & (others > 0), score, -np.inf)


def _exhaust(scores: Float[np.ndarray, "C T"], members: Bool[np.ndarray, "C T"], budget: int) -> tuple[int, ...]:
    """Branch and bound: the next group covers the first task without one; the last one is tried for all at once.

    With every task given at least its worst score in any group, the total is submodular in the chosen groups: more
    groups add at most the largest of what each would add alone (Nemhauser et al. 1978), which bounds every branch.
    """
    worst = np.where(np.isfinite(scores), scores, np.inf).min(axis=0)
    best: tuple[float, tuple[int, ...]] = (-np.inf, ())

    def extend(chosen: tuple[int, ...], current: Float[np.ndarray, " T"]) -> None:
        nonlocal best
        served, left = np.maximum(current, worst), budget - len(chosen)
        gains = np.maximum(served, scores).sum(axis=1) - served.sum()
        most = served.sum() + np.sort(gains)[-left:].sum()
        if most <= best[0] + 1e-12 * abs(best[0]):
            return
        totals = np.maximum(current, scores).sum(axis=1)
        last = int(np.argmax(totals))
        if totals[last] > best[0]:
            best = (float(totals[last]), (*chosen, last))
        if left > 1:
            open_tasks = np.flatnonzero(np.isinf(current))
            follow = np.flatnonzero(members[:, open_tasks[0]]) if len(open_tasks) else np.arange(len(members))
            for index in follow[np.argsort(-gains[follow], kind="stable")].tolist():
                extend((*chosen, index), np.maximum(current, scores[index]))

    extend((), np.full(scores.shape[1], -np.inf))
    return best[1]


def _searched(z: Float[np.ndarray, "T T"], budget: int) -> Grouping:
    """Moves of single tasks between groups from several starts, while the mean rises."""
    rng = np.random.default_rng(0)
    found = [_climbed(z, start, budget) for start in _starts(len(z), budget, rng)]
    return max(found, key=lambda grouping: grouping.score)


def _starts(n_tasks: int, budget: int, rng: np.random.Generator) -> Iterator[Int[np.ndarray, " T"]]:
    yield np.zeros(n_tasks, dtype=np.int64)
    for _ in range(RESTARTS):
        yield rng.integers(0, budget, n_tasks)


def _climbed(z: Float[np.ndarray, "T T"], label: Int[np.ndarray, " T"], budget: int) -> Grouping:
    def total(labels: Int[np.ndarray, " T"]) -> float:
        members = labels[None] == np.arange(budget)[:, None]
        return float(group_scores(z, members).max(axis=0).sum())

    current, improved = total(label), True
    while improved:
        improved = False
        for task in range(len(label)):
            for group in range(budget):
                moved = label.copy()
                moved[task] = group
                score = total(moved)
                if score > current:
                    label, current, improved = moved, score, True
    groups = [label == group for group in range(budget)]
    return _grouping(z, [group for group in groups if group.sum() > 1], budget, exact=False)


def _grouping(z: Float[np.ndarray, "T T"], chosen: list[Bool[np.ndarray, " T"]], budget: int, exact: bool) -> Grouping:
    members = np.array(chosen).reshape(-1, len(z))
    scores = group_scores(z, members)
    keep = _needed(scores)
    groups = tuple(tuple(np.flatnonzero(members[index]).tolist()) for index in keep)
    return Grouping(budget, groups, scores.max(axis=0), exact)


def _needed(scores: Float[np.ndarray, "C T"]) -> list[int]:
    """The fewest of the chosen groups that serve every task as well."""
    target = scores.max(axis=0)
    for size in range(1, len(scores) + 1):
        for subset in combinations(range(len(scores)), size):
            if (scores[list(subset)].max(axis=0) >= target).all():
                return list(subset)
    return list(range(len(scores)))
