"""One batch of samples and the graph behind their losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from workbench.core.errors import ConfigError
from workbench.diagnostics.per_sample.tape import Tape

#: Recurrent layers as one operation. Computed step by step they are products like any others.
_FUSED_RECURRENT = frozenset({"MkldnnRnnLayerBackward0", "CudnnRnnBackward0", "MiopenRnnBackward0"})


class Batch:
    """A batch and its losses.

    Args:
        loss: ``loss(*inputs)`` -> one loss per sample, shape [B].
        inputs: What the loss takes.

    Raises:
        ConfigError: the losses are not one per sample.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[..., Tensor],
        inputs: Sequence[Any],
        parameters: Mapping[str, nn.Parameter],
    ) -> None:
        self.model, self.loss, self.inputs, self.parameters = model, loss, inputs, parameters
        self._rng = rng_state()
        self._step_by_step = False
        self.losses = self.evaluate(inputs)
        self.samples = _checked(self.losses)
        self.tape = Tape.read(self.losses, parameters)
        if not _FUSED_RECURRENT.isdisjoint(self.tape.signature[0]):
            self._step_by_step = True
            self.losses = self.again()
            self.tape = Tape.read(self.losses, parameters)

    def evaluate(self, inputs: Sequence[Any]) -> Tensor:
        if not self._step_by_step:
            return self.loss(*inputs)
        with ExitStack() as stack:
            # Not torch.backends.mkldnn.flags, which warns about TF32 wherever there is none.
            stack.callback(torch._C._set_mkldnn_enabled, torch._C._get_mkldnn_enabled())
            torch._C._set_mkldnn_enabled(False)
            if torch.cuda.is_initialized():
                stack.enter_context(torch.backends.cudnn.flags(enabled=False))
            return self.loss(*inputs)

    def again(self) -> Tensor:
        """The same losses with a fresh graph: dropout draws what it drew before."""
        set_rng_state(self._rng)
        return self.evaluate(self.inputs)


def map_rows(value: Any, samples: int, change: Callable[[Tensor], Tensor]) -> Any:
    """Change every tensor with a row per sample, wherever it is nested in what a loss takes."""
    if isinstance(value, Tensor):
        return change(value) if value.ndim > 0 and len(value) == samples else value
    if isinstance(value, Mapping):
        made = {key: map_rows(item, samples, change) for key, item in value.items()}
        return made if type(value) is dict else type(value)(made)  # type: ignore[call-arg]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_rows(item, samples, change) for item in value))
    if isinstance(value, (list, tuple)):
        return type(value)(map_rows(item, samples, change) for item in value)
    return value


def rng_state() -> tuple[Tensor, list[Tensor]]:
    """State of the generators of the CPU and of every GPU in use."""
    return torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []


def set_rng_state(state: tuple[Tensor, list[Tensor]]) -> None:
    torch.set_rng_state(state[0])
    if state[1]:
        torch.cuda.set_rng_state_all(state[1])


def _checked(losses: Any) -> int:
    if not isinstance(losses, Tensor) or losses.ndim != 1 or len(losses) == 0:
        found = f"a tensor of shape {tuple(losses.shape)}" if isinstance(losses, Tensor) else type(losses).__name__
        raise ConfigError(
            f"loss(*batch) must return one loss per sample, a tensor of shape [B] with B >= 1; it returned {found}. "
            "Use reduction='none' and average over everything but the samples."
        )
    if not losses.requires_grad:
        raise ConfigError(
            "The losses do not depend on any parameter that requires a gradient. Compute them through the model, "
            "outside torch.no_grad()."
        )
    return len(losses)
