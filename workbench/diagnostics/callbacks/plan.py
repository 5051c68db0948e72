"""What to record from a loop that a framework runs; the same choices for every framework."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from workbench.core import ConfigError
from workbench.diagnostics.recorder import Recorder
from workbench.diagnostics.untouched import untouched

logger = logging.getLogger(__name__)

#: ``losses(model, batch)`` -> loss of every sample by task, each [B].
Losses = Callable[[nn.Module, Any], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Plan:
    """What to record, and how often.

    Attributes:
        losses: ``losses(model, batch)`` gives the loss of every sample by task: ``{"depth": [B], "normals": [B]}``.
            None records scalars only (and embeddings, if asked for).
        shared: Dotted name of the part of the model that the tasks share; empty for the whole model.
        every: Record the gradients every so many steps; None chooses the steps so that recording takes at most 5 % of
            the time.
        n_batches: Into how many slices a batch is cut for the intervals.
        layers: Dotted names of layers to embed the probe inputs at, at every evaluation.
        probe: Inputs for the embeddings, as the model takes them, with the samples' ids: ``(inputs, ids)``.
        samples: Columns of the samples table for the probe: ``sample``, ``domain``, attributes…
        info: Further fields of run.json: tasks, domains, attributes, config, seed…
    """

    losses: Losses | None = None
    shared: str = ""
    every: int | None = None
    n_batches: int = 4
    layers: tuple[str, ...] = ()
    probe: tuple[Any, Any] | None = None
    samples: Mapping[str, Any] | None = None
    info: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.layers and self.probe is None:
            raise ConfigError(
                "Embeddings at layers need probe=(inputs, ids): the inputs to embed and their sample ids."
            )


class LoopRecorder:
    """A Recorder that follows a Plan; the callbacks of the frameworks are thin shells around it."""

    def __init__(self, path: str | Path, plan: Plan, **info: Any) -> None:
        self.plan = plan
        self.recorder = Recorder(path, every=plan.every, **(info | dict(plan.info)))
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
        """Embed the probe at the planned layers."""
        if self.plan.layers and self.plan.probe is not None:
            inputs, ids = self.plan.probe
            self.recorder.embeddings(step, model, inputs, ids, list(self.plan.layers))

    def close(self, status: str = "done") -> None:
        self.recorder.close(status)


def _number(value: Any) -> float | None:
    if isinstance(value, Tensor):
        return float(value.detach()) if value.numel() == 1 else None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    return None
