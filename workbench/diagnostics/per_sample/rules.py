"""For each operation of the autograd graph: the per-sample gradients of its operands from the gradient of its output.

A rule takes the node, the gradient D of its output, where the samples are in D, and which operands are wanted. It
gives one :class:`Use` per operand, or None where this form of the operation is not covered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from workbench.diagnostics.per_sample.convolution import Convolution, Geometry
from workbench.diagnostics.per_sample.layout import Layout
from workbench.diagnostics.per_sample.uses import Direct, Lookup, Product, Use


@dataclass(frozen=True)
class Call:
    """An operation during the backward pass.

    Attributes:
        gradient: D as [B, *shape of the output], where the axis of the samples has what else it counts (often 1).
        output_shape: Shape of the output.
        shapes: Shape of each wanted operand by its position.
    """

    node: Any
    gradient: Tensor
    output_shape: tuple[int, ...]
    layout: Layout
    samples: int
    shapes: Mapping[int, tuple[int, ...]]

    def front(self, tensor: Tensor) -> Tensor:
        """A tensor whose samples lie where those of D lie, in the same form as ``gradient``."""
        return working(self.layout.front(tensor, self.samples))

    def reduced(self, gradient: Tensor, position: int) -> Use | None:
        """Undo broadcasting: sum over every axis that the operand does not have."""
        shape = self.shapes[position]
        full = (1,) * (gradient.ndim - 1 - len(shape)) + shape
        if len(full) != gradient.ndim - 1:
            return None
        axes = [1 + axis for axis, (n, of) in enumerate(zip(full, gradient.shape[1:], strict=True)) if n != of]
        if any(full[axis - 1] != 1 for axis in axes):
            return None
        rows = gradient.sum(axes) if axes else gradient
        return Direct(rows.reshape(self.samples, *shape))


def working(tensor: Tensor) -> Tensor:
    """Half-precision tensors in single precision: their squares and sums need the range."""
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


Rule = Callable[[Call], Mapping[int, Use | None]]


def _addmm(call: Call) -> dict[int, Use | None]:
    node, uses = call.node, dict[int, Use | None]()
    if node._saved_alpha != 1 or node._saved_beta != 1 or call.layout.axis != 0:
        return {}
    if 0 in call.shapes:
        uses[0] = call.reduced(call.gradient, 0)
    if 2 in call.shapes:
        uses[2] = Product(call.front(node._saved_mat1), call.gradient)
    return uses


def _mm(call: Call) -> dict[int, Use | None]:
    node = call.node
    if len(call.shapes) == 2:
        return {}
    if 1 in call.shapes:
        return {1: Product(call.front(node._saved_self), call.gradient)} if call.layout.axis == 0 else {}
    if call.layout.axis == 0:
        return {}
    return {0: Product(call.gradient.transpose(1, 2), call.front(node._saved_mat2).transpose(1, 2))}


def _convolution(call: Call) -> dict[int, Use | None]:
    node, uses = call.node, dict[int, Use | None]()
    if call.layout.axis != 0:
        return {}
    if 1 in call.shapes:
        geometry = Geometry(
            call.shapes[1],
            list(node._saved_stride),
            list(node._saved_padding),
            list(node._saved_dilation),
            node._saved_transposed,
            list(node._saved_output_padding),
            node._saved_groups,
        )
        uses[1] = Convolution(call.front(node._saved_input), call.gradient, geometry)
    if 2 in call.shapes:
        uses[2] = Direct(call.gradient.flatten(3).sum((1, 3)))
    return uses


def _layer_norm(call: Call) -> dict[int, Use | None]:
    node, uses = call.node, dict[int, Use | None]()
    width = len(node._saved_normalized_shape)
    if call.layout.axis >= call.gradient.ndim - 1 - width:
        return {}
    shape = tuple(call.gradient.shape[-width:])
    gradient = call.gradient.flatten(1, -width - 1).flatten(2)  # [B, T, E]
    mean, rstd = (call.front(t).reshape(call.samples, 1, -1) for t in (node._saved_result1, node._saved_result2))
    if 1 in call.shapes:
        inputs = call.front(node._saved_input).reshape(gradient.shape)
        scaled = torch.bmm(rstd, gradient * inputs) - torch.bmm(rstd * mean, gradient)
        uses[1] = Direct(scaled.reshape(call.samples, *shape))
    if 2 in call.shapes:
        uses[2] = Direct(gradient.sum(1).reshape(call.samples, *shape))
    return uses


def _group_norm(call: Call) -> dict[int, Use | None]:
    node = call.node
    if call.layout.axis != 0:
        return {}
    mean, rstd = (call.front(t.unflatten(0, (node._saved_N, -1))) for t in (node._saved_result1, node._saved_result2))
    return _scale_and_shift(call, mean, rstd)


def _batch_norm(call: Call) -> dict[int, Use | None]:
    """In eval mode: the statistics are constants, the same for every sample; each channel is a group."""
    node = call.node
    if call.layout.axis != 0 or node._saved_training:
        return {}
    eps = node._saved_epsilon if hasattr(node, "_saved_epsilon") else node._saved_eps
    mean, rstd = working(node._saved_running_mean), (working(node._saved_running_var) + eps).rsqrt()
    frames = call.samples * call.gradient.shape[1]
    return _scale_and_shift(call, mean.repeat(frames), rstd.repeat(frames))


def _scale_and_shift(call: Call, mean: Tensor, rstd: Tensor) -> dict[int, Use | None]:
    """rstd · (Σ D X − mean Σ D) and Σ D per sample and channel in one reading of D and X.

    The samples become groups of one big sample, so that the library's own kernel for group normalisation does it.
    """
    gradient = call.gradient
    frames, n_channels = gradient.shape[1:3]
    channels = call.samples * frames * n_channels
    flat = gradient.reshape(1, channels, -1).contiguous()
    inputs = call.front(call.node._saved_input).reshape(flat.shape).contiguous()
    _, scale, shift = torch.ops.aten.native_group_norm_backward(
        flat,
        inputs,
        mean.reshape(1, -1),
        rstd.reshape(1, -1),
        flat.new_ones(1).expand(channels),
        1,
        channels,
        flat.shape[2],
        rstd.numel(),
        [False, True, True],
    )
    return {
        position: Direct(value.view(call.samples, frames, n_channels).sum(1))
        for position, value in ((1, scale), (2, shift))
        if position in call.shapes
    }


def _embedding(call: Call) -> dict[int, Use | None]:
    node = call.node
    if node._saved_scale_grad_by_freq or node._saved_sparse or call.layout.axis >= call.gradient.ndim - 2:
        return {}
    index = call.layout.front(node._saved_indices, call.samples).flatten(1)
    gradient = call.gradient.flatten(1, -2)
    padding = node._saved_padding_idx
    if 0 <= padding < call.shapes[0][0]:
        gradient = gradient * (index != padding).unsqueeze(-1)
    return {0: Lookup(index, gradient, call.shapes[0][0])}


def _add(call: Call) -> dict[int, Use | None]:
    """Also sub: the second operand is scaled by ±alpha."""
    factors = (1, call.node._saved_alpha * (-1 if call.node.name() == "SubBackward0" else 1))
    gradients = {at: call.gradient if factors[at] == 1 else call.gradient * factors[at] for at in call.shapes}
    return {at: call.reduced(gradient, at) for at, gradient in gradients.items()}


def _mul(call: Call) -> dict[int, Use | None]:
    if len(call.shapes) == 2:
        return {}
    (at,) = call.shapes
    other = (call.node._saved_other, call.node._saved_self)[at]
    if other is None:
        return {}
    other = working(torch.as_tensor(other, device=call.gradient.device))
    return {at: call.reduced(call.gradient * call.front(other.expand(call.output_shape)), at)}


def _expand(call: Call) -> dict[int, Use | None]:
    return {0: call.reduced(call.gradient, 0)}


def _repeat(call: Call) -> dict[int, Use | None]:
    full = (1,) * (call.gradient.ndim - 1 - len(call.shapes[0])) + call.shapes[0]
    return {0: call.reduced(call.gradient, 0)} if full == tuple(call.gradient.shape[1:]) else {}


def _prelu(call: Call) -> dict[int, Use | None]:
    inputs = call.front(call.node._saved_self)
    return {1: call.reduced(call.gradient * inputs.clamp(max=0), 1)} if 1 in call.shapes else {}


def _rms_norm(call: Call) -> dict[int, Use | None]:
    node = call.node
    width = len(node._saved_normalized_shape)
    if call.layout.axis >= call.gradient.ndim - 1 - width or 1 not in call.shapes:
        return {}
    normal = call.front(node._saved_input) * call.front(node._saved_result1)
    return {1: call.reduced(call.gradient * normal, 1)}


#: Operation -> its rule. Only positions of parameters and of what is computed from parameters alone are ever asked for.
RULES: Mapping[str, Rule] = {
    "AddmmBackward0": _addmm,
    "MmBackward0": _mm,
    "ConvolutionBackward0": _convolution,
    "NativeLayerNormBackward0": _layer_norm,
    "NativeGroupNormBackward0": _group_norm,
    "NativeBatchNormBackward0": _batch_norm,
    "CudnnBatchNormBackward0": _batch_norm,
    "FusedRmsNormBackward0": _rms_norm,
    "EmbeddingBackward0": _embedding,
    "AddBackward0": _add,
    "SubBackward0": _add,
    "MulBackward0": _mul,
    "ExpandBackward0": _expand,
    "RepeatBackward0": _repeat,
    "PreluKernelBackward0": _prelu,
}
