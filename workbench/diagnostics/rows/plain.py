"""Rows by plain automatic differentiation: one backward pass for every (task, mini-batch). Exact for any network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from workbench.diagnostics.rows.slices import Slices

#: Columns multiplied at once in the rows' own precision before their products are summed in float64.
BLOCK = 4096


def rows(slices: Slices, parameters: Sequence[nn.Parameter]) -> list[Tensor | None]:
    """Per parameter the gradients [T·K, *shape] of all mini-batch means; None where no task reaches it."""
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
                    found[i] = gradient.new_zeros((len(slices.tasks) * n_batches, *gradient.shape))
                found[i][task * n_batches + batch] = gradient  # type: ignore[index]
    return found


def products(matrix: Tensor) -> Tensor:
    """Inner products [R, R] in float64 of rows [R, P].

    Rows narrower than float64 are multiplied in their own precision (at least float32) over blocks of 4096 columns,
    and the blocks are summed in float64.
    """
    n_rows, width = matrix.shape
    if matrix.dtype == torch.float64:
        return matrix @ matrix.T
    matrix = matrix.float()
    n_blocks = width // BLOCK
    total = torch.zeros(n_rows, n_rows, dtype=torch.float64, device=matrix.device)
    if n_blocks:
        blocks = matrix[:, : n_blocks * BLOCK].reshape(n_rows, n_blocks, BLOCK).transpose(0, 1)
        total += torch.bmm(blocks, blocks.transpose(1, 2)).sum(0, dtype=torch.float64)
    rest = matrix[:, n_blocks * BLOCK :].double()
    return total + rest @ rest.T
