"""A small net and three domains of digits, for the tests of GSNR dropout."""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from workbench.methods.gsnr_dropout import (
    GsnrDropout,
)

seeds = st.integers(0, 2**31 - 1)
ratios = st.floats(0, 0.99)
DOMAINS = ("north", "south", "west")


def drawn(seed, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def small_net(seed=0, dtype=torch.float32):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 3)).to(dtype)


class Digits:
    """Batches of three domains, drawn anew at each step; ``losses`` is what the method calls."""

    def __init__(self, net, seed=0, n=10, dtype=torch.float32):
        self.net, self.n, self.dtype = net, n, dtype
        self.draws = torch.Generator().manual_seed(seed)
        self.next()

    def next(self):
        self.batch = {
            domain: (
                torch.randn(self.n, 6, generator=self.draws, dtype=self.dtype) + place,
                torch.randint(3, (self.n,), generator=self.draws),
            )
            for place, domain in enumerate(DOMAINS)
        }

    @property
    def now(self):
        return self.losses(dict(self.net.named_parameters()), DOMAINS)

    def losses(self, parameters, domains):
        return {
            domain: cross_entropy(functional_call(self.net, parameters, (x,)), y, reduction="none")
            for domain, (x, y) in self.batch.items()
            if domain in domains
        }


def step(method, data):
    return method.backward(data.now, data.losses)


def trained(config, steps=6, momentum=0.9, seed=0):
    """Parameters after some steps, and the method."""
    net = small_net()
    data, method = Digits(net), GsnrDropout(net, config, seed=seed)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=momentum)
    for _ in range(steps):
        data.next()
        optimizer.zero_grad()
        step(method, data)
        optimizer.step()
    return [parameter.detach().clone() for parameter in net.parameters()], method


def plainly_trained(steps=6, momentum=0.9):
    """The baseline, written out: no part of the method takes part in it."""
    net = small_net()
    data = Digits(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=momentum)
    for _ in range(steps):
        data.next()
        losses = [cross_entropy(net(x), y) for x, y in data.batch.values()]
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()
        optimizer.step()
    return [parameter.detach().clone() for parameter in net.parameters()]
