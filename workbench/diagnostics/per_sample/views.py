"""Uses of a parameter that come through something else: another shape, a transposition, a computation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from workbench.diagnostics.per_sample.rules import working
from workbench.diagnostics.per_sample.tape import Tape
from workbench.diagnostics.per_sample.uses import Product, Use


@dataclass
class Renamed(Use):
    """A use of a parameter under another shape, or transposed."""

    use: Use
    swap: bool
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        self.samples = self.use.samples

    def _back(self, tensor: Tensor, *lead: int) -> Tensor:
        return (tensor.transpose(-1, -2) if self.swap else tensor).reshape(*lead, *self.shape)

    def rows(self, start: int, stop: int) -> Tensor:
        return self._back(self.use.rows(start, stop), stop - start)

    def select(self, index: Tensor) -> Use:
        return Renamed(self.use.select(index), self.swap, self.shape)

    def sums(self) -> tuple[Tensor, Tensor]:
        total, square = self.use.sums()
        return self._back(total), self._back(square)


@dataclass
class Through(Use):
    """A use of something computed from parameters alone (a normalised weight, a table entry) by one of them."""

    use: Use
    edge: GradientEdge
    leaf: GradientEdge
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        self.samples = self.use.samples

    def rows(self, start: int, stop: int) -> Tensor:
        made = self.edge.node._input_metadata[self.edge.output_nr]
        rows = self.use.rows(start, stop).to(made.dtype)
        (found,) = torch.autograd.grad([self.edge], [self.leaf], [rows], retain_graph=True, is_grads_batched=True)
        return working(found).contiguous()

    def select(self, index: Tensor) -> Use:
        return Through(self.use.select(index), self.edge, self.leaf, self.shape)


def for_parameter(tape: Tape, use: Use, edge: tuple[int, int], leaf: int) -> Use:
    """A use of what the edge leads to, as a use of the parameter behind it."""
    shape = tape.shape((leaf, 0))
    chain = tape.renames(edge[0])
    if chain is None or chain[-1] != leaf:
        return Through(use, tape.edge(edge), tape.edge((leaf, 0)), shape)
    swaps = [at for at in chain if tape.nodes[at].name() == "TBackward0"]
    if not swaps:
        return use if tuple(use.shape) == shape else Renamed(use, False, shape)
    if len(swaps) > 1 or swaps[0] != edge[0]:
        return Through(use, tape.edge(edge), tape.edge((leaf, 0)), shape)
    if isinstance(use, Product):
        use = use.transposed()
        return use if use.shape == shape else Renamed(use, False, shape)
    return Renamed(use, True, shape)
