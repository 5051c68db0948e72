"""Weight rows of convolutions."""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.diagnostics.rows.graph import Node
from workbench.diagnostics.rows.items import Items


def convolution_rows(node: Node, slot: int, gradients: Tensor, items: Items) -> Tensor:
    """[K, T, *weight]: the library's own weight gradient for each (mini-batch, task)."""
    x, weight = node._saved_input.to(gradients.dtype), node._saved_weight.to(gradients.dtype)
    windows = (node._saved_stride, node._saved_padding, node._saved_dilation)
    geometry = (*windows, node._saved_transposed, node._saved_output_padding, node._saved_groups)
    rows = gradients.new_empty(items.n_batches, len(gradients), *weight.shape)
    for k, members in enumerate(items.members):
        for t in range(len(gradients)):
            rows[k, t] = torch.ops.aten.convolution_backward(
                gradients[t, members], x[members], weight, None, *geometry, (False, True, False)
            )[1]
    return rows
