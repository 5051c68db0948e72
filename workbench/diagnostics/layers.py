"""Which layers of a net can be asked about: found by running it, for nets of any build."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from workbench.diagnostics.untouched import apply, device_of, untouched


@dataclass(frozen=True)
class Layer:
    """A module with one tensor [N, ...] as its output.

    Attributes:
        places: Whether the output is [N, C, h, w], so that maps can be made of it.
        convolution: Whether it is a convolution over pictures.
        last: Whether a linear layer makes a task's logits of just this output: a direction in it then moves a logit of
            every sample alike.
    """

    name: str
    places: bool
    convolution: bool
    last: bool


def layers(
    model: nn.Module, inputs: Float[Tensor, "N ..."], forward: Callable[[nn.Module, Any], Any] = apply
) -> tuple[Layer, ...]:
    """The layers between a net's inputs and its outputs, in the order in which they end; the outputs are left out.

    Of modules that end in the same tensor the outermost is named, e.g. a block rather than its last activation. Left
    out, too, are modules that run several times: they have no one output.
    """
    seen: dict[str, Tensor] = {}
    fed: dict[str, Tensor] = {}
    again: set[str] = set()

    def keeper(name: str) -> Callable[..., None]:
        def keep(module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
            if isinstance(output, Tensor) and output.ndim > 1 and len(output) == len(inputs):
                again.update({name} & set(seen))
                seen[name] = output
                if isinstance(module, nn.Linear) and given and isinstance(given[0], Tensor):
                    fed[name] = given[0]

        return keep

    handles = [module.register_forward_hook(keeper(name)) for name, module in model.named_modules() if name]
    try:
        with untouched(model), torch.no_grad():
            output = forward(model, inputs.to(device_of(model)))
    finally:
        for handle in handles:
            handle.remove()
    modules = dict(model.named_modules())
    ends = list(output.values()) if isinstance(output, Mapping) else [output]
    heads = {name for name, found in seen.items() if any(found is end for end in ends)}
    feeding = [fed[name] for name in heads if name in fed]
    found: dict[int, Layer] = {}
    for name, made in seen.items():
        if name not in heads | again and not any(made is end for end in ends):
            last = any(made.shape == feed.shape and torch.equal(made, feed) for feed in feeding)
            found.pop(id(made), None)
            found[id(made)] = Layer(name, made.ndim == 4, isinstance(modules[name], nn.Conv2d), last)
    return tuple(found.values())
