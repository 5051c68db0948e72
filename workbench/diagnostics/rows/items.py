"""The items of an operation's output, and the mini-batch that each belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

#: "sample first": items b·r + j; "sample last": items j·B + b; for sample b and its j-th of r items.
Order = Literal["sample first", "sample last"]


@dataclass(frozen=True, eq=False)
class Items:
    """The n items of B samples, which belong to K mini-batches.

    Attributes:
        index: The mini-batch [B] of each sample; -1 for none. Any when K = 1.
    """

    index: Tensor
    n_batches: int
    n_items: int
    order: Order = "sample first"

    @cached_property
    def bounds(self) -> list[tuple[int, int]]:
        """Where each mini-batch begins and ends among the sorted items."""
        if self.n_batches == 1:
            return [(0, self.n_items)]
        each = self.n_items // len(self.index)
        counts = torch.stack([(self.index == k).sum() for k in range(-1, self.n_batches)]).tolist()
        ends = [each * sum(counts[: k + 1]) for k in range(len(counts))]
        return list(pairwise(ends))

    @cached_property
    def _sorted_samples(self) -> Tensor:
        return self.index.argsort(stable=True)

    @cached_property
    def _in_turn(self) -> bool:
        """Whether sample i belongs to mini-batch i mod K, and all mini-batches are of one size."""
        n_samples = len(self.index)
        turn = torch.arange(n_samples, device=self.index.device) % self.n_batches
        return n_samples % self.n_batches == 0 and torch.equal(self.index, turn)

    def _arranged(self, values: Tensor) -> Tensor:
        """[n, ...] with its items sorted by mini-batch, as a view where possible, the items along several axes."""
        if self.n_batches == 1:
            return values
        if self.order == "sample first":
            samples = values.unflatten(0, (len(self.index), -1))
        else:
            samples = values.unflatten(0, (-1, len(self.index))).transpose(0, 1)
        if self._in_turn:
            return samples.unflatten(0, (-1, self.n_batches)).transpose(0, 1)
        return samples[self._sorted_samples]

    def sorted(self, values: Tensor) -> Tensor:
        """[n, ...] with its items sorted by mini-batch."""
        return self._arranged(values).reshape(values.shape)

    def stacked(self, values: Sequence[Tensor]) -> Tensor:
        """T tensors [n, ...] as one [n, T, ...], items sorted by mini-batch."""
        first = values[0]
        whole = first.new_empty(first.shape[0], len(values), *first.shape[1:])
        for t, value in enumerate(values):
            arranged = self._arranged(value)
            leading = arranged.shape[: arranged.ndim - first.ndim + 1]
            whole.unflatten(0, leading).select(len(leading), t).copy_(arranged)
        return whole

    def sums(self, values: Sequence[Tensor]) -> Tensor:
        """T tensors [n, ...] summed over the items of each mini-batch: [K, T, ...]."""
        if self.n_batches == 1:
            return torch.stack([value.sum(0) for value in values])[None]
        each = self.n_items // len(self.index)
        index = self.index.repeat_interleave(each) if self.order == "sample first" else self.index.repeat(each)
        chosen = torch.stack([index == k for k in range(self.n_batches)]).to(values[0].dtype)  # [K, n]
        sums = torch.stack([chosen @ value.reshape(len(value), -1) for value in values], dim=1)
        return sums.reshape(self.n_batches, len(values), *values[0].shape[1:])
