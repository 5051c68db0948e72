"""Weight rows of convolutions, and their inputs as items of a matrix product."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import unfold

from workbench.diagnostics.rows.graph import Node
from workbench.diagnostics.rows.items import Items


def convolution_rows(node: Node, slot: int, gradients: Sequence[Tensor], items: Items) -> Tensor:
    """[K, T, *weight] by the library's own weight gradient.

    With several mini-batches the tasks stand side by side as output channels, so that one call serves all of them.
    """
    x, weight = node._saved_input.to(gradients[0].dtype), node._saved_weight.to(gradients[0].dtype)
    rows = weight.new_empty(items.n_batches, len(gradients), *weight.shape)
    if items.n_batches == 1:
        for t, gradient in enumerate(gradients):
            rows[0, t] = _weight_gradient(node, gradient, x, weight)
        return rows
    x, d = items.sorted(x), items.stacked(gradients)  # [n, T, O, ...]
    groups, n_tasks = node._saved_groups, len(gradients)
    d = d.unflatten(2, (groups, -1)).transpose(1, 2).flatten(1, 3)  # [n, groups · T · O / groups, ...]
    if node._saved_transposed:
        wide = weight.new_empty(1).expand(weight.shape[0], n_tasks * weight.shape[1], *weight.shape[2:])
    else:
        wide = weight.new_empty(1).expand(n_tasks * weight.shape[0], *weight.shape[1:])
    for k, (start, stop) in enumerate(items.bounds):
        found = _weight_gradient(node, d[start:stop], x[start:stop], wide)
        if node._saved_transposed:
            rows[k] = found.unflatten(1, (n_tasks, -1)).transpose(0, 1)
        else:
            rows[k] = found.unflatten(0, (groups, n_tasks, -1)).transpose(0, 1).flatten(1, 2)
    return rows


def _weight_gradient(node: Node, d: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    windows = (node._saved_stride, node._saved_padding, node._saved_dilation)
    geometry = (*windows, node._saved_transposed, node._saved_output_padding, node._saved_groups)
    found: Tensor = torch.ops.aten.convolution_backward(d, x, weight, None, *geometry, (False, True, False))[1]
    return found


def can_unfold(node: Node) -> bool:
    """Whether the convolution can be written as a matrix product of unfolded inputs."""
    return not node._saved_transposed and node._saved_groups == 1 and node._saved_input.ndim in (3, 4)


def unfolded(node: Node, x: Tensor) -> Tensor:
    """The windows of x [n, C, ...] as [n, positions, C · kernel]."""
    kernel = tuple(node._saved_weight.shape[2:])
    padding, dilation, stride = node._saved_padding, node._saved_dilation, node._saved_stride
    if x.ndim == 3:
        x, kernel = x[:, :, None], (1, *kernel)
        padding, dilation, stride = (0, *padding), (1, *dilation), (1, *stride)
    return unfold(x, kernel, dilation, padding, stride).transpose(1, 2)
