"""The cross-Gramian by T vector-Jacobian products, however many mini-batches there are.

For each task one vector-Jacobian product of all its samples' losses gives the gradients D of the outputs of all
operations that have parameters; autograd computes no weight gradient in it. From D and the inputs X that the graph has
saved, the rows of all mini-batches follow, one parameter at a time: they are multiplied into the Gramian and dropped.

Cost: T vector-Jacobian products and T weight gradients, which is what T backward passes cost; parameters without a rule
need T·K backward passes of their own. Memory: D of all tasks, and the rows of one parameter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge

from workbench.core import ConfigError
from workbench.diagnostics.rows import linear, plain, rules
from workbench.diagnostics.rows.fold import Fold
from workbench.diagnostics.rows.graph import Graph, Node, Use, uses
from workbench.diagnostics.rows.items import Items, Order, items_of
from workbench.diagnostics.rows.order import orders
from workbench.diagnostics.rows.parts import Part, parameters
from workbench.diagnostics.rows.slices import Slices


@dataclass(frozen=True, eq=False)
class Plan:
    """How each parameter's rows will be found.

    Attributes:
        uses: Per parameter its uses; or, as text, why it needs plain backward passes.
        orders: Per operation with a rule, the mini-batch [B] of each sample and how its items are ordered by sample;
            None when all samples are one mini-batch.
    """

    parameters: list[nn.Parameter]
    uses: list[list[Use] | str]
    orders: dict[Node, tuple[Tensor, Order] | None]

    def items(self, node: Node, n_items: int, device: torch.device, n_batches: int) -> Items:
        order = self.orders[node]
        if order is None:
            return Items(torch.zeros(n_items, dtype=torch.long, device=device), 1)
        return items_of(order[0].to(device), n_batches, n_items, order[1])


def plan(slices: Slices, wanted: list[nn.Parameter]) -> Plan:
    """Find every parameter's uses, and whether the operations keep samples apart."""
    graph = Graph.of(slices.losses)
    if any(node.name() == "CheckpointFunctionBackward" for node in graph.nodes):
        raise ConfigError(
            "Reentrant gradient checkpoints hide their parameters from everything but backward(). "
            "Use checkpoint(..., use_reentrant=False)."
        )
    found = uses(graph, wanted, rules.known)
    nodes = list({use.node: None for each in found if not isinstance(each, str) for use in each})
    ordered = _ordered(slices, graph, nodes)
    for i, each in enumerate(found):
        mixed = [use.node.name() for use in each if use.node not in ordered] if not isinstance(each, str) else []
        if mixed:
            found[i] = f"samples cannot be told apart at {mixed[0]}"
    return Plan(wanted, found, ordered)


def _ordered(slices: Slices, graph: Graph, nodes: list[Node]) -> dict[Node, tuple[Tensor, Order] | None]:
    """The nodes whose items can be told apart by mini-batch."""
    if slices.n_batches == 1:
        return dict.fromkeys(nodes)
    sizes = [len(loss) for loss in slices.losses]
    groups = [[t for t, other in enumerate(sizes) if other == size] for size in dict.fromkeys(sizes)]
    graphs = [graph] if len(groups) == 1 else [Graph.of(slices.losses[t] for t in group) for group in groups]
    found: dict[Node, tuple[Tensor, Order] | None] = {}
    for group, own in zip(groups, graphs, strict=True):
        others = [other for other in graphs if other is not own]
        mine = [node for node in nodes if node in own.nodes and not any(node in other.nodes for other in others)]
        if not mine:
            continue
        counted = [slices.index[t] >= 0 for t in group]
        index = torch.stack([slices.index[t] for t in group]).amax(0)
        for node, order in zip(mine, orders(own, [slices.losses[t] for t in group], counted, mine), strict=True):
            if order is not None:
                found[node] = (index, order)
    return found


