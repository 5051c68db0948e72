"""How one update's losses become one gradient: their plain sum, an aggregator of TorchJD, or a method's own rule.

A rule takes the losses of one batch, task -> loss per sample, and fills ``.grad`` of the net's parameters. The plain
sum of the tasks' mean losses is the baseline of them all. A task whose loss is infinite or NaN spoils every rule alike.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from workbench.core import ConfigError
from workbench.methods import METHODS

Rule = Callable[[Mapping[str, Tensor]], None]

#: The plain sum of losses.
SUM = "sum"


def gradient_rule(name: str, net: nn.Module, seed: int = 0) -> Rule:
    """The rule of that name for one net.

    Args:
        name: ``sum`` or empty; an aggregator of ``torchjd.aggregation`` that needs no arguments, e.g. ``UPGrad``; or a
            method that has a rule, e.g. ``gradsplit``.

    Raises:
        ConfigError: nothing has that name, or TorchJD is needed and not installed; the known names are given.
    """
    if name in ("", SUM):
        return plain_sum
    slug = name.replace("-", "_")
    if slug in METHODS and (made := getattr(import_module(f"workbench.methods.{slug}"), "gradient_rule", None)):
        rule: Rule = made(net, seed=seed)
        return rule
    found = _aggregators()
    if name not in found:
        known = ", ".join([SUM, *method_rules(), *found])
        raise ConfigError(f"No gradient rule is called '{name}'. Rules: {known}.{'' if found else _INSTALL}")
    return Combined(net, found[name]())


def plain_sum(losses: Mapping[str, Float[Tensor, " _"]]) -> None:
    """sum over tasks of mean_b loss_t(b), backwards."""
    torch.stack([loss.mean() for loss in losses.values()]).sum().backward()


def method_rules() -> list[str]:
    """The methods that have a rule of their own."""
    return [slug for slug in METHODS if hasattr(import_module(f"workbench.methods.{slug}"), "gradient_rule")]


class Combined:
    """An aggregator on the parameters that several tasks reach; every other parameter gets its task's own gradient.

        g = A(J) |1ᵀJ| / |A(J)|,  J [T, P] the tasks' gradients of the shared parameters

    The combined gradient has the length of the plain sum, so that a difference comes from its direction and not from a
    longer step (our choice, as in the replay of the conflict lens).
    """

    def __init__(self, net: nn.Module, aggregator: Callable[[Tensor], Tensor]) -> None:
        self.parameters = [parameter for parameter in net.parameters() if parameter.requires_grad]
        self.aggregator = aggregator

    def __call__(self, losses: Mapping[str, Float[Tensor, " _"]]) -> None:
        means = [loss.mean() for loss in losses.values()]
        rows = [torch.autograd.grad(mean, self.parameters, retain_graph=True, allow_unused=True) for mean in means]
        shared: list[int] = []
        for index, parameter in enumerate(self.parameters):
            reached = [row[index] for row in rows if row[index] is not None]
            if len(reached) > 1:
                shared.append(index)
            else:
                parameter.grad = reached[0].clone() if reached else None
        if shared:
            self._fill(shared, torch.stack([self._flat(row, shared) for row in rows]))

    def _flat(self, row: tuple[Tensor | None, ...], shared: list[int]) -> Float[Tensor, " P"]:
        parts = ((self.parameters[i], row[i]) for i in shared)
        return torch.cat([(torch.zeros_like(p) if grad is None else grad).flatten() for p, grad in parts])

    def _fill(self, shared: list[int], jacobian: Float[Tensor, "T P"]) -> None:
        combined = self.aggregator(jacobian)
        length = combined.norm()
        combined = combined * (jacobian.sum(0).norm() / length) if length > 0 else combined
        parts = combined.split([self.parameters[i].numel() for i in shared])
        for index, part in zip(shared, parts, strict=True):
            self.parameters[index].grad = part.view_as(self.parameters[index]).clone()


_INSTALL = " The aggregators of TorchJD need it installed: pip install 'urlearn-workbench[aggregators]'."


def _aggregators() -> dict[str, Any]:
    """Name -> class of TorchJD's aggregators that can be made without arguments; empty where it is not installed."""
    try:
        package: ModuleType = import_module("torchjd.aggregation")
    except ImportError:
        return {}
    return {name: found for name in package.__all__ if _needs_nothing(found := getattr(package, name))}


def _needs_nothing(candidate: Any) -> bool:
    from torchjd.aggregation import Aggregator

    if not (inspect.isclass(candidate) and issubclass(candidate, Aggregator)) or inspect.isabstract(candidate):
        return False
    parameters = list(inspect.signature(candidate.__init__).parameters.values())[1:]
    return all(p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)
