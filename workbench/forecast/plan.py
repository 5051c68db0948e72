"""What a probe does: which trajectories, how long, how many mini-batches, so that it fits a budget.

From every seed the tasks are trained alone, in pairs, and all together, each for the same number of steps from the same
weights on the same batches. Seeds are few and whole: an interval over seeds needs at least two.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

#: Steps of a trajectory: at most so many, and the fewest that pairs are trained for. Below, lookahead stands in.
MAX_STEPS, MIN_STEPS = 200, 10
#: When held-out losses are taken, and when Gramians and lookahead, as shares of the trajectory.
MARKS = (0.0, 0.0625, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
GRADIENT_MARKS = (0.0, 0.125, 0.375, 1.0)
#: Mini-batches behind a Gramian, and the most batches that are drawn for them.
N_BATCHES, MAX_BATCHES = 8, 8
#: Batches held out for judging.
HELD_OUT = 4
#: Share of the budget that is planned for; the rest is for what was not foreseen.
PLANNED = 0.8


@dataclass(frozen=True)
class Plan:
    """What a probe does from every seed.

    Attributes:
        steps: Optimizer steps of each trajectory.
        paired: Whether pairs of tasks are trained together too; not when there is no time for :data:`MIN_STEPS` steps.
        batches: Batches behind a Gramian; more make the interval of a cosine narrower.
        n_batches: Mini-batches that their samples are cut into.
    """

    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    steps: int
    paired: bool
    batches: int
    n_batches: int

    @property
    def pairs(self) -> Int[np.ndarray, "P 2"]:
        """All pairs i < j of tasks."""
        return np.stack(np.triu_indices(len(self.tasks), 1), axis=1)

    @property
    def trajectories(self) -> list[tuple[int, ...]]:
        """The sets of tasks to train from every seed: all together, each alone, then the pairs."""
        n = len(self.tasks)
        pairs = [(int(i), int(j)) for i, j in self.pairs] if self.paired and n > 2 else []
        return [tuple(range(n)), *((i,) for i in range(n)), *pairs]

    @property
    def marks(self) -> tuple[int, ...]:
        """Steps at which held-out losses are taken."""
        return _steps(MARKS, self.steps)

    @property
    def gradient_marks(self) -> tuple[int, ...]:
        """Steps of the joint trajectory at which Gramians and lookahead are taken."""
        return _steps(GRADIENT_MARKS, self.steps)


@dataclass(frozen=True)
class Units:
    """Measured seconds of the pieces of a probe.

    Attributes:
        alone, together: One optimizer step with one task (mean over tasks), and with all of them.
        judging: Losses of all tasks on one held-out batch, without gradients.
        gradients: The Gramian of one batch. lookahead: Every task's step and what it does to all held-out losses.
        fetching: Drawing one batch.
    """

    alone: float
    together: float
    judging: float
    gradients: float
    lookahead: float
    fetching: float


def fitting(plan: Plan, units: Units, budget: float, max_steps: int) -> Plan:
    """The plan with as many steps as the budget allows, up to ``max_steps``; at least one.

    Pairs are given up before the trajectories get shorter than :data:`MIN_STEPS`.
    """
    for paired in (True, False):
        for steps in range(max_steps, 0, -1):
            found = replace(plan, steps=steps, paired=paired)
            if seconds(found, units) <= PLANNED * budget and (steps >= MIN_STEPS or steps == max_steps or not paired):
                return found
    return replace(plan, steps=1, paired=False)


def seconds(plan: Plan, units: Units) -> float:
    """How long a plan takes."""
    n_tasks = len(plan.tasks)
    more = (units.together - units.alone) / max(n_tasks - 1, 1)  # what each further task adds to a step
    one_seed = (plan.steps + HELD_OUT) * units.fetching
    for trajectory in plan.trajectories:
        share = len(trajectory) / n_tasks
        one_seed += plan.steps * (units.alone + (len(trajectory) - 1) * more)
        one_seed += len(plan.marks) * HELD_OUT * units.judging * share
    one_seed += len(plan.gradient_marks) * (plan.batches * (units.gradients + units.fetching) + units.lookahead)
    return len(plan.seeds) * one_seed


def batches_for(half_width: float, interval: float, n_points: int) -> int:
    """How many batches a Gramian needs so that a cosine pooled over ``n_points`` of them is known to ``interval``.

    ``half_width`` was measured with one batch; the noise of the inner products falls with the number of samples, that
    of their pooled mean with the number of points. NaN (a signal below its noise) asks for the most.
    """
    if not np.isfinite(half_width):
        return MAX_BATCHES
    wanted = (half_width / interval) ** 2 / n_points
    return int(np.clip(np.ceil(wanted), 1, MAX_BATCHES))


def _steps(shares: tuple[float, ...], steps: int) -> tuple[int, ...]:
    return tuple(sorted({round(share * steps) for share in shares}))
