"""Rows by plain automatic differentiation: one backward pass for every (task, mini-batch). Exact for any network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from workbench.diagnostics.rows.slices import Slices


def rows(slices: Slices, parameters: Sequence[nn.Parameter]) -> list[Tensor | None]:
    """Per parameter the gradients [K, T, *shape] of all mini-batch means; None where no task reaches it."""
    found: list[Tensor | None] = [None] * len(parameters)
    n_batches = slices.n_batches
    for task, loss in enumerate(slices.losses):
        for batch in range(n_batches):
            gradients: tuple[Tensor | None, ...] = torch.autograd.grad(
                loss, parameters, slices.only(task, batch), retain_graph=True, allow_unused=True
            )
            for i, gradient in enumerate(gradients):
                if gradient is None:
                    continue
                if found[i] is None:
                    found[i] = gradient.new_zeros((n_batches, len(slices.tasks), *gradient.shape))
                found[i][batch, task] = gradient  # type: ignore[index]
    return found
