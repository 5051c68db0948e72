"""What the replay board predicts of a method against the true change of a step along it, on three nets.

Weights come from one half of the mini-batches, as recorded; the step is really taken, and the change is measured on the
samples of the other half.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from workbench.diagnostics import gramian
from workbench.lenses.conflict.aggregators import BY_NAME
from workbench.lenses.conflict.replay import halves

METHODS = ("MGDA", "UPGrad", "PCGrad", "CAGrad", "IMTL-G")


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        # Smooth: where a step carries a ReLU over its kink, the error no longer falls in proportion to the step.
        self.layer = nn.TransformerEncoderLayer(4, 2, 12, dropout=0.0, activation="gelu", batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.unflatten(1, (4, 4))).flatten(1)


TRUNKS = {
    "tanh": lambda: nn.Sequential(nn.Linear(16, 24), nn.Tanh(), nn.Linear(24, 16), nn.Tanh()),
    "convolutional": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 6, 3, padding=1), nn.GroupNorm(2, 6), nn.SiLU(), nn.Flatten(),
        nn.Linear(96, 16),
    ),
    "attention": Attention,
}  # fmt: skip


def mean_losses(trunk: nn.Module, heads: nn.ModuleList, x: Tensor, y: Tensor) -> Tensor:
    """Mean loss of every task, [T]."""
    z = trunk(x)
    return torch.stack([cross_entropy(head(z), y[:, task]) for task, head in enumerate(heads)])


@pytest.mark.parametrize("name", TRUNKS)
def test_predicted_changes_of_methods_meet_the_true_one_step_changes(name):
    torch.manual_seed(0)
    trunk, heads = TRUNKS[name]().double(), nn.ModuleList([nn.Linear(16, n) for n in (3, 2, 4)]).double()
    x = torch.randn(64, 16, dtype=torch.float64)
    y = torch.stack([torch.randint(n, (64,)) for n in (3, 2, 4)], dim=1)
    z = trunk(x)
    per_sample = {f"t{task}": cross_entropy(head(z), y[:, task], reduction="none") for task, head in enumerate(heads)}
    found = halves(gramian.measure(per_sample, trunk, n_batches=4).dot.sum(axis=0, keepdims=True))
    # Sample i is in mini-batch i mod 4, so the even mini-batches hold the even samples.
    (own, held), parameters = ((x[0::2], y[0::2]), (x[1::2], y[1::2])), list(trunk.parameters())
    start = [p.detach().clone() for p in parameters]
    before = mean_losses(trunk, heads, *held).detach()
    for method in METHODS:
        w = BY_NAME[method].weights(found.aa[0])
        errors = {}
        for lr in (0.1, 0.01, 0.005):
            step = torch.autograd.grad(torch.as_tensor(w) @ mean_losses(trunk, heads, *own), parameters)
            with torch.no_grad():
                for p, by in zip(parameters, step, strict=True):
                    p -= lr * by
                true = (mean_losses(trunk, heads, *held) - before).numpy()
                for p, value in zip(parameters, start, strict=True):
                    p.copy_(value)
            errors[lr] = np.abs(-lr * found.ba[0] @ w - true).sum() / np.abs(true).sum()
        # First order: a few per cent at a step of 0.01, and linear in the step.
        assert errors[0.01] < 0.05, (method, errors)
        assert errors[0.005] < 0.6 * errors[0.01], (method, errors)
        assert errors[0.1] > 3 * errors[0.01], (method, errors)
