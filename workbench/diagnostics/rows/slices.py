"""Cut the batch of every task into K disjoint mini-batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workbench.core import ConfigError
from workbench.diagnostics.rows.ranks import Ranks


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


def cut(
    losses: Mapping[str, Tensor],
    n_batches: int,
    weights: Mapping[str, Tensor] | None = None,
    ranks: Ranks | None = None,
) -> Slices:
    """Deal the samples to K mini-batches: sample i to mini-batch i mod K when every sample counts for every task.

    With weights, samples that count for the same tasks are dealt in turn, so that a task with few labelled samples has
    them spread over all mini-batches. Tasks with batches of one size are taken to see the same samples. The batch is
    that of all ``ranks`` together.

    Raises:
        ConfigError: losses that are not per-sample or have no graph, or fewer samples than mini-batches.
    """
    ranks = ranks or Ranks()
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
        return _one_batch(losses, ranks)
    return _deal(losses, given, n_batches, ranks)


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


def _one_batch(losses: Mapping[str, Tensor], ranks: Ranks) -> Slices:
    n_ranks = len(ranks.gather(None))
    zero = tuple(torch.zeros((), dtype=torch.long, device=loss.device) for loss in losses.values())
    share = tuple(torch.full_like(loss, 1 / n_ranks, requires_grad=False) for loss in losses.values())
    return Slices(tuple(losses), tuple(losses.values()), zero, share, np.zeros((len(losses), 1), dtype=np.int64))


def _deal(losses: Mapping[str, Tensor], weights: Mapping[str, Tensor], n_batches: int, ranks: Ranks) -> Slices:
    """Deal the samples of all processes, in the order of ranks, and keep this process's share."""
    everyone = ranks.gather({task: weight.double().cpu().numpy() for task, weight in weights.items()})
    whole = {task: np.concatenate([given[task] for given in everyone]) for task in losses}
    index, coefficients, samples = [], [], []
    for task, loss in losses.items():
        weight = whole[task]
        if len(weight) < n_batches:
            raise ConfigError(
                f"Task '{task}' has {len(weight)} samples, too few for {n_batches} mini-batches. "
                f"Use a larger batch, or n_batches={max(len(weight), 1)}."
            )
        together = np.stack([other > 0 for other in whole.values() if len(other) == len(weight)])
        dealt = np.where(weight > 0, dealt_in_turn(together, n_batches), -1)
        counted = dealt[dealt >= 0]
        total = np.bincount(counted, weight[dealt >= 0], minlength=n_batches)
        share = np.divide(weight, total[dealt], out=np.zeros_like(weight), where=dealt >= 0)
        begin = sum(len(given[task]) for given in everyone[: ranks.rank])
        own = slice(begin, begin + len(loss))
        index.append(torch.from_numpy(dealt[own]).to(loss.device))
        coefficients.append(torch.from_numpy(share[own]).to(loss.device, loss.dtype))
        samples.append(np.bincount(counted, minlength=n_batches))
    return Slices(tuple(losses), tuple(losses.values()), tuple(index), tuple(coefficients), np.stack(samples))


def dealt_in_turn(counted: np.ndarray, n_batches: int) -> np.ndarray:
    """The mini-batch [B] of each sample, from which tasks it counts for: ``counted`` [T, B]."""
    _, pattern = np.unique(counted, axis=1, return_inverse=True)
    dealt = np.empty(counted.shape[1], dtype=np.int64)
    dealt[np.argsort(pattern.ravel(), kind="stable")] = np.arange(counted.shape[1]) % n_batches
    return dealt
