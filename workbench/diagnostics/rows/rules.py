"""Rules: the gradient rows of an operation's weights, from its saved input X and the gradients D of its output.

D [T, n, ...] holds the n items of the output for T tasks; rows come out as [K, T, *shape of the argument], summed over
the items of each mini-batch. Every rule is the operation's ordinary weight gradient, cut by items; nothing is
approximated. With n items and no cut (K = 1) they hold for any network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from workbench.diagnostics.rows.convolution import convolution_rows
from workbench.diagnostics.rows.graph import Node
from workbench.diagnostics.rows.items import Items

Rows = Callable[[Node, int, Tensor, Items], Tensor]


class Rule(NamedTuple):
    """How to cut an operation's output into items, and the rows of its arguments by slot.

    Attributes:
        item_axes: Number of leading axes of the output that its items lie along.
    """

    item_axes: Callable[[Node, Sequence[int]], int]
    rows: dict[int, Rows]


def known(node: Node, slot: int) -> bool:
    """Whether there is a rule for the gradient of an argument."""
    rule = RULES.get(node.name())
    if rule is None or slot not in rule.rows:
        return False
    if rule in (_elementwise, _expansion):
        sizes = {each: math.prod(_argument_shape(node, each)) for each in _slots(node)}
        return all(sizes[slot] < size for each, size in sizes.items() if each != slot)
    return not (node.name() == "EmbeddingBackward0" and node._saved_scale_grad_by_freq)


def flat(node: Node, gradient: Tensor) -> Tensor:
    """The gradient of a node's output with its items along the first axis: [n, ...]."""
    axes = RULES[node.name()].item_axes(node, gradient.shape)
    return gradient.flatten(0, axes - 1) if axes else gradient[None]


def rows(node: Node, slot: int, gradients: Tensor, items: Items) -> Tensor:
    """Rows [K, T, *shape] of an argument from the gradients [T, n, ...] of the output, at least in float32."""
    return RULES[node.name()].rows[slot](node, slot, gradients, items)


def wide(tensor: Tensor) -> Tensor:
    """At least float32, so that sums of half-precision numbers keep their digits."""
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()


def linear_input(node: Node) -> Tensor:
    """X [n, I] of a matrix product with weights on the right."""
    return wide(node._saved_mat1 if node.name() == "AddmmBackward0" else node._saved_self)


def _matrix_rows(node: Node, slot: int, gradients: Tensor, items: Items) -> Tensor:
    """Xᵀ D [K, T, I, O] of the right-hand matrix, as the transpose of DᵀX, which autograd transposes back."""
    x = linear_input(node)
    n_tasks, _, n_outputs = gradients.shape
    rows = gradients.new_empty(items.n_batches, n_tasks * n_outputs, x.shape[1])
    for k, members in enumerate(items.members):
        d = gradients[:, members].transpose(1, 2).reshape(n_tasks * n_outputs, -1)
        torch.mm(d, x[members], out=rows[k])
    rows = rows.view(items.n_batches, n_tasks, n_outputs, x.shape[1])
    return rows.transpose(2, 3) * node._saved_alpha if _scaled(node) else rows.transpose(2, 3)


def _scaled(node: Node) -> bool:
    return node.name() == "AddmmBackward0" and node._saved_alpha != 1


def _bias_rows(node: Node, slot: int, gradients: Tensor, items: Items) -> Tensor:
    rows = items.sums(gradients)
    return rows * node._saved_beta if node.name() == "AddmmBackward0" and node._saved_beta != 1 else rows


def _convolution_bias_rows(node: Node, slot: int, gradients: Tensor, items: Items) -> Tensor:
    return items.sums(gradients.flatten(3).sum(3))


def _layer_norm_rows(node: Node, slot: int, gradients: Tensor, items: Items) -> Tensor:
    if slot == 2:
        return items.sums(gradients)
    x = wide(node._saved_input)
    normalised = (x - node._saved_result1) * node._saved_result2
    return items.sums(gradients * normalised.reshape(gradients.shape[1:]))


def _group_norm_rows(node: Node, slot: int, gradients: Tensor, items: Items) -> Tensor:
    gradients = gradients.flatten(3)  # [T, n, C, L]
    if slot == 2:
        return items.sums(gradients.sum(3))
    x = wide(node._saved_input).reshape(*node._saved_result1.shape, -1)
    normalised = (x - node._saved_result1[..., None]) * node._saved_result2[..., None]
    return items.sums((gradients * normalised.reshape(gradients.shape[1:])).sum(3))


