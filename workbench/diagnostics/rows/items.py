"""The items of an operation's output, and the mini-batch that each belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

#: "sample first": items b·r + j; "sample last": items j·B + b; for sample b and its j-th of r items.
Order = Literal["sample first", "sample last"]


@dataclass(frozen=True, eq=False)
class Items:
    """The mini-batch [n] of each item (-1: none), for K mini-batches."""

    batch: Tensor
    n_batches: int

    def __len__(self) -> int:
        return len(self.batch)

    @cached_property
    def members(self) -> list[Tensor | slice]:
        """The items of each mini-batch."""
        if self.n_batches == 1 and bool((self.batch == 0).all()):
            return [slice(None)]
        return [(self.batch == k).nonzero().squeeze(1) for k in range(self.n_batches)]

    def sums(self, values: Tensor) -> Tensor:
        """[T, n, ...] -> [K, T, ...]: sums over the items of each mini-batch."""
        if self.n_batches == 1:
            return values.sum(1)[None]
        n_tasks, n_items, *rest = values.shape
        chosen = torch.stack([self.batch == k for k in range(self.n_batches)]).to(values.dtype)  # [K, n]
        sums = chosen @ values.reshape(n_tasks, n_items, -1)  # [T, K, ...]
        return sums.transpose(0, 1).reshape(self.n_batches, n_tasks, *rest)


def items_of(index: Tensor, n_batches: int, n_items: int, order: Order) -> Items:
    """Spread the mini-batch [B] of each sample over its items."""
    each = n_items // len(index)
    batch = index.repeat_interleave(each) if order == "sample first" else index.repeat(each)
    return Items(batch, n_batches)
