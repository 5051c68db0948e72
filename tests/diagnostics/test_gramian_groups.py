"""Channel groups of whole blocks, and recorded by the recorder under the names of the network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from workbench.core import ConfigError, Run
from workbench.diagnostics.gramian import channel_groups
from workbench.diagnostics.recorder import Recorder


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential()
        self.trunk.block = nn.Sequential(nn.Linear(5, 6), nn.LayerNorm(6), nn.Tanh())
        self.trunk.top = nn.Linear(6, 4)


def test_a_block_is_cut_channel_by_channel():
    groups = channel_groups(Net().trunk, 2, ["block", "top"])
    assert list(groups) == ["block[0:3]", "block[3:6]", "top[0:2]", "top[2:4]"]
    # Weight and bias of the layer, scale and shift of its norm: 3 · (5 + 1 + 1 + 1).
    assert sum(piece.n_parameters for piece in groups["block[0:3]"]) == 24


def test_a_block_of_unlike_layers_cannot_be_cut_as_one():
    net = nn.Sequential(nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 4)))
    with pytest.raises(ConfigError, match="differ in their number of channels"):
        channel_groups(net, 2, ["0"])


def test_recorded_groups_carry_the_names_of_the_network_and_sum_to_its_layers(tmp_path):
    torch.manual_seed(0)
    net = Net()
    out = net.trunk(torch.randn(12, 5))
    losses = {"a": out[:, :2].square().sum(1), "b": out[:, 1:].sum(1)}
    with Recorder(tmp_path / "cut", tasks=["a", "b"], model=net) as rec:
        cut = rec.task_gradients(0, losses, net.trunk, n_batches=2, modules=["block", "top"], groups=2)
        whole = rec.task_gradients(1, losses, net.trunk, n_batches=2, modules=["block", "top"])
        with pytest.raises(ConfigError, match="groups="):
            rec.task_gradients(2, losses, {"top": net.trunk.top}, groups=2)
    assert cut.modules == ("trunk.block[0:3]", "trunk.block[3:6]", "trunk.top[0:2]", "trunk.top[2:4]")
    np.testing.assert_allclose(cut.dot.reshape(2, 2, *cut.dot.shape[1:]).sum(axis=1), whole.dot, rtol=1e-5, atol=1e-7)
    assert {module.name for module in Run(tmp_path / "cut").info.modules} == {*cut.modules, *whole.modules}


def test_a_mapping_cuts_the_layers_that_it_names_and_leaves_the_others_whole(tmp_path):
    torch.manual_seed(0)
    net = Net()
    out = net.trunk(torch.randn(12, 5))
    losses = {"a": out[:, :2].square().sum(1), "b": out[:, 1:].sum(1)}
    with Recorder(tmp_path / "cut", tasks=["a", "b"], model=net) as rec:
        mixed = rec.task_gradients(0, losses, net.trunk, n_batches=2, modules=["block", "top"], groups={"top": 2})
        whole = rec.task_gradients(1, losses, net.trunk, n_batches=2, modules=["block", "top"])
        with pytest.raises(ConfigError, match="'tpo'"):
            rec.task_gradients(2, losses, net.trunk, groups={"tpo": 2})
    assert mixed.modules == ("trunk.block", "trunk.top[0:2]", "trunk.top[2:4]")
    np.testing.assert_allclose(mixed.dot[0], whole.dot[0], rtol=1e-6)
    np.testing.assert_allclose(mixed.dot[1:].sum(axis=0), whole.dot[1], rtol=1e-5, atol=1e-7)
