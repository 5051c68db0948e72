"""Inner products of a linear layer's weight rows without forming the rows.

The weight gradient of (task t, mini-batch k) is the sum over items of d_n x_nᵀ, so

    <g_t^k, g_u^l> = sum over n in k, m in l of (d_n^t · d_m^u)(x_n · x_m) = sum over n in k of d_n^t · (C_kl D_u^l)_n

with C = X Xᵀ [n, n]. This needs 2n²I + 2Tn²O + 2T²KnO operations instead of 2nTOI + 2(TK)²OI for forming and
multiplying rows: far fewer for wide layers with few items.
"""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.diagnostics.rows import rules
from workbench.diagnostics.rows.fold import products as inner
from workbench.diagnostics.rows.graph import Node, Use
from workbench.diagnostics.rows.items import Items


def applies(use: Use, gradients: Tensor, items: Items) -> bool:
    """Whether this is a linear layer's weight and this way costs clearly less."""
    if use.node.name() not in ("AddmmBackward0", "MmBackward0") or use.slot != _WEIGHT[use.node.name()]:
        return False
    n_tasks, n, n_outputs = gradients.shape
    n_inputs, n_batches = rules.linear_input(use.node).shape[1], items.n_batches
    without = n**2 * n_inputs + n_tasks * n**2 * n_outputs + n_tasks**2 * n_batches * n * n_outputs
    with_rows = n * n_tasks * n_outputs * n_inputs + (n_tasks * n_batches) ** 2 * n_outputs * n_inputs
    return without < 0.7 * with_rows


_WEIGHT = {"AddmmBackward0": 2, "MmBackward0": 1}


def products(node: Node, gradients: Tensor, items: Items) -> Tensor:
    """[K·T, K·T] in float64, from gradients [T, n, O] of the layer's output."""
    x = rules.linear_input(node)
    members, n_tasks = items.members, len(gradients)
    xs = [x[chosen] for chosen in members]
    ds = [gradients[:, chosen] for chosen in members]
    total = torch.zeros(items.n_batches, n_tasks, items.n_batches, n_tasks, dtype=torch.float64, device=x.device)
    for later in range(items.n_batches):
        for k in range(later + 1):
            moved = torch.matmul(xs[k] @ xs[later].T, ds[later])  # [T, n_k, O]
            block = inner(ds[k].flatten(1), moved.flatten(1))
            total[k, :, later], total[later, :, k] = block, block.T
    scale = node._saved_alpha**2 if node.name() == "AddmmBackward0" else 1
    return total.flatten(0, 1).flatten(1) * scale
