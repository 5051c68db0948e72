"""A small net of three tasks and its gradients, for the tests of GradSplit."""

from __future__ import annotations

import copy

import torch
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy

from workbench.methods.gradsplit import (
    Config,
    GradSplit,
)

TASKS = ("a", "b", "c")
OF_FILTERS = Config()
seeds = st.integers(0, 2**31 - 1)


class SmallNet(nn.Module):
    """Two convolutions with norms, a linear layer, and one head a task."""

    def __init__(self, tasks=TASKS, width=6):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.GroupNorm(len(tasks), width), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(len(tasks), width), nn.ReLU())
        self.last = nn.Sequential(nn.Flatten(), nn.Linear(16 * width, width), nn.Tanh())
        self.heads = nn.ModuleDict({task: nn.Linear(width, 3) for task in tasks})

    def forward(self, x):
        features = self.last(self.second(self.first(x)))
        return {task: head(features) for task, head in self.heads.items()}

    @property
    def split(self):
        return [self.second, self.last]

    @property
    def shared(self):
        return [p for name, p in self.named_parameters() if not name.startswith("heads")]


def net_of(seed=0, dtype=torch.float64, **shape):
    torch.manual_seed(seed)
    return SmallNet(**shape).to(dtype)


def batch_of(seed=0, tasks=TASKS, n=5, dtype=torch.float64):
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 1, 4, 4, generator=draw, dtype=dtype)
    return x, {task: torch.randint(3, (n,), generator=draw) for task in tasks}


def losses_of(net, batch):
    x, targets = batch
    return {task: cross_entropy(out, targets[task], reduction="none") for task, out in net(x).items()}


def gradients_of(net, batch, task):
    """The plain gradient of one task's mean loss, by parameter name."""
    net = copy.deepcopy(net)
    net.zero_grad()
    losses_of(net, batch)[task].mean().backward()
    return {name: p.grad for name, p in net.named_parameters()}


def filled(net, batch, relation, config=OF_FILTERS, scale=None):
    net = copy.deepcopy(net)
    net.zero_grad()
    method = GradSplit(net, net.split, TASKS, relation, config)
    losses = losses_of(net, batch)
    method.backward({task: loss * (scale or {}).get(task, 1.0) for task, loss in losses.items()})
    return {name: p.grad for name, p in net.named_parameters()}


def relations(n=3):
    cells = st.lists(st.booleans(), min_size=n * n, max_size=n * n)
    return cells.map(lambda bits: torch.tensor(bits).view(n, n) | torch.eye(n, dtype=torch.bool))
