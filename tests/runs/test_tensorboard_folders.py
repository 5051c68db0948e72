"""Folders as PyTorch's SummaryWriter leaves them: several files, sessions, runs inside runs, embeddings beside them."""

from __future__ import annotations

import numpy as np
import pytest

from workbench import open_run, open_runs
from workbench.core import validate

pytestmark = pytest.mark.clients


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE_DIR", str(tmp_path / "cache"))


def test_everything_that_a_writer_leaves_opens(tmp_path):
    pytest.importorskip("tensorboard")
    import torch
    from torch.utils.tensorboard import SummaryWriter

    folder = tmp_path / "logs" / "a"
    with SummaryWriter(str(folder)) as writer:
        for step in range(5):
            writer.add_scalar("loss", 1 / (step + 1), step)
            writer.add_scalars("pair", {"x": step, "y": -step}, step)
            writer.add_histogram("weights", np.arange(10.0), step)
            writer.add_image("picture", np.zeros((3, 4, 4), np.uint8), step)
            writer.add_text("note", f"step {step}", step)
        writer.add_scalar("loss", float("nan"), 5)
        writer.add_pr_curve("pr", np.array([0, 1]), np.array([0.2, 0.8]), 3)
        writer.add_hparams({"lr": 0.1, "name": "x", "flag": True}, {"hparam/acc": 0.5})
        writer.add_embedding(torch.eye(4), metadata=list("aabc"), tag="net")
    with SummaryWriter(str(folder), filename_suffix=".later") as writer:
        writer.add_scalar("loss", 0.1, 6)
    runs = dict(open_runs(tmp_path / "logs").items())
    assert list(runs) == ["a", "a/00000/net", "a/pair_x", "a/pair_y"]
    run = runs["a"]
    np.testing.assert_allclose(run.table("scalars").query("tag == 'loss'")["value"][:5], 1 / np.arange(1, 6))
    assert run.table("scalars").query("tag == 'loss'")["step"].tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert run.table("scalars").query("tag == 'hparam/acc'")["value"].tolist() == [0.5]
    assert run.info.config == {"lr": 0.1, "name": "x", "flag": True}
    assert [len(run.table(name)) for name in ("histograms", "images", "texts")] == [5, 5, 5]
    assert "1 pr_curves summaries are not shown." in run.info.notes
    assert runs["a/pair_y"].table("scalars")["value"].tolist() == [0, -1, -2, -3, -4]
    embedding = runs["a/00000/net"]
    assert embedding.info.tasks[0].classes == ("a", "b", "c")
    assert embedding.table("samples")["target_label"].tolist() == [0, 0, 1, 2]
    assert all(found.problems == [] and validate(found.path) == [] for found in runs.values())


def test_a_run_alone_is_its_own_folder(tmp_path):
    pytest.importorskip("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    for name in ("logs", "logs/train", "logs/train/deep"):
        with SummaryWriter(str(tmp_path / name)) as writer:
            writer.add_scalar(f"loss/{name}", 1.0, 1)
    assert open_run(tmp_path / "logs").table("scalars")["tag"].tolist() == ["loss/logs"]
    assert list(open_runs(tmp_path / "logs")) == ["logs", "train", "train/deep"]
