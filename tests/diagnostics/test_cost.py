"""Parameters and operations of a net against counts by hand."""

from __future__ import annotations

import torch
from torch import nn

from workbench.demos.nets import Net, NetSpec
from workbench.diagnostics.cost import Cost, inference_cost


def test_a_convolution_and_a_linear_layer_counted_by_hand():
    # 3 × 3 convolution from 2 to 5 channels on 6 × 8 pixels: 5·2·9 weights + 5 biases; 2 · 90 · 48 operations.
    # Linear from 5·6·8 = 240 to 7: 1680 weights + 7 biases; 2 · 1680 operations.
    net = nn.Sequential(nn.Conv2d(2, 5, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(240, 7))
    assert inference_cost(net, torch.zeros(1, 2, 6, 8)) == Cost(95 + 1687, 2 * 90 * 48 + 2 * 1680)


def test_a_small_net_of_the_demos_counted_by_hand():
    # 16 × 20 grey pixels, widths 8, 16, 16, features 48, heads of 10 and 2 classes; pooling halves both sides.
    net = Net(NetSpec({"a": 10, "b": 2}, size=(16, 20), width=8, features=48))
    weights = {"conv1": 8 * 9, "conv2": 16 * 8 * 9, "conv3": 16 * 16 * 9, "embed": 48 * 16 * 2 * 2, "heads": 12 * 48}
    pixels = {"conv1": 320, "conv2": 80, "conv3": 20, "embed": 1, "heads": 1}
    biases, norms = 8 + 16 + 16 + 48 + 12, 2 * (8 + 16 + 16)
    cost = inference_cost(net, torch.zeros(1, 1, 16, 20))
    assert cost.parameters == sum(weights.values()) + biases + norms
    assert cost.flops == 2 * sum(weights[name] * pixels[name] for name in weights)


def test_operations_grow_with_the_number_of_samples_and_parameters_do_not():
    net = nn.Linear(4, 3)
    one, five = (inference_cost(net, torch.zeros(n, 4)) for n in (1, 5))
    assert five == Cost(one.parameters, 5 * one.flops)


def test_counting_leaves_the_net_alone():
    net = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2)).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    inference_cost(net, torch.ones(3, 4))
    assert net.training
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
