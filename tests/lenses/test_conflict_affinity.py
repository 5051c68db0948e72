"""Lookahead affinity from Gramians, and the exact choice of groups against the published table."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.lenses.conflict.affinity import affinity, best_groups, group_scores
from workbench.lenses.conflict.estimates import CONFLICT

# Fifty et al. 2021: measured task by row, gradient task by column; seg, normal, depth, keypoint, edge.
NAMES = ("seg", "normal", "depth", "keypoint", "edge")
MEASURED = np.array(
    [
        [0, 0.048910, 0.115374, 0.004547, 0.008776],
        [0.139824, 0, 0.220962, 0.010494, 0.076460],
        [0.413559, 0.291415, 0, 0.013537, 0.073957],
        [0.021099, 0.010729, 0.013366, 0, 0.689736],
        [0.056692, 0.036007, 0.036683, 0.303721, 0],
    ]
)
Z = MEASURED.T


def named(grouping) -> set[frozenset[str]]:
    return {frozenset(NAMES[task] for task in group) for group in grouping.groups}


@pytest.mark.parametrize(
    ("budget", "score", "groups"),
    [
        (1, 0.129292, [set(NAMES)]),
        (2, 0.321696, [{"keypoint", "edge"}, {"seg", "depth", "normal"}]),
        (3, 0.348670, [{"seg", "depth"}, {"depth", "normal"}, {"keypoint", "edge"}]),
    ],
)
def test_published_table(budget, score, groups):
    found = best_groups(Z, budget)
    assert found.exact
    assert found.score == pytest.approx(score, abs=1e-5)
    assert named(found) == {frozenset(group) for group in groups}


def brute_force(z: np.ndarray, budget: int) -> float:
    n_tasks = len(z)
    subsets = [group for size in range(2, n_tasks + 1) for group in combinations(range(n_tasks), size)]
    best = -np.inf
    for size in range(1, budget + 1):
        for chosen in combinations(subsets, size):
            scores = [
                max(
                    (
                        np.mean([z[other, task] for other in group if other != task])
                        for group in chosen
                        if task in group
                    ),
                    default=-np.inf,
                )
                for task in range(n_tasks)
            ]
            best = max(best, float(np.mean(scores)))
    return best


@given(st.integers(0, 300), st.integers(2, 4), st.integers(1, 3))
def test_exact_search_equals_trying_everything(seed, n_tasks, budget):
    z = np.random.default_rng(seed).standard_normal((n_tasks, n_tasks))
    found = best_groups(z, budget)
    assert found.score == pytest.approx(brute_force(z, budget))
    assert len(found.groups) <= budget
    assert {task for group in found.groups for task in group} == set(range(n_tasks))


def test_more_groups_never_hurt():
    z = np.random.default_rng(1).standard_normal((6, 6))
    scores = [best_groups(z, budget).score for budget in (1, 2, 3)]
    assert scores == sorted(scores)


def test_a_pair_scores_what_the_other_does_for_it():
    scores = group_scores(Z, np.array([[True, False, True, False, False]]))
    assert scores[0, 0] == Z[2, 0]
    assert scores[0, 2] == Z[0, 2]
    assert np.isneginf(scores[0, 1])


def test_many_tasks_are_searched_not_proven():
    rng = np.random.default_rng(0)
    half = np.arange(40) < 20
    z = np.where(half[:, None] == half[None, :], 0.5, -0.5) + 0.05 * rng.standard_normal((40, 40))
    found = best_groups(z, 2)
    assert not found.exact
    assert {frozenset(group) for group in found.groups} == {frozenset(range(20)), frozenset(range(20, 40))}


def test_first_order_affinity_worked_example():
    # G of J1 = [[-4, 1, 1], [6, 1, 1]], losses (1, 2): Z_12 / eta = -22 / 2, Z_21 / eta = -22 / 1.
    gram = np.repeat(np.array([[[18.0, -22], [-22, 38]]]), 5, axis=0)
    losses = np.repeat(np.array([[1.0, 2.0]]), 5, axis=0)
    found = affinity(gram, losses)
    assert found is not None
    assert found.estimate.value[0, 1] == pytest.approx(-11)
    assert found.estimate.value[1, 0] == pytest.approx(-22)
    assert found.estimate.state[0, 1] == CONFLICT
    assert found.n_steps == 5


def test_without_losses_there_is_no_affinity():
    assert affinity(np.ones((5, 2, 2)), np.full((5, 2), np.nan)) is None
