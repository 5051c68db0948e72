from __future__ import annotations

import torch
from torch import Tensor, nn

from workbench.diagnostics.layers import Layer, layers


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
        self.flat = nn.Flatten()
        self.heads = nn.ModuleDict(
            {"a": nn.Linear(8, 3), "b": nn.Sequential(nn.Linear(8, 4), nn.Tanh(), nn.Linear(4, 2))}
        )
        self.unused = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        seen = self.flat(self.block(x))
        return {task: head(seen) for task, head in self.heads.items()}


def test_layers_come_in_order_under_their_outermost_name_and_outputs_are_left_out():
    net = Net().train()
    found = layers(net, torch.rand(5, 1, 4, 4))
    assert found == (
        Layer("block.0", True, True, False),
        Layer("block", True, False, False),
        Layer("flat", False, False, True),
        Layer("heads.b.0", False, False, False),
        Layer("heads.b.1", False, False, True),
    )
    assert net.training
    assert not net.block._forward_hooks


def test_a_forward_of_the_users_own_and_one_tensor_as_output():
    net = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 2))
    found = layers(net, torch.rand(3, 6), forward=lambda model, x: model(2 * x))
    assert [layer.name for layer in found] == ["0", "1"]
    assert found[1].last


def test_a_layer_that_runs_twice_is_left_out():
    net = Net()
    found = layers(net, torch.rand(5, 1, 4, 4), forward=lambda model, x: {1: model(x)["a"], 2: model(x)["b"]})
    assert [layer.name for layer in found] == []
    once = layers(net, torch.rand(5, 1, 4, 4), forward=lambda model, x: model.heads["a"](model.flat(model.block(x))))
    assert [layer.name for layer in once] == ["block.0", "block", "flat"]
