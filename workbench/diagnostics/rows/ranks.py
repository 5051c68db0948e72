"""The processes that measure together, each with samples of its own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist


class Ranks:
    """A group of processes; one process alone when ``group`` is None."""

    def __init__(self, group: Any | None = None) -> None:
        self._group = group
        self.alone = group is None
        self.rank = 0 if group is None else dist.get_rank(group)

    def gather(self, value: Any) -> list[Any]:
        """Every process's value, in the order of ranks."""
        if self._group is None:
            return [value]
        values: list[Any] = [None] * dist.get_world_size(self._group)
        dist.all_gather_object(values, value, group=self._group)
        return values

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, on each of them."""
        if self._group is not None:
            tensor = tensor.contiguous()
            with torch.no_grad():
                dist.all_reduce(tensor, group=self._group)
        return tensor
