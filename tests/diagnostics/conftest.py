"""The slow plain twin of the per-sample engine: one backward pass per sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from workbench.diagnostics import gsnr

PerSampleLoss = Callable[..., Tensor]


def loop(parameters: Mapping[str, nn.Parameter], losses: Tensor) -> dict[str, np.ndarray]:
    """name -> gradients of each loss [B, *shape]."""
    rows: dict[str, list[Tensor]] = {name: [] for name in parameters}
    for loss in losses:
        found = torch.autograd.grad(loss, list(parameters.values()), retain_graph=True, allow_unused=True)
        for (name, parameter), gradient in zip(parameters.items(), found, strict=True):
            rows[name].append(torch.zeros_like(parameter) if gradient is None else gradient)
    return {name: torch.stack(gradients).detach().double().numpy() for name, gradients in rows.items()}


def assert_moments(
    moments: gsnr.Moments, rows: Mapping[str, np.ndarray], domain: str = "", tolerance: float = 1e-10
) -> None:
    """Compare with per-sample gradients, entry by entry.

    Errors are relative to the root mean square of that entry's gradient. Entries 10,000 times smaller than the largest
    of their tensor, or 100,000 times smaller than the largest of the model, are held to the size of those: many are 0
    in exact arithmetic (a bias before a normalisation), so that both sides hold only rounding.
    """
    assert set(moments.parameters) == set(rows)
    largest = max(np.square(gradients).mean(axis=0).max(initial=0.0) for gradients in rows.values())
    for name, gradients in rows.items():
        mean, n = gradients.mean(axis=0), len(gradients)
        size = np.square(gradients).mean(axis=0)
        size = np.maximum(size, max(1e-8 * size.max(initial=0.0), 1e-10 * largest)) + 1e-300
        assert moments.count[domain] == n
        assert moments.mean[name][domain].shape == mean.shape
        mean_error = np.abs(moments.mean[name][domain] - mean) / np.sqrt(size)
        m2_error = np.abs(moments.m2[name][domain] - np.square(gradients - mean).sum(axis=0)) / (n * size)
        assert mean_error.max(initial=0.0) <= tolerance, f"mean of {name}"
        assert m2_error.max(initial=0.0) <= tolerance, f"squared deviations of {name}"


def output_loss(model: nn.Module) -> PerSampleLoss:
    """A loss per sample that depends on every output in another way."""

    def loss(*inputs: Any) -> Tensor:
        output = model(*inputs)
        flat = (output[0] if isinstance(output, tuple) else output).flatten(1)
        return (flat.sin() * torch.linspace(0.2, 1.0, flat.shape[1], dtype=flat.dtype)).sum(1)

    return loss


@pytest.fixture
def check_exact() -> Callable[..., gsnr.Moments]:
    """Measure a model and compare with the loop; gives the moments."""

    def check(
        model: nn.Module, inputs: Sequence[Any], loss: PerSampleLoss | None = None, **options: Any
    ) -> gsnr.Moments:
        loss = loss or output_loss(model)
        parameters = options.get("parameters") or {n: p for n, p in model.named_parameters() if p.requires_grad}
        rows = loop(parameters, loss(*inputs))
        moments = gsnr.measure(model, loss, [tuple(inputs)], **options)
        assert_moments(moments, rows)
        return moments

    return check
