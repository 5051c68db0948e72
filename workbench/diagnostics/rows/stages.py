"""Cut the backward pass into stages, so that the gradients of one stage are used up before the next begins.

A cut is an operation that every path from the losses to what lies deeper goes through. All tasks are taken to a cut,
the parameters passed on the way are dealt with, and all tasks go on from there: at no time are the gradients of all
operations in memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch.autograd.graph import GradientEdge

from workbench.diagnostics.rows.graph import Graph, Node

#: A stage ends at the first cut after the gradients of its operations hold this many numbers over all tasks.
STAGE_NUMBERS = 1_000_000


@dataclass(frozen=True, eq=False)
class Stage:
    """The operations with parameters between two cuts.

    Attributes:
        end: The cut where the next stage begins; None for the last stage.
    """

    nodes: list[Node]
    end: Node | None


def stages(graph: Graph, wanted: Iterable[Node], n_tasks: int) -> list[Stage]:
    """Stages from the losses downwards; one stage when nothing can be cut.

    Args:
        wanted: The operations whose output gradients are needed.
    """
    targets = set(wanted)
    found: list[Stage] = []
    passed: list[Node] = []
    numbers = 0
    for node, is_cut in _downwards(graph, targets):
        if is_cut and numbers * n_tasks >= STAGE_NUMBERS and _hookless(node):
            found.append(Stage(passed, node))
            passed, numbers = [], 0
        if node in targets:
            passed.append(node)
            numbers += math.prod(node._input_metadata[0].shape)
    return [*found, Stage(passed, None)]


def _downwards(graph: Graph, targets: set[Node]) -> Iterable[tuple[Node, bool]]:
    """The operations that lead to a target, consumers first; and whether each is a cut."""
    leading = _leading(graph, targets)
    waiting = {node: sum(user in leading for user, _, _ in graph.consumers.get(node, ())) for node in leading}
    arriving = dict.fromkeys(leading, 0)
    ready = [node for node, count in waiting.items() if count == 0]
    open_edges = 0
    while ready:
        node = ready.pop()
        edges_of_others = open_edges - arriving[node]
        simple = len(node._input_metadata) == 1
        yield node, simple and not ready and edges_of_others == 0 and arriving[node] > 0
        open_edges = edges_of_others
        for child, _ in node.next_functions:
            if child in leading:
                open_edges += 1
                arriving[child] += 1
                waiting[child] -= 1
                if waiting[child] == 0:
                    ready.append(child)


def _leading(graph: Graph, targets: set[Node]) -> dict[Node, None]:
    """The targets and everything between them and the losses, in the graph's order."""
    found = set(targets)
    stack = list(targets)
    while stack:
        for user, _, _ in graph.consumers.get(stack.pop(), ()):
            if user not in found:
                found.add(user)
                stack.append(user)
    return {node: None for node in graph.nodes if node in found}


def _hookless(node: Node) -> bool:
    """Whether a gradient that begins here comes out as it went in: a hook on the tensor would be applied twice."""
    meta = node._input_metadata[0]
    sample = torch.full((), 1.5, dtype=meta.dtype, device=meta.device).expand(tuple(meta.shape))
    edge = GradientEdge(node, 0)
    (out,) = torch.autograd.grad(edge, edge, sample, retain_graph=True)
    return out.data_ptr() == sample.data_ptr() or torch.equal(out, sample)
