"""Inner products of weight rows: of a few channels at a time, or without forming any row.

The weight gradient of (task t, mini-batch k) of a linear layer is the sum over items of d_n x_nᵀ, so

    <g_t^k, g_u^l> = sum over n in k, m in l of (d_n^t · d_m^u)(x_n · x_m) = sum over n in k of d_n^t · (C_kl D_u^l)_n

with C = X Xᵀ [n, n]. This needs n²I + Tn²O + T²KnO multiplications instead of nTOI + (TK)²OI for forming and
multiplying rows: far fewer for wide layers with few items. A convolution is a linear layer of its unfolded input, an
item a position.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from workbench.diagnostics.rows import rules
from workbench.diagnostics.rows.convolution import can_unfold, unfolded
from workbench.diagnostics.rows.fold import products as inner
from workbench.diagnostics.rows.graph import Node, Use
from workbench.diagnostics.rows.items import Items

#: What counts as clearly fewer multiplications: they are of smaller matrices than those of the rows.
_FEWER = 0.8
#: Multiplications in the time in which one number goes to memory and back.
_MEMORY = 40
#: Numbers of rows that stay in the cache between being formed and being multiplied.
_CACHED = 400_000
_WEIGHT_SLOT = {"AddmmBackward0": 2, "MmBackward0": 1, "ConvolutionBackward0": 1}


def applies(use: Use, gradients: Sequence[Tensor], items: Items) -> bool:
    """Whether these are the rows of a linear layer's weight, or of a convolution's that are better not formed."""
    name = use.node.name()
    if not use.direct or use.slot != _WEIGHT_SLOT.get(name):
        return False
    return name != "ConvolutionBackward0" or (can_unfold(use.node) and _without_rows(use.node, gradients, items))


def products(node: Node, gradients: Sequence[Tensor], items: Items, channels: slice) -> Tensor:
    """[K·T, K·T] in float64, from gradients [n, O, ...] of the layer's output, of some of its output channels."""
    chosen = [gradient[:, channels] for gradient in gradients]
    unformed = node.name() == "ConvolutionBackward0" or _without_rows(node, chosen, items)
    found = (_from_items if unformed else _by_channels)(node, chosen, items)
    return found * node._saved_alpha**2 if node.name() == "AddmmBackward0" else found


def _without_rows(node: Node, gradients: Sequence[Tensor], items: Items) -> bool:
    n, n_outputs, *positions = gradients[0].shape
    if node.name() == "ConvolutionBackward0":
        n, n_inputs = n * math.prod(positions), math.prod(node._saved_weight.shape[1:])
    else:
        n_inputs = rules.linear_input(node).shape[1]
    n_rows, size = len(gradients) * items.n_batches, n_outputs * n_inputs
    without = n**2 * n_inputs + len(gradients) * n**2 * n_outputs + len(gradients) * n_rows * n * n_outputs
    with_rows = n * len(gradients) * size + n_rows**2 * size + _MEMORY * n_rows * size
    return without < _FEWER * with_rows


def _by_channels(node: Node, gradients: Sequence[Tensor], items: Items) -> Tensor:
    """Form the rows of a few output channels at a time, which stay in the cache until they are multiplied."""
    x, n_tasks = items.sorted(rules.linear_input(node)), len(gradients)
    n_rows, n_channels, n_inputs = items.n_batches * n_tasks, gradients[0].shape[1], x.shape[1]
    width = min(max(_CACHED // (n_rows * n_inputs), 16), n_channels)
    total = torch.zeros(n_rows, n_rows, dtype=torch.float64, device=x.device)
    scratch = x.new_empty(items.n_batches, n_tasks * width, n_inputs)
    for first in range(0, n_channels, width):
        d = items.stacked([gradient[:, first : first + width] for gradient in gradients])  # [n, T, width]
        rows = scratch if d.shape[2] == width else x.new_empty(items.n_batches, n_tasks * d.shape[2], n_inputs)
        for k, (start, stop) in enumerate(items.bounds):
            torch.mm(d[start:stop].flatten(1).T, x[start:stop], out=rows[k])
        total += inner(rows.view(n_rows, -1))
    return total


def _from_items(node: Node, gradients: Sequence[Tensor], items: Items) -> Tensor:
    x, d = _items(node, gradients, items)
    each, n_tasks = len(x) // items.n_items, len(gradients)
    spans = [slice(start * each, stop * each) for start, stop in items.bounds]
    total = torch.zeros(items.n_batches, n_tasks, items.n_batches, n_tasks, dtype=torch.float64, device=x.device)
    ds = [d[span].transpose(0, 1).flatten(1) for span in spans]  # K times [T, n_k · O]
    for later, right in enumerate(spans):
        for k, left in enumerate(spans[: later + 1]):
            moved = (x[left] @ x[right].T) @ d[right].flatten(1)  # [n_k, T · O]
            block = inner(ds[k], moved.unflatten(1, (n_tasks, -1)).transpose(0, 1).flatten(1))
            total[k, :, later], total[later, :, k] = block, block.T
    return total.flatten(0, 1).flatten(1)


def _items(node: Node, gradients: Sequence[Tensor], items: Items) -> tuple[Tensor, Tensor]:
    """The layer's input [n, I] and the gradients [n, T, O], sorted by mini-batch."""
    d = items.stacked(gradients)
    if node.name() != "ConvolutionBackward0":
        return items.sorted(rules.linear_input(node)), d
    x = unfolded(node, items.sorted(rules.wide(node._saved_input)))
    return x.flatten(0, 1), d.flatten(3).permute(0, 3, 1, 2).flatten(0, 1)
