"""Find GradSplit's relation by trial trainings: whom does it cost nothing to let into a task's filters?"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from workbench.demos.data.digits import Digits
from workbench.demos.data.pairs import Pairs, draw_pairs
from workbench.demos.recipe import Job, Stopped
from workbench.demos.recipes.gradsplit.nets import Branched
from workbench.demos.recipes.gradsplit.problem import Problem, losses_of, scores_of
from workbench.demos.trainer import Training
from workbench.methods.gradsplit import GradSplit, relation_by_trials

#: A trial takes one step where the run takes this many; pairs a task that it is judged on.
SHORTER, N_JUDGED = 4, 500
#: Share of a task's training digits that trials do not train on.
ASIDE = 0.2


def tried_relation(
    job: Job, net: Branched, problem: Problem, training: Training, layers: Sequence[str]
) -> Bool[Tensor, "T T"]:
    """A of trials on copies of the net; the net itself, and the numbers drawn by the training to come, stay as are."""
    rng = np.random.default_rng((job.seed, 3))
    parts = {task: digits.split(round(ASIDE * len(digits)), rng) for task, digits in problem.training.items()}
    judged = {task: draw_pairs(aside, N_JUDGED, rng) for task, (_, aside) in parts.items()}
    digits = {task: rest for task, (rest, _) in parts.items()}
    score = partial(_trial, job, net, digits, judged, training, layers)
    return relation_by_trials(score, len(problem.tasks))


def _trial(
    job: Job,
    net: Branched,
    digits: Mapping[str, Digits],
    judged: Mapping[str, Pairs],
    training: Training,
    layers: Sequence[str],
    relation: Bool[Tensor, "T T"],
) -> Float[Tensor, " T"]:
    """Every task's score on its pairs set aside after a short training; the same batches in every trial."""
    net = copy.deepcopy(net)
    rng = np.random.default_rng((job.seed, 4))
    optimizer = training.optimizer_for(net)
    method = GradSplit(net, [net.layer(name) for name in layers], list(digits), relation)
    for _ in range(max(1, job.variant.steps // SHORTER)):
        if job.stop():
            raise Stopped
        optimizer.zero_grad()
        batch = {task: draw_pairs(own, training.batch, rng) for task, own in digits.items()}
        method.backward(losses_of(net, batch, {}))
        optimizer.step()
    return torch.tensor([scores_of(net, [task], pairs)[task] for task, pairs in judged.items()])
