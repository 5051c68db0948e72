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

from workbench.diagnostics.per_sample.uses import Use

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
        inputs, gradient = self.inputs[start:stop], self.gradient[start:stop]
        if self._unfolds():
            return self._unfolded(inputs[:, 0], gradient[:, 0])
        return self._as_groups(inputs, gradient)

    def select(self, index: Tensor) -> Use:
        return Convolution(self.inputs[index], self.gradient[index], self.geometry)

    def _unfolds(self) -> bool:
        shape, geometry = self.gradient.shape, self.geometry
        plain = not geometry.transposed and geometry.groups == 1 and shape[1] == 1 and len(shape) == 5
        return plain and math.prod(shape[3:]) <= 16

    def _as_groups(self, inputs: Tensor, gradient: Tensor) -> Tensor:
        n, geometry = len(inputs), self.geometry
        inputs, gradient = (t.transpose(0, 1).flatten(1, 2) for t in (inputs, gradient))  # [T, b·channels, …]
        # Only the shape of the weight matters here.
        weight = inputs.new_empty(1).expand(n * self.shape[0], *self.shape[1:])
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

    def _unfolded(self, inputs: Tensor, gradient: Tensor) -> Tensor:
        geometry = self.geometry
        patches = functional.unfold(
            inputs,
            self.shape[2:],
            padding=tuple(geometry.padding),
            stride=tuple(geometry.stride),
            dilation=tuple(geometry.dilation),
        )
        return torch.bmm(gradient.flatten(2), patches.transpose(1, 2)).view(len(inputs), *self.shape)
