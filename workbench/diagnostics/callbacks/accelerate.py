"""Record an Accelerate training through its tracker interface.

from workbench.diagnostics.callbacks.accelerate import WorkbenchTracker

accelerator = Accelerator(log_with=WorkbenchTracker("runs/mine", losses=per_task_losses, shared="backbone"))
accelerator.init_trackers("mine", config={...})
tracker = accelerator.get_tracker("workbench")      # in the loop: tracker.before_step(step, model, batch)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from workbench.core import MissingDependency
from workbench.diagnostics.callbacks.plan import LoopRecorder, Plan

try:
    from accelerate.tracking import GeneralTracker, on_main_process
except ImportError:
    raise MissingDependency("accelerate", "accelerate", "The Accelerate tracker") from None


class WorkbenchTracker(GeneralTracker):
    """``accelerator.log`` becomes scalars; ``before_step`` records task gradients and GSNR when they are due, and
    ``evaluate`` what the model makes of the probe.

    Args:
        path: The run folder.
        **choices: The fields of :class:`workbench.diagnostics.callbacks.plan.Plan`.
    """

    name = "workbench"
    requires_logging_directory = False
    main_process_only = True

    def __init__(self, path: str | Path, **choices: Any) -> None:
        super().__init__()
        self._loop = LoopRecorder(path, Plan(**choices))
        self._step = 0

    @property
    def tracker(self) -> LoopRecorder:
        """The recorder behind it."""
        return self._loop

    @on_main_process
    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self._loop.recorder.update(config=values)

    @on_main_process
    def log(self, values: Mapping[str, Any], step: int | None = None, **more: Any) -> None:
        self._step = self._step + 1 if step is None else step
        self._loop.scalars(self._step, values)

    @on_main_process
    def before_step(self, step: int, model: nn.Module, batch: Any) -> None:
        """Record the task gradients of a batch before it is trained on, when one is due."""
        self._loop.before_step(step, model, batch)

    @on_main_process
    def evaluate(self, step: int, model: nn.Module) -> None:
        """Record embeddings and predictions of the probe."""
        self._loop.evaluation(step, model)

    @on_main_process
    def finish(self) -> None:
        self._loop.close()
