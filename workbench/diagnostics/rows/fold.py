"""Multiply rows into the cross-Gramian, one parameter at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from workbench.diagnostics.rows.parts import Channels, Part

#: Columns multiplied at once in the rows' own precision before their products are summed in float64.
BLOCK = 4096


class Fold:
    """Products [M, K, T, K, T] of all parts, summed over their parameters in float64."""

    def __init__(self, parts: Sequence[Part], n_tasks: int, n_batches: int) -> None:
        self.n_tasks, self.n_batches = n_tasks, n_batches
        self._dot = np.zeros((len(parts), n_batches, n_tasks, n_batches, n_tasks))
        self._pieces: dict[int, list[tuple[int, Channels]]] = {}
        for m, part in enumerate(parts):
            for piece in part.pieces:
                self._pieces.setdefault(id(piece.parameter), []).append((m, piece))

    def pieces(self, parameter: nn.Parameter) -> list[tuple[int, Channels]]:
        """The parts that hold some of a parameter, with what they hold."""
        return self._pieces[id(parameter)]

    def add(self, parameter: nn.Parameter, rows: Tensor, tasks: Sequence[int] | None = None) -> None:
        """Add a parameter's rows [K, T', *shape]; T' are ``tasks``, all by default."""
        for part, piece in self.pieces(parameter):
            self.add_products(part, products(piece.of(rows.flatten(0, 1))), tasks)

    def add_products(self, part: int, found: Tensor, tasks: Sequence[int] | None = None) -> None:
        """Add products [K·T', K·T'] of the rows of some tasks to a part."""
        values = found.cpu().numpy()
        if tasks is None or len(tasks) == self.n_tasks:
            self._dot[part] += values.reshape(self._dot[part].shape)
            return
        shape = (self.n_batches, len(tasks), self.n_batches, len(tasks))
        everywhere, chosen = np.arange(self.n_batches), np.asarray(tasks)
        self._dot[part][np.ix_(everywhere, chosen, everywhere, chosen)] += values.reshape(shape)

    def result(self) -> np.ndarray:
        """[M, T, K, T, K], symmetric to the last bit."""
        dot = self._dot.transpose(0, 2, 1, 4, 3)
        return 0.5 * (dot + dot.transpose(0, 3, 4, 1, 2))


def products(matrix: Tensor, other: Tensor | None = None) -> Tensor:
    """Inner products [R, S] in float64 of rows [R, P] with rows [S, P], by default with themselves.

    Rows narrower than float64 are multiplied in float32 over blocks of 4096 columns, and the blocks are summed in
    float64: the rows themselves carry rounding of that size.
    """
    other = matrix if other is None else other
    if matrix.dtype == torch.float64:
        return matrix @ other.T
    matrix, other = matrix.float(), other.float()
    n_blocks = matrix.shape[1] // BLOCK
    total = torch.zeros(len(matrix), len(other), dtype=torch.float64, device=matrix.device)
    if n_blocks:
        left = _blocks(matrix, n_blocks)
        right = left if other is matrix else _blocks(other, n_blocks)
        total += torch.bmm(left, right.transpose(1, 2)).sum(0, dtype=torch.float64)
    if n_blocks * BLOCK == matrix.shape[1]:
        return total
    rest = matrix[:, n_blocks * BLOCK :].double()
    return total + rest @ (rest if other is matrix else other[:, n_blocks * BLOCK :].double()).T


def _blocks(rows: Tensor, n_blocks: int) -> Tensor:
    """[R, P] -> [P / BLOCK, R, BLOCK], without the rest."""
    return rows[:, : n_blocks * BLOCK].reshape(len(rows), n_blocks, BLOCK).transpose(0, 1)
