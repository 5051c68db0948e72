"""What a layer makes of each sample: one vector a sample, in eval mode."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from workbench.core import ConfigError
from workbench.diagnostics.untouched import apply, device_of, in_batches, on_device, untouched

#: Layers by name, or by name with a function from the layer's output to [B, D].
Layers = Sequence[str] | Mapping[str, Callable[[Any], Tensor]]


def collect(
    model: nn.Module,
    batches: Tensor | Iterable[Any],
    layers: Layers,
    *,
    forward: Callable[[nn.Module, Any], Any] = apply,
) -> dict[str, Float[np.ndarray, "N D"]]:
    """Outputs of named layers over all batches, as float32 on the CPU.

    Outputs are pooled to one vector a sample: [B, D] stays; [B, C, positions…] of convolutional layers is averaged over
    positions; [B, positions, D] of token layers is averaged over tokens. A mapping ``layers`` gives another pooling.
    A layer that runs several times in one forward pass gives its last output.

    The model runs in eval mode without gradients; afterwards modes, buffers, hooks and random number generators are as
    before, also after an exception.

    Args:
        batches: Inputs [N, ...] in one tensor (run 256 at a time) or an iterable of batches: a tensor, a tuple whose
            first entry is the input, or a mapping of keyword arguments. Moved to the model's device.
        layers: Names as in ``model.named_modules()``.
        forward: How to run the model on a batch when the rule above does not fit.

    Raises:
        ConfigError: an unknown layer, a layer that did not run, or an output that is not one tensor.
    """
    pools = dict(layers) if isinstance(layers, Mapping) else dict.fromkeys(layers, None)
    modules = dict(model.named_modules())
    for name in pools:
        if name not in modules:
            raise ConfigError(f"The model has no layer '{name}'. Layers: {', '.join(n for n in modules if n)}.")
    found: dict[str, list[np.ndarray]] = {name: [] for name in pools}
    outputs: dict[str, Any] = {}
    device = device_of(model)
    with untouched(model), torch.no_grad(), _kept({name: modules[name] for name in pools}, outputs):
        for batch in in_batches(batches):
            outputs.clear()
            forward(model, on_device(batch, device))
            for name, pool in pools.items():
                if name not in outputs:
                    raise ConfigError(f"Layer '{name}' took no part in the forward pass, so it has no embedding.")
                pooled = pool(outputs[name]) if pool else _pooled(name, modules[name], outputs[name])
                found[name].append(pooled.float().cpu().numpy())
    if not any(found.values()):
        raise ConfigError("batches is empty: there is nothing to embed.")
    return {name: np.concatenate(pieces) for name, pieces in found.items()}


@contextmanager
def _kept(modules: Mapping[str, nn.Module], outputs: dict[str, Any]) -> Iterator[None]:
    """Keep each module's output under its name while the block runs."""

    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            outputs[name] = output

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _pooled(name: str, module: nn.Module, output: Any) -> Tensor:
    if isinstance(output, Mapping) and output:
        output = next(iter(output.values()))
    if isinstance(output, (tuple, list)) and output:
        output = output[0]
    if not isinstance(output, Tensor) or output.ndim == 0:
        raise ConfigError(
            f"Layer '{name}' returns a {type(output).__name__}, which has no rows. "
            f"Give a function that makes [B, D] of it: layers={{'{name}': lambda output: …}}."
        )
    if output.ndim == 1:
        return output[:, None]
    if output.ndim == 3 and not type(module).__name__.endswith("1d"):
        return output.mean(dim=1)
    return output.flatten(2).mean(dim=2) if output.ndim > 2 else output
