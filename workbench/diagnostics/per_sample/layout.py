"""Which axis of a tensor in the graph counts the samples? Found by experiment, not by size.

A backward pass of Σ v_i ℓ_i scales what belongs to sample i by v_i. Comparing the passes with v = 1 and with distinct
v_i shows where the samples are in every intermediate gradient: first or not first, folded together with a time axis,
or nowhere because the tensor serves all samples. It also shows when samples influence each other. The v_i are powers
of two, so that operations that keep samples apart scale exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from workbench.diagnostics.per_sample.tape import Tape

#: What reaches a node in a backward pass: one gradient per output, None where there is none.
Gradients = tuple[Tensor | None, ...]
Kind = Literal["samples", "samples then other", "other then samples", "shared", "zero"]


@dataclass(frozen=True)
class Layout:
    """Where the samples are.

    ``samples``: axis ``axis`` counts them. ``samples then other``: the axis is [B, k] flattened. ``other then
    samples``: it is [k, B] flattened. ``shared``: no axis does. ``zero``: the gradient was 0, of all samples or of all
    but one, so nothing can be said.
    """

    kind: Kind
    axis: int = 0

    @property
    def per_sample(self) -> bool:
        return self.kind not in ("shared", "zero")

    def fits(self, tensor: Tensor, samples: int) -> bool:
        """Whether a tensor can have this layout with that many samples."""
        if not self.per_sample or self.axis >= tensor.ndim:
            return False
        size = tensor.shape[self.axis]
        return size == samples if self.kind == "samples" else size % samples == 0

    def front(self, tensor: Tensor, samples: int) -> Tensor:
        """As [B, *shape] where the axis of the samples has what else it counts, 1 if nothing. A view if possible."""
        axis = self.axis
        if self.kind == "samples":
            return tensor.movedim(axis, 0).unsqueeze(axis + 1)
        if self.kind == "samples then other":
            return tensor.unflatten(axis, (samples, -1)).movedim(axis, 0)
        return tensor.unflatten(axis, (-1, samples)).movedim(axis + 1, 0)


SHARED = Layout("shared")
ZERO = Layout("zero")


def find_layouts(tape: Tape, losses: Tensor) -> list[tuple[Layout, ...]]:
    """Layout of the gradient of every output of every node of the tape. The graph is kept.

    Args:
        losses: One per sample, at least two.
    """
    scale = _scale(len(losses)).to(losses)
    plain: dict[int, Gradients] = {}
    # Parameters serve all samples, whatever their gradient.
    layouts: list[tuple[Layout, ...]] = [(SHARED,)] * len(tape.nodes)

    def keep(at: int, gradients: Gradients) -> None:
        plain[at] = gradients

    def compare(at: int, gradients: Gradients) -> None:
        layouts[at] = tuple(_layout(a, b, scale) for a, b in zip(plain.pop(at), gradients, strict=True))

    _backward(tape, losses, torch.ones_like(losses), keep)
    _backward(tape, losses, scale, compare)
    return layouts


def _scale(samples: int) -> Tensor:
    """Powers of two in no regular order, all different for up to 11 samples."""
    draw = torch.Generator().manual_seed(0)
    exponents = [torch.randperm(11, generator=draw) for _ in range(0, samples, 11)]
    return torch.cat(exponents)[:samples].to(torch.float64).exp2()


def _backward(tape: Tape, losses: Tensor, weights: Tensor, see: Callable[[int, Gradients], None]) -> None:
    """A backward pass of the weighted losses that shows the gradients that reach each node."""
    inner = [at for at in range(len(tape.nodes)) if at not in tape.leaves]
    handles = [tape.nodes[at].register_prehook(partial(see, at)) for at in inner]
    try:
        ends = [tape.edge((at, 0)) for at in tape.leaves]
        torch.autograd.grad(losses, ends, weights, retain_graph=True, allow_unused=True)
    finally:
        for handle in handles:
            handle.remove()


def _layout(plain: Tensor | None, scaled: Tensor | None, scale: Tensor) -> Layout:
    if plain is None or scaled is None or not bool(plain.any() | scaled.any()):
        return ZERO
    if plain.is_sparse:
        return SHARED
    fitting = [layout for layout in _candidates(plain.shape, len(scale)) if _scales(layout, plain, scaled, scale)]
    # Where only one sample has any gradient, other axes would do as well: that tells nothing.
    telling = (layout for layout in fitting if _n_nonzero(layout, plain, len(scale)) > 1)
    return next(telling, ZERO if fitting else SHARED)


def _n_nonzero(layout: Layout, gradient: Tensor, samples: int) -> int:
    return int((layout.front(gradient, samples).flatten(1) != 0).any(dim=1).sum())


def _candidates(shape: Sequence[int], samples: int) -> list[Layout]:
    found = []
    for axis, size in enumerate(shape):
        if size == samples:
            found.append(Layout("samples", axis))
        elif size and size % samples == 0:
            found += [Layout("samples then other", axis), Layout("other then samples", axis)]
    return found


def _scales(layout: Layout, plain: Tensor, scaled: Tensor, scale: Tensor) -> bool:
    before, after = (layout.front(g, len(scale)).flatten(1).to(torch.float64) for g in (plain, scaled))
    tolerance = torch.finfo(plain.dtype).eps ** 0.5
    return bool((after / scale[:, None] - before).abs().max() <= tolerance * before.abs().max())
