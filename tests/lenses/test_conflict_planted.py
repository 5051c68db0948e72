"""A real net with a block through which two tasks want opposite things: the lens points at that block alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from workbench.core import Run
from workbench.diagnostics.recorder import Recorder
from workbench.lenses.base import read
from workbench.lenses.conflict import LENS


class Trunk(nn.Module):
    """Three blocks, each with inputs of its own; their outputs are added."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.planted, self.last = (
            nn.Sequential(nn.Linear(6, 12, bias=False), nn.Tanh(), nn.Linear(12, 4, bias=False)) for _ in range(3)
        )

    def forward(self, x: Tensor) -> Tensor:
        parts = x.split(6, dim=1)
        return sum(block(part) for block, part in zip(self.children(), parts, strict=True))


def batch(truth: nn.Module, n: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Both tasks want the same of the first and the last inputs, and opposite things of the inputs in between."""
    x = torch.randn(n, 18)
    with torch.no_grad():
        first, planted, last = (block(part) for block, part in zip(truth.children(), x.split(6, dim=1), strict=True))
    noise = 0.3 * torch.randn(2, n, 4)
    return {
        "left": (x, 3 * (first + planted + last) + noise[0]),
        "right": (x, 3 * (first - planted + last) + noise[1]),
    }


# At the start, on the way, and where the sum of the losses falls no more: there the other blocks have learned what they
# are for, so that no gradient is left in them.
@pytest.mark.parametrize("trained", [0, 60, 400])
def test_the_planted_block_is_located(tmp_path, trained):
    torch.manual_seed(0)
    truth, trunk = Trunk(), Trunk()
    optimizer = torch.optim.SGD(trunk.parameters(), lr=0.01)

    def losses(n: int) -> dict[str, Tensor]:
        return {task: (trunk(x) - y).square().mean(1) for task, (x, y) in batch(truth, n).items()}

    begin = sum(loss.mean().item() for loss in losses(1024).values())
    with Recorder(tmp_path / "run", tasks=["left", "right"]) as rec:
        for step in range(trained + 8):
            if step >= trained:
                rec.task_gradients(step, losses(256), trunk, n_batches=8, modules=["first", "planted", "last"])
            optimizer.zero_grad()
            sum(loss.mean() for loss in losses(64).values()).backward()
            optimizer.step()
    end = sum(loss.mean().item() for loss in losses(1024).values())
    assert end < {0: 1.0, 60: 0.8, 400: 0.3}[trained] * begin
    reading = read(Run(tmp_path / "run"), LENS)
    called = [reading.stats.modules[at] for at in range(3) if reading.stats.called[at, 0]]
    assert called == ["planted"]
    assert "planted" in reading.verdict.sentence
