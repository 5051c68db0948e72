from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from workbench.core import ConfigError, Run, RunWriter
from workbench.demos import Job, Recipe, Variant
from workbench.demos.trainer import Training, as_pictures, batches_of, fit, record_answers


def job_of(tmp_path, steps):
    variant = Variant("only", "one run", steps=steps)
    return Job(Recipe("r", "?", "about", (variant,), "none"), variant, tmp_path / "run", seed=0)


def test_fit_takes_the_steps_of_gradient_descent_with_momentum(tmp_path):
    # The loss is w itself, so every gradient is 1 and the velocities are 1, 1.5 and 1.75.
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)
    training = Training(probes=(0, 2, 3), lr=0.1, momentum=0.5, batch=4, log_every=2)
    seen, job = {}, job_of(tmp_path, steps=3)
    with RunWriter(job.path) as rec:
        fit(
            job,
            rec,
            net,
            training,
            draw=lambda n: torch.ones(n, 1),
            losses=lambda x: {"slope": net(x)[:, 0]},
            probe=lambda step: seen.update({step: net.weight.item()}),
        )
    assert seen == pytest.approx({0: 0.0, 2: -0.1 * (1 + 1.5), 3: -0.1 * (1 + 1.5 + 1.75)})
    assert job.ticks == 3
    logged = Run(job.path).table("scalars")
    assert logged[["step", "tag"]].to_numpy().tolist() == [[0, "loss/slope"], [2, "loss/slope"]]
    assert logged["value"].tolist() == pytest.approx([0.0, -0.25])


def test_a_recipes_own_rule_fills_the_gradients_unless_the_job_names_another(tmp_path):
    def against(losses):
        losses["slope"].mean().neg().backward()

    def trained(gradients):
        net = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(net.weight)
        job = job_of(tmp_path / (gradients or "own"), steps=1)
        job.gradients = gradients
        with RunWriter(job.path) as rec:
            draw, losses = (lambda n: torch.ones(n, 1)), (lambda x: {"slope": net(x)[:, 0]})
            fit(job, rec, net, Training(probes=(), lr=0.1), draw, losses, probe=lambda step: None, rule=against)
        return net.weight.item()

    assert trained("") == pytest.approx(0.1)
    assert trained("sum") == pytest.approx(-0.1)


def test_losses_of_tasks_are_averaged_each_and_then_added(tmp_path):
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)
    job = job_of(tmp_path, steps=1)
    with RunWriter(job.path) as rec:
        fit(
            job,
            rec,
            net,
            Training(probes=(), lr=1.0, momentum=0.0),
            draw=lambda n: torch.ones(n, 1),
            losses=lambda x: {"many": net(x)[:, 0], "few": 3 * net(x[:2])[:, 0]},
            probe=lambda step: None,
        )
    assert net.weight.item() == pytest.approx(-4)


class Always(nn.Module):
    """Says class 1 for a bright picture and class 0 for a dark one."""

    def forward(self, images):
        bright = images.mean(dim=(1, 2, 3))
        return {"bright": torch.stack([1 - bright, bright], dim=1) * 4}


def test_answers_are_recorded_with_accuracy_over_all_and_per_group(tmp_path):
    images = as_pictures(np.repeat(np.array([0, 0, 1, 1], np.float32), 4).reshape(4, 2, 2))
    with RunWriter(tmp_path / "run") as rec:
        accuracy = record_answers(rec, 7, Always(), images, {"bright": np.array([0, 1, 1, 1])}, groups=list("aabb"))
    assert accuracy == {"accuracy/bright": 0.75, "accuracy/bright/a": 0.5, "accuracy/bright/b": 1.0}
    table = Run(tmp_path / "run").table("predictions")
    assert table["prediction"].tolist() == [0, 0, 1, 1]
    # Logits 4 and 0: the softmax gives 1 / (1 + e^-4) = 0.98201, losses ln(1 + e^-4) = 0.01815 and 4.01815.
    assert table["confidence"].tolist() == pytest.approx([0.982] * 4)
    assert table["loss"].tolist() == pytest.approx([0.0181, 4.0181, 0.0181, 0.0181])


def test_batches_hold_every_sample_once_in_order():
    images = torch.arange(10.0).reshape(10, 1, 1, 1)
    parts = list(batches_of(images, {"t": np.arange(10)}, size=4))
    assert [len(part) for part, _ in parts] == [4, 4, 2]
    assert torch.cat([part for part, _ in parts]).flatten().tolist() == list(range(10))
    assert torch.cat([labels["t"] for _, labels in parts]).tolist() == list(range(10))


def test_training_refuses_a_step_size_that_cannot_be_used():
    with pytest.raises(ConfigError, match="positive lr"):
        Training(probes=(), lr=0)


@pytest.mark.parametrize("scale", [0.01, 100.0])
def test_adams_first_step_has_the_length_of_the_step_size_whatever_the_gradient(tmp_path, scale):
    # Bias-corrected moments of one gradient g are g and g²: the step is lr · g / |g|.
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)
    job = job_of(tmp_path, steps=1)
    with RunWriter(job.path) as rec:
        fit(
            job,
            rec,
            net,
            Training(probes=(), lr=0.1, optimizer="Adam"),
            draw=lambda n: torch.ones(n, 1),
            losses=lambda x: {"slope": scale * net(x)[:, 0]},
            probe=lambda step: None,
        )
    assert net.weight.item() == pytest.approx(-0.1, rel=1e-4)
