"""What samples that somebody chose mean to a lens of task gradients."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from workbench.lenses.makeup import shares_of
from workbench.lenses.words import listed, percent


def chosen_task(tasks: Sequence[str], found: pd.DataFrame) -> str | None:
    """The task that is a group holding more of the chosen samples than any other; None where tasks are no groups.

    Args:
        found: What the samples are (:func:`workbench.lenses.makeup.makeup`).
    """
    return next(iter(shares_of(found, tasks)), None)


def chosen_words(tasks: Sequence[str], found: pd.DataFrame) -> str:
    """What these figures tell about the chosen samples, and what to record to be told more."""
    groups = shares_of(found, tasks)
    if groups:
        said = [f"'{task}' holds {percent(share)} of them" for task, share in groups.items()]
        return f"Tasks of this run are groups of samples: {listed(said)}. Its pairs are offered first."
    return (
        "Gradients are recorded per task and batch, not per sample, so the figures below stay the same. To see whether "
        "these samples are pulled against the others, record them as tasks of their own: "
        "`rec.task_gradients(step, by_group(losses, groups), shared=model)`."
    )
