"""What sharing a network really costs: every task trained alone and all together, from the same seeds.

    cost of task t = 100 · (score of t trained alone - score of t trained with the others), in points, paired by seed

The score is accuracy, or the share of variance explained. Alone and together a task has the same network, first
weights, batches, optimizer and number of updates; together the losses are summed. Two numbers that others would
forecast with are measured as well: the cosine of whole-batch gradients at initialisation, and TAG's lookahead affinity,
averaged over all of the joint training (so that it is known only when the training is over).
Source of the affinity: Fifty et al. 2021, arXiv:2109.04617, equation 1; every tenth step, with a plain step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from workbench.demos.sharing.problem import Sharing
from workbench.demos.sharing.training import Stack, StackedBatch

#: Seeds of the trainings. A forecast must use others.
SEEDS = tuple(range(1000, 1010))
#: Steps between two lookaheads, and their step size. To first order the size only scales the affinity.
EVERY, ETA = 10, 0.05
#: Batches whose cosines are averaged at initialisation.
N_INITIAL = 4


@dataclass(frozen=True)
class Truth:
    """What was measured on one problem. Lists are by task, then by seed.

    Attributes:
        score_alone, score_together: On test pictures; accuracy or share of variance explained.
        loss_alone, loss_together: On test pictures.
        cosine: Plug-in cosine of the whole-batch gradients at initialisation [T][T].
        affinity: TAG, Z / eta: row the task whose gradient is followed, column the task whose loss is measured [T][T].
    """

    problem: str
    family: str
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    score_alone: list[list[float]]
    score_together: list[list[float]]
    loss_alone: list[list[float]]
    loss_together: list[list[float]]
    cosine: list[list[float]]
    affinity: list[list[float]]

    @property
    def cost(self) -> Float[np.ndarray, "T R"]:
        """In points of the score; above 0, sharing hurts."""
        return 100 * (np.array(self.score_alone) - np.array(self.score_together))


def measure(problem: Sharing, seeds: Sequence[int] = SEEDS) -> Truth:
    """Train the problem's tasks together and each alone, once a seed, and compare."""
    together = Stack(problem, seeds, problem.tasks)
    cosine = initial_cosine(problem, seeds)
    lookahead = _Lookahead(together)
    together.train(lookahead)
    alone = [Stack(problem, seeds, [task]) for task in problem.tasks]
    for stack in alone:
        stack.train()
    score, loss = together.test()
    tests = [stack.test() for stack in alone]
    return Truth(
        problem.name,
        problem.family,
        problem.tasks,
        tuple(seeds),
        [test[0][0].tolist() for test in tests],
        score.tolist(),
        [test[1][0].tolist() for test in tests],
        loss.tolist(),
        cosine.tolist(),
        lookahead.affinity.tolist(),
    )


def work(problem: Sharing, seeds: Sequence[int] = SEEDS) -> dict[str, Any]:
    """:func:`measure` for a child process: the fields of Truth, as JSON can hold them."""
    return asdict(measure(problem, seeds))


def initial_cosine(problem: Sharing, seeds: Sequence[int]) -> Float[np.ndarray, "T T"]:
    """Mean over seeds and batches of the cosine between whole-batch task gradients: biased by noise, as is usual."""
    stack = Stack(problem, seeds, problem.tasks)
    found = []
    for _ in range(N_INITIAL):
        gradients = torch.nn.functional.normalize(_flat(_gradients(stack, stack.next_batch())), dim=-1)
        found.append(torch.einsum("irp,jrp->ij", gradients, gradients) / len(seeds))
    return torch.stack(found).mean(dim=0).numpy()


class _Lookahead:
    """Called before each step of the joint training; adds up Z / eta."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.found: list[np.ndarray] = []

    def __call__(self, step: int, batch: StackedBatch) -> None:
        if step % EVERY:
            return
        stack = self.stack
        gradients = _gradients(stack, batch)
        with torch.no_grad():
            before = stack.losses(stack.weights, batch)  # [T, R]
            after = torch.stack(
                [
                    stack.losses(
                        stack.weights | {n: stack.weights[n] - ETA * g[i] for n, g in gradients.items()}, batch
                    )
                    for i in range(len(stack.tasks))
                ]
            )  # [T, T, R]
        self.found.append(((1 - after / before) / ETA).mean(dim=2).numpy())

    @property
    def affinity(self) -> Float[np.ndarray, "T T"]:
        return np.mean(self.found, axis=0)


def _gradients(stack: Stack, batch: StackedBatch) -> dict[str, Tensor]:
    """Shared parameter -> gradient of every task's loss in every net [T, R, ...]."""
    shared = stack.shared
    losses = stack.losses(stack.weights, batch)  # [T, R]
    rows = [torch.autograd.grad(row.sum(), list(shared.values()), retain_graph=True) for row in losses]
    return {name: torch.stack(column) for name, column in zip(shared, zip(*rows, strict=True), strict=True)}


def _flat(gradients: dict[str, Tensor]) -> Float[Tensor, "T R P"]:
    return torch.cat([gradient.flatten(2) for gradient in gradients.values()], dim=2)
