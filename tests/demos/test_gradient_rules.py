"""Gradient rules: the plain sum, TorchJD's aggregators on the shared part, and clear answers to unknown names."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from workbench.core import ConfigError
from workbench.demos.gradient_rules import Combined, gradient_rule, plain_sum


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.left, self.right = nn.Linear(5, 4), nn.Linear(4, 1), nn.Linear(4, 1)
        self.spare = nn.Parameter(torch.ones(2))

    def losses(self, x):
        features = self.trunk(x).tanh()
        return {"left": self.left(features).square()[:, 0], "right": (self.right(features)[:, 0] - 1).square()}


@pytest.fixture
def net():
    torch.manual_seed(0)
    return TwoHeads()


@pytest.fixture
def x():
    return torch.randn(16, 5, generator=torch.Generator().manual_seed(1))


def gradients(net):
    return {name: None if p.grad is None else p.grad.clone() for name, p in net.named_parameters()}


def test_the_sum_as_an_aggregator_equals_the_plain_sum(net, x):
    plain_sum(net.losses(x))
    plain = gradients(net)
    net.zero_grad()
    Combined(net, lambda jacobian: jacobian.sum(0))(net.losses(x))
    for name, gradient in gradients(net).items():
        if plain[name] is None:
            assert gradient is None
        else:
            torch.testing.assert_close(gradient, plain[name])


@pytest.mark.parametrize("name", ["UPGrad", "MGDA", "PCGrad"])
def test_an_aggregator_changes_the_shared_part_alone_and_keeps_the_length(net, x, name):
    plain_sum(net.losses(x))
    plain = gradients(net)
    net.zero_grad()
    gradient_rule(name, net)(net.losses(x))
    combined = gradients(net)
    trunk = [torch.cat([g["trunk.weight"].flatten(), g["trunk.bias"]]) for g in (plain, combined)]
    torch.testing.assert_close(trunk[0].norm(), trunk[1].norm())
    for part in ("left.weight", "right.bias"):
        torch.testing.assert_close(plain[part], combined[part])


def test_upgrad_hurts_no_task_on_opposed_gradients():
    net = nn.Linear(2, 1, bias=False)
    jacobian = torch.tensor([[1.0, 0.2], [-0.8, 0.2]])
    losses = {name: (net.weight @ row)[0:1] for name, row in zip("ab", jacobian, strict=True)}
    gradient_rule("UPGrad", net)(losses)
    assert (jacobian @ net.weight.grad[0]).min() > -1e-6


def test_an_unknown_rule_is_answered_with_the_known_ones(net):
    with pytest.raises(ConfigError, match=r"called 'Magic'. Rules: sum, .*UPGrad"):
        gradient_rule("Magic", net)
