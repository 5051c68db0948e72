"""Pairs of digits of which each training set tells one thing only, and how well nets answer all questions.

Every task has its own digits, so no training picture has the answers of two tasks. Pictures have half the resolution of
``data.pairs`` (16 × 20 pixels, with a margin), which leaves the questions answerable and training four times as fast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from workbench.core import Task
from workbench.demos.data import mnist
from workbench.demos.data.digits import Digits, uci
from workbench.demos.data.pairs import Pairs, draw_pairs
from workbench.demos.recipes.gradsplit.nets import Branched
from workbench.demos.trainer import as_pictures

DIGITS = tuple("0123456789")
OVERLAP = ("little", "some", "much")
#: Terciles of the share of ink that both digits cover, over 20,000 pairs of all 5,000 MNIST digits.
OVERLAP_EDGES = (0.061, 0.100)
TASKS = (
    Task("left", classes=DIGITS),
    Task("right", classes=DIGITS),
    Task("parity", classes=("different", "same")),
    Task("overlap", classes=OVERLAP),
    Task("rebuild", kind="reconstruction"),
)
#: Height and width of a picture.
SIZE = (16, 20)
N_TEST_DIGITS, N_TEST = 1000, 1000
#: Brings the squared error of a pixel to the order of the other losses.
REBUILD_WEIGHT = 10.0

#: Task -> its own batch.
Batch = dict[str, Pairs]


@dataclass(frozen=True)
class Problem:
    """The tasks of a run with their training digits, and the pairs of digits on which all of them are tested.

    ``foreign`` are pairs of UCI digits, written, scanned and prepared by others.
    """

    tasks: tuple[Task, ...]
    training: Mapping[str, Digits]
    test: Pairs
    foreign: Pairs

    def draw(self, n: int, rng: np.random.Generator) -> Batch:
        """``n`` pairs for each task, from its own digits."""
        return {task: draw_pairs(digits, n, rng) for task, digits in self.training.items()}


def problem_of(n_tasks: int, rng: np.random.Generator) -> Problem:
    """The first ``n_tasks`` of :data:`TASKS`, the training digits dealt to them in equal, disjoint parts."""
    train, test = mnist().split(N_TEST_DIGITS, rng)
    tasks = TASKS[:n_tasks]
    parts = np.array_split(np.arange(len(train)), n_tasks)
    training = {task.name: train.take(part) for task, part in zip(tasks, parts, strict=True)}
    return Problem(tasks, training, draw_pairs(test, N_TEST, rng), draw_pairs(uci(), N_TEST, rng))


def halved(images: Float32[np.ndarray, "N H W"]) -> Float[Tensor, "N 1 h w"]:
    """Means of 2 × 2 pixels after a margin of 2, as the input of a net."""
    return as_pictures(
        np.pad(images, ((0, 0), (2, 2), (2, 2))).reshape(len(images), SIZE[0], 2, SIZE[1], 2).mean((2, 4))
    )


def targets_of(pairs: Pairs) -> dict[str, np.ndarray]:
    """The right answers of the classifications."""
    overlap = np.digitize(pairs.overlap, OVERLAP_EDGES)
    return {"left": pairs.left, "right": pairs.right, "parity": pairs.same_parity, "overlap": overlap}


def loss_of(task: str, output: Tensor, pairs: Pairs, images: Float[Tensor, "B 1 h w"]) -> Float[Tensor, " B"]:
    """Loss of every sample: nats, or for ``rebuild`` ten times the squared error of a pixel."""
    if task == "rebuild":
        return REBUILD_WEIGHT * mse_loss(output, images, reduction="none").flatten(1).mean(1)
    return cross_entropy(output, torch.from_numpy(targets_of(pairs)[task]), reduction="none")


def losses_of(net: Branched, batch: Batch, weights: Mapping[str, float]) -> dict[str, Float[Tensor, " B"]]:
    """Task -> loss of every sample of its own batch, times its weight (1 where none is given)."""
    found = {}
    for task, pairs in batch.items():
        images = halved(pairs.images)
        found[task] = weights.get(task, 1.0) * loss_of(task, net.answer(task, images), pairs, images)
    return found


def scores_of(net: nn.Module, tasks: Sequence[str], pairs: Pairs) -> dict[str, float]:
    """Task -> accuracy, or for ``rebuild`` the share of the pictures' variance that is explained; both at most 1."""
    images, targets = halved(pairs.images), targets_of(pairs)
    with torch.no_grad():
        outputs = net(images)
    scores = {}
    for task in tasks:
        if task == "rebuild":
            error, spread = (outputs[task] - images).square().sum(), (images - images.mean(0)).square().sum()
            scores[task] = 1 - float(error / spread)
        else:
            scores[task] = float((outputs[task].argmax(1).numpy() == targets[task]).mean())
    return scores
