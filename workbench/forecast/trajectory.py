"""Short trainings from one start: with which tasks, and what became of the held-out losses on the way."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from workbench.forecast.feed import Feed, judged
from workbench.forecast.problem import Problem

#: Called after every optimizer step; raises to end the probe.
Tick = Callable[[], None]
#: Called with (step, model) at the marks, before the step is taken.
Visit = Callable[[int, nn.Module], None]
#: Share of its own loss by which a lookahead step lowers it, to first order.
STEP = 0.02


def advance(
    problem: Problem, model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any, tasks: Sequence[str]
) -> None:
    """One optimizer step on the sum of the tasks' mean losses."""
    losses = problem.task_losses(model, batch, tasks)
    optimizer.zero_grad(set_to_none=True)
    torch.stack([loss.mean() for loss in losses.values()]).sum().backward()
    optimizer.step()


def train(
    problem: Problem,
    start: nn.Module,
    feed: Feed,
    tasks: tuple[str, ...],
    marks: Sequence[int],
    tick: Tick,
    visits: Mapping[int, Visit] | None = None,
) -> Float[np.ndarray, "S T"]:
    """Held-out losses of the trained tasks at the marks (steps, the last one ends it). ``start`` is left as it is."""
    model = copy.deepcopy(start).train()
    optimizer = problem.make_optimizer(model)
    torch.manual_seed(feed.seed)  # the same dropout masks for every trajectory, as far as they draw alike
    found = []
    for step in range(marks[-1] + 1):
        if step in marks:
            found.append(judged(problem, model, feed.held_out, tasks))
        if visits and step in visits:
            visits[step](step, model)
        if step < marks[-1]:
            advance(problem, model, optimizer, feed.batch(step), tasks)
            tick()
    return np.stack(found)


def lookahead(
    problem: Problem, model: nn.Module, parts: dict[str, list[nn.Parameter]], batch: Any, held_out: Sequence[Any]
) -> tuple[Float[np.ndarray, "T T"], Float[np.ndarray, " T"]]:
    """What a plain gradient step on one task (row) does to every task's held-out loss (column), and those losses.

    Z_ij = (L_j(theta) - L_j(theta - eta g_i)) / |L_j(theta)| on the shared parameters, with eta such that the step
    lowers task i's own loss by :data:`STEP` of it to first order. NaN rows where a task's gradient is zero. The model
    is left as it was.

    Source: Fifty et al. 2021, arXiv:2109.04617 (Z). The choice of eta, which makes rows comparable whatever the scale
    of a loss, is ours.
    """
    tasks = tuple(problem.tasks)
    shared = [parameter for own in parts.values() for parameter in own]
    before = judged(problem, model, held_out, tasks)
    table = np.full((len(tasks), len(tasks)), np.nan)
    kept = [parameter.detach().clone() for parameter in shared]
    for i, task in enumerate(tasks):
        loss = problem.task_losses(model, batch, (task,))[task].mean()
        found = torch.autograd.grad(loss, shared, allow_unused=True)
        square = sum(float((g.double() ** 2).sum()) for g in found if g is not None)
        if not square > 0:
            continue
        eta = STEP * abs(float(loss.detach())) / square
        with torch.no_grad():
            for parameter, g in zip(shared, found, strict=True):
                if g is not None:
                    parameter.sub_(eta * g)
            with np.errstate(invalid="ignore", divide="ignore"):  # a loss that is no longer finite
                table[i] = (before - judged(problem, model, held_out, tasks)) / np.abs(before)
            for parameter, value in zip(shared, kept, strict=True):
                parameter.copy_(value)
    return table, before
