"""Rules: the gradient rows of an operation's weights, from its saved input X and the gradients D of its output.

For each of T tasks D [n, ...] holds the n items of the output; rows come out as [K, T, *shape of the argument], summed
over the items of each mini-batch. Every rule is the operation's ordinary weight gradient, cut by items; nothing is
approximated. Without a cut (K = 1) they hold for any network.
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

Rows = Callable[[Node, int, Sequence[Tensor], Items], Tensor]


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


def rows(node: Node, slot: int, gradients: Sequence[Tensor], items: Items) -> Tensor:
    """Rows [K, T, *shape] of an argument from the gradients [n, ...] of the output, one for each task."""
    return RULES[node.name()].rows[slot](node, slot, gradients, items)


def is_activation(node: Node, slot: int) -> bool:
    """Whether an argument of a layer (as opposed to an operation on single entries) is not one of its weights."""
    rule = RULES.get(node.name())
    return rule is not None and rule not in (_elementwise, _expansion) and slot not in rule.rows


def wide(tensor: Tensor) -> Tensor:
    """At least float32, so that sums of half-precision numbers keep their digits."""
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()


def linear_input(node: Node) -> Tensor:
    """X [n, I] of a matrix product with weights on the right."""
    return wide(node._saved_mat1 if node.name() == "AddmmBackward0" else node._saved_self)


def _matrix_rows(node: Node, slot: int, gradients: Sequence[Tensor], items: Items) -> Tensor:
    """Xᵀ D [K, T, I, O] of the right-hand matrix, formed as DᵀX, the form of a linear layer's weight."""
    x, d = items.sorted(linear_input(node)), items.stacked(gradients)
    n_tasks, n_outputs = d.shape[1:]
    rows = d.new_empty(items.n_batches, n_tasks * n_outputs, x.shape[1])
    for k, (start, stop) in enumerate(items.bounds):
        torch.mm(d[start:stop].flatten(1).T, x[start:stop], out=rows[k])
    return _scaled(node, "_saved_alpha", rows.unflatten(1, (n_tasks, n_outputs)).transpose(2, 3))


def _scaled(node: Node, factor: str, rows: Tensor) -> Tensor:
    scale = getattr(node, factor) if node.name() in ("AddmmBackward0", "AddBackward0") else 1
    return rows if scale == 1 else rows * scale


def _bias_rows(node: Node, slot: int, gradients: Sequence[Tensor], items: Items) -> Tensor:
    return _scaled(node, "_saved_beta", items.sums(gradients))


def _convolution_bias_rows(node: Node, slot: int, gradients: Sequence[Tensor], items: Items) -> Tensor:
    return items.sums([d.flatten(2).sum(2) for d in gradients])


def _layer_norm_rows(node: Node, slot: int, gradients: Sequence[Tensor], items: Items) -> Tensor:
    if slot == 1:
        normalised = (wide(node._saved_input) - node._saved_result1) * node._saved_result2
        normalised = normalised.reshape(gradients[0].shape)
        gradients = [d * normalised for d in gradients]
    return items.sums(gradients)


def _group_norm_rows(node: Node, slot: int, gradients: Sequence[Tensor], items: Items) -> Tensor:
    if slot == 2:
        return items.sums([d.flatten(2).sum(2) for d in gradients])
    # The library's gradient of a norm over one sample that has the channels of all samples: one number for each
    # (sample, channel).
    x = wide(node._saved_input)
    n, n_channels, size = x.shape[0], x.shape[1], x[0, 0].numel()
    mean, scale = wide(node._saved_result1).reshape(1, -1), wide(node._saved_result2).reshape(1, -1)
    x, shape = x.reshape(1, n * n_channels, size), (1, n * n_channels, size, mean.shape[1])
    wanted, ones = (False, True, False), x.new_ones(n * n_channels)
    found = [
        torch.ops.aten.native_group_norm_backward(d.reshape(x.shape), x, mean, scale, ones, *shape, wanted)[1]
        for d in gradients
    ]
    return items.sums([each.reshape(n, n_channels) for each in found])


def _over_positions(gradients: Sequence[Tensor], normalised: Tensor) -> list[Tensor]:
    """Sums over positions of D times the normalised input: [n, C] each."""
    normalised = normalised.reshape(gradients[0].shape)
    return [(d * normalised).flatten(2).sum(2) if d.ndim > 2 else d * normalised for d in gradients]


def _batch_norm_rows(node: Node, slot: int, gradients: Sequence[Tensor], items: Items) -> Tensor:
    if slot == 2:
        return items.sums([d.flatten(2).sum(2) if d.ndim > 2 else d for d in gradients])
    x = wide(node._saved_input)
    if node._saved_training:
        mean, scale = node._saved_result1, node._saved_result2
    else:
        mean, scale = node._saved_running_mean, (node._saved_running_var + node._saved_eps).rsqrt()
    shape = (-1,) + (1,) * (x.ndim - 2)
    return items.sums(_over_positions(gradients, (x - mean.reshape(shape)) * scale.reshape(shape)))


def _embedding_rows(node: Node, slot: int, gradients: Sequence[Tensor], items: Items) -> Tensor:
    tokens, d = items.sorted(node._saved_indices.flatten()), items.stacked(gradients)
    kept = tokens != node._saved_padding_idx
    rows = d.new_zeros(items.n_batches, int(node._saved_weight_sym_argsize_0), *d.shape[1:])
    for k, (start, stop) in enumerate(items.bounds):
        chosen = kept[start:stop]
        rows[k].index_add_(0, tokens[start:stop][chosen], d[start:stop][chosen])
    return rows.transpose(1, 2)


def _elementwise_rows(node: Node, slot: int, gradients: Sequence[Tensor], items: Items) -> Tensor:
    """Rows of a tensor that was added, or multiplied into the output, with broadcasting."""
    shape = _argument_shape(node, slot)
    if node.name() == "MulBackward0":
        other = wide(node._saved_other if slot == 0 else node._saved_self)
        other = flat(node, other.expand(node._input_metadata[0].shape))
        gradients = [d * other for d in gradients]
    sums = items.sums(gradients)  # [K, T, *axes of the output after the items]
    inner = (1,) * (sums.ndim - 2 - len(shape)) + shape[max(len(shape) - (sums.ndim - 2), 0) :]
    reduced = [2 + i for i, size in enumerate(inner) if size == 1 and sums.shape[2 + i] != 1]
    sums = sums.sum(reduced, keepdim=True) if reduced else sums
    sums = _scaled(node, "_saved_alpha", sums) if slot == 1 else sums
    return sums.reshape(*sums.shape[:2], *shape)


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
