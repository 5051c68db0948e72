"""Checkpoints open without running anything, and say what changed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from workbench.core import RunFormatError
from workbench.runs.checkpoints import changes, find_checkpoints, open_checkpoint

REAL = Path(__file__).resolve().parents[3] / "shared" / "real_runs"


def _state(scale=1.0):
    return {"conv.weight": scale * torch.ones(2, 3), "conv.bias": torch.tensor([0.0, 2.0])}


def test_names_shapes_and_norms(tmp_path):
    save_file(_state(), tmp_path / "a.safetensors")
    frame = open_checkpoint(tmp_path / "a.safetensors").frame().set_index("tensor")
    assert frame.loc["conv.weight", "shape"] == "2×3"
    assert frame.loc["conv.weight", "norm"] == pytest.approx(np.sqrt(6))
    assert frame.loc["conv.bias", "parameters"] == 2


def test_changes_between_two_formats(tmp_path):
    save_file(_state() | {"old": torch.ones(1)}, tmp_path / "a.safetensors")
    content = {"state_dict": _state(-2.0) | {"new": torch.ones(1)}, "epoch": 3, "optimizer": {"lr": 0.1}}
    torch.save(content, tmp_path / "b.ckpt")
    after = open_checkpoint(tmp_path / "b.ckpt")
    assert after.other == ("epoch", "optimizer")
    frame = changes(open_checkpoint(tmp_path / "a.safetensors"), after).set_index("tensor")
    # From 1 to -2 is a change of 3, in the opposite direction.
    assert frame.loc["conv.weight", ["relative_change", "cosine"]].tolist() == pytest.approx([3, -1])
    assert frame["status"].to_dict() == {
        "conv.weight": "changed",
        "conv.bias": "same",
        "new": "added",
        "old": "removed",
    }


def test_sharded_and_bfloat16(tmp_path):
    save_file({"a": torch.tensor([1.5, -2.0], dtype=torch.bfloat16)}, tmp_path / "model-1.safetensors")
    save_file({"b": torch.ones(3)}, tmp_path / "model-2.safetensors")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert [file.name for file in find_checkpoints(tmp_path)] == ["model.safetensors.index.json"]
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.load("a").tolist() == [1.5, -2.0]
    assert dict(checkpoint.shapes) == {"a": (2,), "b": (3,)}


def test_a_shard_outside_the_folder_is_refused(tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../secret.safetensors"}}))
    with pytest.raises(RunFormatError, match="outside its own folder"):
        open_checkpoint(tmp_path / "model.safetensors.index.json")


class _Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


def test_a_pickle_that_would_run_code_is_refused_and_nothing_ran(tmp_path):
    mark = tmp_path / "ran"
    torch.save({"state_dict": _state(), "extra": _Trap(mark)}, tmp_path / "evil.ckpt")
    with pytest.raises(RunFormatError, match=r"evil\.ckpt was not opened.*could run code(.|\n)*convert it"):
        open_checkpoint(tmp_path / "evil.ckpt")
    assert not mark.exists()


@pytest.mark.parametrize("name", ["a.safetensors", "a.ckpt"])
@given(cut=st.integers(0, 5000), flip=st.integers(0, 255))
def test_damage_ends_in_one_clear_error_or_in_tensors(tmp_path_factory, name, cut, flip):
    file = tmp_path_factory.mktemp("damage") / name
    save_file(_state(), file) if name.endswith("safetensors") else torch.save(_state(), file)
    data = bytearray(file.read_bytes())
    data[cut % len(data)] ^= flip
    file.write_bytes(bytes(data[: max(1, cut % len(data))]) if flip % 2 else bytes(data))
    try:
        open_checkpoint(file).frame()
    except RunFormatError as error:
        assert name in str(error)


def test_what_is_no_checkpoint_is_said(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(RunFormatError, match="is no checkpoint"):
        open_checkpoint(tmp_path / "a.txt")
    with pytest.raises(RunFormatError, match="holds 0 checkpoints"):
        open_checkpoint(tmp_path)


@pytest.mark.skipif(not REAL.is_dir(), reason="the folder of real runs is not beside this checkout")
def test_a_real_lightning_checkpoint_opens():
    (file,) = find_checkpoints(REAL / "lightning-mnist")
    frame = open_checkpoint(file).frame()
    assert len(frame) > 0
    assert frame["finite"].all()
