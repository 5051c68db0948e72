"""What one plain step really does to every loss, beside what gradients foretell to first order.

    theta' = theta - lr · d,   d = grad of one task's mean loss, or of the sum of all, on one mini-batch

Every loss is measured before and after, on the mini-batch the step was taken on, and on held-out data or, without
those, on the other mini-batches. From this follow

    lookahead affinity   Z_ij = 1 - L_j(theta - lr g_i) / L_j(theta)                       Fifty et al. 2021, TAG
    generalisation ratio R = mean fall of the loss on other samples / on the step's own     Liu et al. 2020, GSNR
    curvature            H = d^T (grad L(theta) - grad L(theta')) / lr, L the sum           Yu et al. 2020, Definition 3
    first-order error    between -lr ⟨d, g_j⟩ and the true change of L_j

H is exactly d^T (∫ grad² L(theta - a lr d) da) d, a from 0 to 1, by the fundamental theorem of calculus; it costs one
gradient more and no Hessian. Sources: arXiv:2109.04617, 2001.07384, 2001.06782. Several mini-batches and held-out data,
so that no loss need be judged on the samples that chose the step, are our choice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from workbench.core import ConfigError
from workbench.diagnostics.untouched import untouched

#: Name of the direction that is the sum of all tasks' gradients, and the number of the held-out data as a mini-batch.
SUM, HELD_OUT = "", -1

Losses = Callable[..., Mapping[str, Tensor] | Tensor]


@dataclass(frozen=True)
class TrialSteps:
    """D directions (tasks, then ``SUM``) on K mini-batches, T tasks measured on L ≥ K sets: those, then held-out data.

    Attributes:
        batches: Numbers of the L sets; ``HELD_OUT`` for held-out data.
        samples: Of every set; the most of any task.
        before: Mean loss, nats or the task's own unit. after: the same after each step.
        slope: ⟨d, g_j⟩: the fall of the loss per unit of learning rate, to first order. NaN, like ``after``, on other
            mini-batches where held-out data are there to judge a step.
        slope_after: ⟨d, g_j⟩ with g_j at the new point, on the step's own mini-batch, for the direction ``SUM``.
    """

    tasks: tuple[str, ...]
    along: tuple[str, ...]
    batches: tuple[int, ...]
    lr: float
    samples: Int[np.ndarray, " L"]
    before: Float[np.ndarray, "T L"]
    after: Float[np.ndarray, "D K T L"]
    slope: Float[np.ndarray, "D K T L"]
    slope_after: Float[np.ndarray, "K T"]

    def table(self) -> dict[str, Any]:
        """Columns of the ``trial_steps`` table of the run format, without ``step`` and ``moved``."""
        measured = np.isfinite(self.slope).all(axis=(0, 2))  # [K, L]
        d, k, t, place = np.nonzero(np.broadcast_to(measured[None, :, None], self.after.shape))
        own = (place == k) & (np.asarray(self.along, dtype=object)[d] == SUM)
        numbers = np.asarray(self.batches)
        return {
            "along": np.asarray(self.along, dtype=object)[d],
            "batch_along": k,
            "task": np.asarray(self.tasks, dtype=object)[t],
            "batch": numbers[place],
            "samples": self.samples[place],
            "lr": self.lr,
            "before": self.before[t, place],
            "after": self.after[d, k, t, place],
            "slope": self.slope[d, k, t, place],
            "slope_after": np.where(own, self.slope_after[k, t], np.nan),
        }


def measure(
    model: nn.Module,
    losses: Losses,
    batches: Iterable[Sequence[Any]],
    *,
    lr: float,
    moved: Sequence[nn.Parameter] | None = None,
    held_out: Iterable[Sequence[Any]] = (),
    each_task: bool = True,
    training: bool = False,
) -> TrialSteps:
    """Take trial steps and undo them: parameters, buffers, modes and random numbers end as they were, to the last bit.

    Costs about 2·K·T backward passes and D·K forward passes of a mini-batch and of the held-out data (D·K² of a
    mini-batch without those), and memory for (L + 1)·T gradients of the moved parameters.

    Args:
        losses: ``losses(*batch)`` gives task -> loss of every sample [B] or a mean, or the one loss of a single task.
        batches: K mini-batches, each a tuple of what ``losses`` takes.
        lr: Length of the step in units of the gradient.
        moved: The parameters that the step changes; all of the model's by default.
        held_out: Data on which losses are measured only; together they are one set.
        each_task: Also step along every single task's gradient, not only along their sum.
        training: Run the model in training mode; batch statistics then move within the probe, and are restored.

    Raises:
        ConfigError: no batches, a learning rate that is not positive, or losses without a gradient.
    """
    if not lr > 0:
        raise ConfigError(f"A trial step needs a positive lr; got {lr}.")
    parameters = [p for p in (model.parameters() if moved is None else moved) if p.requires_grad]
    sets = [[tuple(batch)] for batch in batches]
    n_steps, rest = len(sets), [tuple(batch) for batch in held_out]
    if not n_steps or not parameters:
        raise ConfigError("Trial steps need at least one batch, and a parameter that requires a gradient.")
    sets += [rest] if rest else []
    with untouched(model, training=training), torch.enable_grad():
        points = [_gradients(losses, one, parameters) for one in sets]
        found = [_values(losses, one) for one in sets]
        samples, before = np.array([n for n, _ in found]), np.array([values for _, values in found]).T
        tasks = points[0].tasks
        steps = [_directions(point, each_task) for point in points[:n_steps]]
        shape = (len(steps[0]), n_steps, len(tasks), len(sets))
        after, slope, slope_after = np.full(shape, np.nan), np.full(shape, np.nan), np.empty((n_steps, len(tasks)))
        for k, directions in enumerate(steps):
            judges = [k, n_steps] if rest else list(range(n_steps))
            for d, direction in enumerate(directions):
                for place in judges:
                    slope[d, k, :, place] = [_dot(direction, g) for g in points[place].gradients]
                with _moved(parameters, direction, lr):
                    for place in judges:
                        after[d, k, :, place] = _values(losses, sets[place])[1]
                    if d == len(directions) - 1:
                        there = _gradients(losses, sets[k], parameters)
                        slope_after[k] = [_dot(direction, g) for g in there.gradients]
    along = (*tasks, SUM) if len(steps[0]) > 1 else (SUM,)
    numbers = (*range(n_steps), *([HELD_OUT] if rest else []))
    return TrialSteps(tasks, along, numbers, lr, samples, before, after, slope, slope_after)


Gradient = list[Tensor]


@dataclass(frozen=True, eq=False)
class _Point:
    """Gradients of every task's mean loss over one set, on the moved parameters."""

    tasks: tuple[str, ...]
    gradients: list[Gradient]


