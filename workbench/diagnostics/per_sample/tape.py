"""The autograd graph of a batch of losses as a list: which operation used which parameter.

Reading the graph, rather than hooking modules, finds every use of a parameter: in a layer, in a functional call, in a
weight that two layers share. Nothing is attached to the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.autograd.graph import GradientEdge

#: A node of the autograd graph (an operation's backward function).
Node = Any


#: Operations that give an operand another name: its shape, dtype or orientation, not its values.
RENAMES = frozenset(
    {
        "TBackward0",
        "ViewBackward0",
        "UnsafeViewBackward0",
        "ReshapeAliasBackward0",
        "AliasBackward0",
        "ToCopyBackward0",
        "UnsqueezeBackward0",
        "SqueezeBackward0",
        "SqueezeBackward1",
    }
)
#: Operations that also move, copy or cut.
REARRANGES = RENAMES | {
    "TransposeBackward0",
    "PermuteBackward0",
    "SliceBackward0",
    "SelectBackward0",
    "SplitBackward0",
    "SplitWithSizesBackward0",
    "CloneBackward0",
}


#: Operations that pick entries by their data, so that another batch may be picked differently.
_SELECTS = frozenset(
    {
        "IndexBackward0",
        "IndexSelectBackward0",
        "MaskedSelectBackward0",
        "GatherBackward0",
        "TakeBackward0",
        "IndexPutBackward0",
        "IndexAddBackward0",
        "ScatterBackward0",
        "ScatterAddBackward0",
        "SortBackward0",
        "TopkBackward0",
    }
)
#: Operations whose axis tells graphs apart.
_AXES = {
    "TransposeBackward0": ("_saved_dim0", "_saved_dim1"),
    "PermuteBackward0": ("_saved_dims",),
    "SumBackward1": ("_saved_dim",),
    "MeanBackward1": ("_saved_dim",),
    "SelectBackward0": ("_saved_dim",),
    "CatBackward0": ("_saved_dim",),
    "StackBackward0": ("_saved_dim",),
    "UnbindBackward0": ("_saved_dim",),
}


@dataclass(frozen=True)
class Tape:
    """Nodes that lead to a measured parameter, each after every node that it leads to; the last one is the loss.

    Attributes:
        nodes: The operations.
        edges: ``edges[i][position]`` = (index of the node that made that operand, which of its outputs), or None
            where the operand leads to no measured parameter.
        leaves: Index of a node without operands -> name of the parameter that it stands for.
        signature: Equal for two tapes that hold the same operations on the same parameters, whatever the shapes.
    """

    nodes: tuple[Node, ...]
    edges: tuple[tuple[tuple[int, int] | None, ...], ...]
    leaves: Mapping[int, str]
    signature: tuple

    @staticmethod
    def read(losses: Tensor, parameters: Mapping[str, nn.Parameter]) -> Tape:
        """Read the graph behind ``losses``. Without any measured parameter in it the tape is empty."""
        names = {id(parameter): name for name, parameter in parameters.items()}
        index: dict[Node, int | None] = {None: None}
        nodes: list[Node] = []
        edges: list[tuple[tuple[int, int] | None, ...]] = []
        leaves: dict[int, str] = {}
        stack: list[tuple[Node, Any]] = [(losses.grad_fn, None)]
        while stack:
            node, sources = stack.pop()
            if sources is None:
                if node in index:
                    continue
                index[node] = None
                sources = node.next_functions
                stack.append((node, sources))
                stack.extend((source, None) for source, _ in sources if source not in index)
                continue
            made = tuple([None if (at := index[source]) is None else (at, output) for source, output in sources])
            name = names.get(id(node.variable)) if not made and hasattr(node, "variable") else None
            if name is not None:
                leaves[len(nodes)] = name
            if name is not None or any(made):
                index[node] = len(nodes)
                nodes.append(node)
                edges.append(made)
        names_of_nodes = tuple([node.name() for node in nodes])
        axes = tuple(
            [getattr(n, a) for n, name in zip(nodes, names_of_nodes, strict=True) for a in _AXES.get(name, ())]
        )
        signature = (names_of_nodes, axes, tuple(edges), tuple(leaves.items()))
        return Tape(tuple(nodes), tuple(edges), leaves, signature)

    @property
    def selects(self) -> bool:
        """Whether some operation picks entries by their data: then graphs of one structure may differ in layout."""
        return not _SELECTS.isdisjoint(self.signature[0])

    def edge(self, end: tuple[int, int]) -> GradientEdge:
        """For torch.autograd.grad."""
        return GradientEdge(self.nodes[end[0]], end[1])

    def shape(self, end: tuple[int, int]) -> tuple[int, ...]:
        """Shape of an output of a node; of the parameter for a leaf."""
        node = self.nodes[end[0]]
        return tuple(node.variable.shape if end[0] in self.leaves else node._input_metadata[end[1]].shape)

    def parameters_below(self, ends: list[tuple[int, int]]) -> dict[str, int]:
        """Names of the parameters that the nodes lead to, with the index of their leaves."""
        found: dict[str, int] = {}
        seen: set[int] = set()
        stack = [at for at, _ in reversed(ends)]
        while stack:
            at = stack.pop()
            if at in seen:
                continue
            seen.add(at)
            if at in self.leaves:
                found[self.leaves[at]] = at
            stack.extend(edge[0] for edge in reversed(self.edges[at]) if edge is not None)
        return found

    def renames(self, at: int, operations: frozenset[str] = RENAMES) -> list[int] | None:
        """The nodes from ``at`` to the one parameter behind it, the leaf last, if only such operations lie between."""
        chain = [at]
        while chain[-1] not in self.leaves:
            edges = [edge for edge in self.edges[chain[-1]] if edge is not None]
            if self.nodes[chain[-1]].name() not in operations or len(edges) != 1:
                return None
            chain.append(edges[0][0])
        return chain
