"""What to record from a loop that a framework runs; the same choices for every framework."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from workbench.core import ConfigError
from workbench.diagnostics import predictions
from workbench.diagnostics.recorder import Recorder
from workbench.diagnostics.untouched import apply, untouched

logger = logging.getLogger(__name__)

#: ``losses(model, batch)`` -> loss of every sample by task, each [B].
Losses = Callable[[nn.Module, Any], Mapping[str, Tensor]]
#: ``predict(model, inputs)`` -> logits [B, C], or logits by task.
Predict = Callable[[nn.Module, Any], Any]


@dataclass(frozen=True)
class Plan:
    """What to record, and how often. ``losses`` feeds the lenses conflict and gsnr; ``probe`` feeds the others.

    Attributes:
        losses: ``losses(model, batch)`` gives the loss of every sample by task: ``{"depth": [B], "normals": [B]}``.
            None records scalars only (and embeddings, if asked for).
        shared: Dotted name of the part of the model that the tasks share; empty for the whole model.
        every: Record the gradients every so many steps; None chooses the steps so that recording takes at most 5 % of
            the time.
        n_batches: Into how many slices a batch is cut for the intervals.
        gsnr: Record the GSNR of all parameters with the gradients, of the sum of the losses.
        layers: Dotted names of layers to embed the probe inputs at, at every evaluation.
        probe: Inputs to look at in every evaluation, as the model takes them, with the samples' ids: ``(inputs, ids)``.
        samples: Columns of the samples table for the probe: ``sample``, ``dataset``, ``domain``, ``target_<task>``,
            attributes…
        predict: ``predict(model, inputs)`` gives logits [B, C], or logits by task: the predictions on the probe.
        label_heads: Dataset -> the task whose head knows its labels (``classes`` of the task in ``info``). What every
            head says of every dataset's samples is recorded, beside ``target_<task>``, for the lens labels.
        info: Further fields of run.json: tasks, domains, attributes, config, seed…
    """

    losses: Losses | None = None
    shared: str = ""
    every: int | None = None
    n_batches: int = 4
    gsnr: bool = True
    layers: tuple[str, ...] = ()
    probe: tuple[Any, Any] | None = None
    samples: Mapping[str, Any] | None = None
    predict: Predict | None = None
    label_heads: Mapping[str, str] = field(default_factory=dict)
    info: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.layers and self.probe is None:
            raise ConfigError(
                "Embeddings at layers need probe=(inputs, ids): the inputs to embed and their sample ids."
            )
        if self.predict is not None and self.probe is None:
            raise ConfigError("predict needs probe=(inputs, ids): the inputs to predict and their sample ids.")
        if self.label_heads and (self.predict is None or "dataset" not in (self.samples or {})):
            raise ConfigError("label_heads needs predict, and samples with a column 'dataset'.")


class LoopRecorder:
    """A Recorder that follows a Plan; the callbacks of the frameworks are thin shells around it."""

    def __init__(self, path: str | Path, plan: Plan, **info: Any) -> None:
        self.plan = plan
        self.recorder = Recorder(path, every=plan.every, **(info | dict(plan.info)))
        self._truth_recorded = False
        self._evaluated: int | None = None
        if plan.samples is not None:
            self.recorder.samples(plan.samples)

    def before_step(self, step: int, model: nn.Module, batch: Any) -> None:
        """Record the task gradients of the batch about to be trained on, when one is due. Changes nothing."""
        if self.plan.losses is None or not self.recorder.due(step):
            return
        shared = model.get_submodule(self.plan.shared) if self.plan.shared else model
        try:
            with untouched(model, training=None):
                losses = self.plan.losses(model, batch)
                self.recorder.task_gradients(step, losses, shared, n_batches=self.plan.n_batches)
            if self.plan.gsnr:
                self.recorder.gsnr(step, model, partial(_total, self.plan.losses, model), [(batch,)])
        except ConfigError:
            raise
        except Exception:
            logger.warning(
                "Step %d: the losses to record could not be computed; training goes on.", step, exc_info=True
            )

    def scalars(self, step: int, values: Mapping[str, Any]) -> None:
        """Log whatever in ``values`` is one number."""
        numbers = {name: number for name, value in values.items() if (number := _number(value)) is not None}
        if numbers:
            self.recorder.scalars(step, numbers)

    def evaluation(self, step: int, model: nn.Module) -> None:
        """Embed the probe at the planned layers, and record what the model says about it; once a step."""
        if self.plan.probe is None or step == self._evaluated:
            return
        self._evaluated = step
        inputs, ids = self.plan.probe
        if self.plan.layers:
            forward = self.plan.predict or apply
            self.recorder.embeddings(step, model, inputs, ids, list(self.plan.layers), forward=forward)
        if self.plan.predict is not None:
            self.recorder.predict(step, model, inputs, ids, forward=self.plan.predict)
            if self.plan.label_heads:
                try:
                    self._label_counts(step, predictions.collect(model, inputs, forward=self.plan.predict))
                except (ConfigError, RuntimeError, ValueError, KeyError, IndexError) as error:
                    logger.warning("Step %d: labels were not recorded (%s); training goes on.", step, error)

    def _label_counts(self, step: int, said: Mapping[str, predictions.Predictions]) -> None:
        """What the head of every dataset says of every dataset's samples; once also what is true."""
        samples = dict(self.plan.samples or {})
        _, ids = self.plan.probe or (None, ())
        names = np.broadcast_to(np.asarray(samples["dataset"], dtype=object), (len(ids),))
        classes = {task.name: np.asarray(task.classes, dtype=object) for task in self.recorder.info.tasks}
        for dataset in self.plan.label_heads:
            rows = np.flatnonzero(names == dataset)
            ours, task = np.asarray(ids)[rows], self.plan.label_heads[dataset]
            if not self._truth_recorded and f"target_{task}" in samples:
                truth = np.asarray(samples[f"target_{task}"])[rows].astype(int)
                self.recorder.label_counts(dataset=dataset, sample=ours, label=classes[task][truth])
            for source, head in self.plan.label_heads.items():
                label = classes[head][said[head].prediction[rows]]
                self.recorder.label_counts(dataset=dataset, sample=ours, label=label, source=source, step=step)
        self._truth_recorded = True

    def close(self, status: str = "done") -> None:
        self.recorder.close(status)


def _total(losses: Losses, model: nn.Module, batch: Any) -> Tensor:
    """The sum of the tasks' losses of every sample."""
    return torch.stack(list(losses(model, batch).values())).sum(dim=0)


def _number(value: Any) -> float | None:
    if isinstance(value, Tensor):
        return float(value.detach()) if value.numel() == 1 else None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    return None
