from __future__ import annotations

import pytest
import torch

from workbench.core import ConfigError, Run
from workbench.demos.nets import Net, NetSpec, load_net, save_net
from workbench.diagnostics.recorder import Recorder

SPEC = NetSpec({"digit": 10, "parity": 2, "rebuild": 0}, channels=3, size=(28, 36), width=8, features=12)


def test_every_head_answers_in_its_own_form():
    outputs = Net(SPEC)(torch.rand(5, 3, 28, 36))
    assert {task: tuple(output.shape) for task, output in outputs.items()} == {
        "digit": (5, 10),
        "parity": (5, 2),
        "rebuild": (5, 3, 28, 36),
    }


def test_a_samples_output_does_not_depend_on_its_batch():
    torch.manual_seed(0)
    net, images = Net(SPEC), torch.rand(6, 3, 28, 36)
    torch.testing.assert_close(net(images)["digit"][2:3], net(images[2:3])["digit"])


def test_a_saved_net_is_loaded_as_it_was(tmp_path):
    torch.manual_seed(0)
    net, images = Net(SPEC).eval(), torch.rand(2, 3, 28, 36)
    with Recorder(tmp_path / "run") as rec:
        save_net(rec, 40, net)
    loaded = load_net(Run(tmp_path / "run").checkpoints()[40])
    assert loaded.spec == SPEC
    assert torch.equal(loaded(images)["rebuild"], net(images)["rebuild"])


def test_a_net_without_heads_is_refused():
    with pytest.raises(ConfigError, match="at least one head"):
        NetSpec({})
