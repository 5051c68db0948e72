"""Walk the autograd graph of losses and find where each shared parameter enters it.

The graph already holds everything that a gradient needs: the saved inputs of each operation, and, through one
vector-Jacobian product for each task, the gradient of each operation's output. No hook has to be in place before the
forward pass, and no module has to be known by its class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge

#: A torch.autograd.graph.Node; what operations have saved in theirs is known to no type checker.
Node = Any
#: Rows [R, *shape] of an operation's argument turned into rows of the tensor it was made of.
Undo = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Use:
    """One operation that a parameter enters: as argument ``slot`` of ``node``, after cheap changes of form.

    ``undo`` turns the gradient rows of that argument into rows of the parameter. ``direct`` when the argument has the
    parameter's entries, each once, so that inner products of rows need no undoing.
    """

    node: Node
    slot: int
    undo: Undo
    direct: bool = False


@dataclass(frozen=True, eq=False)
class Graph:
    """The nodes reachable from the losses, each once, and who consumes whom."""

    nodes: dict[Node, int]
    consumers: dict[Node, list[tuple[Node, int, int]]]  # of a node: (consumer, its argument, the node's output)

    @staticmethod
    def of(losses: Iterable[Tensor]) -> Graph:
        nodes: dict[Node, int] = {}
        consumers: dict[Node, list[tuple[Node, int, int]]] = {}
        stack = [loss.grad_fn for loss in losses if loss.grad_fn is not None]
        while stack:
            node = stack.pop()
            if node in nodes:
                continue
            nodes[node] = len(nodes)
            for slot, (child, output) in enumerate(node.next_functions):
                if child is not None:
                    consumers.setdefault(child, []).append((node, slot, output))
                    stack.append(child)
        return Graph(nodes, consumers)

    @cached_property
    def leaves(self) -> dict[int, Node]:
        """The accumulation node of each leaf tensor, by the tensor's id."""
        return {id(node.variable): node for node in self.nodes if hasattr(node, "variable")}

    def is_weight(self, node: Node) -> bool:
        """Whether an operation's output is made of parameters alone."""
        if hasattr(node, "variable"):
            return True
        children = [child for child, _ in node.next_functions]
        return bool(children) and all(child is not None and self.is_weight(child) for child in children)

    def signature(self) -> tuple[Any, ...] | None:
        """Equal for graphs of the same operations on the same shapes; None when data decides what is mixed.

        Indexing along the first axis can reorder samples, so such graphs are never taken to be known.
        """
        described = []
        for node in self.nodes:
            name = node.name()
            if name.startswith(_REORDERING) and getattr(node, "_saved_dim", 0) == 0:
                return None
            settings = tuple(getattr(node, key) for key in _settings(node, name))
            edges = tuple((self.nodes[child], output) for child, output in node.next_functions if child is not None)
            shape = node._input_metadata[0].shape if node._input_metadata else ()
            described.append((name, tuple(shape), settings, edges))
        return tuple(described)


_REORDERING = ("Index", "Gather", "Scatter", "Take", "Put", "Masked", "Unique", "Sort", "Permutation")
_SETTINGS: dict[str, tuple[str, ...]] = {}


def _settings(node: Node, name: str) -> tuple[str, ...]:
    """Names of the node's saved settings (axes, strides, flags), found once for each kind of node."""
    if name not in _SETTINGS:
        keys = [key for key in dir(node) if key.startswith("_saved_") and not key.endswith(("sizes", "strides"))]
        _SETTINGS[name] = tuple(key for key in keys if _is_setting(node, key))
    return _SETTINGS[name]


def _is_setting(node: Node, key: str) -> bool:
    try:
        value = getattr(node, key)
    except RuntimeError:  # a tensor whose memory is already freed
        return False
    plain = (int, bool, str)
    return isinstance(value, plain) or (isinstance(value, tuple) and all(isinstance(item, plain) for item in value))


#: Operations between a parameter and its use (weight normalisation, say) are followed up to this many.
_FOLLOWED = 32


class NoUse(Exception):
    """A parameter enters the network in a way that no rule covers; the text says which."""


def uses(
    graph: Graph, parameter: nn.Parameter, can_use: Callable[[Node, int], bool], blocked: Callable[[Node, int], bool]
) -> list[Use]:
    """All uses of a parameter; none when the losses do not depend on it.

    Operations that are no use themselves are followed to the uses of their output. Rows are pulled back through them
    by automatic differentiation, which is cheap as long as no sample enters there.

    Args:
        can_use: Whether there is a rule for an argument of a node.
        blocked: Whether an argument of a node is a layer's activation, where the search ends.

    Raises:
        NoUse: naming the operation in the way.
    """
    leaf = graph.leaves.get(id(parameter))
    if leaf is None:
        return []
    if parameter._backward_hooks:
        raise NoUse("a hook on the parameter changes its gradient")
    found: dict[tuple[Node, int], Use] = {}
    pending: list[tuple[Node, Undo]] = [(leaf, _same)]
    followed, reformed = [leaf], {leaf}
    while pending:
        node, undo = pending.pop()
        for consumer, slot, output in graph.consumers.get(node, ()):
            whole = _through(graph, parameter, node, output, undo)
            if can_use(consumer, slot):
                found[consumer, slot] = Use(consumer, slot, whole, node in reformed)
            elif consumer.name() in _FORMS:
                pending.append((consumer, _then(_FORMS[consumer.name()](consumer), whole)))
                reformed |= {consumer} if node in reformed else set()
            elif consumer.name() in _SPLITS:
                pending.append((consumer, whole))
            elif len(followed) > _FOLLOWED or (blocked(consumer, slot) and not graph.is_weight(consumer)):
                raise NoUse(f"no rule for {(followed[1:] or [consumer])[0].name()}")
            elif consumer not in followed:
                followed.append(consumer)
                pending.append((consumer, _same))
        if node not in graph.consumers:
            raise NoUse(f"no rule for {(followed[1:] or [node])[0].name()}")
    return list(found.values())


