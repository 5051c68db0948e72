"""Do the datasets' losses pull the output of one label in opposite directions?"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from workbench.core import Run
from workbench.core.gramian import Gramian, cosines
from workbench.lenses.intervals import benjamini_hochberg

#: At most so many recorded steps are pooled, the last ones.
MAX_STEPS = 20
_COLUMNS = ["label", "dataset_a", "dataset_b", "shared", "cosine", "low", "high", "p", "q", "steps"]


def label_of(module: str) -> str | None:
    """The label whose classifier row a module is: what stands in brackets at the end of "head[lane marking]"."""
    found = re.search(r"\[([^\[\]]+)\]$", module)
    return found.group(1) if found else None


def row_conflicts(run: Run, spaces: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """One row a label and pair of datasets: cosine between the gradients of the two losses on the label's output.

    Needs ``task_gradients`` whose tasks are the datasets and whose modules end in ``[label]``. Steps after the first
    are pooled, each with its gradients scaled to length 1; the unbiased cosine and its jackknife limits over
    mini-batches are those of the run's Gramians. NaN where a side has no gradient above its noise, as when its loss is
    silent about the label. ``q`` is corrected over labels (Benjamini and Hochberg). Source: label-conflict bars of
    Kim et al. 2022, arXiv:2202.14030; pooling over steps is our choice.
    """
    if not run.has("task_gradients"):
        return pd.DataFrame(columns=_COLUMNS)
    modules, tasks, _ = run.gramian_axes()
    known = {label for labels in spaces.values() for label in labels}
    rows = {module: label for module in modules if (label := label_of(module)) in known}
    datasets = [task for task in tasks if task in spaces]
    if not rows or len(datasets) < 2:
        return pd.DataFrame(columns=_COLUMNS)
    steps = run.gramian_steps()
    chosen = (steps[1:] or steps)[-MAX_STEPS:]
    pooled = _pooled([gramian.select(list(rows)) for gramian in run.gramians(chosen).values()])
    found = cosines(pooled)
    table = []
    for at, label in enumerate(rows.values()):
        for a, b in combinations(datasets, 2):
            cell = (at, tasks.index(a), tasks.index(b))
            table.append(
                {
                    "label": label,
                    "dataset_a": a,
                    "dataset_b": b,
                    "shared": label in spaces[a] and label in spaces[b],
                    "cosine": found.value[cell],
                    "low": found.low[cell],
                    "high": found.high[cell],
                    "p": _student_p(found.value[cell], found.se[cell], pooled.shape[-1] - 1),
                    "steps": len(chosen),
                }
            )
    frame = pd.DataFrame(table)
    frame["q"] = benjamini_hochberg(frame["p"].to_numpy(dtype=float))
    return frame.sort_values("cosine", ignore_index=True)[_COLUMNS]


def _pooled(gramians: Sequence[Gramian]) -> np.ndarray:
    """Mean over steps of the cross-Gramians [M, T, K, T, K], every task's gradient scaled to its length at the step."""
    total = np.zeros(gramians[0].dot.shape)
    for gramian in gramians:
        square = np.einsum("mtt->mt", gramian.plug_in())
        length = np.sqrt(np.where(square > 0, square, 1.0))
        total += np.nan_to_num(gramian.dot / length[:, :, None, None, None] / length[:, None, None, :, None])
    return total / len(gramians)


def _student_p(value: float, se: float, freedom: int) -> float:
    """Two-sided p-value of value / se; NaN where either is unknown."""
    from scipy.special import stdtr

    if not np.isfinite(value) or not np.isfinite(se) or se <= 0 or freedom < 1:
        return float("nan")
    return float(2 * stdtr(freedom, -abs(value) / se))
