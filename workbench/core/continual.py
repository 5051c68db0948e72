"""Measures of learning tasks one after the other, from accuracies after each of them.

``accuracy[t, u]`` is the accuracy on the examples of task u after learning task t, both counted from 0; what lies above
the diagonal (tasks not learned yet) is never read. Source of the definitions: Chaudhry et al. 2018, Riemannian Walk for
Incremental Learning, arXiv:1801.10112, section 3.1; forgetting as there, over the tasks before the last one.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def average_accuracy(accuracy: Float[np.ndarray, "*draws N N"]) -> Float[np.ndarray, "*draws"]:
    """A = mean over u of accuracy[N − 1, u]: after the last task, on all of them."""
    return np.asarray(accuracy[..., -1, :].mean(axis=-1))


def forgetting(accuracy: Float[np.ndarray, "*draws N N"]) -> Float[np.ndarray, "*draws"]:
    """F = mean over u < N − 1 of max over u <= t < N − 1 of accuracy[t, u], minus accuracy[N − 1, u].

    Below 0 when tasks got better after they were learned; NaN with a single task.
    """
    n = accuracy.shape[-1]
    if n < 2:
        return np.full(accuracy.shape[:-2], np.nan)
    learned = np.tril(np.ones((n, n), dtype=bool))
    best = np.where(learned, accuracy, -np.inf)[..., : n - 1, : n - 1].max(axis=-2)
    return np.asarray((best - accuracy[..., -1, : n - 1]).mean(axis=-1))
