"""How do the tasks' gradients meet in each part of the shared network? The cross-Gramian of one step.

g_i^k is the gradient, on the shared parameters, of the mean loss of task i over mini-batch k; the K mini-batches are
disjoint slices of the batch at hand. The result holds <g_i^k, g_j^l> for every module and every two (task, mini-batch):
:class:`workbench.core.Gramian` makes unbiased inner products, cosines and intervals of it.

The samples of a slice must not influence the others' losses if intervals are to mean what they say. BatchNorm in
training mode breaks this slightly: the numbers are still the exact gradients of the slice means, but slices share the
batch statistics.

With several processes (``torchrun --nproc-per-node=3 train.py``, uneven batches allowed) every process calls
``measure(..., group=torch.distributed.group.WORLD)`` at the same steps, and one of them records the result.

Sources: Yu et al. 2020, arXiv:2001.06782 (task gradients on shared parameters). Slices of one batch as the mini-batches
of the U-statistic are our choice: they cost no more samples than the training step has.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from torch import Tensor

from workbench.core import ConfigError, Gramian
from workbench.diagnostics.rows import plain
from workbench.diagnostics.rows.engine import cross_products
from workbench.diagnostics.rows.fold import Fold
from workbench.diagnostics.rows.parts import Channels, Modules, Shared, channel_groups, parameters, resolve
from workbench.diagnostics.rows.ranks import Ranks
from workbench.diagnostics.rows.slices import cut

logger = logging.getLogger(__name__)

__all__ = ["Channels", "channel_groups", "measure", "measure_datasets", "resolve"]


def measure(
    losses: Mapping[str, Tensor],
    shared: Shared,
    *,
    n_batches: int = 4,
    modules: Modules | None = None,
    weights: Mapping[str, Tensor] | None = None,
    report: Callable[[dict[str, str]], None] | None = None,
    group: Any | None = None,
) -> Gramian:
    """Gramian of the losses at hand. Their graph is kept, so training can still call ``backward`` on them.

    Costs about T backward passes, whatever K is, and memory for one stage of the network: see
    :mod:`workbench.diagnostics.rows.engine`. Works on any graph that autograd has built: autocast, frozen parameters,
    shared weights and gradient checkpoints (``use_reentrant=False``) included. Parameters inside a compiled model are
    measured by T·K backward passes.

    Args:
        losses: Task -> loss of every sample [B] (reduction='none'), graph attached; in nats, or the task's own unit.
            In float32 or wider: a loss in half precision scales its gradients by a rounded 1/n, off by up to 0.4 %.
            Tasks may have batches of different sizes. With scalars nothing can be cut, so K = 1: there are no intervals
            and no unbiased products, and ``samples`` is 0 (unknown).
        shared: The network that the tasks share, or its parts: name -> module, parameters or :class:`Channels`.
        n_batches: K, the number of mini-batches that the batch is cut into. Sample i goes to mini-batch i mod K.
        modules: Names of submodules to tell apart, or group name -> names. By default every module that holds
            parameters itself. Frozen parameters are left out.
        weights: Task -> weight of every sample [B]; 0 where a sample has no label for the task. The samples are then
            dealt so that every task's labelled ones are spread evenly.
        report: Called with module -> reason for the modules that needed a backward pass for every (task, mini-batch)
            because some operation has no faster rule or mixes samples. Their numbers are as exact as the others'.
        group: A torch.distributed process group (``torch.distributed.group.WORLD``) whose processes hold different
            samples of one batch. Every process gets what one process would measure on all samples, in the order of
            ranks: the gradients of each parameter are summed over processes before they are multiplied, for Gramians
            measured apart lack the products between processes. Sizes may differ; with scalars the mean over processes
            is differentiated.

    Returns:
        Products in float64, zero for a task that does not reach a module. NaN for a task whose gradient is not finite,
        or whose mini-batch holds none of its samples.

    Raises:
        ConfigError: losses without a graph, of the wrong shape, or used after ``backward`` freed their graph; fewer
            samples than mini-batches; unknown or overlapping modules.
    """
    parts = resolve(shared, modules)
    ranks = Ranks(group)
    slices = cut(losses, n_batches, weights, ranks)
    with _remedies():
        dot, reasons = cross_products(slices, parts, ranks)
    for name, reason in reasons.items():
        logger.info("Module %s was measured by a backward pass for every task and mini-batch: %s.", name, reason)
    if report is not None:
        report(reasons)
    gramian = Gramian(tuple(part.name for part in parts), slices.tasks, dot, slices.samples)
    gramian.dot[:, slices.empty] = np.nan
    gramian.dot[:, :, :, slices.empty] = np.nan
    return gramian


def measure_datasets(
    losses: Mapping[str, Sequence[Tensor] | Callable[[int], Tensor]],
    shared: Shared,
    *,
    n_batches: int = 4,
    modules: Modules | None = None,
) -> Gramian:
    """Gramian of tasks that each have their own inputs, one loss per (task, mini-batch).

    Args:
        losses: Task -> K losses (scalars or [B]; the gradient of the mean is taken), or a function from the
            mini-batch's number 0..K-1 to such a loss, called once for each, so that only one graph is alive at a time.
            Mini-batches must be disjoint.
        n_batches: K for tasks given as functions.
    """
    parts = resolve(shared, modules)
    tasks = tuple(losses)
    wanted = parameters(parts)
    sizes = {n_batches if callable(given) else len(given) for given in losses.values()}
    if len(sizes) != 1 or 0 in sizes:
        raise ConfigError(f"Every task needs the same number of mini-batches, at least 1; got {sorted(sizes)}.")
    (size,) = sizes
    samples = np.zeros((len(tasks), size), dtype=np.int64)
    rows: list[Tensor | None] = [None] * len(wanted)
    for i, task in enumerate(tasks):
        for k in range(size):
            given = losses[task]
            one = cut({task: given(k) if callable(given) else given[k]}, 1)
            samples[i, k] = one.samples[0, 0]
            with _remedies():
                found = plain.rows(one, wanted)
            for p, row in enumerate(found):
                if row is None:
                    continue
                filled = rows[p]
                if filled is None:
                    rows[p] = filled = row.new_zeros((size, len(tasks), *row.shape[2:]))
                filled[k, i] = row[0, 0]
    fold = Fold(parts, len(tasks), size)
    for parameter, row in zip(wanted, rows, strict=True):
        if row is not None:
            fold.add(parameter, row)
    return Gramian(tuple(part.name for part in parts), tasks, fold.result(), samples)


@contextmanager
def _remedies() -> Iterator[None]:
    """Turn autograd's messages about a graph that is gone or out of date into what to do."""
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        if "second time" in text or "already been freed" in text:
            raise ConfigError(
                "The graph of the losses is gone: backward() was called before. Measure before backward()."
            ) from None
        if "modified by an inplace operation" in text:
            raise ConfigError(
                "Weights or activations changed since the losses were computed. Measure before optimizer.step()."
            ) from None
        if "donated buffers" in text:
            raise ConfigError(
                "A compiled model frees its graph after one backward pass. Compute the losses to measure with the "
                "uncompiled model (model._orig_mod), or set torch._functorch.config.donated_buffer = False."
            ) from None
        raise
