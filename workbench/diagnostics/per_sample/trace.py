"""Leave no trace: what measuring could change is put back, also after an exception."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.utils.checkpoint
from torch import nn

from workbench.diagnostics.untouched import untouched


@contextmanager
def leaving_no_trace(model: nn.Module, parameters: Mapping[str, nn.Parameter]) -> Iterator[None]:
    """Gradients are on, compiled models run eagerly, checkpointed ones keep their activations; all that is undone.

    Restored afterwards: what :func:`untouched` restores (modes, buffers, random generators) and ``requires_grad`` of
    measured parameters that were frozen. ``.grad`` and hooks are never touched.
    """
    frozen = [parameter for parameter in parameters.values() if not parameter.requires_grad]
    with ExitStack() as stack:
        stack.enter_context(untouched(model, training=None))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(_without_checkpointing())
        if "torch._dynamo" in sys.modules:  # otherwise nothing is compiled, and importing it takes a second
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        try:
            for parameter in frozen:
                parameter.requires_grad_(True)
            yield
        finally:
            for parameter in frozen:
                parameter.requires_grad_(False)


@contextmanager
def _without_checkpointing() -> Iterator[None]:
    """Checkpointed functions are called as they are: a checkpointed graph can be read only by computing it twice."""
    module: Any = torch.utils.checkpoint
    names = ("_checkpoint_without_reentrant_generator", "CheckpointFunction")
    saved = {name: getattr(module, name) for name in names}
    for name, direct in zip(names, (_keep_everything, _Direct), strict=True):
        setattr(module, name, direct)
    try:
        yield
    finally:
        for name, value in saved.items():
            setattr(module, name, value)


def _keep_everything(*_: Any, **__: Any) -> Iterator[None]:
    yield


class _Direct:
    @staticmethod
    def apply(function: Any, _preserve_rng_state: bool, *inputs: Any) -> Any:
        return function(*inputs)
