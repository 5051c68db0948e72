"""Train all tasks together for a while to see who helps whom and where they conflict, before the real training begins.

GradSplit takes its relation from it, and the split after Recon its layers, so that both rest on the same evidence.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from workbench.demos.recipe import Job, Stopped
from workbench.demos.recipes.gradsplit.baselines import conflicts, flat_gradient
from workbench.demos.recipes.gradsplit.nets import LAYERS, Branched
from workbench.demos.recipes.gradsplit.problem import Batch, Problem, losses_of
from workbench.demos.trainer import Training
from workbench.methods.gradsplit import influence

#: How often the net is looked at, on how many samples a task, and how many looks fit into the steps of the run.
LOOKS, SAMPLES, LOOKS_PER_RUN = 10, 128, 27


@dataclass(frozen=True)
class Watched:
    """What was seen at S looks.

    Attributes:
        steps: Of the joint training, at which it was looked at.
        influence: Z of each look.
        scores: Layer -> mean number of pairs of tasks in conflict there (Recon's score).
    """

    steps: Int[np.ndarray, " S"]
    influence: Float[Tensor, "S T T"]
    scores: Mapping[str, float]


def watch(job: Job, net: Branched, problem: Problem, training: Training, weights: Mapping[str, float]) -> Watched:
    """Watch a copy of the net; the net itself, and the numbers drawn by the training to come, stay as they are."""
    net = copy.deepcopy(net)
    rng = np.random.default_rng((job.seed, 1))
    optimizer = training.optimizer_for(net)
    seen, counts = [], []
    every = max(1, job.variant.steps // LOOKS_PER_RUN)
    for step in range(1, LOOKS * every + 1):
        if job.stop():
            raise Stopped
        if step % every == 0:
            probe = problem.draw(SAMPLES, rng)
            seen.append(influence(net, list(net.trunk.parameters()), partial(_means, net, probe, weights)))
            counts.append(_conflicts(net, probe, weights))
        optimizer.zero_grad()
        torch.stack(list(_means(net, problem.draw(training.batch, rng), weights).values())).sum().backward()
        optimizer.step()
    scores = dict(zip(LAYERS, np.mean(counts, axis=0).tolist(), strict=True))
    return Watched(every * np.arange(1, LOOKS + 1), torch.stack(seen), scores)


def _means(net: Branched, batch: Batch, weights: Mapping[str, float]) -> dict[str, Tensor]:
    return {task: loss.mean() for task, loss in losses_of(net, batch, weights).items()}


def _conflicts(net: Branched, batch: Batch, weights: Mapping[str, float]) -> list[int]:
    means = _means(net, batch, weights).values()
    return [
        conflicts(torch.stack([flat_gradient(mean, list(net.layer(name).parameters())) for mean in means]))
        for name in LAYERS
    ]
