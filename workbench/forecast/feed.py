"""The batches of one seed: the same training batches for every trajectory, and held-out ones to judge by.

All trajectories of a seed start from the same weights and see the same batches in the same order, so that their
difference is what sharing does, not the luck of the draw (common random numbers).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from workbench.diagnostics.untouched import untouched
from workbench.forecast.plan import HELD_OUT
from workbench.forecast.problem import Problem

#: Training batches kept in memory take at most so much; beyond that the kept ones come again in another order.
MAX_BYTES = 1 << 30


@dataclass(frozen=True)
class Feed:
    """Training batches and held-out batches; ``unseen``: the latter are no training batches."""

    training: tuple[Any, ...]
    held_out: tuple[Any, ...]
    unseen: bool
    seed: int

    def batch(self, step: int) -> Any:
        """The training batch of a step; each pass over the kept batches has its own order."""
        n = len(self.training)
        turn, place = divmod(step, n)
        if turn == 0:
            return self.training[place]
        return self.training[int(np.random.default_rng((self.seed, turn)).permutation(n)[place])]


def draw(problem: Problem, seed: int, n_steps: int, n_held_out: int = HELD_OUT) -> Feed:
    """Batches for trajectories of ``n_steps`` steps.

    Held out are the first batches of ``validation`` where the problem has it, else of the pass over ``batches``, at
    most a quarter of it. With fewer than four batches a pass nothing can be held out: the training batches judge.
    """
    wanted = n_steps + (0 if problem.validation else n_held_out)
    drawn: list[Any] = []
    size = 0
    for batch in islice(problem.one_pass(seed), wanted):
        drawn.append(batch)
        size += n_bytes(batch)
        if size > MAX_BYTES and len(drawn) > n_held_out:
            break
    if problem.validation is not None:
        held = tuple(islice(problem.one_pass(seed, "validation"), n_held_out))
        return Feed(tuple(drawn), held, True, seed)
    n_held = min(n_held_out, len(drawn) // 4)
    if n_held == 0:
        return Feed(tuple(drawn), tuple(drawn), False, seed)
    return Feed(tuple(drawn[n_held:]), tuple(drawn[:n_held]), True, seed)


def judged(
    problem: Problem, model: nn.Module, batches: Sequence[Any], tasks: tuple[str, ...]
) -> Float[np.ndarray, " T"]:
    """Mean loss of each task over all samples of some batches, in eval mode; batch statistics stay those of a batch.

    Running statistics say little after a few steps, so layers that have them judge as they train.
    """
    sums, counts = np.zeros(len(tasks)), np.zeros(len(tasks))
    with untouched(model), torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.train()
        for batch in batches:
            for i, loss in enumerate(problem.task_losses(model, batch, tasks).values()):
                sums[i] += float(loss.double().sum())
                counts[i] += loss.numel()
    return sums / counts


def n_bytes(value: Any) -> int:
    """Memory of the tensors inside tuples, lists and mappings."""
    if isinstance(value, Tensor):
        return value.element_size() * value.nelement()
    if isinstance(value, Mapping):
        return sum(n_bytes(item) for item in value.values())
    if isinstance(value, (tuple, list)):
        return sum(n_bytes(item) for item in value)
    return 0
