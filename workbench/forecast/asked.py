"""A problem's model, with the weights of a checkpoint, and samples to ask it about: for attribution of any training.

    problem = load_problem("my_training.py")
    subject = ask(problem, "runs/mine/checkpoints/step-00001000.safetensors", step=1000)
    maps = attribute(subject.net, subject.inputs[:6], task="shape", forward=subject.forward)

What cannot be read off the batches is said by the problem's ``inputs``, ``outputs``, ``targets`` and ``samples``
(:mod:`workbench.forecast.problem`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from workbench.core import ConfigError
from workbench.diagnostics import predictions
from workbench.diagnostics.predictions import NO_LABEL
from workbench.diagnostics.subject import Drawn, Subject
from workbench.diagnostics.untouched import device_of, untouched
from workbench.forecast.data import Sampled, first_inputs, sample
from workbench.forecast.loading import load_model
from workbench.forecast.problem import Problem, told

#: Name of the output of a model that returns one tensor.
ONE = "output"
#: Training samples, and batches of them, drawn at most, for influence.
MAX_TRAINING, MAX_BATCHES = 8000, 2000


def ask(
    problem: Problem, checkpoint: str | Path | None = None, step: int = 0, function: str | None = None
) -> tuple[Subject, Drawn]:
    """The model, and samples to ask it about.

    Samples are counted from 0 in the order in which they are drawn with seed 0, unless the problem's ``samples``
    numbers them. Those of ``batches`` are the samples of a run that ``workbench diagnose`` wrote.

    Args:
        checkpoint: The weights; without one they are fresh, as before training with seed 0.
        function: ``batches`` or ``validation``; by default the latter where the problem has it.

    Raises:
        ConfigError: a function of the problem raised or did not return what it should, or no output has the shape of
            logits.
    """
    net = problem.model(0).eval() if checkpoint is None else load_model(problem, checkpoint)
    chosen = function or ("validation" if problem.validation is not None else "batches")
    drawn, numbers = draw(problem, net, sample(problem, 0, chosen))
    order = np.argsort(numbers, kind="stable")
    drawn = Drawn(
        drawn.inputs[torch.from_numpy(order)],
        {task: values[order] for task, values in drawn.targets.items()},
        {name: values[order] for name, values in drawn.levels.items()},
    )
    forward = partial(answers, problem)
    said = predictions.collect(net, drawn.inputs, forward=forward)
    everything = np.ones(len(numbers), dtype=bool)
    return Subject(net, step, tuple(said), numbers[order], drawn.inputs, said, everything, True, forward), drawn


def training(problem: Problem, net: nn.Module) -> Drawn:
    """Samples that the problem trains on, at most :data:`MAX_TRAINING`: the first ones of ``batches`` with seed 0."""
    return draw(problem, net, sample(problem, 0, "batches", MAX_TRAINING, MAX_BATCHES))[0]


def draw(problem: Problem, net: nn.Module, sampled: Sampled) -> tuple[Drawn, np.ndarray]:
    """Inputs, targets, domains and attributes of some samples; their numbers.

    Raises:
        ConfigError: no inputs can be found, they differ in shape, or there is not one number a sample.
    """
    with torch.no_grad():
        pieces = [_inputs(problem, batch) for batch in sampled.batches]
    if len({piece.shape[1:] for piece in pieces}) > 1:
        raise ConfigError(f"{problem.where}: all inputs must have one shape; give inputs(batch) that makes it so.")
    sizes = [len(piece) for piece in pieces]
    inputs = torch.cat(pieces)
    labels = [_targets(problem, batch) for batch in sampled.batches]
    targets = {
        task: np.concatenate(
            [_whole(problem, task, found.get(task), size) for found, size in zip(labels, sizes, strict=True)]
        )
        for task in dict.fromkeys(chain.from_iterable(labels))
    }
    levels = {"domain": sampled.domain, **sampled.attributes} if sampled.domain else dict(sampled.attributes)
    kept = {name: np.array(values) for name, values in levels.items() if len(values) == len(inputs)}
    return Drawn(inputs, _named(problem, net, inputs, targets), kept), _numbers(problem, sampled.batches, len(inputs))


def answers(problem: Problem, model: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    """Task -> logits of some inputs; one tensor goes by the name of :data:`ONE`.

    Outputs with places, [B, C, ...], stand for their mean over places. One number a sample stays one number.
    """
    given = inputs.to(device_of(model))
    if problem.outputs is not None:
        with problem.calling("outputs"):
            found: Any = problem.outputs(model, given)
    else:
        try:
            found = model(given)
        except Exception as error:
            raise ConfigError(
                f"{problem.where}: model(inputs) raised {told(error, problem.source)}. Write outputs(model, inputs) "
                "that returns {task: logits [B, C]}."
            ) from error
    found = dict(found) if isinstance(found, Mapping) else {ONE: found}
    made = {str(task): _logits(value) for task, value in found.items()}
    known = {task: value for task, value in made.items() if value is not None}
    if not known:
        raise ConfigError(
            f"{problem.where}: the model's answers to inputs must be logits [B, C], one tensor or {{task: tensor}}; "
            f"got {', '.join(f'{task}: {type(value).__name__}' for task, value in found.items()) or 'nothing'}. "
            "Write outputs(model, inputs) that returns them."
        )
    return known


def _logits(value: Any) -> Tensor | None:
    if not isinstance(value, Tensor) or not value.is_floating_point() or value.ndim < 1:
        return None
    return value[:, None] if value.ndim == 1 else value.flatten(2).mean(2) if value.ndim > 2 else value


def _inputs(problem: Problem, batch: Any) -> Tensor:
    if problem.inputs is not None:
        with problem.calling("inputs"):
            found: Any = problem.inputs(batch)
    else:
        found = first_inputs(batch)
    if not isinstance(found, Tensor) or found.ndim < 2 or not found.is_floating_point():
        got = "nothing" if found is None else type(found).__name__
        raise ConfigError(
            f"{problem.where}: attribution asks about inputs of floating-point numbers, [B, ...]; found {got}. Write "
            "inputs(batch) that returns them, for words e.g. their embeddings, and outputs(model, inputs) to match."
        )
    return found.detach().cpu()


def _targets(problem: Problem, batch: Any) -> dict[str, Any]:
    """Task -> labels of a batch; "" for labels that no task is named with."""
    if problem.targets is not None:
        with problem.calling("targets"):
            return {str(task): values for task, values in problem.targets(batch).items()}
    if isinstance(batch, Mapping) and len(batch) == 1 and problem.tasks and next(iter(batch)) in problem.tasks:
        ((task, inner),) = batch.items()
        return {str(task): found for found in _targets_of(inner).values()}
    return _targets_of(batch)


def _targets_of(batch: Any) -> dict[str, Any]:
    given = batch[1] if isinstance(batch, (tuple, list)) and len(batch) > 1 else {}
    named = given if isinstance(given, Mapping) else {"": given}
    return {
        str(task): value
        for task, value in named.items()
        if isinstance(value, Tensor) and value.ndim == 1 and not value.is_floating_point()
    }


def _whole(problem: Problem, task: str, values: Any, size: int) -> np.ndarray:
    if values is None:
        return np.full(size, NO_LABEL)
    found = np.asarray(values.cpu() if isinstance(values, Tensor) else values)
    if found.shape != (size,) or found.dtype.kind not in "iu":
        raise ConfigError(
            f"{problem.where}: targets of '{task}' must be {size} class numbers, one a sample of the batch; got shape "
            f"{found.shape} and type {found.dtype}."
        )
    return found.astype(np.int64)


def _named(problem: Problem, net: nn.Module, inputs: Tensor, targets: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Targets by the names of the model's outputs, those that are classes of it."""
    with untouched(net), torch.no_grad():
        classes = {task: logits.shape[1] for task, logits in answers(problem, net, inputs[:2]).items()}
    named = {next(iter(classes)): values for values in targets.values()} if set(targets) == {""} else targets
    return {
        task: values for task, values in named.items() if task in classes and values.max(initial=-1) < classes[task]
    }


def _numbers(problem: Problem, batches: tuple[Any, ...], n: int) -> np.ndarray:
    if problem.samples is None:
        return np.arange(n)
    with problem.calling("samples"):
        found = np.concatenate([np.asarray(problem.samples(batch), dtype=np.int64).ravel() for batch in batches])
    if len(found) != n or len(np.unique(found)) != n:
        raise ConfigError(
            f"{problem.where}: samples(batch) must number every sample, each with a number of its own; got "
            f"{len(np.unique(found))} different numbers for {n} samples."
        )
    return found
