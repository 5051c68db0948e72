"""Train a problem's tasks alone and together, many seeds at once.

The nets of all seeds are stacked and trained side by side by batched matrix products. Every net sees its own batches
and ends with the weights that it would have if it were trained by itself, up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap

from workbench.demos.sharing.problem import SharedNet, Sharing

#: Name of a parameter -> its values in every net [R, ...].
Weights = dict[str, Tensor]
#: Task -> pictures [R, B, D] and answers [R, B].
StackedBatch = dict[str, tuple[Tensor, Tensor]]


class Stack:
    """R nets of one problem, one a seed, that learn some of its tasks."""

    def __init__(self, problem: Sharing, seeds: Sequence[int], tasks: Sequence[str]) -> None:
        self.problem, self.tasks = problem, tuple(tasks)
        nets = [problem.build_model(seed) for seed in seeds]
        self.net: SharedNet = nets[0]
        self.weights: Weights = stack_module_state(nets)[0]
        self._orders = [problem.order(seed) for seed in seeds]

    @property
    def shared(self) -> dict[str, Tensor]:
        """The parameters that all tasks share."""
        wanted = {id(p) for part in self.problem.shared(self.net).values() for p in part.parameters()}
        return {name: self.weights[name] for name, p in self.net.named_parameters() if id(p) in wanted}

    def next_batch(self) -> StackedBatch:
        drawn = [next(order) for order in self._orders]
        data = self.problem.data
        index = {task: np.stack([at[task] for at in drawn]) for task in self.tasks}
        return {task: (data[task].images[at], data[task].answers[at]) for task, at in index.items()}

    def losses(self, weights: Weights, batch: StackedBatch) -> Float[Tensor, "T R"]:
        """Mean loss of every task in every net."""

        def one(state: Weights, part: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
            found = self.problem.losses(lambda pictures: self._answer(state, pictures), dict(part))
            return {task: loss.mean() for task, loss in found.items()}

        found = vmap(one)(weights, batch)
        return torch.stack([found[task] for task in self.tasks])

    def train(self, watch: Callable[[int, StackedBatch], Any] = lambda step, batch: None) -> None:
        """Minimise the sum of the losses for the problem's number of steps; ``watch`` is called before each."""
        optimizer = torch.optim.Adam(list(self.weights.values()), lr=self.problem.lr, foreach=True)
        for step in range(self.problem.steps):
            batch = self.next_batch()
            watch(step, batch)
            optimizer.zero_grad()
            # Nets are independent: the gradient of the sum over nets is each net's own.
            self.losses(self.weights, batch).sum().backward()
            optimizer.step()

    def test(self) -> tuple[Float[np.ndarray, "T R"], Float[np.ndarray, "T R"]]:
        """Score (see :meth:`Sharing.score`) and mean loss of every net on every task's test pictures."""
        scores, losses = [], []
        for task in self.tasks:
            data = self.problem.data[task]
            with torch.no_grad():
                outputs = vmap(self._answer, in_dims=(0, None))(self.weights, {task: data.test_images})[task]
                scores.append([self.problem.score(task, output) for output in outputs])
                losses.append([self.problem.test_loss(task, output) for output in outputs])
        return np.array(scores), np.array(losses)

    def _answer(self, state: Weights, pictures: Any) -> dict[str, Tensor]:
        return functional_call(self.net, state, (pictures,))
