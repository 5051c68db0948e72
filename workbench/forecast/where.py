"""In which shared module do two tasks pull apart, at the start and on the way? From the recorded Gramians of a probe.

At the start all seeds' first points are pooled, on the way all others; the cosines, their intervals and their pooling
are the conflict lens's. A conflict in a module is called when its one-sided test against "not below 0" survives the
false discovery rate of 5 % over all modules and pairs of that phase (Benjamini-Hochberg).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from workbench.core import Run
from workbench.core.gramian import unbiased
from workbench.core.schema import ALL_MODULES
from workbench.lenses.conflict.estimates import STATES, at_steps, pool, task_pairs
from workbench.lenses.intervals import benjamini_hochberg

START, WAY = "at the start", "on the way"
FALSE_DISCOVERY_RATE = 0.05
#: A module is named for a pair only where its cosine is at most this: weaker pulls are everywhere and cost nothing.
DEEP = -0.1
COLUMNS = (
    "phase", "module", "task_a", "task_b", "cosine", "low", "high", "state", "p_adjusted", "called", "share", "ratio",
)  # fmt: skip


def modules(run: Run, stride: int) -> pd.DataFrame:
    """One row a phase, module and pair of tasks.

    Columns: phase; module (the last one being all shared parameters together); task_a, task_b; cosine with low and high
    (95 %), state; p_adjusted; called; share (of the negative products of the pair's gradients over all modules);
    ratio (length of task_a's mean gradient over that of task_b's).
    """
    steps = run.gramian_steps()
    names, tasks, _n = axes = run.gramian_axes()
    phases = {START: [s for s in steps if s % stride == 0], WAY: [s for s in steps if s % stride]}
    frames = [
        _phase(phase, np.stack([gram.dot for gram in run.gramians(chosen, axes).values()]), names, tasks)
        for phase, chosen in phases.items()
        if chosen
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(COLUMNS))


def _phase(phase: str, dot: np.ndarray, names: tuple[str, ...], tasks: tuple[str, ...]) -> pd.DataFrame:
    pairs = task_pairs(len(tasks))
    dot = np.where(np.isfinite(dot), dot, np.nan)
    if len(names) > 1:
        dot, names = np.concatenate([dot, dot.sum(axis=1, keepdims=True)], axis=1), (*names, ALL_MODULES)
    _cosine, moments = at_steps(dot, pairs)
    found = pool(moments, pairs, dot.shape[-1])
    adjusted = benjamini_hochberg(found.p_value.ravel()).reshape(found.p_value.shape)
    every = unbiased(dot)  # [S, M, T, T]; NaN where a gradient is not finite
    known = np.isfinite(every)
    products = np.where(known, every, 0.0).sum(axis=0) / np.where(known.any(axis=0), known.sum(axis=0), np.nan)
    cross = np.minimum(products[:, pairs[:, 0], pairs[:, 1]], 0.0)  # [M, P]
    parts = cross[:-1] if len(names) > 1 else cross
    total = parts.sum(axis=0)
    share = cross / np.where(total < 0, total, np.nan)
    square = np.einsum("mii->mi", products)
    norm = np.sqrt(np.where(square > 0, square, np.nan))
    rows = []
    for m, module in enumerate(names):
        for p, (i, j) in enumerate(pairs):
            cosine = found.cosine[m, p]
            rows.append(
                (
                    phase, module, tasks[i], tasks[j], float(cosine.value), float(cosine.low), float(cosine.high),
                    STATES[int(cosine.state)], adjusted[m, p],
                    bool(adjusted[m, p] < FALSE_DISCOVERY_RATE and cosine.value < DEEP),
                    share[m, p], norm[m, i] / norm[m, j],
                )
            )  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def places(found: pd.DataFrame, task_a: str, task_b: str) -> pd.DataFrame:
    """The modules in which a pair's conflict is called, the largest share of the pull first; one row a module."""
    mine = found[(found["task_a"] == task_a) & (found["task_b"] == task_b) & found["called"]]
    mine = mine[mine["module"] != ALL_MODULES] if (mine["module"] != ALL_MODULES).any() else mine
    return mine.sort_values("share", ascending=False).drop_duplicates("module")


def rows(frame: pd.DataFrame) -> list[Any]:
    """The rows of a table as named tuples."""
    return list(frame.itertuples())
