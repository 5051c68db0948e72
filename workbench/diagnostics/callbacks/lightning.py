"""Record a Lightning training in one line.

from workbench.diagnostics.callbacks.lightning import WorkbenchCallback

trainer = Trainer(callbacks=[WorkbenchCallback("runs/mine", losses=per_task_losses, shared="backbone")])
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from workbench.core import MissingDependency
from workbench.diagnostics.callbacks.plan import LoopRecorder, Plan

try:
    from lightning.pytorch.callbacks import Callback
except ImportError:
    try:
        from pytorch_lightning.callbacks import Callback
    except ImportError:
        raise MissingDependency("lightning", "lightning", "The Lightning callback") from None


class WorkbenchCallback(Callback):
    """Records task gradients and GSNR before training batches, logged metrics and hyper-parameters, and what the model
    makes of the probe before the training, at validations and after it.

    Only the process of global rank 0 records.

    Args:
        path: The run folder.
        **choices: The fields of :class:`workbench.diagnostics.callbacks.plan.Plan`. ``losses(module, batch)`` gets the
            LightningModule.
    """

    def __init__(self, path: str | Path, **choices: Any) -> None:
        super().__init__()
        self.path = Path(path)
        self.plan = Plan(**choices)
        self._loop: LoopRecorder | None = None

    def on_fit_start(self, trainer: Any, pl_module: nn.Module) -> None:
        if trainer.is_global_zero:
            hyperparameters = {str(key): value for key, value in getattr(pl_module, "hparams", {}).items()}
            self._loop = LoopRecorder(self.path, self.plan, **({"config": hyperparameters} | dict(self.plan.info)))
            self._loop.evaluation(0, pl_module)

    def on_train_batch_start(self, trainer: Any, pl_module: nn.Module, batch: Any, batch_idx: int) -> None:
        if self._loop is not None:
            self._loop.before_step(trainer.global_step, pl_module, batch)

    def on_train_batch_end(self, trainer: Any, pl_module: nn.Module, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self._loop is not None and trainer.global_step % trainer.log_every_n_steps == 0:
            self._loop.scalars(trainer.global_step, trainer.logged_metrics)

    def on_validation_epoch_end(self, trainer: Any, pl_module: nn.Module) -> None:
        if self._loop is not None and not trainer.sanity_checking:
            self._loop.evaluation(trainer.global_step, pl_module)

    def on_validation_end(self, trainer: Any, pl_module: nn.Module) -> None:
        if self._loop is not None and not trainer.sanity_checking:
            self._loop.scalars(trainer.global_step, trainer.callback_metrics)

    def on_fit_end(self, trainer: Any, pl_module: nn.Module) -> None:
        if self._loop is not None:
            self._loop.scalars(trainer.global_step, trainer.callback_metrics)
            self._loop.evaluation(trainer.global_step, pl_module)
            self._loop.close()

    def on_exception(self, trainer: Any, pl_module: nn.Module, exception: BaseException) -> None:
        if self._loop is not None:
            self._loop.close("failed")
