"""Which mini-batch each item of a layer's output belongs to, found by measurement.

The output of an operation has *items* along its leading axes: samples, or samples times positions, in one of two
orders. A gradient of the losses of some samples must be zero on the items of all others. Where it is, the gradient of
all losses at once, cut by items, is the gradient of every mini-batch; where it is not (batch statistics, attention
between samples, a shuffled batch), the samples are mixed and the operation needs a backward pass for each mini-batch.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from workbench.diagnostics.rows import rules
from workbench.diagnostics.rows.graph import Graph, Node
from workbench.diagnostics.rows.items import Order

#: Up to this many samples, each sample is told apart from every other; beyond it, two random halves are.
_ONE_BY_ONE = 8


def orders(
    graph: Graph, losses: Sequence[Tensor], counted: Sequence[Tensor], nodes: Sequence[Node]
) -> list[Order | None]:
    """How the items of each node's output are ordered by sample; None where samples are mixed or it cannot be told.

    Costs a few vector-Jacobian products, once for graphs of the same operations and shapes.

    Args:
        losses: Per-sample losses [B], all of the same samples.
        counted: Which samples [B] of each loss count.
    """
    signature = graph.signature()
    key = None if signature is None else (signature, len(losses[0]), tuple(graph.nodes[node] for node in nodes))
    if key is not None and key in _known:
        _known.move_to_end(key)
        return _known[key]
    found, certain = _probe(losses, counted, nodes)
    if key is not None and certain:
        _known[key] = found
        if len(_known) > 64:
            _known.popitem(last=False)
    return found


_known: OrderedDict[Any, list[Order | None]] = OrderedDict()


def _probe(
    losses: Sequence[Tensor], counted: Sequence[Tensor], nodes: Sequence[Node]
) -> tuple[list[Order | None], bool]:
    """The orders that no probe contradicts, and whether every node showed a gradient."""
    n_samples = len(losses[0])
    possible: list[set[Order]] = [{"sample first", "sample last"} for _ in nodes]
    seen = [False] * len(nodes)
    generator = torch.Generator().manual_seed(n_samples)
    for chosen in _subsets(n_samples, generator):
        gradients = _of_samples(losses, counted, nodes, chosen, generator)
        for i, (node, gradient) in enumerate(zip(nodes, gradients, strict=True)):
            if gradient is None:
                continue
            touched = (rules.flat(node, gradient) != 0).flatten(1).any(1).cpu()
            seen[i] |= bool(touched.any()) and bool(gradient.isfinite().all())
            if len(touched) % n_samples:
                possible[i] = set()
                continue
            each = len(touched) // n_samples
            allowed: dict[Order, Tensor] = {
                "sample first": chosen.repeat_interleave(each),
                "sample last": chosen.repeat(each),
            }
            possible[i] = {order for order in possible[i] if not bool((touched & ~allowed[order]).any())}
            if each == 1:
                possible[i].discard("sample last")
    found = [
        next(iter(orders)) if shown and len(orders) == 1 else None for shown, orders in zip(seen, possible, strict=True)
    ]
    return found, all(seen)


def _subsets(n_samples: int, generator: torch.Generator) -> Iterator[Tensor]:
    if n_samples <= _ONE_BY_ONE:
        yield from torch.eye(n_samples, dtype=torch.bool)
        return
    half = torch.zeros(n_samples, dtype=torch.bool)
    half[torch.randperm(n_samples, generator=generator)[: n_samples // 2]] = True
    yield half
    yield ~half


def _of_samples(
    losses: Sequence[Tensor],
    counted: Sequence[Tensor],
    nodes: Sequence[Node],
    chosen: Tensor,
    generator: torch.Generator,
) -> tuple[Tensor | None, ...]:
    """Gradients of the nodes' outputs of a randomly weighted sum of the chosen samples' losses."""
    weights = [
        torch.where(chosen, 0.5 + torch.rand(len(chosen), generator=generator), 0.0).to(loss.device, loss.dtype)
        * counts
        for loss, counts in zip(losses, counted, strict=True)
    ]
    return torch.autograd.grad(
        list(losses), [GradientEdge(node, 0) for node in nodes], weights, retain_graph=True, allow_unused=True
    )
