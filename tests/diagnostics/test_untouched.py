"""Looking at a model leaves its modes, buffers and the random number generators as they were."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

from workbench.diagnostics.untouched import apply, in_batches, random_state_kept, untouched


def a_net() -> nn.Sequential:
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
    net[2].eval()
    return net


def test_modes_and_buffers_come_back_also_after_an_exception():
    net = a_net()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(RuntimeError, match="stop"), untouched(net, training=True):
        net(torch.randn(4, 2))
        raise RuntimeError("stop")
    assert [module.training for module in net.modules()] == [True, True, True, False]
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])


def test_eval_mode_inside():
    net = a_net()
    with untouched(net):
        assert not any(module.training for module in net.modules())
    with untouched(net, training=None):
        assert net.training
        assert not net[2].training


def test_random_numbers_go_on_as_if_nothing_was_drawn():
    states = []
    for draw in (False, True):
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        if draw:
            with random_state_kept():
                torch.rand(3), random.random(), np.random.random()  # noqa: NPY002
        states.append((torch.rand(1).item(), random.random(), np.random.random()))  # noqa: NPY002
    assert states[0] == states[1]


def test_batches_and_calls():
    assert [len(batch) for batch in in_batches(torch.zeros(600, 2))] == [256, 256, 88]
    net = nn.Linear(2, 3)
    x = torch.ones(1, 2)
    for batch in (x, (x, "label"), {"input": x}):
        assert torch.equal(apply(net, batch), net(x))
