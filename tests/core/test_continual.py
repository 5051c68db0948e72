"""Average accuracy and forgetting: closed forms and invariances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from workbench.core.continual import average_accuracy, forgetting

matrices = st.integers(2, 6).flatmap(lambda n: arrays(np.float64, (n, n), elements=st.floats(0, 1)))


def test_three_tasks_by_hand():
    # The first task falls from 0.9 to 0.4, the second rises from 0.6 to 0.7: F = (0.5 - 0.1) / 2.
    accuracy = np.array([[0.9, 0.0, 0.0], [0.8, 0.6, 0.0], [0.4, 0.7, 1.0]])
    assert float(average_accuracy(accuracy)) == pytest.approx(0.7)
    assert float(forgetting(accuracy)) == pytest.approx(0.2)


@given(matrices, st.integers(0, 2**31 - 1))
def test_what_was_not_learned_yet_is_never_read(accuracy, seed):
    noise = np.triu(np.random.default_rng(seed).random(accuracy.shape), 1)
    other = np.tril(accuracy) + noise
    assert float(average_accuracy(other)) == float(average_accuracy(accuracy))
    assert float(forgetting(other)) == float(forgetting(accuracy))


@given(matrices)
def test_against_a_loop(accuracy):
    n = len(accuracy)
    drops = [max(accuracy[t, u] for t in range(u, n - 1)) - accuracy[n - 1, u] for u in range(n - 1)]
    assert float(forgetting(accuracy)) == pytest.approx(sum(drops) / (n - 1))
    assert -1 <= float(forgetting(accuracy)) <= 1


def test_a_perfect_learner_forgets_nothing_and_one_that_improves_forgets_less():
    assert (float(average_accuracy(np.ones((4, 4)))), float(forgetting(np.ones((4, 4))))) == (1.0, 0.0)
    assert float(forgetting(np.array([[0.5, 0.0], [0.75, 1.0]]))) == -0.25


def test_one_task_has_no_forgetting_and_draws_keep_their_axes():
    assert np.isnan(forgetting(np.ones((1, 1))))
    draws = np.random.default_rng(0).random((7, 3, 4, 4))
    assert average_accuracy(draws).shape == forgetting(draws).shape == (7, 3)
    assert float(forgetting(draws)[2, 1]) == float(forgetting(draws[2, 1]))
