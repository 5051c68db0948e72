"""Checkpoints of other programs are found, ordered by their steps, and compared with the one before."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from workbench import open_run, open_runs
from workbench.lenses import checkpoint_changes
from workbench.runs.checkpoint_files import below, of_run, step_of
from workbench.runs.checkpoint_series import series


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))


def _state(scale: float) -> dict[str, np.ndarray]:
    return {"a.weight": scale * np.ones((2, 2), np.float32), "a.bias": np.ones(2, np.float32)}


def _transformers(folder: Path) -> Path:
    """The folder of a Transformers training as its Trainer leaves it: no state at the top, one in each checkpoint."""
    for step, scale in ((1000, 2.0), (500, 1.0)):
        inner = folder / f"checkpoint-{step}"
        inner.mkdir(parents=True)
        save_file(_state(scale), inner / "model.safetensors")
        torch.save({"state": {0: torch.ones(3)}}, inner / "optimizer.pt")
        torch.save({"x": torch.ones(1)}, inner / "rng_state.pth")
        torch.save({"x": torch.ones(1)}, inner / "training_args.bin")
        history = [{"step": at, "loss": 1 / at} for at in range(100, step + 1, 100)]
        (inner / "trainer_state.json").write_text(json.dumps({"global_step": step, "log_history": history}))
    return folder


def test_a_trainers_folder_is_one_run_with_the_whole_history_and_its_checkpoints(tmp_path):
    _transformers(tmp_path / "runs" / "out")
    ((key, run),) = open_runs(tmp_path / "runs").items()
    assert key == "out"
    assert run.table("scalars")["step"].max() == 1000
    entries = of_run(run)
    assert [(entry.name, entry.step) for entry in entries] == [
        ("checkpoint-500/model.safetensors", 500),
        ("checkpoint-1000/model.safetensors", 1000),
    ]
    overall, tensors = series(entries)
    assert overall["parameters"].tolist() == [6, 6]
    # |2·1 - 1·1| = 2 over four entries, |before| = sqrt(4 + 2)
    np.testing.assert_allclose(overall["relative_change"], [np.nan, 2 / 6**0.5])
    assert overall["most_changed"].tolist() == ["", "a.weight"]
    assert tensors.set_index("tensor")["relative_change"].to_dict() == {"a.weight": 1.0, "a.bias": 0.0}
    fig = checkpoint_changes.figure(tensors)
    assert dict(zip(fig.data[0].y, fig.data[0].customdata[:, 0], strict=True)) == {"a.weight": 1.0, "a.bias": 0.0}


def test_lightning_checkpoints_are_found_beside_the_log(tmp_path):
    (tmp_path / "version_0" / "checkpoints").mkdir(parents=True)
    (tmp_path / "version_0" / "metrics.csv").write_text("step,loss\n1,0.5\n")
    for name, scale in (("epoch=10-step=1100.ckpt", 2.0), ("epoch=9-step=990.ckpt", 1.0), ("last.ckpt", 2.0)):
        state = {key: torch.from_numpy(value) for key, value in _state(scale).items()}
        torch.save({"state_dict": state, "epoch": 1}, tmp_path / "version_0" / "checkpoints" / name)
    entries = of_run(open_run(tmp_path / "version_0"))
    assert [entry.step for entry in entries] == [990, 1100, None]
    assert series(entries)[0]["relative_change"].iloc[2] == 0.0


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("epoch=4-step=3750.ckpt", 3750),
        ("checkpoint-12/model.safetensors", 12),
        ("checkpoints/checkpoint_3/model.safetensors", 3),
        ("step-00000100.safetensors", 100),
        ("iter_2000.pth", 2000),
        ("epoch_7/pytorch_model.bin", 7),
        ("last.ckpt", None),
        ("resnet50/model.pt", None),
    ],
)
def test_the_step_is_read_off_the_name(name, step):
    assert step_of(Path(name)) == step


def test_a_folder_of_accelerate_checkpoints_is_a_run_and_one_with_logs_below_is_not(tmp_path):
    for number in range(3):
        inner = tmp_path / "mine" / "checkpoints" / f"checkpoint_{number}"
        inner.mkdir(parents=True)
        save_file(_state(1.0 + number), inner / "model.safetensors")
        torch.save({"x": torch.ones(1)}, inner / "optimizer.bin")
        (inner / "random_states_0.pkl").write_bytes(b"\x80\x04.")
    ((key, run),) = open_runs(tmp_path / "mine").items()
    assert key == "checkpoints"
    assert run.tables == ()
    assert "3 checkpoints without a log." in run.info.notes
    assert len(of_run(run)) == 3
    save_file(_state(1.0), tmp_path / "model.safetensors")
    assert list(open_runs(tmp_path)) == ["mine/checkpoints"]  # the file beside it hides nothing


def test_a_file_of_weights_opens_by_itself_and_other_bytes_do_not(tmp_path):
    save_file(_state(1.0), tmp_path / "model.safetensors")
    assert len(of_run(open_run(tmp_path / "model.safetensors"))) == 1
    (tmp_path / "train.bin").write_bytes(bytes(100))
    (tmp_path / "notes.pt").write_text("hello")
    assert [entry.name for entry in below(tmp_path)] == ["model.safetensors"]


def test_sharded_pytorch_weights_are_one_checkpoint(tmp_path):
    parts = {"pytorch_model-00001-of-00002.bin": ["a"], "pytorch_model-00002-of-00002.bin": ["b"]}
    for file, names in parts.items():
        torch.save({name: torch.full((3,), 2.0) for name in names}, tmp_path / file)
    index = {"weight_map": {name: file for file, names in parts.items() for name in names}}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    (entry,) = below(tmp_path)
    assert entry.size == sum((tmp_path / file).stat().st_size for file in parts)
    overall, _ = series([entry])
    assert overall["parameters"].tolist() == [6]


def test_a_checkpoint_that_cannot_be_opened_is_named_and_the_others_are_compared(tmp_path):
    for step, scale in ((1, 1.0), (2, 1.0), (3, 2.0)):
        save_file(_state(scale), tmp_path / f"step-{step}.safetensors")
    data = (tmp_path / "step-2.safetensors").read_bytes()
    (tmp_path / "step-2.safetensors").write_bytes(data[:-3])
    overall, tensors = series(below(tmp_path))
    assert "step-2.safetensors is not a readable safetensors file" in overall["problem"].iloc[1]
    assert overall["relative_change"].isna().all()
    assert tensors.empty
    (tmp_path / "step-2.safetensors").unlink()
    assert series(below(tmp_path))[0]["relative_change"].notna().sum() == 1
