"""Gradient signal-to-noise ratio (GSNR) of every parameter: mean and variance of per-sample gradients, exactly.

    moments = gsnr.measure(model, lambda x, y: cross_entropy(model(x), y, reduction="none"), [(x, y)])
    moments.gsnr("fc.weight")

The GSNR of a parameter is the square of its mean per-sample gradient over the variance of that gradient. Source: Liu
et al. 2020, arXiv:2001.07384, Definition 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from workbench.core.errors import ConfigError
from workbench.diagnostics.per_sample.moments import POOLED, Moments

__all__ = ["POOLED", "Moments", "measure"]


def measure(
    model: nn.Module,
    loss: Callable[..., Tensor],
    batches: Iterable[Sequence[Any]],
    *,
    domains: Iterable[Sequence[str]] | None = None,
    parameters: Mapping[str, nn.Parameter] | None = None,
) -> Moments:
    """Moments of the per-sample gradients of each parameter over all samples of ``batches``.

    Args:
        model: The network through which ``loss`` computes. It is used in the mode it is in.
        loss: ``loss(*batch)`` gives one loss per sample, shape [B], in nats.
        batches: Tuples of what ``loss`` takes.
        domains: For each batch the B names of its samples' domains. Moments are then kept per domain as well.
        parameters: What to measure, by name; by default every parameter of the model that requires a gradient.

    Raises:
        ConfigError: no batches, no parameters, or losses that are not one per sample.
    """
    chosen = dict(parameters) if parameters is not None else _trainable(model)
    if not chosen:
        raise ConfigError("There is no parameter to measure: none of the model's parameters requires a gradient.")
    names = iter(domains) if domains is not None else None
    total: Moments | None = None
    for batch in batches:
        losses = loss(*batch)
        labels = None if names is None else [str(name) for name in next(names)]
        total = _loop(losses, chosen, labels) if total is None else total.merge(_loop(losses, chosen, labels))
    if total is None:
        raise ConfigError("There was no batch to measure: the iterable 'batches' is empty.")
    return total


def _trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def _loop(losses: Tensor, parameters: Mapping[str, nn.Parameter], labels: Sequence[str] | None) -> Moments:
    """One backward pass per sample."""
    count: dict[str, int] = {POOLED: 0}
    sums: dict[str, dict[str, list[Tensor]]] = {name: {} for name in parameters}
    for i in range(losses.shape[0]):
        grads = torch.autograd.grad(losses[i], list(parameters.values()), retain_graph=True, allow_unused=True)
        keys = (POOLED,) if labels is None else (POOLED, labels[i])
        for key in keys:
            count[key] = count.get(key, 0) + 1
        for (name, parameter), grad in zip(parameters.items(), grads, strict=True):
            g = torch.zeros_like(parameter, dtype=torch.float64) if grad is None else grad.double()
            for key in keys:
                mean, m2 = sums[name].setdefault(key, [torch.zeros_like(g), torch.zeros_like(g)])
                delta = g - mean
                mean += delta / count[key]
                m2 += delta * (g - mean)
    return Moments(
        count,
        {name: {key: pair[0].cpu().numpy() for key, pair in entry.items()} for name, entry in sums.items()},
        {name: {key: pair[1].cpu().numpy() for key, pair in entry.items()} for name, entry in sums.items()},
    )
