"""One line records a training run by Lightning, Transformers or Accelerate, and leaves its result as it was."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from workbench.core import ConfigError, Run, validate
from workbench.diagnostics.callbacks.plan import Plan
from workbench.lenses import LENSES, read

pytestmark = pytest.mark.filterwarnings("ignore")

X = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.2), nn.ReLU())
        self.a, self.b = nn.Linear(8, 2), nn.Linear(8, 2)

    def forward(self, x):
        hidden = self.trunk(x)
        return self.a(hidden), self.b(hidden)


def two_losses(model, batch):
    x, y = batch[0], batch[1]
    a, b = model(x)
    return {"a": cross_entropy(a, y, reduction="none"), "b": cross_entropy(b, 1 - y, reduction="none")}


CHOICES = {
    "losses": two_losses,
    "shared": "trunk",
    "every": 2,
    "n_batches": 4,
    "layers": ("trunk",),
    "probe": (X[:10], np.arange(10)),
    "samples": {"sample": np.arange(10), "domain": "one"},
    "info": {"tasks": ["a", "b"], "domains": ["one"]},
}
#: Two datasets with a head each; everything that the five lenses read.
EVERYTHING = CHOICES | {
    "probe": (X, np.arange(64)),
    "predict": lambda model, x: dict(zip("ab", model(x), strict=True)),
    "label_heads": {"city": "a", "road": "b"},
    "samples": {
        "sample": np.arange(64),
        "dataset": np.where(np.arange(64) % 2 == 0, "city", "road"),
        "domain": np.where(np.arange(64) < 32, "day", "night"),
        "split": "test",
        "target_a": Y.numpy(),
        "target_b": 1 - Y.numpy(),
        "colour": np.where(X[:, 1] > 0, "red", "blue"),
    },
    "info": {
        "tasks": [{"name": "a", "classes": ["car", "lane"]}, {"name": "b", "classes": ["line", "auto"]}],
        "domains": ["day", "night"],
        "datasets": [{"name": "city", "labels": ["car", "lane"]}, {"name": "road", "labels": ["line", "auto"]}],
        "attributes": [{"name": "colour", "levels": ["red", "blue"]}],
    },
}


def _check_every_lens(run: Run) -> None:
    assert validate(run.path) == []
    assert {"task_gradients", "gsnr", "samples", "predictions", "label_counts", "embeddings"} <= set(run.tables)
    for lens in LENSES:
        assert read(run, lens).verdicts  # MissingTable where a record lacks
    last = run.query("SELECT max(step) AS step FROM predictions")["step"].iloc[0]
    said = run.query("SELECT * FROM predictions WHERE step = ? AND task = 'a' ORDER BY sample", [int(last)])
    assert said["sample"].tolist() == list(range(64))
    truth = run.query("SELECT * FROM label_counts WHERE source = 'truth' AND dataset = 'road' ORDER BY sample")
    assert truth["label"].tolist() == [["line", "auto"][1 - y] for y in Y.tolist()[1::2]]
    heads = run.query("SELECT source, count(DISTINCT sample) AS n FROM label_counts GROUP BY source ORDER BY source")
    assert heads.to_numpy().tolist() == [["city", 64], ["road", 64], ["truth", 64]]


def _check(run: Run, losses: str) -> None:
    assert validate(run.path) == []
    assert run.info.status == "done"
    assert run.task_names == ("a", "b")
    gramians = run.gramians()
    assert len(gramians) >= 2
    assert all(gramian.n_batches == 4 for gramian in gramians.values())
    assert np.isfinite(next(iter(gramians.values())).dot).all()
    assert losses in set(run.table("scalars")["tag"])


def test_lightning(tmp_path):
    lightning = pytest.importorskip("lightning.pytorch")
    from workbench.diagnostics.callbacks.lightning import WorkbenchCallback

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.save_hyperparameters({"lr": 0.1})
            self.net = TwoHeads()

        def training_step(self, batch, index):
            loss = sum(loss.mean() for loss in two_losses(self.net, batch).values())
            self.log("train_loss", loss)
            return loss

        def validation_step(self, batch, index):
            self.log("val_loss", two_losses(self.net, batch)["a"].mean())

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    def fit(*callbacks):
        lightning.seed_everything(3, verbose=False)
        module = Module()
        trainer = lightning.Trainer(
            max_epochs=2,
            accelerator="cpu",
            callbacks=list(callbacks),
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            log_every_n_steps=1,
        )
        loader = DataLoader(TensorDataset(X, Y), batch_size=16, shuffle=True)
        trainer.fit(module, loader, DataLoader(TensorDataset(X, Y), batch_size=32))
        return module.net.state_dict()

    choices = CHOICES | {
        "losses": lambda module, batch: two_losses(module.net, batch),
        "shared": "net.trunk",
        "layers": ("net.trunk",),
    }
    choices["probe"] = None
    choices["layers"] = ()
    without = fit()
    recorded = fit(WorkbenchCallback(tmp_path / "run", **choices))
    assert all(torch.equal(recorded[name], without[name]) for name in without)
    run = Run(tmp_path / "run")
    _check(run, "train_loss")
    assert run.info.config == {"lr": 0.1}
    everything = EVERYTHING | {
        "losses": lambda module, batch: two_losses(module.net, batch),
        "shared": "net.trunk",
        "layers": ("net.trunk",),
        "predict": lambda module, x: dict(zip("ab", module.net(x), strict=True)),
    }
    recorded = fit(WorkbenchCallback(tmp_path / "all", **everything))
    assert all(torch.equal(recorded[name], without[name]) for name in without)
    _check_every_lens(Run(tmp_path / "all"))


def test_transformers(tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from workbench.diagnostics.callbacks.transformers import WorkbenchCallback

    class Model(TwoHeads):
        def forward(self, x=None, labels=None):
            outputs = super().forward(x)
            if labels is None:
                return outputs
            return {
                "loss": cross_entropy(outputs[0], labels) + cross_entropy(outputs[1], 1 - labels),
                "logits": outputs[0],
            }

    data = [{"x": x, "labels": y} for x, y in zip(X, Y, strict=True)]

    def fit(*callbacks):
        transformers.set_seed(3)
        model = Model()
        arguments = transformers.TrainingArguments(
            output_dir=str(tmp_path / "out"),
            num_train_epochs=2,
            per_device_train_batch_size=16,
            logging_steps=1,
            report_to=[],
            use_cpu=True,
            save_strategy="no",
            disable_tqdm=True,
        )
        trainer = transformers.Trainer(model=model, args=arguments, train_dataset=data, callbacks=list(callbacks))
        trainer.train()
        return copy.deepcopy(model.state_dict())

    choices = CHOICES | {"losses": lambda model, batch: two_losses(model, (batch["x"], batch["labels"]))}
    without = fit()
    recorded = fit(WorkbenchCallback(tmp_path / "run", **choices))
    assert all(torch.equal(recorded[name], without[name]) for name in without)
    run = Run(tmp_path / "run")
    _check(run, "loss")
    assert run.embedding("trunk", 0)[0].shape == (10, 8)
    assert run.info.seed == 42
    everything = EVERYTHING | {"losses": choices["losses"]}
    recorded = fit(WorkbenchCallback(tmp_path / "all", **everything))
    assert all(torch.equal(recorded[name], without[name]) for name in without)
    _check_every_lens(Run(tmp_path / "all"))


@pytest.mark.parametrize("choices", [CHOICES, EVERYTHING], ids=["gradients", "everything"])
def test_accelerate(tmp_path, choices):
    accelerate = pytest.importorskip("accelerate")
    from workbench.diagnostics.callbacks.accelerate import WorkbenchTracker

    tracker = WorkbenchTracker(tmp_path / "run", **choices)
    accelerator = accelerate.Accelerator(cpu=True, log_with=tracker)
    accelerator.init_trackers("mine", config={"lr": 0.1})
    model = TwoHeads()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model, optimizer, loader = accelerator.prepare(model, optimizer, DataLoader(TensorDataset(X, Y), batch_size=16))
    for step, batch in enumerate(loader):
        tracker.before_step(step, model, batch)
        loss = sum(loss.mean() for loss in two_losses(model, batch).values())
        optimizer.zero_grad()
        accelerator.backward(loss)
        optimizer.step()
        accelerator.log({"loss": loss.item(), "note": "text"}, step=step)
    tracker.evaluate(step + 1, model)
    accelerator.end_training()
    run = Run(tmp_path / "run")
    if choices is EVERYTHING:
        _check_every_lens(run)
    _check(run, "loss")
    assert run.info.config == {"lr": 0.1}


def test_recording_with_accelerate_leaves_the_result_bit_for_bit(tmp_path):
    accelerate = pytest.importorskip("accelerate")
    from workbench.diagnostics.callbacks.accelerate import WorkbenchTracker

    def fit(tracker=None):
        torch.manual_seed(3)
        accelerator = accelerate.Accelerator(cpu=True, log_with=tracker)
        accelerator.init_trackers("mine")
        model = TwoHeads()
        loader = DataLoader(TensorDataset(X, Y), batch_size=16, shuffle=True)
        model, optimizer, loader = accelerator.prepare(model, torch.optim.Adam(model.parameters(), lr=0.01), loader)
        losses = []
        for epoch in range(2):
            for step, batch in enumerate(loader, start=4 * epoch):
                if tracker is not None:
                    tracker.before_step(step, model, batch)
                loss = sum(loss.mean() for loss in two_losses(model, batch).values())
                optimizer.zero_grad()
                accelerator.backward(loss)
                optimizer.step()
                losses.append(loss.item())
                accelerator.log({"loss": loss.item()}, step=step)
            if tracker is not None:
                tracker.evaluate(4 * epoch + 4, model)
        accelerator.end_training()
        return model.state_dict(), losses, torch.rand(3)

    without, losses, drawn = fit()
    recorded, same, also_drawn = fit(WorkbenchTracker(tmp_path / "run", **EVERYTHING))
    assert all(torch.equal(recorded[name], without[name]) for name in without)
    assert same == losses
    assert torch.equal(also_drawn, drawn)
    assert len(Run(tmp_path / "run").gramians()) == 4


def test_layers_without_a_probe_are_refused():
    with pytest.raises(ConfigError, match=r"probe=\(inputs, ids\)"):
        Plan(layers=("trunk",))
    with pytest.raises(ConfigError, match=r"predict needs probe"):
        Plan(predict=lambda model, x: x)
    with pytest.raises(ConfigError, match=r"samples with a column 'dataset'"):
        Plan(predict=lambda model, x: x, probe=(X, np.arange(64)), label_heads={"city": "a"})
