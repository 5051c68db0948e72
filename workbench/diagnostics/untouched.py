"""Look at a model without leaving a trace: modes, buffers and random number generators end as they began."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


@contextmanager
def untouched(model: nn.Module, *, training: bool | None = False) -> Iterator[None]:
    """Put a model into eval mode (or ``training=True``; None leaves the mode) and put everything back afterwards.

    Back as before, also after an exception: the mode of every submodule, every buffer, and the states of the random
    number generators of torch (all devices), numpy and Python. Parameters and ``.grad`` are not guarded: nothing that
    only computes gradients with ``torch.autograd.grad`` writes them.
    """
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    with random_state_kept():
        try:
            if training is not None:
                model.train(training)
            yield
        finally:
            for module, mode in modes:
                module.training = mode
            with torch.no_grad():
                for buffer, saved in buffers:
                    if not torch.equal(buffer, saved):
                        buffer.copy_(saved)


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Restore the random number generators of torch, numpy and Python on leaving."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002  # training code may draw from it
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002


def device_of(model: nn.Module) -> torch.device:
    """Where the model's first parameter or buffer lives; the CPU for a model without any."""
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return torch.device("cpu")


def on_device(value: Any, device: torch.device) -> Any:
    """Tensors inside tuples, lists and mappings moved to a device; anything else as it is."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, Mapping):
        return {key: on_device(item, device) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return tuple(on_device(item, device) for item in value)
    return value


def in_batches(inputs: Tensor | Iterable[Any], size: int = 256) -> Iterable[Any]:
    """One tensor as batches of at most ``size`` rows; an iterable of batches as it is."""
    return inputs.split(size) if isinstance(inputs, Tensor) else inputs


def apply(model: nn.Module, batch: Any) -> Any:
    """The model's output: ``model(**batch)`` for a mapping, ``model(batch[0])`` for a tuple, else ``model(batch)``."""
    if isinstance(batch, Mapping):
        return model(**batch)
    return model(batch[0] if isinstance(batch, (tuple, list)) else batch)
