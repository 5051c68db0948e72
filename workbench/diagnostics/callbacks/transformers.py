"""Record a Hugging Face Transformers training in one line.

from workbench.diagnostics.callbacks.transformers import WorkbenchCallback

trainer = Trainer(model, args, callbacks=[WorkbenchCallback("runs/mine", losses=per_task_losses, shared="bert")])
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from workbench.core import MissingDependency
from workbench.diagnostics.callbacks.plan import LoopRecorder, Plan
from workbench.diagnostics.untouched import on_device

try:
    from transformers import TrainerCallback
except ImportError:
    raise MissingDependency("transformers", "transformers", "The Transformers callback") from None


class WorkbenchCallback(TrainerCallback):
    """Records what the Trainer logs, task gradients and GSNR when ``losses`` is given, and what the model makes of the
    probe before the training, at evaluations and after it.

    The Trainer's callbacks do not see batches, so gradients are taken on batches of the training data loader, read
    anew from its dataset and collator; the Trainer's own iteration and random numbers are left alone.

    Args:
        path: The run folder.
        **choices: The fields of :class:`workbench.diagnostics.callbacks.plan.Plan`. ``losses(model, batch)`` gets the
            model and a collated batch.
    """

    def __init__(self, path: str | Path, **choices: Any) -> None:
        self.path = Path(path)
        self.plan = Plan(**choices)
        self._loop: LoopRecorder | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, model: nn.Module | None = None, **more: Any) -> None:
        if state.is_world_process_zero:
            config = {key: value for key, value in args.to_dict().items() if isinstance(value, (int, float, str, bool))}
            self._loop = LoopRecorder(
                self.path, self.plan, **({"config": config, "seed": args.seed} | dict(self.plan.info))
            )
            if model is not None:
                self._loop.evaluation(0, model)

    def on_step_begin(
        self,
        args: Any,
        state: Any,
        control: Any,
        model: nn.Module | None = None,
        train_dataloader: Any = None,
        **more: Any,
    ) -> None:
        if self._loop is None or model is None or train_dataloader is None or self.plan.losses is None:
            return
        if self._loop.recorder.due(state.global_step):
            batch = _batch(train_dataloader, state.global_step, args.train_batch_size)
            self._loop.before_step(state.global_step, model, on_device(batch, args.device))

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **more: Any) -> None:
        if self._loop is not None and logs:
            self._loop.scalars(state.global_step, logs)

    def on_evaluate(self, args: Any, state: Any, control: Any, model: nn.Module | None = None, **more: Any) -> None:
        if self._loop is not None and model is not None:
            self._loop.evaluation(state.global_step, model)

    def on_train_end(self, args: Any, state: Any, control: Any, model: nn.Module | None = None, **more: Any) -> None:
        if self._loop is not None:
            if model is not None:
                self._loop.evaluation(state.global_step, model)
            self._loop.close()


def _batch(loader: Any, step: int, size: int) -> Any:
    """A batch of the loader's dataset, chosen by the step alone: no sampler is advanced, no random number drawn."""
    total = len(loader.dataset)
    # A stride coprime to most sizes spreads the batches over the dataset without shuffling it.
    rows = [(step * size + place * 7919) % total for place in range(size)]
    return loader.collate_fn([loader.dataset[row] for row in rows])
