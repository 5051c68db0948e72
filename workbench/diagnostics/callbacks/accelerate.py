"""Record an Accelerate training in one line.

from workbench.diagnostics.callbacks.accelerate import record

accelerator = Accelerator()
record(accelerator, "runs/mine", losses=per_task_losses, shared="backbone")      # the rest of the loop stays as it is
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from workbench.core import ConfigError, MissingDependency
from workbench.diagnostics.callbacks.plan import LoopRecorder, Plan

try:
    from accelerate.tracking import GeneralTracker, on_main_process
except ImportError:
    raise MissingDependency("accelerate", "accelerate", "The Accelerate tracker") from None


def record(accelerator: Any, path: str | Path, **choices: Any) -> WorkbenchTracker:
    """Record what an Accelerator trains, before or after its ``prepare``.

    ``accelerator.log`` becomes scalars. Every batch of a prepared data loader that comes while the model is in training
    mode is looked at when it is due, before the loop gets it; the step is the number of updates that the first
    optimizer has made. The probe is evaluated before the first batch, when a loader is begun in evaluation mode, and at
    ``accelerator.end_training()``, which closes the run. Only the main process records.

    Args:
        accelerator: An ``accelerate.Accelerator``; the first model that it prepares is recorded, without its wrapper.
        path: The run folder.
        **choices: The fields of :class:`workbench.diagnostics.callbacks.plan.Plan`.
    """
    tracker = WorkbenchTracker(path, **choices)
    accelerator.trackers.append(tracker)
    tracker.follow(accelerator)
    if accelerator.is_main_process:
        _ = tracker.tracker  # a folder that holds a run already is refused now, not at the first batch
    return tracker


class WorkbenchTracker(GeneralTracker):
    """What :func:`record` adds to an Accelerator. Given as ``log_with`` instead, it records what the loop hands to
    ``log``, ``before_step`` (task gradients and GSNR when due) and ``evaluate`` (what the model makes of the probe).

    Args:
        path: The run folder.
        **choices: The fields of :class:`workbench.diagnostics.callbacks.plan.Plan`.
    """

    name = "workbench"
    requires_logging_directory = False
    main_process_only = True

    def __init__(self, path: str | Path, **choices: Any) -> None:
        super().__init__()
        self._path, self._plan = Path(path), Plan(**choices)
        self._recorder: LoopRecorder | None = None
        self._accelerator: Any = None
        self._optimizer: Any = None
        self._updates = 0
        self._recorded = -1

    @property
    def tracker(self) -> LoopRecorder:
        """The recorder behind it; the run folder is made when it is first needed."""
        if self._recorder is None:
            self._recorder = LoopRecorder(self._path, self._plan)
        return self._recorder

    @on_main_process
    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.tracker.recorder.update(config=values)

    @on_main_process
    def log(self, values: Mapping[str, Any], step: int | None = None, **more: Any) -> None:
        if step is None and self._accelerator is None:
            self._updates += 1
        self.tracker.scalars(self._updates if step is None else step, values)

    @on_main_process
    def before_step(self, step: int, model: nn.Module, batch: Any) -> None:
        """Record the task gradients of a batch before it is trained on, when one is due."""
        self.tracker.before_step(step, model, batch)

    @on_main_process
    def evaluate(self, step: int, model: nn.Module) -> None:
        """Record embeddings and predictions of the probe."""
        self.tracker.evaluation(step, model)

    @on_main_process
    def finish(self) -> None:
        model = self._model()
        if model is not None:
            self.tracker.evaluation(self._updates, model)
        self.tracker.close()

    # -- following an Accelerator -----------------------------------------------------------------------------------

    def follow(self, accelerator: Any) -> None:
        """Watch the batches and updates of an Accelerator; raises ConfigError where it is followed already."""
        if self._accelerator is not None:
            raise ConfigError("This tracker follows an Accelerator already. Make another one with another folder.")
        self._accelerator = accelerator
        prepare = accelerator.prepare

        def prepared(*args: Any, **options: Any) -> Any:
            found = prepare(*args, **options)
            self._watch()
            return found

        accelerator.prepare = prepared
        self._watch()

    def _model(self) -> nn.Module | None:
        """The model without the wrapper of distributed training: its forward pass waits for no other process."""
        models = [] if self._accelerator is None else self._accelerator._models
        return self._accelerator.unwrap_model(models[0]) if models else None

    def _watch(self) -> None:
        """Count the updates of the first optimizer; see the batches of every loader."""
        if self._optimizer is None and self._accelerator._optimizers:
            self._optimizer = self._accelerator._optimizers[0].optimizer
            self._optimizer.register_step_post_hook(self._count)
        for loader in self._accelerator._dataloaders:
            kind = type(loader)
            if not hasattr(kind, "_workbench"):
                members = {"_workbench": self, "__iter__": _watched(kind, self)}
                # Accelerate's loaders say to be of their data's class; the plain descriptor sets the real one.
                object.__dict__["__class__"].__set__(loader, type(kind.__name__, (kind,), members))

    def _count(self, *_: Any) -> None:
        self._updates += 1

    @on_main_process
    def _begin(self) -> None:
        model = self._model()
        if model is not None and (self._updates == 0 or not model.training):
            self.tracker.evaluation(self._updates, model)

    @on_main_process
    def _see(self, batch: Any) -> None:
        model = self._model()
        if model is not None and model.training and self._recorded != self._updates:
            self._recorded = self._updates  # with accumulated gradients several batches make one update
            self.tracker.before_step(self._updates, model, batch)


def _watched(kind: type, tracker: WorkbenchTracker) -> Any:
    """The iteration of a kind of loader that shows each batch to the tracker first."""

    def iterate(loader: Any) -> Iterator[Any]:
        tracker._begin()
        for batch in kind.__iter__(loader):  # type: ignore[attr-defined]
            tracker._see(batch)
            yield batch

    return iterate