class _Gradients:
    """The gradients of all operations' outputs for all tasks, released one operation at a time."""

    def __init__(self, slices: Slices, used: Plan) -> None:
        self._plan = used
        self._n_batches = slices.n_batches
        self._left = Counter(use.node for each in used.uses if not isinstance(each, str) for use in each)
        nodes = list(self._left)
        edges = [GradientEdge(node, 0) for node in nodes]
        self._found: dict[Node, list[tuple[int, Tensor]]] = {node: [] for node in nodes}
        self._stacked: dict[Node, tuple[list[int], Tensor, Items]] = {}
        for task, loss in enumerate(slices.losses if edges else ()):
            gradients: Sequence[Tensor | None] = torch.autograd.grad(
                loss, edges, slices.coefficients[task], retain_graph=True, allow_unused=True
            )
            for node, gradient in zip(nodes, gradients, strict=True):
                if gradient is not None:
                    self._found[node].append((task, rules.flat(node, gradient)))

    def take(self, node: Node) -> tuple[list[int], Tensor, Items] | None:
        """The tasks that reach a node, their gradients [T, n, ...] there, and its items; dropped after the last use."""
        self._left[node] -= 1
        if node in self._found:
            found = self._found.pop(node)
            if not found:
                return None
            stacked = torch.stack([rules.wide(gradient) for _, gradient in found])
            items = self._plan.items(node, stacked.shape[1], stacked.device, self._n_batches)
            self._stacked[node] = ([task for task, _ in found], stacked, items)
        return self._stacked.get(node) if self._left[node] else self._stacked.pop(node, None)


def cross_products(slices: Slices, parts: tuple[Part, ...]) -> np.ndarray:
    """[M, T, K, T, K] inner products in float64."""
    wanted = parameters(parts)
    # Autocast would round the products; the gradients themselves keep the precision of the forward pass.
    with torch.no_grad(), torch.autocast(wanted[0].device.type, enabled=False):
        return _cross_products(slices, parts, wanted)


def _cross_products(slices: Slices, parts: tuple[Part, ...], wanted: list[nn.Parameter]) -> np.ndarray:
    used = plan(slices, wanted)
    fold = Fold(parts, len(slices.tasks), slices.n_batches)
    by_plain = [p for p, each in zip(wanted, used.uses, strict=True) if isinstance(each, str)]
    for parameter, rows in zip(by_plain, plain.rows(slices, by_plain) if by_plain else (), strict=True):
        if rows is not None:
            fold.add(parameter, rows)
    gradients = _Gradients(slices, used)
    for parameter, each in zip(wanted, used.uses, strict=True):
        if not isinstance(each, str):
            _fold_parameter(fold, parameter, each, gradients)
    return fold.result()


def _fold_parameter(fold: Fold, parameter: nn.Parameter, found: list[Use], gradients: _Gradients) -> None:
    taken = [(use, got) for use in found if (got := gradients.take(use.node)) is not None]
    if len(taken) == 1:
        use, (tasks, stacked, items) = taken[0]
        if linear.applies(use, stacked, items):
            for part, piece in fold.pieces(parameter):
                fold.add_products(part, linear.products(use.node, stacked[..., piece.span], items), tasks)
        else:
            fold.add(parameter, _rows(use, stacked, items), tasks)
    elif taken:
        total: Tensor | None = None
        for use, (tasks, stacked, items) in taken:
            rows = _rows(use, stacked, items)
            if total is None:
                total = rows.new_zeros(items.n_batches, fold.n_tasks, *parameter.shape)
            total[:, tasks] += rows
        assert total is not None
        fold.add(parameter, total)


def _rows(use: Use, stacked: Tensor, items: Items) -> Tensor:
    """Rows [K, T, *parameter.shape]."""
    rows = rules.rows(use.node, use.slot, stacked, items)
    n_batches, n_tasks = rows.shape[:2]
    undone = use.undo(rows.flatten(0, 1))
    return undone.reshape(n_batches, n_tasks, *undone.shape[1:])
