"""The forecast of one problem of the benchmark, as numbers that a file can hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from workbench.forecast import estimator
from workbench.forecast.cost import estimate
from workbench.forecast.diagnosis import forecast
from workbench.forecast.measured import Measured
from workbench.forecast.problem import Problem

#: Steps of a trajectory, and seeds. The trainings that are forecast have other seeds, and several times the steps.
STEPS, SEEDS = 120, 4
#: Seconds: so many that the number of steps decides, and not the speed of the machine.
BUDGET = 1e6
#: What a problem object is asked for.
PROTOCOL = ("tasks", "build_model", "shared", "batches", "losses", "optimizer", "validation", "evaluate", "name")


def as_problem(described: Any) -> Problem:
    """The problem whose functions are the methods of this object, e.g. of :mod:`workbench.demos.sharing.catalogue`."""
    return Problem(**{name: getattr(described, name) for name in PROTOCOL})


def predict(described: Any, steps: int = STEPS, seeds: int = SEEDS) -> dict[str, Any]:
    """Probe a problem and say what training all of its tasks together will cost.

    Args:
        described: An object with the functions of :class:`~workbench.forecast.Problem` as its methods.

    Returns:
        problem, tasks, steps, seconds; task_cost, task_low, task_high (lists by task); cost, low, high and call of the
        mean over tasks; ``by_steps``: [steps, cost] had the probe ended earlier.
    """
    problem = as_problem(described)
    cost = estimate(problem, budget=BUDGET, seeds=seeds, max_steps=steps)
    # What all tasks together cost needs no trajectories of the pairs among them.
    cost = replace(cost, plan=replace(cost.plan, paired=False))
    found = forecast(problem, budget=BUDGET, cost=cost, look_at_data=False)
    costs = estimator.together_cost(found.measured)  # [R, T]
    mean = costs.mean(axis=1, keepdims=True)
    tasks, whole = estimator.over_seeds(costs), estimator.over_seeds(mean)
    return {
        "problem": problem.name,
        "tasks": list(problem.tasks),
        "steps": int(found.settings["steps"]),
        "seeds": list(found.settings["seeds"]),
        "seconds": float(found.settings["seconds"]),
        "task_cost": tasks.value.tolist(),
        "task_low": tasks.low.tolist(),
        "task_high": tasks.high.tolist(),
        "cost": float(whole.value[0]),
        "low": float(whole.low[0]),
        "high": float(whole.high[0]),
        "call": estimator.calls(mean)[0],
        "by_steps": by_steps(found.measured),
    }


def by_steps(measured: Measured) -> list[tuple[int, float]]:
    """What the forecast would have been, had the trajectories ended at each of their marks after the start."""
    found = []
    for last in range(1, len(measured.steps)):
        shorter = replace(
            measured,
            steps=measured.steps[: last + 1],
            alone=measured.alone[:, : last + 1],
            paired=measured.paired[:, : last + 1],
            together=measured.together[:, : last + 1],
        )
        cost: Float[np.ndarray, "R T"] = estimator.together_cost(shorter)
        found.append((int(measured.steps[last]), float(cost.mean())))
    return found
