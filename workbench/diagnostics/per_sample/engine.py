"""Per-sample gradient sums of one batch from one forward pass and one backward pass without weight gradients.

1. Run the loss, read the graph (:mod:`tape`), find or recall the plan for it (:mod:`layout`, :mod:`plan`).
2. Run the backward pass as far as the first layers; at each boundary a rule turns the gradient that passes into sums.
3. What no rule covers is measured by :mod:`fallback`.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from workbench.diagnostics.per_sample import fallback
from workbench.diagnostics.per_sample.batch import Batch, map_rows
from workbench.diagnostics.per_sample.layout import find_layouts
from workbench.diagnostics.per_sample.plan import Boundary, Plan, make_plan
from workbench.diagnostics.per_sample.rules import RULES, Call, working
from workbench.diagnostics.per_sample.sums import BatchSums
from workbench.diagnostics.per_sample.tape import Tape
from workbench.diagnostics.per_sample.uses import Use, add_uses
from workbench.diagnostics.per_sample.views import Through, for_parameter

#: Samples in the small batch with which layouts are found.
_PROBE_SAMPLES = 3
#: Structures of graphs of a model that are remembered.
_MAX_PLANS = 16

_plans: weakref.WeakKeyDictionary[nn.Module, dict[tuple, Plan]] = weakref.WeakKeyDictionary()


class _Outdated(Exception):
    """The batch does not fit the plan: something that was 0, or of another form, no longer is."""


def measure_batch(batch: Batch, sums: BatchSums) -> dict[str, str]:
    """Add every parameter's per-sample gradients to ``sums``. Returns parameter -> how and why for those by fallback.

    Raises:
        ConfigError: a batch normalisation in training mode.
    """
    losses, tape = batch.losses, batch.tape
    if batch.samples == 1:
        return fallback.measure(batch, dict.fromkeys(tape.leaves.values(), "one sample"), sums) and {}
    plan = _recall(batch) or _make(batch)
    found = BatchSums(sums.groups)
    try:
        uncovered = _Pass(batch, tape, plan, found).run(losses)
    except _Outdated:
        losses = batch.again()
        tape = Tape.read(losses, batch.parameters)
        plan = make_plan(tape, find_layouts(tape, losses))
        _remember(batch, tape, plan)
        found = BatchSums(sums.groups)
        try:
            uncovered = _Pass(batch, tape, plan, found).run(losses)
        except _Outdated:
            reasons = dict.fromkeys(tape.leaves.values(), "too few samples with a gradient to tell them apart")
            return fallback.measure(batch, reasons, sums)
    reasons = {**uncovered, **plan.fallback}
    sums.update(found, leaving_out=reasons)
    return fallback.measure(batch, reasons, sums) if reasons else {}


def _recall(batch: Batch) -> Plan | None:
    return _plans.get(batch.model, {}).get(_key(batch, batch.tape))


def _key(batch: Batch, tape: Tape) -> tuple:
    """The code of the loss belongs to it: another loss may use the same operations along other axes."""
    loss: Any = batch.loss
    while isinstance(loss, partial):
        loss = loss.func
    loss = getattr(loss, "__func__", loss)
    return getattr(loss, "__code__", type(loss)), tape.signature


def _remember(batch: Batch, tape: Tape, plan: Plan) -> None:
    if tape.selects:
        return
    known = _plans.setdefault(batch.model, {})
    if len(known) >= _MAX_PLANS:
        known.clear()
    known[_key(batch, tape)] = plan


def _make(batch: Batch) -> Plan:
    """Layouts from a few samples where that is safe, otherwise from the batch itself."""
    tape, losses = batch.tape, batch.losses
    if batch.samples > _PROBE_SAMPLES and not tape.selects:
        tape, losses = _probe(batch) or (tape, losses)
    plan = make_plan(tape, find_layouts(tape, losses))
    _remember(batch, tape, plan)
    return plan


def _probe(batch: Batch) -> tuple[Tape, Tensor] | None:
    """The graph of the first few samples, when the loss can be computed for them alone and has the same structure."""
    few = map_rows(batch.inputs, batch.samples, lambda tensor: tensor[:_PROBE_SAMPLES])
    try:
        losses = batch.evaluate(few)
    except Exception:
        return None
    if losses.shape != (_PROBE_SAMPLES,):
        return None
    tape = Tape.read(losses, batch.parameters)
    return (tape, losses) if tape.signature == batch.tape.signature else None


class _Pass:
    """One backward pass that reads at the boundaries of a plan."""

    def __init__(self, batch: Batch, tape: Tape, plan: Plan, sums: BatchSums) -> None:
        self.tape, self.plan, self.sums, self.samples = tape, plan, sums, batch.samples
        self.uncovered: dict[str, str] = {}
        self.waiting: dict[int, list[Use]] = {}

    @torch.no_grad()
    def run(self, losses: Tensor) -> dict[str, str]:
        """Parameters that turned out to have no rule, with the reason."""
        tape, plan = self.tape, self.plan
        if not plan.boundaries and not plan.guards:
            return {}
        handles = [
            tape.nodes[boundary.at].register_prehook(partial(self.read, boundary))
            for boundary in plan.boundaries
            if boundary.at not in plan.ends
        ]
        edges = [tape.edge((at, 0)) for at in plan.ends] + [tape.edge(guard) for guard in plan.guards]
        try:
            found = torch.autograd.grad(losses, edges, torch.ones_like(losses), allow_unused=True)
        finally:
            for handle in handles:
                handle.remove()
        for gradient in found[len(plan.ends) :]:
            if gradient is not None and bool(gradient.any()):
                raise _Outdated
        by_index = {boundary.at: boundary for boundary in plan.boundaries}
        for at, gradient in zip(plan.ends, found, strict=False):
            self.read(by_index[at], (gradient,))
        for leaf, uses in self.waiting.items():
            self.give(leaf, add_uses(uses))
        return self.uncovered

    def read(self, boundary: Boundary, gradients: Sequence[Tensor | None]) -> None:
        """Called with the gradient of a boundary's output."""
        gradient = gradients[0]
        if gradient is None:
            return
        if not boundary.layout.fits(gradient, self.samples):
            raise _Outdated
        node = self.tape.nodes[boundary.at]
        shapes = {position: self.tape.shape(edge) for position, edge in boundary.operands.items()}
        front = working(boundary.layout.front(gradient, self.samples))
        uses = RULES[node.name()](Call(node, front, tuple(gradient.shape), boundary.layout, self.samples, shapes))
        for position, edge in boundary.operands.items():
            use = uses.get(position)
            for name, leaf in boundary.leaves[position].items():
                if use is None:
                    self.uncovered[name] = f"no rule for this form of {node.name()}"
                    continue
                self.take(leaf, for_parameter(self.tape, use, edge, leaf))

    def take(self, leaf: int, use: Use) -> None:
        if self.plan.n_uses[leaf] == 1 and not isinstance(use, Through):
            self.give(leaf, use)
        else:
            # Graphs behind a computed weight are differentiated after this pass; shared weights wait for all uses.
            self.waiting.setdefault(leaf, []).append(use)

    def give(self, leaf: int, use: Use) -> None:
        self.sums.add(self.tape.leaves[leaf], use)
