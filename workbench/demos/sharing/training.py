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
from torch.func import stack_module_state
from torch.nn.functional import leaky_relu

from workbench.demos.sharing.problem import SLOPE, SharedNet, Sharing

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
        found: StackedBatch = {}
        for task in self.tasks:
            data = self.problem.data[task]
            at = torch.from_numpy(np.stack([index[task] for index in drawn]))
            images = next(iter(found.values()))[0] if self.problem.common and found else data.images[at]
            found[task] = (images, data.answers[at])
        return found

    def losses(self, weights: Weights, batch: StackedBatch) -> Float[Tensor, "T R"]:
        """Mean loss of every task in every net."""
        outputs = self.outputs(weights, {task: images for task, (images, _) in batch.items()})
        return torch.stack([self.problem.loss(t, outputs[t], batch[t][1]).mean(dim=1) for t in self.tasks])

    def outputs(self, weights: Weights, pictures: Mapping[str, Float[Tensor, "R B D"]]) -> dict[str, Tensor]:
        """Task -> outputs [R, B, C]: what :class:`SharedNet` computes, for all nets by one product a layer."""
        features: dict[int, Tensor] = {}
        found = {}
        for task, images in pictures.items():
            if id(images) not in features:
                features[id(images)] = self._features(weights, images)
            found[task] = _linear(weights, f"heads.{self.net.head_of[task]}", features[id(images)])
        return found

    def _features(self, weights: Weights, hidden: Float[Tensor, "R B D"]) -> Float[Tensor, "R B F"]:
        for layer in range(len(self.net.trunk)):
            hidden = leaky_relu(_linear(weights, f"trunk.{layer}.0", hidden), SLOPE)
        return hidden

    def train(self, watch: Callable[[int, StackedBatch], Any] = lambda step, batch: None) -> None:
        """Minimise the sum of the losses for the problem's number of steps; ``watch`` is called before each."""
        optimizer = torch.optim.Adam(list(self.weights.values()), lr=self.problem.lr, fused=True)
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
        n = len(self._orders)
        for task in self.tasks:
            data = self.problem.data[task]
            with torch.no_grad():
                outputs = self.outputs(self.weights, {task: data.test_images.expand(n, -1, -1)})[task]
            scores.append([self.problem.score(task, output) for output in outputs])
            losses.append([float(self.problem.loss(task, output, data.test_answers).mean()) for output in outputs])
        return np.array(scores), np.array(losses)


def _linear(weights: Weights, layer: str, hidden: Float[Tensor, "R B D"]) -> Float[Tensor, "R B C"]:
    return torch.baddbmm(weights[f"{layer}.bias"][:, None], hidden, weights[f"{layer}.weight"].mT)