def _gradients(losses: Losses, batches: list[tuple[Any, ...]], parameters: list[nn.Parameter]) -> _Point:
    """Means over all samples of ``batches``, batch by batch."""
    counts = [_sizes(_named(losses(*batch))) for batch in batches] if len(batches) > 1 else [{}]
    total = {task: sum(count[task] for count in counts) for task in counts[0]}
    gradients: dict[str, Gradient] = {}
    for batch, count in zip(batches, counts, strict=True):
        found = _named(losses(*batch))
        for place, (task, loss) in enumerate(found.items()):
            share = count[task] / total[task] if total else 1.0
            last = place == len(found) - 1
            parts = _grad(loss.mean() * share, parameters, task, keep=not last)
            known = gradients.get(task)
            gradients[task] = parts if known is None else [a + b for a, b in zip(known, parts, strict=True)]
    return _Point(tuple(gradients), list(gradients.values()))


def _grad(loss: Tensor, parameters: list[nn.Parameter], task: str, keep: bool) -> Gradient:
    if not loss.requires_grad:
        raise ConfigError(f"The loss of '{task or 'the model'}' has no gradient. Compute it from the model's output.")
    found = torch.autograd.grad(loss, parameters, retain_graph=keep, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


def _values(losses: Losses, batches: list[tuple[Any, ...]]) -> tuple[int, list[float]]:
    """Samples, and mean losses summed in float64: a small step changes them in the last digits of float32."""
    total: dict[str, float] = {}
    n: dict[str, int] = {}
    with torch.no_grad():
        for batch in batches:
            for task, loss in _named(losses(*batch)).items():
                size = _sizes({task: loss})[task]
                total[task] = total.get(task, 0.0) + float(loss.double().mean()) * size
                n[task] = n.get(task, 0) + size
    return max(n.values()), [total[task] / n[task] for task in total]


def _named(found: Mapping[str, Tensor] | Tensor) -> Mapping[str, Tensor]:
    return found if isinstance(found, Mapping) else {"loss": found}


def _sizes(found: Mapping[str, Tensor]) -> dict[str, int]:
    return {task: len(loss) if loss.ndim else 1 for task, loss in found.items()}


def _directions(point: _Point, each_task: bool) -> list[Gradient]:
    whole = [torch.stack(parts).sum(dim=0) for parts in zip(*point.gradients, strict=True)]
    return [*point.gradients, whole] if each_task and len(point.tasks) > 1 else [whole]


def _dot(a: Gradient, b: Gradient) -> float:
    return float(sum(torch.sum(x.double() * y.double()) for x, y in zip(a, b, strict=True)))


@contextmanager
def _moved(parameters: list[nn.Parameter], direction: Gradient, lr: float) -> Iterator[None]:
    """Parameters hold other tensors meanwhile, so that graphs built on the real ones stay valid."""
    real = [parameter.data for parameter in parameters]
    try:
        for parameter, change in zip(parameters, direction, strict=True):
            parameter.data = parameter.data - lr * change
        yield
    finally:
        for parameter, data in zip(parameters, real, strict=True):
            parameter.data = data