def _through(graph: Graph, parameter: nn.Parameter, node: Node, output: int, undo: Undo) -> Undo:
    """From rows of an output of a node on the way to rows of the parameter."""
    if node.name() in _SPLITS:
        return _then(_SPLITS[node.name()](node, output), undo)
    if node.name() in _FORMS or node is graph.leaves[id(parameter)]:
        return undo
    return _pulled_back(parameter, node, output)


def _pulled_back(parameter: nn.Parameter, node: Node, output: int) -> Undo:
    edge = GradientEdge(node, output)

    def undo(rows: Tensor) -> Tensor:
        dtype = node._input_metadata[output].dtype
        found = [torch.autograd.grad(edge, parameter, row.to(dtype), retain_graph=True)[0] for row in rows]
        return torch.stack(found).to(rows.dtype)

    return undo


def _same(rows: Tensor) -> Tensor:
    return rows


def _then(first: Undo, second: Undo) -> Undo:
    return lambda rows: second(first(rows))


def _transposed(node: Node) -> Undo:
    return lambda rows: rows.transpose(1, 2)


def _swapped(node: Node) -> Undo:
    first, second = _axis(node._saved_dim0), _axis(node._saved_dim1)
    return lambda rows: rows.transpose(*(axis + 1 if axis >= 0 else axis for axis in (first, second)))


def _permuted(node: Node) -> Undo:
    axes = [_axis(axis) for axis in node._saved_dims]
    back = [0, *(1 + axes.index(axis) for axis in range(len(axes)))]
    return lambda rows: rows.permute(back)


def _reshaped(node: Node) -> Undo:
    shape = tuple(node._saved_self_sym_sizes)
    return lambda rows: rows.reshape(len(rows), *shape)


def _squeezed(node: Node) -> Undo:
    axis = _axis(node._saved_dim)
    return lambda rows: rows.squeeze(axis + 1 if axis >= 0 else axis)


def _placed(node: Node, axis: int, start: int, stop: int) -> Undo:
    """Rows of a stretch along an axis as rows of the whole, zero elsewhere."""
    shape = tuple(node._saved_self_sym_sizes)
    axis = axis + len(shape) if axis < 0 else axis

    def undo(rows: Tensor) -> Tensor:
        whole = rows.new_zeros((len(rows), *shape))
        whole.narrow(axis + 1, start, stop - start).copy_(rows)
        return whole

    return undo


def _split(node: Node, output: int) -> Undo:
    axis = _axis(node._saved_dim)
    size = node._saved_split_size
    return _placed(node, axis, output * size, min((output + 1) * size, node._saved_self_sym_sizes[axis]))


def _split_sizes(node: Node, output: int) -> Undo:
    sizes = node._saved_split_sizes
    start = sum(sizes[:output])
    return _placed(node, _axis(node._saved_dim), start, start + sizes[output])


def _sliced(node: Node, output: int) -> Undo:
    axis, start, step = _axis(node._saved_dim), _axis(node._saved_start), node._saved_step
    shape = tuple(node._saved_self_sym_sizes)
    if step != 1:
        raise NoUse("no rule for slices with a step")
    stop = min(_axis(node._saved_end), shape[axis])
    return _placed(node, axis, start + shape[axis] * (start < 0), stop + shape[axis] * (stop < 0))


def _axis(saved: int) -> int:
    """Autograd saves negative axes as unsigned 64-bit integers."""
    return saved - 2**64 if saved >= 2**63 else saved


#: Operations that change a tensor's form, not its entries. A change of dtype ends in the rows' own dtype.
_FORMS: dict[str, Callable[[Node], Undo]] = {
    "ToCopyBackward0": lambda node: _same,
    "CloneBackward0": lambda node: _same,
    "TBackward0": _transposed,
    "TransposeBackward0": _swapped,
    "PermuteBackward0": _permuted,
    "ViewBackward0": _reshaped,
    "UnsafeViewBackward0": _reshaped,
    "ReshapeAliasBackward0": _reshaped,
    "UnsqueezeBackward0": _squeezed,
}

#: Operations that cut a tensor into several outputs.
_SPLITS: dict[str, Callable[[Node, int], Undo]] = {
    "SplitBackward0": _split,
    "UnsafeSplitBackward0": _split,
    "SplitWithSizesBackward0": _split_sizes,
    "SliceBackward0": _sliced,
}
