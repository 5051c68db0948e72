"""Cut the batch of every task into K disjoint mini-batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workbench.core import ConfigError


@dataclass(frozen=True, eq=False)
class Slices:
    """Which sample counts in which mini-batch, and with which weight.

    Attributes:
        losses: Per task the losses [B], or [] for a scalar.
        index: Per task the mini-batch [B] of each sample; -1 for samples that do not count.
        coefficients: Per task [B]: weight of the sample's loss in the mean of its mini-batch.
        samples: [T, K] number of samples that count; 0 where it is unknown because the loss was a scalar.
    """

    tasks: tuple[str, ...]
    losses: tuple[Tensor, ...]
    index: tuple[Tensor, ...]
    coefficients: tuple[Tensor, ...]
    samples: np.ndarray

    @property
    def n_batches(self) -> int:
        return self.samples.shape[1]

    @property
    def empty(self) -> np.ndarray:
        """[T, K] whether a mini-batch holds no sample of the task, so that its gradient does not exist."""
        scalar = np.array([loss.ndim == 0 for loss in self.losses])
        return (self.samples == 0) & ~scalar[:, None]

    def only(self, task: int, batch: int) -> Tensor:
        """Coefficients of one mini-batch alone, zero elsewhere."""
        return torch.where(self.index[task] == batch, self.coefficients[task], 0)


def cut(losses: Mapping[str, Tensor], n_batches: int, weights: Mapping[str, Tensor] | None = None) -> Slices:
    """Deal the samples to K mini-batches: sample i to mini-batch i mod K when every sample counts for every task.

    With weights, samples that count for the same tasks are dealt in turn, so that a task with few labelled samples has
    them spread over all mini-batches. Tasks with batches of one size are taken to see the same samples.

    Raises:
        ConfigError: losses that are not per-sample or have no graph, or fewer samples than mini-batches.
    """
    if n_batches < 1:
        raise ConfigError(f"n_batches must be at least 1; got {n_batches}.")
    if not losses:
        raise ConfigError("losses is empty. Give one loss per task, e.g. {'depth': loss_depth}.")
    for task, loss in losses.items():
        _check_loss(task, loss)
    scalars = [task for task, loss in losses.items() if loss.ndim == 0]
    if scalars and len(scalars) < len(losses):
        vectors = [task for task in losses if task not in scalars]
        raise ConfigError(
            f"The loss of '{scalars[0]}' is a scalar, that of '{vectors[0]}' has one value per sample. Give all tasks "
            "per-sample losses (reduction='none'), which allows intervals, or all scalars."
        )
    given = {task: _weight(task, loss, (weights or {}).get(task)) for task, loss in losses.items()}
    _refuse_unknown(weights, losses)
    if scalars:
        return _one_batch(losses)
    return _deal(losses, given, n_batches)


def _check_loss(task: str, loss: Tensor) -> None:
    if not isinstance(loss, Tensor) or not loss.is_floating_point():
        raise ConfigError(f"The loss of task '{task}' must be a floating-point tensor; got {type(loss).__name__}.")
    if loss.ndim > 1:
        raise ConfigError(
            f"The loss of task '{task}' has shape {tuple(loss.shape)}; expected one value per sample, [B]. "
            "Average the other axes first: loss.flatten(1).mean(1)."
        )
    if not loss.requires_grad:
        raise ConfigError(
            f"The loss of task '{task}' has no gradient graph. Compute it outside torch.no_grad() and do not detach it."
        )


def _weight(task: str, loss: Tensor, weight: Tensor | None) -> Tensor:
    if weight is None:
        return torch.ones(loss.shape, dtype=loss.dtype, device=loss.device)
    weight = torch.as_tensor(weight, device=loss.device).to(loss.dtype).detach()
    if weight.shape != loss.shape or not bool(torch.isfinite(weight).all()) or bool((weight < 0).any()):
        raise ConfigError(
            f"The weights of task '{task}' must be finite, not negative and of the loss's shape {tuple(loss.shape)}; "
            f"got shape {tuple(weight.shape)}."
        )
    return weight


def _refuse_unknown(weights: Mapping[str, Tensor] | None, losses: Mapping[str, Tensor]) -> None:
    unknown = [task for task in weights or {} if task not in losses]
    if unknown:
        raise ConfigError(f"weights names task '{unknown[0]}', which has no loss. Tasks: {', '.join(losses)}.")


def _one_batch(losses: Mapping[str, Tensor]) -> Slices:
    zero = tuple(torch.zeros((), dtype=torch.long, device=loss.device) for loss in losses.values())
    one = tuple(torch.ones((), dtype=loss.dtype, device=loss.device) for loss in losses.values())
    return Slices(tuple(losses), tuple(losses.values()), zero, one, np.zeros((len(losses), 1), dtype=np.int64))


def _deal(losses: Mapping[str, Tensor], weights: Mapping[str, Tensor], n_batches: int) -> Slices:
    for task, loss in losses.items():
        if len(loss) < n_batches:
            raise ConfigError(
                f"Task '{task}' has {len(loss)} samples, too few for {n_batches} mini-batches. "
                f"Use a larger batch, or n_batches={max(len(loss), 1)}."
            )
    counted = {task: (weight > 0).cpu().numpy() for task, weight in weights.items()}
    index, coefficients, samples = [], [], []
    for task, loss in losses.items():
        together = np.stack([mask for mask in counted.values() if len(mask) == len(loss)])
        dealt = np.where(counted[task], dealt_in_turn(together, n_batches), -1)
        count = np.bincount(dealt[dealt >= 0], minlength=n_batches)
        batch = torch.from_numpy(dealt).to(loss.device)
        total = torch.zeros(n_batches, dtype=loss.dtype, device=loss.device)
        total.index_add_(0, batch.clamp(min=0), weights[task])  # samples that do not count have weight 0
        index.append(batch)
        coefficients.append(weights[task] / total[batch.clamp(min=0)].where(batch >= 0, torch.ones_like(weights[task])))
        samples.append(count)
    return Slices(tuple(losses), tuple(losses.values()), tuple(index), tuple(coefficients), np.stack(samples))


def dealt_in_turn(counted: np.ndarray, n_batches: int) -> np.ndarray:
    """The mini-batch [B] of each sample, from which tasks it counts for: ``counted`` [T, B]."""
    _, pattern = np.unique(counted, axis=1, return_inverse=True)
    dealt = np.empty(counted.shape[1], dtype=np.int64)
    dealt[np.argsort(pattern.ravel(), kind="stable")] = np.arange(counted.shape[1]) % n_batches
    return dealt