def _batch_norm_rows(node: Node, slot: int, gradients: Tensor, items: Items) -> Tensor:
    gradients = gradients.flatten(3) if gradients.ndim > 3 else gradients[..., None]  # [T, n, C, L]
    if slot == 2:
        return items.sums(gradients.sum(3))
    x = wide(node._saved_input)
    x = x.flatten(2) if x.ndim > 2 else x[..., None]
    if node._saved_training:
        mean, scale = node._saved_result1, node._saved_result2
    else:
        mean, scale = node._saved_running_mean, (node._saved_running_var + node._saved_eps).rsqrt()
    normalised = (x - mean[:, None]) * scale[:, None]
    return items.sums((gradients * normalised).sum(3))


def _embedding_rows(node: Node, slot: int, gradients: Tensor, items: Items) -> Tensor:
    tokens = node._saved_indices.flatten()
    n_tokens = int(node._saved_weight_sym_argsize_0)
    kept = tokens != node._saved_padding_idx
    rows = gradients.new_zeros(items.n_batches, len(gradients), n_tokens, gradients.shape[2])
    for k in range(items.n_batches):
        chosen = ((items.batch == k) & kept).nonzero().squeeze(1)
        rows[k].index_add_(1, tokens[chosen], gradients[:, chosen])
    return rows


def _elementwise_rows(node: Node, slot: int, gradients: Tensor, items: Items) -> Tensor:
    """Rows of a tensor that was added, or multiplied into the output, with broadcasting."""
    shape = tuple(_argument_shape(node, slot))
    axes = RULES[node.name()].item_axes(node, node._input_metadata[0].shape)
    if node.name() == "MulBackward0":
        other = wide(node._saved_other if slot == 0 else node._saved_self)
        other = other.expand(node._input_metadata[0].shape)
        gradients = gradients * (other.flatten(0, axes - 1) if axes else other[None])
    sums = items.sums(gradients)  # [K, T, *axes of the output after the items]
    inner = (1,) * (sums.ndim - 2 - len(shape)) + shape[max(len(shape) - (sums.ndim - 2), 0) :]
    reduced = [2 + i for i, size in enumerate(inner) if size == 1 and sums.shape[2 + i] != 1]
    sums = sums.sum(reduced, keepdim=True) if reduced else sums
    scale = node._saved_alpha if node.name() == "AddBackward0" and slot == 1 else 1
    return (sums * scale).reshape(*sums.shape[:2], *shape)


def _argument_shape(node: Node, slot: int) -> tuple[int, ...]:
    if node.name() == "ExpandBackward0":
        return tuple(node._saved_self_sym_sizes)
    child, output = node.next_functions[slot]
    return tuple(child._input_metadata[output].shape)


def _broadcast_axes(node: Node, shape: Sequence[int]) -> int:
    """Leading axes of the output along which the smaller argument is repeated (all but the last for a scalar)."""
    own = min((_argument_shape(node, slot) for slot in _slots(node)), key=math.prod)
    padded = (1,) * (len(shape) - len(own)) + own
    return next(
        (axis for axis, (size, out) in enumerate(zip(padded, shape, strict=True)) if size == out != 1),
        max(len(shape) - 1, 0),
    )


def _slots(node: Node) -> list[int]:
    return [slot for slot, (child, _) in enumerate(node.next_functions) if child is not None]


_matrix = Rule(lambda node, shape: 1, {2: _matrix_rows, 0: _bias_rows})
_convolution = Rule(lambda node, shape: 1, {1: convolution_rows, 2: _convolution_bias_rows})
_batch_norm = Rule(lambda node, shape: 1, {1: _batch_norm_rows, 2: _batch_norm_rows})
_expansion = Rule(_broadcast_axes, {0: _elementwise_rows})
_elementwise = Rule(_broadcast_axes, {0: _elementwise_rows, 1: _elementwise_rows})

RULES: dict[str, Rule] = {
    "AddmmBackward0": _matrix,
    "MmBackward0": Rule(lambda node, shape: 1, {1: _matrix_rows}),
    "ConvolutionBackward0": _convolution,
    "NativeLayerNormBackward0": Rule(
        lambda node, shape: len(shape) - len(node._saved_normalized_shape), {1: _layer_norm_rows, 2: _layer_norm_rows}
    ),
    "NativeGroupNormBackward0": Rule(lambda node, shape: 1, {1: _group_norm_rows, 2: _group_norm_rows}),
    "NativeBatchNormBackward0": _batch_norm,
    "CudnnBatchNormBackward0": _batch_norm,
    "EmbeddingBackward0": Rule(lambda node, shape: len(shape) - 1, {0: _embedding_rows}),
    "MulBackward0": _elementwise,
    "AddBackward0": _elementwise,
    "ExpandBackward0": _expansion,
}
