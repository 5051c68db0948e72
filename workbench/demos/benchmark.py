"""What recording costs the training of the recipe digit-pairs: its net, its pictures, its losses, its batch size.

A case for :mod:`workbench.diagnostics.benchmark.recording`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from workbench.demos.data import mnist
from workbench.demos.data.digits import Digits
from workbench.demos.data.pairs import PAIR_SIZE, draw_pairs
from workbench.demos.nets import Net, NetSpec
from workbench.demos.recipes.digit_pairs.training import N_TEST_DIGITS, TASKS, TRAINING, losses_on


@dataclass
class PairsTraining:
    """The joint training of the recipe: every call of :meth:`losses` draws a batch of pictures."""

    net: Net
    digits: Digits
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    @property
    def trunk(self) -> nn.Module:
        return self.net.trunk

    @property
    def heads(self) -> nn.Module:
        return self.net.heads

    def losses(self) -> dict[str, Tensor]:
        return losses_on(self.net, draw_pairs(self.digits, TRAINING.batch, self.rng))


@dataclass(frozen=True)
class DigitPairs:
    """The recipe as a case."""

    name: str = f"recipe digit-pairs, B={TRAINING.batch}, T={len(TASKS)}"

    def build(self) -> PairsTraining:
        torch.manual_seed(0)
        train, _ = mnist().split(N_TEST_DIGITS, np.random.default_rng(0))
        spec = NetSpec({task.name: len(task.classes) for task in TASKS}, size=PAIR_SIZE, width=12, features=64)
        return PairsTraining(Net(spec), train)
