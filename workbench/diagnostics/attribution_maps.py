"""Maps of one output of a model, method by method; :mod:`workbench.diagnostics.attribution` is what to call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from workbench.core import ConfigError
from workbench.diagnostics.untouched import device_of

Method = Literal["integrated gradients", "occlusion", "gradient × input", "grad-cam", "layer conductance"]
METHODS: tuple[Method, ...] = get_args(Method)
#: Side of the square that occlusion covers, and how far it moves, in pixels; 1 and 1 for inputs that are no pictures.
WINDOW, STRIDE = 5, 2
_BATCH = 512


@dataclass(frozen=True)
class Question:
    """One output of one model, asked in one way about some inputs."""

    model: nn.Module
    inputs: Tensor
    method: str
    task: str | None
    target: Tensor
    baseline: Tensor
    layer: str | None
    n_steps: int
    forward: Callable[[nn.Module, Any], Any]

    @staticmethod
    def of(
        model: nn.Module,
        inputs: Tensor,
        method: str,
        task: str | None,
        target: int | Tensor | None,
        baseline: float | Tensor,
        layer: str | None,
        n_steps: int,
        forward: Callable[[nn.Module, Any], Any],
    ) -> Question:
        if method not in METHODS:
            raise ConfigError(f"Unknown attribution method '{method}'. Methods: {', '.join(METHODS)}.")
        if n_steps < 1 or not len(inputs):
            raise ConfigError(f"Attribution needs inputs and n_steps of at least 1; got {len(inputs)} and {n_steps}.")
        given = inputs.detach().to(device_of(model))
        ground = torch.as_tensor(baseline).detach().to(given).expand_as(given)
        with torch.no_grad(), _once(model, layer):
            logits = task_logits(forward(model, given), task)
        if target is None:
            asked = logits.argmax(1)
        else:
            asked = torch.as_tensor(target).to(device=given.device, dtype=torch.long).expand(len(given))
        if bool(((asked < 0) | (asked >= logits.shape[1])).any()):
            raise ConfigError(f"target must be a class from 0 to {logits.shape[1] - 1}; got {asked.tolist()}.")
        return Question(model, given, method, task, asked, ground, layer, n_steps, forward)

    def of_model(self, model: nn.Module) -> Question:
        return Question(**self.__dict__ | {"model": model.eval()})

    def logits(self, inputs: Tensor) -> Tensor:
        return task_logits(self.forward(self.model, inputs), self.task)

    def value(self, inputs: Tensor) -> Tensor:
        """The explained output, one number per sample."""
        return self.logits(inputs).gather(1, self.target[:, None])[:, 0]

    def maps(self, inputs: Tensor) -> Tensor:
        """Maps of these inputs: the question's own ones, or k neighbours of each, one sample's beside each other."""
        from captum import attr

        repeats = len(inputs) // len(self.inputs)
        target, ground = (item.repeat_interleave(repeats, 0) for item in (self.target, self.baseline))
        leaf = inputs.detach().clone().requires_grad_()
        if self.method == "integrated gradients":
            way = attr.IntegratedGradients(self.logits)
            size = max(_BATCH, len(leaf))
            found = way.attribute(leaf, ground, target, n_steps=self.n_steps, internal_batch_size=size)
        elif self.method == "gradient × input":
            found = attr.Saliency(self.logits).attribute(leaf, target, abs=False) * (inputs - ground)
        elif self.method == "occlusion":
            window, strides = _window(inputs)
            with torch.no_grad():
                found = attr.Occlusion(self.logits).attribute(
                    inputs, window, strides, ground, target, perturbations_per_eval=max(1, _BATCH // len(inputs))
                )
        elif self.method == "grad-cam":
            coarse = attr.LayerGradCam(self.logits, self._convolution()).attribute(leaf, target)
            found = attr.LayerAttribution.interpolate(coarse, tuple(leaf.shape[2:]), "bilinear")[:, 0]
        else:
            found = spread(layer_conductance(self, self._convolution(), leaf, ground, target), tuple(leaf.shape[2:]))
        return found.detach()

    def _convolution(self) -> nn.Module:
        if self.inputs.ndim != 4:
            raise ConfigError(
                f"{self.method.capitalize()} maps need pictures [N, C, H, W]; got inputs of shape "
                f"{tuple(self.inputs.shape)}."
            )
        return convolution(self.model, self.layer, self.method)


@contextmanager
def _once(model: nn.Module, layer: str | None) -> Iterator[None]:
    """Raise ConfigError when a named layer runs several times inside the block."""
    runs: list[None] = []
    module = dict(model.named_modules()).get(layer) if layer else None
    handle = None if module is None else module.register_forward_hook(lambda *_: runs.append(None))
    try:
        yield
    finally:
        if handle is not None:
            handle.remove()
    if len(runs) > 1:
        raise ConfigError(
            f"Layer '{layer}' runs {len(runs)} times for one answer, so that it has no one output to ask about. "
            "Give a forward that runs it once for all tasks."
        )


def layer_conductance(
    question: Question, layer: nn.Module, inputs: Float[Tensor, "N ..."], ground: Tensor, target: Tensor
) -> Float[Tensor, "N ..."]:
    """What flows through each unit of a layer on the way from the baseline to the input, in logits."""
    from captum import attr

    size = max(_BATCH, len(inputs))
    way = attr.LayerConductance(question.logits, layer)
    found = way.attribute(inputs, ground, target, n_steps=question.n_steps, internal_batch_size=size)
    if not isinstance(found, Tensor):
        raise ConfigError("Layer conductance needs a layer with one tensor as its output.")
    return found.detach()


def spread(values: Float[Tensor, "N ..."], size: tuple[int, ...]) -> Float[Tensor, "N H W"]:
    """The sum over channels, each place shared out evenly over the pixels it covers: the sum of a map is kept."""
    if values.ndim != 4:
        raise ConfigError(f"A map needs a layer with places, [N, C, h, w]; this one gives {tuple(values.shape)}.")
    rows, columns = (_shares(fine, coarse).to(values) for fine, coarse in zip(size, values.shape[2:], strict=True))
    return torch.einsum("Hh,nchw,Ww->nHW", rows, values, columns).contiguous()


def _shares(fine: int, coarse: int) -> Float[Tensor, "H h"]:
    """Which share of each of the coarse cells lies in each of the fine ones; columns sum to 1."""
    edges, cells = (torch.linspace(0, 1, n + 1, dtype=torch.float64) for n in (fine, coarse))
    low = torch.maximum(edges[:-1, None], cells[None, :-1])
    high = torch.minimum(edges[1:, None], cells[None, 1:])
    return (high - low).clamp(min=0) * coarse


def task_logits(output: Any, task: str | None) -> Float[Tensor, "N C"]:
    """The logits of one task in what a model returns; one value per sample, [N], becomes [N, 1].

    Raises:
        ConfigError: the task is not in the output, or the output is not [N, C].
    """
    if isinstance(output, Mapping):
        if task is None and len(output) == 1:
            task = next(iter(output))
        if task not in output:
            raise ConfigError(f"Say which task to explain; got {task!r}, the model has: {', '.join(map(str, output))}.")
        output = output[task]
    if isinstance(output, Tensor) and output.ndim == 1:
        output = output[:, None]
    if not isinstance(output, Tensor) or output.ndim != 2:
        found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ConfigError(f"The explained output must be logits of shape [N, C]; got {found}.")
    return output


def _window(inputs: Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shape and strides of what occlusion covers at once: a square in all channels, else a single value."""
    if inputs.ndim != 4:
        return (1,) * (inputs.ndim - 1), (1,) * (inputs.ndim - 1)
    channels, height, width = inputs.shape[1:]
    return (channels, min(WINDOW, height), min(WINDOW, width)), (channels, min(STRIDE, height), min(STRIDE, width))


def convolution(model: nn.Module, layer: str | None, method: str) -> nn.Module:
    """The named module, or the last convolution.

    Raises:
        ConfigError: there is none.
    """
    modules = dict(model.named_modules())
    convolutions = [name for name, module in modules.items() if isinstance(module, nn.Conv2d)]
    name = layer if layer is not None else (convolutions or [""])[-1]
    if not name or name not in modules:
        known = ", ".join(convolutions) or "none"
        raise ConfigError(
            f"{method.capitalize()} needs the name of a convolution; got {layer!r}. Convolutions: {known}."
        )
    return modules[name]
