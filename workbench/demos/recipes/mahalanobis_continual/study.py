"""A stream of digit tasks, and a learner for each variant. What differs between variants stands in one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from workbench.demos.data.streams import DOMAINS, SEEN, SIDE, UNSEEN, small_digits
from workbench.demos.gradient_rules import gradient_rule
from workbench.demos.recipes.mahalanobis_continual.ewc import ElasticWeights
from workbench.methods.mahalanobis_continual import (
    Config,
    GrowingNet,
    LinearHead,
    MahalanobisContinual,
    MahalanobisHead,
    MovingAverage,
    choose_exemplars,
)

N_TASKS, N_TRAIN, BATCH, WIDTH = 5, 1000, 48, 24
N_CLASSES = 2 * N_TASKS
#: Weight of the past in the average that every run is scored with beside its model.
SCORED_DECAY = 0.99
#: Test domains that are summed up together.
SCOPES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"seen": SEEN, "unseen": UNSEEN} | {name: (name,) for name in UNSEEN}
)


#: Nothing beside the loss of the classes.
REPLAY = Config(distil=0)


@dataclass(frozen=True)
class Setting:
    """What a variant does; chosen on the tuning seeds by the average accuracy in the seen domains.

    Attributes:
        exemplars: Kept of every class, over all seen domains; 0 keeps nothing.
        ewc: Strength of elastic weight consolidation.
        metric_lr: Learning rate of the factors L relative to that of all other parameters.
        balanced: Steps at the end of every task on the exemplars alone, as many of every class, old and new.
    """

    head: Literal["linear", "euclidean", "mahalanobis"]
    config: Config = REPLAY
    exemplars: int = 6
    ewc: float = 0.0
    lr: float = 1e-3
    metric_lr: float = 1.0
    balanced: int = 0


class Study:
    """One variant on one stream: the order of classes, the examples, the learner and the exemplars."""

    def __init__(self, setting: Setting, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.setting, self.rng, self.seed = setting, rng, seed
        self.train, self.test = small_digits(N_TRAIN, rng)
        #: Digits in the order in which they arrive; the net's class i is the digit order[i].
        self.order: Int[np.ndarray, " C"] = rng.permutation(N_CLASSES)
        arrival = np.argsort(self.order)
        self.labels, self.test_labels = arrival[self.train.labels], arrival[self.test.labels]
        self.images, self.test_images = (torch.from_numpy(part.images) for part in (self.train, self.test))
        self.net = GrowingNet(_backbone(), _head(setting))
        self.learner = MahalanobisContinual(self.net, setting.config)
        self.average = MovingAverage(self.net, SCORED_DECAY)
        self.elastic = ElasticWeights(setting.ewc)
        self.memory = np.zeros(0, dtype=np.int64)
        self.task = -1

    @property
    def digits(self) -> list[tuple[int, ...]]:
        """The digits of every task."""
        return [tuple(int(digit) for digit in pair) for pair in self.order.reshape(N_TASKS, -1)]

    def begin_task(self, gradients: str = "") -> None:
        """Meet the classes of the next task."""
        self.task += 1
        self.new = np.flatnonzero(self.labels // 2 == self.task)
        self.learner.begin_task(self.images[self.new], torch.from_numpy(self.labels[self.new]))
        self.average.expand(self.net)
        slow = {"head.factors": self.setting.lr * self.setting.metric_lr}
        groups = [
            {"params": [parameter], "lr": slow.get(name, self.setting.lr)}
            for name, parameter in self.net.named_parameters()
            if parameter.requires_grad
        ]
        # A fresh optimizer, in every variant: the head's parameters are new ones.
        self.optimizer = torch.optim.Adam(groups)
        self.fill_gradients = gradient_rule(gradients, self.net, self.seed)

    def step(self) -> dict[str, float]:
        """One update; returns the terms of the loss, in nats."""
        index = self.rng.choice(self.new, BATCH, replace=False)
        if len(self.memory):
            index = np.concatenate([index, self.rng.choice(self.memory, BATCH, replace=len(self.memory) < BATCH)])
        losses = self.learner.losses(self.images[index], torch.from_numpy(self.labels[index]))
        if self.setting.ewc > 0 and self.task > 0:
            losses["elastic"] = self.elastic.penalty(self.net)
        self.optimizer.zero_grad()
        self.fill_gradients(losses)
        self.optimizer.step()
        self.learner.after_step()
        self.average.update(self.net, warm_up=self.task == 0)
        return {name: float(loss.detach().mean()) for name, loss in losses.items()}

    def end_task(self) -> None:
        """Keep exemplars, and what elastic weights need."""
        if self.setting.exemplars:
            kept = choose_exemplars(
                self.labels[self.new], self.train.domains[self.new], self.setting.exemplars, self.rng
            )
            self.memory = np.concatenate([self.memory, self.new[kept]])
        self.balance()
        if self.setting.ewc > 0:
            self.elastic.remember(self.net, self.images[self.new])

    def balance(self) -> None:
        """Go over the exemplars, in which no class is newer than another."""
        for _ in range(self.setting.balanced if self.task > 0 else 0):
            index = self.rng.choice(self.memory, BATCH, replace=len(self.memory) < BATCH)
            self.optimizer.zero_grad()
            F.cross_entropy(self.net(self.images[index]), torch.from_numpy(self.labels[index])).backward()
            self.optimizer.step()
            self.learner.after_step()
            self.average.update(self.net)

    @torch.no_grad()
    def answers(self, *, averaged: bool) -> Float[Tensor, "N C"]:
        """Scores of every test picture for the classes met so far."""
        return (self.average.net if averaged else self.net)(self.test_images)

    def accuracy(self, answers: Float[Tensor, "N C"]) -> Float[np.ndarray, "G T"]:
        """Share of right answers per test domain and task."""
        right: Bool[np.ndarray, " N"] = answers.argmax(dim=1).numpy() == self.test_labels
        place = self.test.domains * N_TASKS + self.test_labels // 2
        size = len(DOMAINS) * N_TASKS
        return (np.bincount(place, right, size) / np.bincount(place, minlength=size)).reshape(len(DOMAINS), N_TASKS)


def shown_digits(study: Study, per_domain: int) -> Int[np.ndarray, " M"]:
    """Positions of the test pictures that are recorded: no digit in two domains, at most so many of each."""
    n = len(study.test) // len(DOMAINS)
    return np.concatenate([np.arange(n)[d :: len(DOMAINS)][:per_domain] + d * n for d in range(len(DOMAINS))])


def _backbone() -> nn.Module:
    """A small net whose features have length sqrt(D): scores grow with the square of their length."""
    normalised = nn.LayerNorm(WIDTH, elementwise_affine=False)
    return nn.Sequential(nn.Flatten(), nn.Linear(SIDE**2, 96), nn.ReLU(), nn.Linear(96, WIDTH), normalised)


def _head(setting: Setting) -> MahalanobisHead | LinearHead:
    if setting.head == "linear":
        return LinearHead(WIDTH)
    if setting.head == "euclidean":
        return MahalanobisHead(WIDTH, WIDTH, setting.config.start, learn_metric=False)
    return MahalanobisHead(WIDTH, setting.config.rank, setting.config.start)
