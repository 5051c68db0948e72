"""Where in the graph per-sample gradients can be read, decided once for graphs of the same structure.

A tensor of the graph either holds something of each sample or serves all samples, like a weight. Every place where an
operation combines the two is a :class:`Boundary`: there the gradient of the output is still apart by sample, and a
rule gives the per-sample gradient of the shared operand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from workbench.core.errors import ConfigError
from workbench.diagnostics.per_sample.layout import Layout
from workbench.diagnostics.per_sample.rules import RULES
from workbench.diagnostics.per_sample.tape import REARRANGES, Tape


@dataclass(frozen=True)
class Boundary:
    """A node with shared operands.

    Attributes:
        operands: Position -> the edge to what made the operand.
        leaves: Position -> the parameters behind it, by name, with their leaves.
    """

    at: int
    layout: Layout
    operands: dict[int, tuple[int, int]]
    leaves: dict[int, dict[str, int]]


@dataclass(frozen=True)
class Plan:
    """What to read from graphs with one signature.

    Attributes:
        boundaries: Every place to read.
        guards: Edges whose gradient was 0 when the plan was made, so that nothing is known upstream of them.
        ends: Nodes to ask autograd for, which makes it reach every boundary and no weight gradient.
        fallback: Parameter -> why no rule gives its gradient.
        n_uses: Leaf -> number of boundaries that give it.
    """

    boundaries: tuple[Boundary, ...]
    guards: tuple[tuple[int, int], ...]
    ends: tuple[int, ...]
    n_uses: Counter[int]
    fallback: dict[str, str] = field(default_factory=dict)


def make_plan(tape: Tape, layouts: Sequence[tuple[Layout, ...]]) -> Plan:
    """Find the boundaries.

    Args:
        layouts: Of the gradient of each output of each node, from :func:`layout.find_layouts`.

    Raises:
        ConfigError: a batch normalisation in training mode, under which no per-sample gradient exists.
    """
    boundaries: list[Boundary] = []
    guards: list[tuple[int, int]] = []
    fallback: dict[str, str] = {}
    reached = {len(tape.nodes) - 1}
    for at in range(len(tape.nodes) - 1, -1, -1):
        if at not in reached:
            continue
        layout = _main(layouts[at])
        _refuse_coupling(tape, at, layout)
        shared, silent, onward = _sorted_operands(tape, at, layouts)
        guards += silent
        reached.update(onward)
        if shared and layout.per_sample and tape.nodes[at].name() in RULES:
            leaves = {position: tape.parameters_below([edge]) for position, edge in shared.items()}
            boundaries.append(Boundary(at, layout, shared, leaves))
        else:
            for name in tape.parameters_below(list(shared.values())):
                fallback.setdefault(name, f"no rule for {tape.nodes[at].name()}")
    ends = _ends(tape, boundaries, guards)
    return Plan(tuple(boundaries), tuple(guards), ends, _n_uses(boundaries), fallback)


def _sorted_operands(
    tape: Tape, at: int, layouts: Sequence[tuple[Layout, ...]]
) -> tuple[dict[int, tuple[int, int]], list[tuple[int, int]], list[int]]:
    """Operands that all samples share by position, those whose gradient is 0, and the nodes behind the others."""
    shared: dict[int, tuple[int, int]] = {}
    silent: list[tuple[int, int]] = []
    onward: list[int] = []
    for position, edge in enumerate(tape.edges[at]):
        if edge is None:
            continue
        kind = layouts[edge[0]][edge[1]].kind
        if edge[0] in tape.leaves or kind == "shared" or (kind == "zero" and tape.renames(edge[0], REARRANGES)):
            shared[position] = edge
        elif kind == "zero":
            silent.append(edge)
        else:
            onward.append(edge[0])
    return shared, silent, onward


def _n_uses(boundaries: Sequence[Boundary]) -> Counter[int]:
    return Counter(leaf for boundary in boundaries for below in boundary.leaves.values() for leaf in below.values())


def _main(layouts: tuple[Layout, ...]) -> Layout:
    return next((layout for layout in layouts if layout.per_sample), layouts[0])


def _refuse_coupling(tape: Tape, at: int, layout: Layout) -> None:
    node = tape.nodes[at]
    if "BatchNorm" in node.name() and layout.per_sample and layout.axis == 0 and getattr(node, "_saved_training", True):
        names = ", ".join(tape.parameters_below([edge for edge in tape.edges[at][1:] if edge is not None]))
        raise ConfigError(
            f"Batch normalisation in training mode{f' ({names})' if names else ''} mixes the samples of a batch, so no "
            "per-sample gradient exists. Call model.eval() before measuring, or measure the gradients of small groups: "
            "let loss() return one mean per group, each computed by its own forward pass."
        )


def _ends(tape: Tape, boundaries: Sequence[Boundary], guards: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """Boundaries from which no other boundary can be reached."""
    wanted = {boundary.at for boundary in boundaries}
    leads = [False] * len(tape.nodes)
    ends = []
    for at, edges in enumerate(tape.edges):
        leads[at] = any(edge is not None and (leads[edge[0]] or edge[0] in wanted) for edge in edges)
        leads[at] |= any(edge in guards for edge in edges if edge is not None)
        if at in wanted and not leads[at]:
            ends.append(at)
    return tuple(ends)
