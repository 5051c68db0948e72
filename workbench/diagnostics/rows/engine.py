"""The cross-Gramian by T vector-Jacobian products, however many mini-batches there are.

For each task one vector-Jacobian product of all its samples' losses gives the gradients D of the outputs of all
operations that have parameters; autograd computes no weight gradient in it. From D and the inputs X that the graph has
saved, the rows of all mini-batches follow, one parameter at a time: they are multiplied into the Gramian and dropped.

Cost: T vector-Jacobian products and T weight gradients, which is what T backward passes cost; parameters without a rule
need T·K backward passes of their own. Memory: D of all tasks over one stage of the network, and the rows of one
parameter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge

from workbench.core import ConfigError
from workbench.diagnostics.rows import linear, plain, rules
from workbench.diagnostics.rows.fold import Fold
from workbench.diagnostics.rows.graph import Graph, Node, NoUse, Use, uses
from workbench.diagnostics.rows.items import Items, Order
from workbench.diagnostics.rows.order import orders
from workbench.diagnostics.rows.parts import Part, parameters
from workbench.diagnostics.rows.ranks import Ranks
from workbench.diagnostics.rows.slices import Slices
from workbench.diagnostics.rows.stages import Stage, stages


@dataclass(frozen=True, eq=False)
class Plan:
    """How each parameter's rows will be found.

    Attributes:
        uses: Per parameter its uses; or, as text, why it needs plain backward passes.
        orders: Per operation with a rule, the mini-batch [B] of each sample and how its items are ordered by sample;
            None when all samples are one mini-batch.
    """

    graph: Graph
    uses: list[list[Use] | str]
    orders: dict[Node, tuple[Tensor, Order] | None]

    @property
    def nodes(self) -> list[Node]:
        return _nodes(self.uses)

    def items(self, node: Node, n_items: int, device: torch.device, n_batches: int) -> Items:
        order = self.orders[node]
        if order is None:
            return Items(torch.zeros(1, dtype=torch.long), 1, n_items)
        return Items(order[0].to(device), n_batches, n_items, order[1])


def plan(slices: Slices, wanted: list[nn.Parameter]) -> Plan:
    """Find every parameter's uses, and whether the operations keep samples apart."""
    graph = Graph.of(slices.losses)
    if any(node.name() == "CheckpointFunctionBackward" for node in graph.nodes):
        raise ConfigError(
            "Reentrant gradient checkpoints hide their parameters from everything but backward(). "
            "Use checkpoint(..., use_reentrant=False)."
        )
    found = [_uses(graph, parameter, frozenset()) for parameter in wanted]
    ordered = _ordered(slices, graph, _nodes(found))
    mixed = frozenset(node for node in _nodes(found) if node not in ordered)
    if mixed:
        # A table of positions is looked up once for all samples: its own output mixes them, but the sum that it enters
        # does not. So look for uses behind the operations that mix.
        found = [_uses(graph, parameter, mixed, each) for parameter, each in zip(wanted, found, strict=True)]
        ordered |= _ordered(slices, graph, [node for node in _nodes(found) if node not in ordered])
    for i, each in enumerate(found):
        if not isinstance(each, str) and any(use.node not in ordered for use in each):
            found[i] = "its samples cannot be told apart"
    return Plan(graph, found, ordered)


def _nodes(found: list[list[Use] | str]) -> list[Node]:
    return list({use.node: None for each in found if not isinstance(each, str) for use in each})


def _uses(
    graph: Graph, parameter: nn.Parameter, mixed: frozenset[Node], before: list[Use] | str | None = None
) -> list[Use] | str:
    """The uses of a parameter, none of them mixed; or what stands in their way."""
    if isinstance(before, str) or (before and not any(use.node in mixed for use in before)):
        return before
    try:
        return uses(
            graph, parameter, lambda node, slot: rules.known(node, slot) and node not in mixed, rules.is_activation
        )
    except NoUse as reason:
        names = [use.node.name() for use in before or () if use.node in mixed]
        return f"samples cannot be told apart at {names[0]}" if names else str(reason)


def _ordered(slices: Slices, graph: Graph, nodes: list[Node]) -> dict[Node, tuple[Tensor, Order] | None]:
    """The nodes whose items can be told apart by mini-batch."""
    if slices.n_batches == 1 or not nodes:
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


class Taken(NamedTuple):
    """The tasks that reach an operation, the gradients [n, ...] of its output for each of them, and its items."""

    tasks: list[int]
    gradients: list[Tensor]
    items: Items


