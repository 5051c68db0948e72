"""The one training loop of the demos, and what every recipe records with it.

    theta <- theta - lr * momentum step of d/dtheta sum over tasks of mean_b loss_t(b)

unless the job names another rule for the gradient (:mod:`workbench.demos.gradient_rules`).

A recipe brings three functions: ``draw`` makes a batch, ``losses`` turns it into one loss per task and sample, and
``probe`` records at chosen steps. Step s is the net after s updates, so step 0 is the initialisation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from workbench.core import ConfigError, RunWriter
from workbench.demos.gradient_rules import Rule, gradient_rule
from workbench.demos.recipe import Job
from workbench.diagnostics import predictions

Batch = TypeVar("Batch")

#: Digits of confidences and losses that are kept: enough for every statistic, and they compress well.
DECIMALS = 4


@dataclass(frozen=True)
class Training:
    """How a net is trained.

    Attributes:
        probes: The steps at which the recipe records; the last one may be the number of steps itself.
        momentum: Of SGD; the decay of the mean gradient in Adam.
        log_every: Losses are logged as scalars once in this many steps.
    """

    probes: tuple[int, ...]
    lr: float = 0.05
    momentum: float = 0.9
    batch: int = 64
    log_every: int = 10
    optimizer: Literal["SGD", "Adam"] = "SGD"

    def __post_init__(self) -> None:
        if self.lr <= 0 or self.batch < 1:
            raise ConfigError(f"Training needs a positive lr and batch; got lr={self.lr}, batch={self.batch}.")

    def describe(self, **more: Any) -> dict[str, Any]:
        """For ``config`` in run.json."""
        return asdict(self) | more

    def optimizer_for(self, net: nn.Module) -> torch.optim.Optimizer:
        if self.optimizer == "Adam":
            return torch.optim.Adam(net.parameters(), lr=self.lr, betas=(self.momentum, 0.999))
        return torch.optim.SGD(net.parameters(), lr=self.lr, momentum=self.momentum)


def fit(
    job: Job,
    rec: RunWriter,
    net: nn.Module,
    training: Training,
    draw: Callable[[int], Batch],
    losses: Callable[[Batch], Mapping[str, Float[Tensor, " _"]]],
    probe: Callable[[int], None],
    rule: Rule | None = None,
) -> None:
    """Train for ``job.variant.steps`` updates.

    Args:
        draw: Number of samples -> batch.
        losses: Batch -> task -> loss per sample; tasks may have different numbers of samples.
        probe: Called with the step at each of ``training.probes``.
        rule: The recipe's own way from losses to gradients; the job's choice goes before it.
    """
    optimizer = training.optimizer_for(net)
    fill_gradients = rule if rule and not job.gradients else gradient_rule(job.gradients, net, job.seed)
    for step in range(job.variant.steps):
        if step in training.probes:
            probe(step)
        job.tick()
        current = losses(draw(training.batch))
        optimizer.zero_grad()
        fill_gradients(current)
        optimizer.step()
        if step % training.log_every == 0:
            rec.scalars(step, {f"loss/{task}": loss.detach().mean() for task, loss in current.items()})
    if job.variant.steps in training.probes:
        probe(job.variant.steps)


def record_answers(
    rec: RunWriter,
    step: int,
    net: nn.Module,
    images: Float[Tensor, "N C H W"],
    targets: Mapping[str, Int[np.ndarray, " N"]],
    groups: Sequence[str] | np.ndarray = (),
) -> dict[str, float]:
    """Record what each classifying head says about the samples 0..N-1, and log how often it is right.

    Returns:
        Tag -> accuracy: ``accuracy/<task>``, and ``accuracy/<task>/<group>`` where N names of groups are given.
    """
    accuracy = {}
    for task, said in predictions.collect(net, batches_of(images, targets)).items():
        rec.predictions(
            step,
            task,
            sample=np.arange(len(images)),
            prediction=said.prediction,
            confidence=said.confidence.astype(np.float64).round(DECIMALS),
            loss=said.loss.astype(np.float64).round(DECIMALS),
        )
        hits = said.prediction == targets[task]
        accuracy[f"accuracy/{task}"] = float(hits.mean())
        for group in dict.fromkeys(groups):
            accuracy[f"accuracy/{task}/{group}"] = float(hits[np.asarray(groups) == group].mean())
    rec.scalars(step, accuracy)
    return accuracy


def batches_of(
    images: Float[Tensor, "N C H W"], targets: Mapping[str, Int[np.ndarray, " N"]], size: int = 256
) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """Pictures with their targets by task, ``size`` at a time."""
    for start in range(0, len(images), size):
        part = slice(start, start + size)
        yield images[part], {task: torch.from_numpy(values[part]) for task, values in targets.items()}


def as_pictures(images: np.ndarray) -> Float[Tensor, "N C H W"]:
    """Grey [N, H, W] or coloured [N, 3, H, W] pictures as the input of a net."""
    return torch.from_numpy(np.ascontiguousarray(images[:, None] if images.ndim == 3 else images))
