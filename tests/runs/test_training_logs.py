"""What Lightning, Transformers and Accelerate leave behind after a small real training opens in full."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from workbench import open_run, open_runs
from workbench.core import validate
from workbench.runs.checkpoint_files import of_run
from workbench.runs.checkpoint_series import series

pytestmark = pytest.mark.clients

LIGHTNING = """
import torch, lightning as L
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.callbacks import ModelCheckpoint
class Net(L.LightningModule):
    def __init__(self, rate=0.1, shape=(4, 2)):
        super().__init__()
        self.save_hyperparameters()
        self.net = torch.nn.Linear(*shape)
    def training_step(self, batch, index):
        loss = self.net(batch[0]).pow(2).mean()
        self.log("train_loss", loss)
        return loss
    def validation_step(self, batch, index):
        self.log("val_loss", self.net(batch[0]).pow(2).mean())
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.hparams.rate)
data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(32, 4)), batch_size=4)
L.Trainer(max_epochs=3, logger=[CSVLogger("csv", name="x"), TensorBoardLogger("tb", name="x")], log_every_n_steps=2,
          callbacks=[ModelCheckpoint(save_top_k=-1)], enable_progress_bar=False, enable_model_summary=False,
          accelerator="cpu").fit(Net(), data, data)
"""
TRANSFORMERS = """
import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments
torch.manual_seed(0)
net = BertForSequenceClassification(BertConfig(vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
                                               intermediate_size=8, max_position_embeddings=16))
rows = [{"input_ids": torch.randint(30, (6,)), "labels": torch.tensor(i % 2)} for i in range(16)]
arguments = TrainingArguments("out", max_steps=8, save_steps=4, logging_steps=2, per_device_train_batch_size=4,
                              eval_strategy="steps", eval_steps=4, report_to=[], use_cpu=True, disable_tqdm=True)
Trainer(net, arguments, train_dataset=rows, eval_dataset=rows).train()
"""
ACCELERATE = """
import torch
from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration
accelerator = Accelerator(cpu=True, project_config=ProjectConfiguration("out", automatic_checkpoint_naming=True))
net = torch.nn.Linear(4, 2)
net, optimizer = accelerator.prepare(net, torch.optim.SGD(net.parameters(), lr=0.1))
for step in range(3):
    accelerator.backward(net(torch.randn(8, 4)).pow(2).mean())
    optimizer.step()
    accelerator.save_state()
"""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))


def _made(folder: Path, package: str, code: str) -> Path:
    if find_spec(package) is None:
        pytest.skip(f"needs the package {package}")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_lightnings_two_loggers_say_the_same(tmp_path):
    folder = _made(tmp_path, "lightning", LIGHTNING)
    csv, board = open_run(folder / "csv" / "x" / "version_0"), open_run(folder / "tb" / "x" / "version_0")
    for run in (csv, board):
        assert run.info.config == {"rate": 0.1, "shape": [4, 2]}
        assert run.problems == []
        assert validate(run.path) == []
    for tag, points in (("train_loss", 12), ("val_loss", 3)):
        tables = (run.table("scalars") for run in (csv, board))
        first, second = (table[table["tag"] == tag].sort_values("step") for table in tables)
        assert len(first) == points
        assert first["step"].tolist() == second["step"].tolist()
        np.testing.assert_allclose(first["value"], second["value"], rtol=1e-6)
    entries = of_run(csv) or of_run(board)
    assert [entry.step for entry in entries] == [8, 16, 24]
    overall, tensors = series(entries)
    assert overall["parameters"].tolist() == [10, 10, 10]
    assert (overall["relative_change"].iloc[1:] > 0).all()
    assert set(tensors["tensor"]) == {"net.weight", "net.bias"}


def test_a_transformers_output_folder_is_one_run(tmp_path):
    folder = _made(tmp_path, "transformers", TRANSFORMERS)
    ((key, run),) = open_runs(folder).items()
    assert key == "out"
    table = run.table("scalars")
    assert table.query("tag == 'loss'")["step"].tolist() == [2, 4, 6, 8]
    assert table.query("tag == 'eval_loss'")["step"].tolist() == [4, 8]
    assert run.info.config["global_step"] == 8
    assert validate(run.path) == []
    entries = of_run(run)
    assert [entry.step for entry in entries] == [4, 8]
    overall, _ = series(entries)
    assert (overall["problem"] == "").all()
    assert overall["relative_change"].iloc[1] > 0


def test_accelerate_checkpoints_open_without_a_log(tmp_path):
    folder = _made(tmp_path, "accelerate", ACCELERATE)
    ((_, run),) = open_runs(folder).items()
    entries = of_run(run)
    assert [entry.step for entry in entries] == [0, 1, 2]
    assert (series(entries)[0]["relative_change"].iloc[1:] > 0).all()