class _Gradients:
    """The gradients of operations' outputs for all tasks, held from their stage to their last use."""

    def __init__(self, slices: Slices, used: Plan) -> None:
        self._slices, self._plan = slices, used
        self._left = Counter(use.node for each in used.uses if not isinstance(each, str) for use in each)
        self._found: dict[Node, list[tuple[int, Tensor]]] = {node: [] for node in self._left}
        self._at: list[Tensor | None] = list(slices.coefficients)  # where each task stands: of its loss, or of a cut
        self._cut: Node | None = None

    def advance(self, stage: Stage) -> None:
        """Take every task through a stage: one vector-Jacobian product each."""
        ends = [*stage.nodes, stage.end] if stage.end is not None else stage.nodes
        edges = [GradientEdge(node, 0) for node in ends]
        for task, gradient in enumerate(self._at):
            if gradient is None or not edges:
                continue
            begin = self._slices.losses[task] if self._cut is None else GradientEdge(self._cut, 0)
            found: Sequence[Tensor | None] = torch.autograd.grad(
                begin, edges, gradient, retain_graph=True, allow_unused=True
            )
            for node, value in zip(stage.nodes, found, strict=False):
                if value is not None:
                    self._found[node].append((task, rules.wide(rules.flat(node, value))))
            self._at[task] = found[-1] if stage.end is not None else None
        self._cut = stage.end

    def take(self, node: Node) -> Taken | None:
        """What reaches a node; released after the last of its uses, None when nothing does."""
        self._left[node] -= 1
        found = self._found[node] if self._left[node] else self._found.pop(node)
        if not found:
            return None
        gradients = [gradient for _, gradient in found]
        items = self._plan.items(node, len(gradients[0]), gradients[0].device, self._slices.n_batches)
        return Taken([task for task, _ in found], gradients, items)


def cross_products(slices: Slices, parts: tuple[Part, ...], ranks: Ranks) -> tuple[np.ndarray, dict[str, str]]:
    """[M, T, K, T, K] inner products in float64; and by part, why it needed plain backward passes.

    With several processes the rows of each parameter are summed over them before they are multiplied.
    """
    wanted = parameters(parts)
    # Autocast would round the products; the gradients themselves keep the precision of the forward pass.
    with torch.no_grad(), torch.autocast(wanted[0].device.type, enabled=False):
        used = plan(slices, wanted)
        why = {id(p): each for p, each in zip(wanted, used.uses, strict=True) if isinstance(each, str)}
        reasons = {part.name: why[id(p.parameter)] for part in parts for p in part.pieces if id(p.parameter) in why}
        return _cross_products(slices, parts, used, ranks), reasons


def _cross_products(slices: Slices, parts: tuple[Part, ...], used: Plan, ranks: Ranks) -> np.ndarray:
    fold = Fold(parts, len(slices.tasks), slices.n_batches)
    wanted = parameters(parts)
    slow = [p for p, each in zip(wanted, used.uses, strict=True) if isinstance(each, str)]
    by_plain = dict(zip(map(id, slow), plain.rows(slices, slow) if slow else (), strict=True))
    gradients = _Gradients(slices, used)
    steps = stages(used.graph, used.nodes, len(slices.tasks))
    step_of = {node: i for i, stage in enumerate(steps) for node in stage.nodes}
    last = [0 if isinstance(each, str) else max((step_of[use.node] for use in each), default=0) for each in used.uses]
    # All processes deal with the parameters in one order, for each of them is a sum over processes.
    order = ranks.gather(sorted(range(len(wanted)), key=last.__getitem__))[0]
    done = -1
    for i in order:
        while done < last[i]:
            done += 1
            gradients.advance(steps[done])
        each, parameter = used.uses[i], wanted[i]
        if ranks.alone and not isinstance(each, str):
            _fold_parameter(fold, parameter, each, gradients)
            continue
        rows = by_plain.pop(id(parameter)) if isinstance(each, str) else _all_rows(fold, parameter, each, gradients)
        if not ranks.alone:
            dtype = rules.wide(parameter).dtype
            none = parameter.new_zeros(fold.n_batches, fold.n_tasks, *parameter.shape, dtype=dtype)
            rows = ranks.sum(none if rows is None else rows.to(dtype))
        if rows is not None:
            fold.add(parameter, rows)
    return fold.result()


def _fold_parameter(fold: Fold, parameter: nn.Parameter, found: list[Use], gradients: _Gradients) -> None:
    """Add the products of a parameter that enters once, or of which all tasks' rows are needed, in the cheapest way."""
    if len(found) != 1:
        rows = _all_rows(fold, parameter, found, gradients)
        if rows is not None:
            fold.add(parameter, rows)
        return
    (use,) = found
    got = gradients.take(use.node)
    if got is None:
        return
    if linear.applies(use, got.gradients, got.items):
        for part, piece in fold.pieces(parameter):
            fold.add_products(part, linear.products(use.node, got.gradients, got.items, piece.span), got.tasks)
    else:
        fold.add(parameter, _rows(use, got), got.tasks)


def _all_rows(fold: Fold, parameter: nn.Parameter, found: list[Use], gradients: _Gradients) -> Tensor | None:
    """Rows [K, T, *parameter.shape] of all tasks, added over all uses; None where no task reaches the parameter."""
    total: Tensor | None = None
    for use in found:
        got = gradients.take(use.node)
        if got is None:
            continue
        rows = _rows(use, got)
        if total is None:
            total = rows.new_zeros(len(rows), fold.n_tasks, *parameter.shape)
        total[:, got.tasks] += rows
    return total


def _rows(use: Use, got: Taken) -> Tensor:
    """Rows [K, T, *parameter.shape]."""
    rows = rules.rows(use.node, use.slot, got.gradients, got.items)
    return use.undo(rows.flatten(0, 1)).unflatten(0, rows.shape[:2])
