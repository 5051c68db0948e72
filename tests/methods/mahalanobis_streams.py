"""Small nets and streams of tasks, for the tests of Mahalanobis continual."""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from torch import nn

from workbench.methods.mahalanobis_continual import (
    GrowingNet,
    MahalanobisContinual,
    MahalanobisHead,
)

seeds = st.integers(0, 2**31 - 1)


def drawn(seed, b=5, c=4, r=3, d=6):
    """Features [B, D], centres [C, D], factors [C, R, D], biases [C] in float64."""
    draw = torch.Generator().manual_seed(seed)
    shapes = ((b, d), (c, d), (c, r, d), (c,))
    return [torch.randn(shape, generator=draw, dtype=torch.float64) for shape in shapes]


def rotation(seed, d):
    draw = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(d, d, generator=draw, dtype=torch.float64))[0]


def net_of(head, width=6, normalised=False):
    layers = [nn.Linear(4, width), *([nn.BatchNorm1d(width)] if normalised else []), nn.Tanh()]
    return GrowingNet(nn.Sequential(*layers), head)


def stream(seed, n_tasks=3, n=24):
    """Examples of two classes a task."""
    draw = torch.Generator().manual_seed(seed)
    for task in range(n_tasks):
        labels = 2 * task + torch.arange(n) % 2
        yield torch.randn(n, 4, generator=draw) + labels[:, None], labels


def trained(config, head=None, n_tasks=3, steps=6, seed=0):
    """A learner after a short stream, and every loss on the way."""
    torch.manual_seed(seed)
    learner = MahalanobisContinual(net_of(head or MahalanobisHead(6, 3, 1.0)), config)
    history = []
    for x, labels in stream(seed, n_tasks):
        learner.begin_task(x, labels)
        optimizer = torch.optim.Adam([p for p in learner.net.parameters() if p.requires_grad], lr=0.01)
        for _ in range(steps):
            losses = learner.losses(x, labels)
            history.append({name: loss.detach().clone() for name, loss in losses.items()})
            optimizer.zero_grad()
            sum(loss.mean() for loss in losses.values()).backward()
            optimizer.step()
            learner.after_step()
    return learner, history


def parameters(net):
    return [value.clone() for value in net.state_dict().values()]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
