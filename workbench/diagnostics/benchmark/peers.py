"""Ways to obtain Σ g and Σ g² of per-sample gradients: ours and those of other programs, on the same problem.

Each takes a problem and gives the function that is timed, or raises :class:`Unsupported` with the reason. What the
function returns is parameter -> (mean, unbiased variance) in whatever precision the approach works.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from workbench.diagnostics import gsnr
from workbench.diagnostics.benchmark.nets import Problem

Result = Mapping[str, tuple[Any, Any]]
Approach = Callable[[Problem], Callable[[], Any]]


class Unsupported(Exception):
    """The approach cannot treat the case, or its package is not installed."""


def plain(problem: Problem) -> Callable[[], None]:
    """One forward and backward pass: the unit of the benchmark."""

    def run() -> None:
        problem.model.zero_grad()
        problem.loss(*problem.batch).mean().backward()

    return run


def ours(problem: Problem) -> Callable[[], Result]:
    def run() -> Result:
        moments = gsnr.measure(problem.model, problem.loss, [problem.batch])
        return {
            name: (moments.mean[name][""], moments.m2[name][""] / (len(problem.targets) - 1))
            for name in moments.parameters
        }

    return run


def naive(problem: Problem) -> Callable[[], Result]:
    """A loop over samples with a backward pass each."""
    parameters = dict(problem.model.named_parameters())

    def run() -> Result:
        sums = _Sums(parameters)
        for i in range(len(problem.targets)):
            loss = problem.loss(problem.inputs[i : i + 1], problem.targets[i : i + 1]).sum()
            sums.add([g[None] for g in torch.autograd.grad(loss, list(parameters.values()))])
        return sums.result()

    return run


def vmap(problem: Problem, chunk: int | None = None) -> Callable[[], Result]:
    """torch.func: vmap over grad of the functional loss."""
    parameters = {name: p.detach() for name, p in problem.model.named_parameters()}

    def loss(values: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        logits = torch.func.functional_call(problem.model, values, (x[None],))
        return nn.functional.cross_entropy(logits, y[None])

    gradients = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))

    def run() -> Result:
        sums = _Sums(parameters)
        size = chunk or len(problem.targets)
        for x, y in zip(problem.inputs.split(size), problem.targets.split(size), strict=True):
            found = gradients(parameters, x, y)
            sums.add([found[name] for name in parameters])
        return sums.result()

    return run


def vmap_in_chunks(problem: Problem) -> Callable[[], Result]:
    return vmap(problem, 16)


def backpack(problem: Problem) -> Callable[[], Result]:
    """BackPACK's extension SumGradSquared beside the ordinary gradient."""
    _require("backpack")
    from backpack import backpack as extensions
    from backpack import extend
    from backpack.extensions import SumGradSquared

    if not isinstance(problem.model, nn.Sequential) or any(not _backpack_knows(m) for m in problem.model.modules()):
        raise Unsupported("BackPACK has no rule for some layer")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = extend(problem.model, use_converter=_has_blocks(problem.model))
    lossfunc = extend(nn.CrossEntropyLoss(reduction="sum"))
    n = len(problem.targets)

    def run() -> Result:
        with extensions(SumGradSquared()):
            lossfunc(model(problem.inputs), problem.targets).backward()
        result = {}
        for name, p in model.named_parameters():
            result[name] = _moments(p.grad, p.sum_grad_squared, n)
            p.grad = None
            del p.sum_grad_squared
        return result

    return run


def opacus(problem: Problem) -> Callable[[], Result]:
    """Opacus' GradSampleModule."""
    _require("opacus")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from opacus import GradSampleModule

        try:
            model = GradSampleModule(problem.model, loss_reduction="sum", strict=True)
        except Exception as error:
            raise Unsupported("Opacus does not support some layer") from error

    def run() -> Result:
        nn.functional.cross_entropy(model(problem.inputs), problem.targets, reduction="sum").backward()
        parameters = {name.removeprefix("_module."): p for name, p in model.named_parameters()}
        sums = _Sums(parameters)
        sums.add([p.grad_sample for p in parameters.values()])
        for p in parameters.values():
            p.grad = p.grad_sample = None
        return sums.result()

    return run


#: Name in the table -> approach; the first is the unit.
APPROACHES: Mapping[str, Approach] = {
    "plain": plain,
    "workbench": ours,
    "vmap(grad)": vmap,
    "vmap(grad), 16 at a time": vmap_in_chunks,
    "BackPACK": backpack,
    "Opacus": opacus,
    "naive loop": naive,
}


class _Sums:
    """Sums for approaches that give per-sample gradients."""

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        self.names, self.samples = list(parameters), 0
        self.total = [torch.zeros_like(p, requires_grad=False) for p in parameters.values()]
        self.square = [torch.zeros_like(p, requires_grad=False) for p in parameters.values()]

    @torch.no_grad()
    def add(self, gradients: list[Tensor]) -> None:
        self.samples += len(gradients[0])
        for total, square, g in zip(self.total, self.square, gradients, strict=True):
            total += g.sum(0)
            square += g.square().sum(0)

    def result(self) -> Result:
        return {
            name: _moments(total, square, self.samples)
            for name, total, square in zip(self.names, self.total, self.square, strict=True)
        }


@torch.no_grad()
def _moments(total: Tensor, square: Tensor, n: int) -> tuple[Tensor, Tensor]:
    mean = total / n
    return mean, (square - n * mean.square()) / (n - 1)


def _require(package: str) -> None:
    if find_spec(package) is None:
        raise Unsupported(f"{package} is not installed (extra 'bench')")


def _has_blocks(model: nn.Module) -> bool:
    return any(not isinstance(child, _SIMPLE) for child in model.children())


def _backpack_knows(module: nn.Module) -> bool:
    return not isinstance(module, (nn.GroupNorm, nn.LayerNorm, nn.Embedding))


_SIMPLE = (nn.Linear, nn.Conv2d, nn.ReLU, nn.AvgPool2d, nn.Flatten, nn.BatchNorm2d, nn.AdaptiveAvgPool2d)
