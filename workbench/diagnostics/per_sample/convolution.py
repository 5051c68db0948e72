"""Per-sample weight gradients of convolutions of any dimension, stride, padding, dilation, groups, transposed or not.

The samples become groups: a batch of B samples is one sample with B times the channels, whose weight gradient holds
the gradient of each sample. The library's own kernel computes it at nearly the cost of the ordinary weight gradient.
With few output positions the groups are too small for it, and unfolded inputs with batched products are faster.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from workbench.diagnostics.per_sample.uses import Product, Use, blocks

#: Up to so many output positions, products of patches are faster.
_FEW_POSITIONS = 50
#: Bytes of patches that are formed at a time.
_PATCH_BYTES = 1 << 23

_backward = torch.ops.aten.convolution_backward


@dataclass
class Geometry:
    """Arguments of the convolution and the shape of its weight."""

    weight_shape: tuple[int, ...]
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    transposed: bool
    output_padding: list[int]
    groups: int


@dataclass
class Convolution(Use):
    """``inputs``: [B, T, C, …], ``gradient``: [B, T, O, …] of the output. T frames of a sample share the weight."""

    inputs: Tensor
    gradient: Tensor
    geometry: Geometry

    def __post_init__(self) -> None:
        self.samples, self.shape = len(self.inputs), self.geometry.weight_shape

    def rows(self, start: int, stop: int) -> Tensor:
        n, geometry = stop - start, self.geometry
        inputs, gradient = (_samples_as_channels(t[start:stop]) for t in (self.inputs, self.gradient))
        weight = inputs.new_empty(n * self.shape[0], *self.shape[1:])  # only its shape matters
        _, rows, _ = _backward(
            gradient,
            inputs,
            weight,
            None,
            geometry.stride,
            geometry.padding,
            geometry.dilation,
            geometry.transposed,
            geometry.output_padding,
            n * geometry.groups,
            [False, True, False],
        )
        return rows.reshape(n, *self.shape)

    block_bytes = 1 << 21

    def select(self, index: Tensor) -> Use:
        return Convolution(self.inputs[index], self.gradient[index], self.geometry)

    def sums(self) -> tuple[Tensor, Tensor]:
        geometry, shape = self.geometry, self.gradient.shape
        simple = not geometry.transposed and geometry.groups == 1 and len(shape) == 5 and set(geometry.dilation) == {1}
        if not simple or shape[1] != 1 or math.prod(shape[3:]) > _FEW_POSITIONS:
            return super().sums()
        return self._sums_of_products()

    def _sums_of_products(self) -> tuple[Tensor, Tensor]:
        """With the weight as [O, height, width, C] until the end, so that patches are copied in long pieces."""
        n_out, n_in, *kernel = self.shape
        total, square = (self.inputs.new_zeros(n_out, math.prod(kernel) * n_in) for _ in range(2))
        positions = math.prod(self.gradient.shape[3:])
        for start, stop in blocks(self.samples, (positions, total.shape[1]), _PATCH_BYTES):
            gradient = self.gradient[start:stop, 0].flatten(2).transpose(1, 2)
            Product(gradient, self._patches(self.inputs[start:stop, 0])).add_to(total, square)
        return tuple(t.view(n_out, *kernel, n_in).movedim(-1, 1).contiguous() for t in (total, square))  # type: ignore[return-value]

    def _patches(self, inputs: Tensor) -> Tensor:
        """What the kernel sees at each position: [b, positions, height·width·C]."""
        (down, right), (top, left) = self.geometry.stride, self.geometry.padding
        n_in, height, width = self.shape[1:]
        rows, columns = self.gradient.shape[3:]
        image = functional.pad(inputs, (left, left, top, top)).permute(0, 2, 3, 1).contiguous()
        step = image.stride()
        windows = image.as_strided(
            (len(image), rows, columns, height, width * n_in),
            (step[0], step[1] * down, step[2] * right, step[1], 1),
        )
        return windows.reshape(len(image), rows * columns, -1)


def _samples_as_channels(tensor: Tensor) -> Tensor:
    """[b, T, channels, …] as [T, b·channels, …].

    Through one axis, so that axes of size 1 get ordinary strides too: by odd ones a kernel takes it for channels-last.
    """
    tensor = tensor.transpose(0, 1).flatten(1, 2)
    return tensor.reshape(-1).view(tensor.shape)
