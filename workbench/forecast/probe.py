"""The probe: carry out a plan, and record what it finds as a run that every lens opens.

The recorded steps: seed r's joint trajectory has its steps 0, 1, 2, … at r·stride, r·stride + 1, …, so that one run
holds all seeds (``config["forecast"]["stride"]``).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import fields

import numpy as np
from jaxtyping import Float
from torch import nn

from workbench.diagnostics.recorder import Recorder
from workbench.diagnostics.untouched import random_state_kept
from workbench.forecast.cost import products
from workbench.forecast.feed import draw
from workbench.forecast.measured import Measured
from workbench.forecast.plan import Plan
from workbench.forecast.problem import Problem
from workbench.forecast.trajectory import Visit, lookahead, train

logger = logging.getLogger(__name__)

#: Called with the optimizer steps done, and all that are planned.
Progress = Callable[[int, int], None]


class Stopped(Exception):
    """Somebody asked for an end, or the budget is used up."""


def stride_of(plan: Plan) -> int:
    """Distance of the seeds' steps in the record: a power of ten above the length of a trajectory."""
    return int(10 ** np.ceil(np.log10(plan.steps + 1)))


def run_probe(
    problem: Problem, plan: Plan, recorder: Recorder, budget: float, progress: Progress, stop: Callable[[], bool]
) -> tuple[Measured, str]:
    """Carry out the plan, seed by seed, and record it. Returns what the whole seeds found, and why it ended early.

    A seed that is cut short leaves Gramians in the record but no losses in the result. The first two seeds are finished
    even when they take longer than the budget, up to twice of it: one seed alone has no interval.
    """
    watch = _Watch(plan, budget, progress, stop)
    found: list[Measured] = []
    ended = ""
    with random_state_kept():
        for number, seed in enumerate(plan.seeds):
            try:
                watch.begin(number)
                found.append(_seed(problem, plan, recorder, number, seed, watch))
            except Stopped as reason:
                ended = str(reason)
                logger.info("The probe ended after %d seeds: %s", len(found), reason)
                break
    return _joined(plan, found), ended


def _seed(problem: Problem, plan: Plan, recorder: Recorder, number: int, seed: int, watch: _Watch) -> Measured:
    tasks = plan.tasks
    start = problem.model(seed)
    feed = draw(problem, seed, plan.steps)
    base = number * stride_of(plan)
    tables: list[Float[np.ndarray, "T T"]] = []

    def visit(step: int, model: nn.Module) -> None:
        parts = problem.parts(model)
        batches = [feed.batch(step + offset) for offset in range(plan.batches)]
        with random_state_kept():
            recorder.gramian(base + step, products(problem, model, parts, batches, plan.n_batches))
            table, losses = lookahead(problem, model, parts, batches[0], feed.held_out)
        recorder.scalars(base + step, {f"loss/{task}": loss for task, loss in zip(tasks, losses, strict=True)})
        tables.append(table)
        watch.tick(0)

    losses = {}
    for members in plan.trajectories:
        names = tuple(tasks[i] for i in members)
        visits: dict[int, Visit] = dict.fromkeys(plan.gradient_marks, visit) if len(members) == len(tasks) else {}
        losses[members] = train(problem, start, feed, names, plan.marks, watch.tick, visits)
    return _measured(plan, losses, np.stack(tables))


def _measured(plan: Plan, losses: dict[tuple[int, ...], np.ndarray], tables: Float[np.ndarray, "Q T T"]) -> Measured:
    n, every = len(plan.tasks), tuple(range(len(plan.tasks)))
    unknown = np.full((len(plan.marks), 2), np.nan)
    pairs = [losses.get((int(i), int(j)), unknown) for i, j in plan.pairs]
    return Measured(
        steps=np.array(plan.marks, dtype=float),
        alone=np.concatenate([losses[(i,)] for i in range(n)], axis=1)[None],
        paired=np.stack(pairs, axis=1)[None],
        together=losses[every][None],
        lookahead=tables[None],
    )


def _joined(plan: Plan, found: list[Measured]) -> Measured:
    marks, n, p = len(plan.marks), len(plan.tasks), len(plan.pairs)
    steps = np.array(plan.marks, dtype=float)
    if not found:
        empty = (np.empty((0, *shape)) for shape in ((marks, n), (marks, p, 2), (marks, n), (0, n, n)))
        return Measured(steps, *empty)
    rest = (np.concatenate([getattr(one, f.name) for one in found]) for f in fields(Measured)[1:])
    return Measured(steps, *rest)


class _Watch:
    """Counts optimizer steps, reports progress, and ends the probe on request or when its time is up."""

    def __init__(self, plan: Plan, budget: float, progress: Progress, stop: Callable[[], bool]) -> None:
        self.budget, self.progress, self.stop = budget, progress, stop
        self.per_seed = plan.steps * len(plan.trajectories)
        self.total = self.per_seed * len(plan.seeds)
        self.begun = time.monotonic()
        self.number = self.done = 0

    def begin(self, number: int) -> None:
        """Before a seed: is there time for a whole one?"""
        self.number, self.done = number, number * self.per_seed
        used = time.monotonic() - self.begun
        if number >= 2 and used + used / number > self.budget:
            raise Stopped(f"the budget of {self.budget:g} s allowed {number} seeds")

    def tick(self, steps: int = 1) -> None:
        self.done += steps
        self.progress(self.done, self.total)
        if self.stop():
            raise Stopped("stopped on request")
        if time.monotonic() - self.begun > 2 * self.budget:
            raise Stopped(f"twice the budget of {self.budget:g} s was used up during seed {self.number + 1}")
