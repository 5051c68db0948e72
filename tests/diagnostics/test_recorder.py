"""Recording leaves the training as it is, survives what goes wrong, and says what it cost."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from workbench.core import ConfigError, Run, validate
from workbench.diagnostics import recorder as recorder_module
from workbench.diagnostics.recorder import Recorder

TASKS = ("shape", "colour")


class Net(nn.Module):
    """A trunk with everything that could leave a trace: batch statistics, dropout, momentum in the optimizer."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(64, 8)
        )
        self.heads = nn.ModuleDict({"shape": nn.Linear(8, 3), "colour": nn.Linear(8, 2)})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        z = self.trunk(x)
        return {task: head(z) for task, head in self.heads.items()}


def a_batch(n: int = 12) -> tuple[Tensor, dict[str, Tensor]]:
    return torch.randn(n, 1, 6, 6), {"shape": torch.randint(3, (n,)), "colour": torch.randint(2, (n,))}


def losses_of(net: Net, x: Tensor, y: dict[str, Tensor]) -> dict[str, Tensor]:
    return {task: cross_entropy(logits, y[task], reduction="none") for task, logits in net(x).items()}


def train(rec: Recorder | None, steps: int = 6) -> dict[str, object]:
    """A real training; with a recorder, everything is recorded at every other step. Returns all of its state."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    net = Net()
    net.heads["colour"].eval()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    for step in range(steps):
        x, y = a_batch()
        optimizer.zero_grad()
        losses = losses_of(net, x, y)
        if rec is not None and step % 2 == 0:
            record_everything(rec, step, net, losses, x, y)
        sum(loss.mean() for loss in losses.values()).backward()
        if rec is not None:
            rec.embeddings(step, net, x, sample=range(12), layers=["trunk"])  # between backward and step
        optimizer.step()
    # Python's own generator is left out: the tests' type checker draws from it at every call.
    draws = (torch.rand(3).tolist(), np.random.random())  # noqa: NPY002
    momenta = [state["momentum_buffer"] for state in optimizer.state.values()]
    gradients = [p.grad for p in net.parameters()]
    modes = [module.training for module in net.modules()]
    return {"state": list(net.state_dict().values()), "momenta": momenta, "grad": gradients, "rest": (draws, modes)}


def record_everything(rec, step, net, losses, x, y) -> None:
    rec.task_gradients(step, losses, shared=net.trunk)
    rec.gsnr(step, net, lambda a, b: cross_entropy(net(a)["shape"], b, reduction="none"), [(x, y["shape"])])
    rec.predict(step, net, [(x, y)], sample=range(12))
    rec.checkpoint_model(step, net)


def test_training_is_the_same_to_the_last_bit(tmp_path):
    plain = train(None)
    with Recorder(tmp_path / "run", tasks=TASKS) as rec:
        recorded = train(rec)
    assert plain["rest"] == recorded["rest"]
    for kind in ("state", "momenta", "grad"):
        for before, after in zip(plain[kind], recorded[kind], strict=True):
            assert torch.equal(before, after)


def test_everything_that_was_recorded_can_be_read(tmp_path):
    with Recorder(tmp_path / "run", tasks=TASKS) as rec:
        train(rec)
        rec.samples({"sample": range(12)})
    run = Run(tmp_path / "run")
    assert not validate(run.path)
    assert {"scalars", "task_gradients", "gsnr", "predictions", "embeddings"} <= set(run.tables)
    gramian = run.gramians()[4]
    assert gramian.modules == ("0", "1", "5")
    assert gramian.tasks == TASKS
    assert gramian.samples.tolist() == [[3] * 4] * 2
    sizes = {module.name: module.parameters for module in run.info.modules}
    assert sizes["0"] == 40
    assert sizes["trunk.0"] == 40
    values, sample = run.embedding("trunk", 5)
    assert values.shape == (12, 8)
    assert sample.tolist() == list(range(12))
    assert sorted(run.checkpoints()) == [0, 2, 4]
    assert set(run.table("predictions")["task"]) == set(TASKS)
    assert any("mini-batch" in note for note in run.info.notes)  # BatchNorm mixes the samples


def test_cost_is_recorded(tmp_path):
    with Recorder(tmp_path / "run", tasks=TASKS) as rec:
        train(rec, steps=3)
    scalars = Run(tmp_path / "run").table("scalars")
    seconds = scalars[scalars["tag"] == "recording/seconds"]
    share = scalars[scalars["tag"] == "recording/share"]
    assert seconds["step"].tolist() == [0, 1, 2]
    assert (seconds["value"] > 0).all()
    assert share["value"].between(0, 1).all()


def test_names_are_those_of_the_whole_network(tmp_path):
    torch.manual_seed(0)
    net = Net()
    with Recorder(tmp_path / "run", tasks=TASKS, model=net) as rec:
        rec.task_gradients(0, losses_of(net, *a_batch()), shared=net.trunk)
        rec.task_gradients(1, losses_of(net, *a_batch()), shared=net.trunk[5])
    run = Run(tmp_path / "run")
    assert [module.name for module in run.info.modules] == ["trunk.0", "trunk.1", "trunk.5"]
    assert run.gramians()[0].modules == ("trunk.0", "trunk.1", "trunk.5")


def test_domains_by_batch(tmp_path):
    torch.manual_seed(0)
    net = Net()
    batches = [(x, y["shape"]) for x, y in (a_batch(4), a_batch(5))]
    with Recorder(tmp_path / "run", tasks=TASKS, domains=["day", "night"]) as rec:
        rec.gsnr(
            0, net, lambda a, b: cross_entropy(net(a)["shape"], b, reduction="none"), batches, domains=["day", "night"]
        )
    table = Run(tmp_path / "run").table("gsnr")
    assert table.groupby("domain")["samples"].first().to_dict() == {"": 9, "day": 4, "night": 5}


def test_a_loss_that_is_nan_is_recorded_with_a_note(tmp_path):
    torch.manual_seed(0)
    net = Net().eval()
    losses = losses_of(net, *a_batch())
    losses["colour"] = losses["colour"] * torch.nan
    with Recorder(tmp_path / "run", tasks=TASKS) as rec:
        rec.task_gradients(0, losses, shared=net.trunk)
        rec.task_gradients(1, losses, shared=net.trunk)
    run = Run(tmp_path / "run")
    assert np.isnan(run.gramians()[0].dot[:, 1, :, 1]).all()
    assert np.isfinite(run.gramians()[0].dot[:, 0, :, 0]).all()
    assert [note for note in run.info.notes if "not finite" in note] == [
        "Step 0: gradients of task 'colour' are not finite; recorded as NaN."
    ]


def test_running_out_of_memory_is_warned_about_once(tmp_path, monkeypatch):
    def fail(*args, **options):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(recorder_module.gramian, "measure", fail)
    net = Net()
    losses = losses_of(net, *a_batch())
    with Recorder(tmp_path / "run", tasks=TASKS) as rec:
        with pytest.warns(RuntimeWarning, match="task gradients not recorded, OutOfMemoryError.*Training goes on"):
            assert rec.task_gradients(0, losses, shared=net.trunk) is None
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            rec.task_gradients(1, losses, shared=net.trunk)
    assert "out of memory" in Run(tmp_path / "run").info.notes[0]


def test_a_short_last_batch_is_left_out(tmp_path):
    net = Net()
    with Recorder(tmp_path / "run", tasks=TASKS) as rec, pytest.warns(RuntimeWarning, match="fewer than 4 samples"):
        assert rec.task_gradients(0, losses_of(net, *a_batch(3)), shared=net.trunk) is None


def test_mistakes_in_the_arguments_are_raised(tmp_path):
    net = Net()
    with Recorder(tmp_path / "run", tasks=TASKS) as rec:
        with pytest.raises(ConfigError, match="no layer 'tronk'"):
            rec.embeddings(0, net, torch.randn(2, 1, 6, 6), sample=range(2), layers=["tronk"])
        with pytest.raises(ConfigError, match="no gradient graph"):
            rec.task_gradients(0, {"shape": torch.ones(8)}, shared=net.trunk)
        with pytest.raises(ConfigError, match="domains must name each batch"):
            rec.gsnr(0, net, lambda x: x, [(torch.ones(2),)], domains=["a", "b"])
    with pytest.raises(ConfigError, match="every must be at least 1"):
        Recorder(tmp_path / "other", every=0)


def test_a_model_that_fails_is_left_as_it_was(tmp_path):
    net = Net()
    with Recorder(tmp_path / "run", tasks=TASKS) as rec, pytest.warns(RuntimeWarning, match="embeddings not recorded"):
        rec.embeddings(0, net, torch.randn(2, 7, 6, 6), sample=range(2), layers=["trunk"])
    assert net.training
    assert not any(module._forward_hooks for module in net.modules())


def test_embeddings_that_float16_cannot_hold_keep_their_precision(tmp_path):
    net = nn.Sequential(nn.Linear(2, 2))
    nn.init.constant_(net[0].weight, 1e6)
    with Recorder(tmp_path / "run") as rec:
        rec.embeddings(0, net, torch.ones(3, 2), sample=range(3), layers=["0"])
    values, _ = Run(tmp_path / "run").embedding("0", 0)
    assert np.isfinite(values).all()


def test_checkpoints_keep_shared_weights_and_dtypes(tmp_path):
    from safetensors.torch import load_file

    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).to(torch.bfloat16)
    net[1].weight = net[0].weight
    with Recorder(tmp_path / "run") as rec:
        rec.checkpoint_model(3, net)
    state = load_file(tmp_path / "run" / "checkpoints" / "step-00000003.safetensors")
    assert torch.equal(state["1.weight"], net[0].weight)
    assert state["0.bias"].dtype == torch.bfloat16
