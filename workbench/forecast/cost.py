"""What a probe of this model will cost: measured on a few of its steps before anything else, and the plan that fits."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import nn

from workbench.core import ConfigError, Gramian
from workbench.diagnostics import gramian
from workbench.diagnostics.untouched import random_state_kept
from workbench.forecast.feed import MAX_BYTES, judged, n_bytes
from workbench.forecast.plan import HELD_OUT, MAX_STEPS, N_BATCHES, Plan, Units, batches_for, fitting, seconds
from workbench.forecast.problem import Problem
from workbench.forecast.trajectory import advance

_REPEATS = 5


@dataclass(frozen=True)
class Cost:
    """Of a planned probe, measured on this machine.

    Attributes:
        parameters, shared: Trainable parameters, and those of them that are shared.
        step: Seconds of one optimizer step with all tasks. alone: with one task (mean over tasks).
        seconds: Of the whole plan.
        memory: Peak bytes: weights, gradients and optimizer states of two copies of the model, activations, task
            gradients of the widest layer, and the batches that are kept.
        samples: In one batch of the task that has the fewest; 1 where a loss is a scalar.
        half_width: Of the 95 % interval of a cosine at one point with one batch: median over pairs; NaN where a
            signal is below its noise.
    """

    parameters: int
    shared: int
    units: Units
    plan: Plan
    seconds: float
    memory: int
    samples: int
    half_width: float

    @property
    def step(self) -> float:
        return self.units.together

    @property
    def alone(self) -> float:
        return self.units.alone

    def __str__(self) -> str:
        plan = self.plan
        pairs = f", {len(plan.pairs)} pairs of them" if plan.paired and len(plan.tasks) > 2 else ""
        return (
            f"{self.parameters:,} parameters, {self.shared:,} of them shared by {len(plan.tasks)} tasks; a step takes "
            f"{duration(self.step)} with all tasks and {duration(self.alone)} with one. Planned: from each of "
            f"{len(plan.seeds)} seeds, {plan.steps} steps of every task alone{pairs} and all together, about "
            f"{duration(self.seconds)} and {size(self.memory)} of memory."
        )


def estimate(
    problem: Problem,
    *,
    budget: float = 120.0,
    seeds: int = 4,
    max_steps: int = MAX_STEPS,
    interval: float = 0.1,
    first_seed: int = 0,
) -> Cost:
    """Measure a few steps of the problem and plan a probe of about ``budget`` seconds at most.

    Args:
        seeds: How many; the intervals of the forecast are over seeds.
        max_steps: Longest trajectory. A longer one says more about the end of the training.
        interval: Half-width wished for the 95 % interval of a cosine pooled over the probe.

    Raises:
        ConfigError: the problem is not as the protocol says, or an argument cannot be used.
    """
    if seeds < 2 or not budget > 0 or max_steps < 1 or not interval > 0:
        raise ConfigError(
            "A forecast needs at least 2 seeds (for intervals), a budget above 0 seconds, at least 1 step and an "
            f"interval above 0; got seeds={seeds}, budget={budget}, max_steps={max_steps}, interval={interval}."
        )
    with random_state_kept():
        return _estimate(problem, budget, tuple(range(first_seed, first_seed + seeds)), max_steps, interval)


def _estimate(problem: Problem, budget: float, seeds: tuple[int, ...], max_steps: int, interval: float) -> Cost:
    model = problem.model(seeds[0])
    parts = problem.parts(model)
    batches, fetching = _fetched(problem.one_pass(seeds[0]))
    tasks = tuple(problem.tasks)
    activations, samples, scalar = _graph(problem, model, batches[0], parts)
    plan = Plan(tasks, seeds, 1, False, *((N_BATCHES, N_BATCHES) if scalar else (1, min(N_BATCHES, samples // 2))))
    if plan.n_batches < 2:
        raise ConfigError(
            f"{problem.where}: a batch of {samples} samples cannot be cut into mini-batches. Make batches larger "
            "(16 samples or more), or return scalar losses."
        )
    found: list[Gramian] = []
    units = Units(
        alone=float(np.mean([_timed(_stepper(problem, model, (task,), batches)) for task in (tasks[0], tasks[-1])])),
        together=_timed(_stepper(problem, model, tasks, batches)),
        judging=_timed(lambda: judged(problem, model, batches[:1], tasks)),
        gradients=_timed(lambda: found.append(products(problem, model, parts, batches[:1], 1)), repeats=1),
        lookahead=0.0,
        fetching=fetching,
    )
    units = Units(**units.__dict__ | {"lookahead": len(tasks) * (units.alone + HELD_OUT * units.judging)})
    half_width = _half_width(products(problem, model, parts, batches[:1] * plan.batches, plan.n_batches))
    if not scalar:
        points = len(seeds) * len(plan.gradient_marks)
        plan = Plan(tasks, seeds, 1, False, batches_for(half_width, interval, points), plan.n_batches)
    plan = fitting(plan, units, budget, max_steps)
    memory = _memory(model, parts, plan, activations, n_bytes(batches[0]))
    shared = sum(p.numel() for own in parts.values() for p in own)
    return Cost(_trainable(model), shared, units, plan, seconds(plan, units), memory, samples, half_width)


def _fetched(source: Iterator[Any]) -> tuple[list[Any], float]:
    """The first batches, and seconds per batch.

    The first is not timed unless it is the only one: opening files and starting workers is done once, not every step.
    """
    begun = time.perf_counter()
    batches = list(islice(source, 1))
    warm = time.perf_counter()
    batches += islice(source, _REPEATS)
    later = len(batches) - 1
    return batches, (time.perf_counter() - warm) / later if later > 0 else warm - begun


def products(
    problem: Problem, model: nn.Module, parts: Mapping[str, Any], batches: Sequence[Any], n_batches: int
) -> Gramian:
    """The Gramian of the tasks over the samples of some batches together, cut into ``n_batches`` mini-batches.

    A scalar loss counts as one sample, so its mini-batches are made of whole batches.
    """
    found = [problem.task_losses(model, batch) for batch in batches]
    losses = {task: torch.cat([one[task].reshape(-1) for one in found]) for task in problem.tasks}
    return gramian.measure(losses, parts, n_batches=n_batches)


def _graph(problem: Problem, model: nn.Module, batch: Any, parts: Mapping[str, Any]) -> tuple[int, int, bool]:
    """Bytes that autograd keeps for one batch, samples of the smallest task, and whether some loss is a scalar.

    Raises ConfigError when a task's loss does not reach the shared parameters.
    """
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        losses = problem.task_losses(model, batch)
    wanted = [p for own in parts.values() for p in own]
    for task, loss in losses.items():
        reached = loss.requires_grad and any(
            g is not None for g in torch.autograd.grad(loss.mean(), wanted, retain_graph=True, allow_unused=True)
        )
        if not reached:
            raise ConfigError(
                f"{problem.where}: the loss of task '{task}' does not depend on any shared parameter. Check "
                "shared(model), and that losses() neither detaches nor runs under torch.no_grad()."
            )
    scalar = any(loss.ndim == 0 for loss in losses.values())
    return sum(kept.values()), min(loss.numel() for loss in losses.values()), scalar


def _stepper(
    problem: Problem, model: nn.Module, tasks: tuple[str, ...], batches: Sequence[Any]
) -> Callable[[], object]:
    """A function that takes one optimizer step on a copy of the model."""
    learner = copy.deepcopy(model).train()
    optimizer = problem.make_optimizer(learner)
    return lambda: advance(problem, learner, optimizer, batches[0], tasks)


def _timed(action: Callable[[], object], repeats: int = _REPEATS) -> float:
    """Fewest seconds of an action (others may use the machine), after one unmeasured call when it is repeated."""
    if repeats > 1:
        action()
    taken = []
    for _ in range(repeats):
        begun = time.perf_counter()
        action()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - begun)
    return min(taken)


def _half_width(found: Gramian) -> float:
    cosines = found.total().cosines()
    pairs = np.triu_indices(len(found.tasks), 1)
    half = (cosines.high - cosines.value)[0][pairs]
    return float(np.median(half)) if np.isfinite(half).all() else float("nan")


def _trainable(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _memory(model: nn.Module, parts: Mapping[str, Any], plan: Plan, activations: int, batch: int) -> int:
    weights = sum(p.element_size() * p.numel() for p in model.parameters())
    widest = max(p.element_size() * p.numel() for own in parts.values() for p in own)
    rows = len(plan.tasks) * plan.n_batches * widest
    return 2 * 4 * weights + activations * plan.batches + rows + min(MAX_BYTES, batch * (plan.steps + HELD_OUT))


def duration(taken: float) -> str:
    """Seconds in words, with two digits: "35 ms", "1.2 s", "4 min"."""
    if taken < 1:
        return f"{1000 * taken:.2g} ms"
    return f"{taken:.2g} s" if taken < 90 else f"{taken / 60:.2g} min"


def size(count: float) -> str:
    """Bytes in words: "35 MB"."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(count / 1e6, 1):.0f} MB"
