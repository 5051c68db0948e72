"""CKA between two sets of weights of one model: 1 for equal or rotated representations, near 0 for unrelated ones."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file
from torch import nn

import workbench as wb
from workbench.cli import main
from workbench.core import ConfigError, RunFormatError
from workbench.runs import sample_runs


def build() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


@pytest.fixture
def inputs():
    return torch.randn(300, 6, generator=torch.Generator().manual_seed(1))


def test_equal_weights_are_one_and_prefixes_are_found(tmp_path, inputs):
    net = build()
    save_file(net.state_dict(), tmp_path / "a.safetensors")
    torch.save({"state_dict": {f"model.{k}": v for k, v in net.state_dict().items()}}, tmp_path / "b.ckpt")
    frame = wb.checkpoint_cka(build, tmp_path / "a.safetensors", tmp_path / "b.ckpt", inputs)
    assert frame["layer"].tolist() == ["0", "1", "2", "3"]
    np.testing.assert_allclose(frame[["cka", "low", "high"]], 1.0, atol=1e-6)
    assert frame["samples"].tolist() == [300] * 4


def test_a_rotated_layer_is_one_and_another_net_is_less(tmp_path, inputs):
    net = build()
    save_file(net.state_dict(), tmp_path / "a.safetensors")
    rotation, _ = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(2)))
    with torch.no_grad():
        net[0].weight.copy_(rotation @ net[0].weight)
        net[0].bias.copy_(rotation @ net[0].bias)
    save_file(net.state_dict(), tmp_path / "b.safetensors")
    frame = wb.checkpoint_cka(build, tmp_path / "a.safetensors", tmp_path / "b.safetensors", inputs)
    first, *later = frame["cka"]
    assert first == pytest.approx(1.0, abs=1e-5)
    assert max(later[1:]) < 0.99
    assert (frame["low"] <= frame["cka"]).all()
    (one,) = wb.checkpoint_cka(build, tmp_path / "a.safetensors", tmp_path / "b.safetensors", inputs, ["0"])["layer"]
    assert one == "0"


def test_what_does_not_fit_is_named(tmp_path, inputs):
    save_file({"0.weight": torch.ones(8, 6)}, tmp_path / "a.safetensors")
    with pytest.raises(RunFormatError, match=r"has no tensor for '0\.bias' of the model"):
        wb.checkpoint_cka(build, tmp_path / "a.safetensors", tmp_path / "a.safetensors", inputs)
    state = build().state_dict()
    save_file(state | {"0.weight": torch.ones(8, 5)}, tmp_path / "b.safetensors")
    with pytest.raises(RunFormatError, match=r"'0\.weight' has the shape \(8, 5\), the model wants \(8, 6\)"):
        wb.checkpoint_cka(build, tmp_path / "b.safetensors", tmp_path / "b.safetensors", inputs)
    save_file(state, tmp_path / "c.safetensors")
    with pytest.raises(ConfigError, match="at least 16 inputs"):
        wb.checkpoint_cka(build, tmp_path / "c.safetensors", tmp_path / "c.safetensors", inputs[:5])


def test_two_recorded_nets_are_compared_in_the_terminal():
    runs = sample_runs() / "digit-domains"
    arguments = ["checkpoints", str(runs / "without-uci"), str(runs / "without-photographs"), "--cka", "--json"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    rows = json.loads(done.output)
    assert {row["layer"].split(".")[0] for row in rows} == {"trunk", "heads"}
    assert all(0 < row["cka"] < 1 for row in rows)
