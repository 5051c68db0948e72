"""A problem's model can be asked: inputs, answers, targets and numbers as the batches or the user's functions give."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from workbench.core import ConfigError, Run
from workbench.diagnostics.attribution import attribute
from workbench.diagnostics.predictions import NO_LABEL
from workbench.forecast import Problem, forecast, load_problem
from workbench.forecast.asked import ONE, answers, ask, training
from workbench.forecast.templates import write

#: Only the first three of six inputs say what the class of "near" is, only the last three that of "far".
RULES = {"near": slice(0, 3), "far": slice(3, 6)}


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(6, 6)
        self.heads = nn.ModuleDict({task: nn.Linear(6, 3) for task in RULES})

    def forward(self, x):
        return {task: head(torch.relu(self.trunk(x))) for task, head in self.heads.items()}


def planted() -> Two:
    """Weights that follow the rules."""
    net = Two()
    with torch.no_grad():
        net.trunk.weight.copy_(torch.eye(6))
        net.trunk.bias.fill_(5.0)
        for task, places in RULES.items():
            net.heads[task].weight.zero_()
            net.heads[task].weight[:, places] = torch.eye(3)
            net.heads[task].bias.zero_()
    return net


def batches(seed: int):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(5):
        x = torch.randn(20, 6, generator=generator)
        yield x, {task: x[:, places].argmax(1) for task, places in RULES.items()}


def losses(model, batch):
    x, target = batch
    found = model(x)
    return {task: nn.functional.cross_entropy(found[task], target[task], reduction="none") for task in RULES}


def problem(**more) -> Problem:
    given = {"build_model": lambda seed: Two(), "shared": lambda model: model.trunk, "batches": batches}
    return Problem(tasks=list(RULES), losses=losses, **(given | more))


def saved(folder: Path) -> Path:
    file = folder / "weights.pt"
    torch.save(planted().state_dict(), file)
    return file


def test_maps_of_a_users_model_show_the_planted_inputs(tmp_path):
    subject, drawn = ask(problem(), saved(tmp_path), step=7)
    assert (subject.step, subject.tasks) == (7, ("near", "far"))
    assert subject.samples.tolist() == list(range(100))
    for task, places in RULES.items():
        assert (subject.said[task].prediction == drawn.targets[task]).all()
        maps = attribute(subject.net, subject.inputs[:9], task=task, forward=subject.forward)
        inside = np.zeros(6, dtype=bool)
        inside[places] = True
        assert np.abs(maps[:, ~inside]).max() < 1e-5
        assert (np.abs(maps[:, inside]).max(axis=1) > 0.1).all()


def test_without_a_checkpoint_the_weights_are_those_before_training():
    subject, _ = ask(problem())
    assert torch.equal(subject.net.trunk.weight, problem().model(0).trunk.weight)
    assert not subject.net.training


def test_a_diagnosed_run_numbers_its_samples_alike(tmp_path):
    described = problem(attributes=lambda batch: {"sign": ["+" if v > 0 else "-" for v in batch[0][:, 0].tolist()]})
    run = forecast(described, budget=5, seeds=2, max_steps=1, folder=tmp_path / "run")
    recorded = Run(tmp_path / "run").query("SELECT sample, sign FROM samples ORDER BY sample")
    subject, drawn = ask(described)
    assert recorded["sample"].tolist() == subject.samples.tolist()
    assert recorded["sign"].tolist() == drawn.levels["sign"].tolist()
    assert run.n_seeds == 2


def test_validation_is_asked_and_batches_are_what_was_trained_on():
    def validation(seed):
        yield from list(batches(99))[:1]

    described = problem(validation=validation)
    subject, drawn = ask(described)
    assert torch.equal(subject.inputs, next(batches(99))[0])
    assert torch.equal(training(described, subject.net).inputs, torch.cat([x for x, _ in batches(0)]))
    assert drawn.levels == {}


def test_the_users_numbers_put_the_samples_in_order():
    numbers = iter(range(100, 0, -1))
    subject, drawn = ask(problem(samples=lambda batch: [next(numbers) for _ in batch[0]]))
    assert subject.samples.tolist() == list(range(1, 101))
    whole = torch.cat([x for x, _ in batches(0)])
    assert torch.equal(subject.inputs, whole.flip(0))
    assert drawn.targets["near"].tolist() == whole.flip(0)[:, :3].argmax(1).tolist()
    with pytest.raises(ConfigError, match=r"number of its own; got 1 different numbers for 100"):
        ask(problem(samples=lambda batch: [3] * len(batch[0])))


def test_places_are_averaged_and_one_tensor_has_a_name():
    model = nn.Conv2d(1, 4, 1)
    described = problem()
    found = answers(described, model, torch.ones(2, 1, 3, 3))
    assert list(found) == [ONE]
    torch.testing.assert_close(found[ONE], model(torch.ones(2, 1, 3, 3)).mean((2, 3)))
    single = problem(outputs=lambda model, inputs: inputs.sum(1))
    assert answers(single, model, torch.ones(2, 6))[ONE].tolist() == [[6.0], [6.0]]


def test_what_cannot_be_asked_says_which_function_to_write():
    with pytest.raises(ConfigError, match=r"Write inputs\(batch\)"):
        ask(problem(inputs=lambda batch: torch.zeros(20, 6, dtype=torch.int64)))
    with pytest.raises(ConfigError, match=r"model\(inputs\) raised .* Write outputs\(model, inputs\)"):
        answers(problem(), nn.Bilinear(2, 2, 2), torch.ones(1, 2))
    with pytest.raises(ConfigError, match=r"must be logits \[B, C\].*near: str"):
        ask(problem(outputs=lambda model, inputs: {"near": "7"}))
    with pytest.raises(ConfigError, match=r"outputs\(\) raised ValueError: no"):
        ask(problem(outputs=partial(_fails)))
    with pytest.raises(ConfigError, match=r"targets of 'near' must be 20 class numbers"):
        ask(problem(targets=lambda batch: {"near": [1]}))


def _fails(model, inputs):
    raise ValueError("no")


@pytest.mark.parametrize(
    ("name", "tasks", "targets"),
    [
        ("heads", ("shape", "colour", "size"), {"shape", "colour"}),
        ("datasets", ("city", "highway"), {"city", "highway"}),
        ("domains", (ONE,), {ONE}),
        ("huggingface", ("topic", "mood"), {"topic", "mood"}),
        ("lightning", ("depth", "normal"), set()),
    ],
)
def test_every_template_can_be_asked(tmp_path, name, tasks, targets):
    if name in ("huggingface", "lightning"):
        pytest.importorskip({"huggingface": "transformers", "lightning": "lightning"}[name])
    subject, drawn = ask(load_problem(write(name, tmp_path / f"{name}.py")))
    assert subject.tasks == tasks
    assert set(drawn.targets) == targets
    maps = attribute(subject.net, subject.inputs[:2], task=tasks[0], forward=subject.forward, n_steps=8)
    assert maps.shape == tuple(subject.inputs[:2].shape)
    assert np.abs(maps).max() > 0
    if name == "datasets":
        one_of = (drawn.targets["city"] == NO_LABEL) ^ (drawn.targets["highway"] == NO_LABEL)
        assert one_of.all()
        assert set(drawn.levels["domain"]) == {"city", "highway"}
