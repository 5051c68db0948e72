"""Small problems of which the truth is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from workbench.forecast import Problem

WIDTH = 12


class Blocks(nn.Module):
    """Two blocks side by side: both tasks read their answer to one question from each, through the same parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.agree = nn.Sequential(nn.Linear(WIDTH, 8), nn.Tanh(), nn.Linear(8, 1))
        self.fight = nn.Sequential(nn.Linear(WIDTH, 8), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.agree(x)[:, 0], self.fight(x)[:, 0]


def pictures(n_batches: int = 40, size: int = 64) -> Callable[[int], Iterator[Tensor]]:
    def batches(seed: int) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(1000 + seed)
        for _ in range(n_batches):
            yield torch.randn(size, WIDTH, generator=generator)

    return batches


def opposed(opposite: bool = True) -> Problem:
    """Both tasks want the same of block "agree"; of block "fight" they want opposite things (or the same)."""
    sign = -1.0 if opposite else 1.0

    def losses(model: Blocks, x: Tensor) -> dict[str, Tensor]:
        first, second = model(x)
        wanted = 2 * x[:, 0] + x[:, 1]
        same = (first - wanted) ** 2
        return {"up": same + (second - wanted) ** 2, "down": same + (second - sign * wanted) ** 2}

    return Problem(
        tasks=["up", "down"],
        build_model=lambda seed: Blocks(),
        shared=lambda model: {"agree": model.agree, "fight": model.fight},
        batches=pictures(),
        losses=losses,
        optimizer=lambda model: torch.optim.Adam(model.parameters(), lr=0.01),
        name="opposed",
    )


class Trunk(nn.Module):
    def __init__(self, tasks: Sequence[str], width: int = 32) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(WIDTH, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.heads = nn.ModuleDict({task: nn.Linear(width, 1) for task in tasks})


def regression(targets: Mapping[str, Callable[[Tensor], Tensor]], **more: Any) -> Problem:
    """Numbers to predict from one input through a wide trunk, each with its own head."""
    tasks = list(targets)

    def losses(model: Trunk, x: Tensor) -> dict[str, Tensor]:
        features = model.trunk(x)
        return {task: (model.heads[task](features)[:, 0] - targets[task](x)) ** 2 for task in tasks}

    given: dict[str, Any] = {
        "tasks": tasks,
        "build_model": lambda seed: Trunk(tasks),
        "shared": lambda model: model.trunk,
        "batches": pictures(),
        "losses": losses,
        "optimizer": lambda model: torch.optim.Adam(model.parameters(), lr=0.005),
    }
    return Problem(**(given | more))
