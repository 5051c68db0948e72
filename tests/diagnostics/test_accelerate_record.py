"""One line records an Accelerate training: batches, updates and evaluations are followed, and nothing changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from workbench.core import ConfigError, Run, validate

accelerate = pytest.importorskip("accelerate")
pytestmark = pytest.mark.filterwarnings("ignore")

X = torch.randn(48, 6, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.ReLU())
        self.a, self.b = nn.Linear(8, 2), nn.Linear(8, 2)

    def forward(self, x):
        hidden = self.trunk(x)
        return self.a(hidden), self.b(hidden)


def two_losses(model, batch):
    a, b = model(batch[0])
    return {"a": cross_entropy(a, batch[1], reduction="none"), "b": cross_entropy(b, 1 - batch[1], reduction="none")}


CHOICES = {
    "losses": two_losses,
    "shared": "trunk",
    "every": 1,
    "gsnr": False,
    "layers": ("trunk",),
    "probe": (X[:10], np.arange(10)),
    "predict": lambda model, x: dict(zip("ab", model(x), strict=True)),
    "samples": {"sample": np.arange(10), "target_a": Y[:10].numpy()},
    "info": {"tasks": ["a", "b"]},
}


def train(folder=None, *, accumulate=1, prepare_first=False, trackers=False):
    """Two epochs of three batches with an evaluation after each; only one line differs when it is recorded."""
    from workbench.diagnostics.callbacks.accelerate import record

    torch.manual_seed(3)
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=accumulate)
    if folder is not None and not prepare_first:
        record(accelerator, folder, **CHOICES)
    model = TwoHeads()
    loader = DataLoader(TensorDataset(X, Y), batch_size=16, shuffle=True)
    held_out = DataLoader(TensorDataset(X, Y), batch_size=24)
    model, optimizer, loader, held_out = accelerator.prepare(
        model, torch.optim.Adam(model.parameters(), lr=0.01), loader, held_out
    )
    if folder is not None and prepare_first:
        record(accelerator, folder, **CHOICES)
    if trackers:
        accelerator.init_trackers("mine", config={"lr": 0.01})
    for _ in range(2):
        model.train()
        for batch in loader:
            with accelerator.accumulate(model):
                loss = sum(loss.mean() for loss in two_losses(model, batch).values())
                accelerator.backward(loss)
                optimizer.step()
                optimizer.zero_grad()
            accelerator.log({"loss": loss.item()})
        model.eval()
        with torch.no_grad():
            seen = [two_losses(model, batch)["a"].mean().item() for batch in held_out]
        accelerator.log({"held out": float(np.mean(seen))})
    accelerator.end_training()
    return accelerator.unwrap_model(model).state_dict(), seen, torch.rand(3)


@pytest.mark.parametrize("prepare_first", [False, True])
def test_the_steps_are_the_updates_and_the_result_is_the_same(tmp_path, prepare_first):
    without, seen, drawn = train()
    recorded, same, also_drawn = train(tmp_path / "run", prepare_first=prepare_first, trackers=True)
    assert all(torch.equal(recorded[name], without[name]) for name in without)
    assert same == seen
    assert torch.equal(also_drawn, drawn)
    run = Run(tmp_path / "run")
    assert validate(run.path) == []
    assert run.info.status == "done"
    assert run.info.config == {"lr": 0.01}
    assert run.gramian_steps() == [0, 1, 2, 3, 4, 5]
    assert run.array_steps("embeddings.trunk") == [0, 3, 6]
    assert sorted(set(run.table("predictions")["step"])) == [0, 3, 6]
    scalars = run.table("scalars")
    assert scalars.query("tag == 'loss'")["step"].tolist() == [1, 2, 3, 4, 5, 6]
    assert scalars.query("tag == 'held out'")["step"].tolist() == [3, 6]


def test_accumulated_batches_are_one_step(tmp_path):
    without, seen, drawn = train(accumulate=3)
    recorded, same, also_drawn = train(tmp_path / "run", accumulate=3)
    assert all(torch.equal(recorded[name], without[name]) for name in without)
    assert same == seen
    assert torch.equal(also_drawn, drawn)
    assert Run(tmp_path / "run").gramian_steps() == [0, 1]


def test_the_gradients_are_those_of_the_batch_that_follows(tmp_path):
    """The first update is of plain descent with a rate of 1: the parameters move by minus the recorded gradient."""
    from workbench.diagnostics.callbacks.accelerate import record

    accelerator = accelerate.Accelerator(cpu=True)
    record(accelerator, tmp_path / "run", losses=two_losses, shared="trunk", every=1, n_batches=1, gsnr=False)
    model = TwoHeads()
    model.trunk[2].p = 0.0
    loader = DataLoader(TensorDataset(X, Y), batch_size=16)
    model, optimizer, loader = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=1.0), loader)
    before = [parameter.detach().clone() for parameter in model.trunk.parameters()]
    batch = next(iter(loader))
    accelerator.backward(sum(loss.mean() for loss in two_losses(model, batch).values()))
    optimizer.step()
    moved = sum(float((old - new).square().sum()) for old, new in zip(before, model.trunk.parameters(), strict=True))
    accelerator.end_training()
    dot = Run(tmp_path / "run").gramians()[0].dot.sum(axis=0)[:, 0, :, 0]  # over modules: [T, T]
    assert dot.sum() == pytest.approx(moved, rel=1e-4)


def test_a_folder_with_a_run_is_refused_at_once(tmp_path):
    from workbench.diagnostics.callbacks.accelerate import record

    train(tmp_path / "run")
    with pytest.raises(ConfigError, match="already holds a run"):
        record(accelerate.Accelerator(cpu=True), tmp_path / "run", **CHOICES)
    accelerator = accelerate.Accelerator(cpu=True)
    tracker = record(accelerator, tmp_path / "other")
    with pytest.raises(ConfigError, match="follows an Accelerator already"):
        tracker.follow(accelerator)
    accelerator.end_training()
