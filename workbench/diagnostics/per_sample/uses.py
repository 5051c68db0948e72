"""Sums over samples of per-sample gradients and of their squares, without holding all per-sample gradients.

Each class stands for one use of a parameter by one operation in a batch of B samples; G_i is the gradient of sample
i's loss with respect to the operand. ``sums`` gives Σ G_i and Σ G_i² (elementwise), ``rows`` some G_i themselves.

Letters: T is whatever an operation repeats within a sample (time steps, positions, patches).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

#: Bytes of per-sample gradients that are formed at a time: few enough to stay in a core's cache.
BLOCK_BYTES = 1 << 19


class Use(ABC):
    """One use of an operand in a batch."""

    samples: int
    shape: tuple[int, ...]
    #: Bytes of gradients to form at a time.
    block_bytes: ClassVar[int] = BLOCK_BYTES

    @abstractmethod
    def rows(self, start: int, stop: int) -> Tensor:
        """G_i for the samples from ``start`` to ``stop``: [b, *shape]. A new tensor, which the caller may overwrite."""

    @abstractmethod
    def select(self, index: Tensor) -> Use:
        """The same use by some of the samples."""

    def sums(self) -> tuple[Tensor, Tensor]:
        """Σ G_i and Σ G_i², each in the shape of the operand."""
        total = square = None
        for start, stop in blocks(self.samples, self.shape, self.block_bytes):
            rows = self.rows(start, stop)
            if total is None or square is None:
                total, square = rows.sum(0), rows.square_().sum(0)
            else:
                add_block(total, square, rows)
        assert total is not None
        assert square is not None
        return total, square


def blocks(samples: int, shape: tuple[int, ...], block_bytes: int = BLOCK_BYTES) -> list[tuple[int, int]]:
    """Ranges of samples whose gradients of that shape fit in a block."""
    size = 4
    for n in shape:
        size *= n
    step = max(1, block_bytes // max(size, 1))
    return [(start, min(start + step, samples)) for start in range(0, samples, step)]


def add_block(total: Tensor, square: Tensor, rows: Tensor) -> None:
    """total += Σ rows, square += Σ rows². The rows are used up."""
    if len(rows) == 1:
        total += rows[0]
        square.addcmul_(rows[0], rows[0])
    else:
        total += rows.sum(0)
        square += rows.square_().sum(0)


@dataclass
class Direct(Use):
    """The G_i are there: biases, scales, anything small. ``gradients``: [B, *shape]."""

    gradients: Tensor

    def __post_init__(self) -> None:
        self.samples, self.shape = len(self.gradients), tuple(self.gradients.shape[1:])

    def rows(self, start: int, stop: int) -> Tensor:
        return self.gradients[start:stop].clone()

    def select(self, index: Tensor) -> Use:
        return Direct(self.gradients[index])

    def sums(self) -> tuple[Tensor, Tensor]:
        return self.gradients.sum(0), self.gradients.square().sum(0)


@dataclass
class Product(Use):
    """G_i = leftᵢᵀ rightᵢ: matrix products. ``left``: [B, T, P], ``right``: [B, T, Q].

    With T = 1, Σ G_i² = (left∘left)ᵀ (right∘right): two products in all. Otherwise G_i is formed block by block.
    """

    left: Tensor
    right: Tensor

    def __post_init__(self) -> None:
        self.samples, self.shape = len(self.left), (self.left.shape[2], self.right.shape[2])

    def transposed(self) -> Product:
        return Product(self.right, self.left)

    def rows(self, start: int, stop: int) -> Tensor:
        return torch.bmm(self.left[start:stop].transpose(1, 2), self.right[start:stop])

    def select(self, index: Tensor) -> Use:
        return Product(self.left[index], self.right[index])

    def sums(self) -> tuple[Tensor, Tensor]:
        if self.left.shape[1] == 1:
            left, right = self.left[:, 0], self.right[:, 0]
            return left.T @ right, left.square().T @ right.square()
        total, square = (self.left.new_zeros(self.shape) for _ in range(2))
        self.add_to(total, square)
        return total, square

    def add_to(self, total: Tensor, square: Tensor) -> None:
        """Add Σ G_i and Σ G_i², tile by tile in one buffer that stays in the cache."""
        height, width = self.shape
        n_tiles = max(1, -(-4 * height * width // BLOCK_BYTES))
        step = max(1, -(-height // n_tiles))
        buffer = self.left.new_empty(0)
        for top in range(0, height, step):
            left = self.left[:, :, top : top + step].transpose(1, 2)
            tile_total, tile_square = total[top : top + step], square[top : top + step]
            for start, stop in blocks(self.samples, (left.shape[1], width)):
                if buffer.shape != (stop - start, left.shape[1], width):
                    buffer = left.new_empty(stop - start, left.shape[1], width)
                torch.bmm(left[start:stop], self.right[start:stop], out=buffer)
                add_block(tile_total, tile_square, buffer)


@dataclass
class Lookup(Use):
    """Rows of a table. ``index``: [B, T] which row, ``gradient``: [B, T, D] of what was looked up."""

    index: Tensor
    gradient: Tensor
    n_rows: int

    def __post_init__(self) -> None:
        self.samples, self.shape = len(self.index), (self.n_rows, self.gradient.shape[2])

    def rows(self, start: int, stop: int) -> Tensor:
        index, gradient = self.index[start:stop], self.gradient[start:stop]
        table = gradient.new_zeros(len(index) * self.n_rows, self.shape[1])
        table.index_add_(0, self._keys(index).flatten(), gradient.flatten(0, 1))
        return table.view(len(index), *self.shape)

    def select(self, index: Tensor) -> Use:
        return Lookup(self.index[index], self.gradient[index], self.n_rows)

    def sums(self) -> tuple[Tensor, Tensor]:
        total, square = (self.gradient.new_zeros(self.shape) for _ in range(2))
        keys, found = self.found()
        row = keys % self.n_rows
        return total.index_add_(0, row, found), square.index_add_(0, row, found.square())

    def found(self) -> tuple[Tensor, Tensor]:
        """The rows that are not 0: sample · n_rows + row [n], ascending, and their gradients [n, D].

        What a sample looked up more than once is added.
        """
        keys, position = torch.unique(self._keys(self.index), return_inverse=True)
        found = self.gradient.new_zeros(len(keys), self.shape[1])
        return keys, found.index_add_(0, position.flatten(), self.gradient.flatten(0, 1))

    def _keys(self, index: Tensor) -> Tensor:
        return index + self.n_rows * torch.arange(len(index), device=index.device)[:, None]


@dataclass
class Sum(Use):
    """One parameter used several times: the G_i of its uses are added before they are squared."""

    uses: list[Use]

    def __post_init__(self) -> None:
        self.samples, self.shape = self.uses[0].samples, self.uses[0].shape

    def rows(self, start: int, stop: int) -> Tensor:
        total = self.uses[0].rows(start, stop)
        for use in self.uses[1:]:
            total = total + use.rows(start, stop)
        return total

    def select(self, index: Tensor) -> Use:
        return Sum([use.select(index) for use in self.uses])


@dataclass
class TiedTable(Sum):
    """A table that is also a matrix of products, such as the input and output embedding of a language model.

    With sparse looked-up rows L and dense products P, Σ (L + P)² = Σ L² + Σ P² + 2 Σ L∘P, where the last needs P only
    in the rows that a sample looked up.
    """

    def sums(self) -> tuple[Tensor, Tensor]:
        lookup, product = self.uses
        assert isinstance(lookup, Lookup)
        assert isinstance(product, Product)
        (total, square), (other_total, other_square) = product.sums(), lookup.sums()
        total += other_total
        square += other_square
        keys, found = lookup.found()
        ends = torch.searchsorted(keys, torch.arange(self.samples + 1, device=keys.device) * lookup.n_rows).tolist()
        for sample, (start, stop) in enumerate(pairwise(ends)):
            row = keys[start:stop] % lookup.n_rows
            dense = product.left[sample][:, row].T @ product.right[sample]
            square.index_add_(0, row, dense.mul_(found[start:stop]), alpha=2)
        return total, square


def add_uses(uses: list[Use]) -> Use:
    """All uses of one parameter as one; matrix products are joined along T."""
    products = [use for use in uses if isinstance(use, Product)]
    if len(products) > 1:
        joined = Product(torch.cat([p.left for p in products], 1), torch.cat([p.right for p in products], 1))
        products, uses = [joined], [joined, *(use for use in uses if not isinstance(use, Product))]
    lookups = [use for use in uses if isinstance(use, Lookup)]
    if len(uses) == 2 and len(lookups) == len(products) == 1:
        return TiedTable([*lookups, *products])
    return uses[0] if len(uses) == 1 else Sum(uses)
