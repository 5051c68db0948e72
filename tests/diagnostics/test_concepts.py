"""Concept activation: a planted concept is found with its sign, a concept the net does not use is not called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from workbench.core import ConfigError, Run
from workbench.demos.nets import load_net
from workbench.demos.training_data import training_data
from workbench.diagnostics.concepts import _direction, tcav

SAMPLES = Path(__file__).parents[2] / "sample_runs"
WIDTH = 60


def net(weight: float) -> nn.Module:
    """Two classes; the second one's logit has this weight on the concept's unit, and many small kinks beside it."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Identity(), Kinks(weight))


class Kinks(nn.Module):
    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight, self.hidden = weight, nn.Linear(WIDTH, 200)
        self.out = nn.Linear(200, 1)

    def forward(self, x):
        second = self.weight * x[:, :1] + 8 * self.out(torch.relu(3 * self.hidden(x)))
        return torch.cat([torch.zeros_like(second), second], dim=1)


def samples(n: int, seed: int = 0, strength: float = 2.0) -> tuple[torch.Tensor, np.ndarray]:
    rng = np.random.default_rng(seed)
    concept = rng.random(n) < 0.5
    x = rng.normal(size=(n, WIDTH))
    x[:, 0] += strength * concept
    return torch.tensor(x, dtype=torch.float32), concept


@pytest.mark.parametrize("weight", [6.0, -6.0])
def test_a_concept_that_the_class_uses_is_found_with_its_sign(weight: float):
    x, concept = samples(300)
    model = net(weight).train()
    found = tcav(model, x, concept, x[:80], target=1, layer="0")
    assert found.score > 0.95 if weight > 0 else found.score < 0.05
    assert found.p_value < 0.03
    assert found.accuracy > 0.65
    assert model.training
    assert not model[0]._forward_hooks


def test_samples_marked_at_random_are_called_a_concept_no_more_often_than_promised():
    x, _ = samples(200, strength=0.0)
    model, called = net(6.0), 0
    for seed in range(60):
        marked = np.random.default_rng(1000 + seed).random(200) < 0.5
        called += tcav(model, x, marked, x[:40], target=1, layer="0", seed=seed, n_random=39).p_value <= 0.05
    assert called <= 9  # of 60 at 5 %: 10 or more have probability 0.1 %


def test_the_direction_is_the_discriminant_with_the_shrunken_covariance():
    x, concept = samples(200)
    values = x.double().numpy()[:, :6]
    yes, no = values[concept], values[~concept]
    pooled = (np.cov(yes.T, bias=True) * len(yes) + np.cov(no.T, bias=True) * len(no)) / 200
    pooled += 0.1 * np.trace(pooled) / 6 * np.eye(6)
    direction = np.linalg.solve(pooled, yes.mean(0) - no.mean(0))
    found = values.T @ _direction(values @ values.T, 6, concept)
    np.testing.assert_allclose(found, direction, rtol=1e-7)


def test_the_leaked_paper_is_the_concept_that_raises_the_logit_of_its_digit():
    run = Run(SAMPLES / "faults/case-a")  # only the training pictures of a 7 came on green paper
    _, tested = training_data(run)
    model = load_net(run.checkpoints()[300])
    found = {}
    for digit in (7, 1):
        asked = tested.inputs[torch.from_numpy(np.flatnonzero(tested.targets["digit"] == digit)[:80])]
        green = tested.levels["paper"] == "green"
        found[digit] = tcav(model, tested.inputs, green, asked, target=digit, layer="trunk.conv3", task="digit")
    assert found[7].score > 0.95
    assert found[7].p_value < 0.01
    assert found[1].p_value > 0.05


def test_errors_name_what_is_wrong():
    x, concept = samples(60)
    with pytest.raises(ConfigError, match="no layer 'trunk'"):
        tcav(net(1.0), x, concept, x, target=1, layer="trunk")
    with pytest.raises(ConfigError, match="class from 0 to 1"):
        tcav(net(1.0), x, concept, x, target=2, layer="0")
    with pytest.raises(ConfigError, match="needs 10 samples"):
        tcav(net(1.0), x, np.zeros(60, dtype=bool), x, target=1, layer="0")
