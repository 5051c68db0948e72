"""Let any grouping of samples play the tasks: datasets, domains, the groups of an attribute, or classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor, as_tensor

from workbench.core import ConfigError


def by_group(losses: Tensor, groups: Tensor | np.ndarray | Sequence[Any], *, at_least: int = 4) -> dict[str, Tensor]:
    """One task's losses, parted by group, to be recorded as if every group were a task of its own:

        losses = cross_entropy(model(x), y, reduction="none")
        rec.task_gradients(step, by_group(losses, hair_colour), shared=model)

    The conflict lens then tells which group is pulled against which: where a worst group stays behind because a larger
    one pulls the shared parameters the other way, training longer does not help it.

    Args:
        losses: Loss of every sample, [B], with its graph; in nats for classification.
        groups: The group of every sample, [B]: text, numbers, or a tensor. ``[f"{a}/{b}" for a, b in zip(...)]`` makes
            joint groups.
        at_least: A group with fewer samples in the batch is left out of this record; pass the ``n_batches`` that
            ``task_gradients`` is given, 4 by default. Deal batches so that rare groups reach it.

    Returns:
        Group -> losses of its samples in their order, groups sorted by name.

    Raises:
        ConfigError: losses that are not [B], or not one group a sample.
    """
    names = [str(name) for name in (groups.tolist() if hasattr(groups, "tolist") else groups)]
    if losses.ndim != 1 or len(names) != len(losses):
        raise ConfigError(
            f"by_group needs the loss of every sample [B] and one group for each; got losses of shape "
            f"{tuple(losses.shape)} and {len(names)} groups. Use reduction='none'."
        )
    rows: dict[str, list[int]] = {name: [] for name in sorted(set(names))}
    for row, name in enumerate(names):
        rows[name].append(row)
    return {name: losses[as_tensor(at, device=losses.device)] for name, at in rows.items() if len(at) >= at_least}
