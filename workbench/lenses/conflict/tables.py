"""The numbers behind the figures of the conflict lens, for download."""

from __future__ import annotations

import numpy as np
import pandas as pd

from workbench.lenses.conflict.estimates import STATES
from workbench.lenses.conflict.statistics import Conflict


def tables(stats: Conflict) -> dict[str, pd.DataFrame]:
    """Pairs by module (pooled), pairs by window, modules, and gradient lengths."""
    if len(stats.tasks) < 2:
        return {"Gradient lengths": _lengths(stats)}
    return {
        "Pairs by module": _by_module(stats),
        "Pairs over training": _by_window(stats),
        "Modules": pd.DataFrame(
            {
                "module": stats.modules,
                "pairs with a called conflict": stats.called.sum(axis=1),
                "recon score, naive": stats.recon,
                "recon score, called": stats.recon_called,
            }
        ),
        "Gradient lengths": _lengths(stats),
    }


def _by_module(stats: Conflict) -> pd.DataFrame:
    module, pair = (index.ravel() for index in np.indices(stats.overall.value.shape))
    cell = (module, pair)
    frame = pd.DataFrame(
        {
            "module": np.asarray(stats.modules, dtype=object)[module],
            "task_a": np.asarray(stats.tasks, dtype=object)[stats.pairs[pair, 0]],
            "task_b": np.asarray(stats.tasks, dtype=object)[stats.pairs[pair, 1]],
            "cosine": stats.overall.value[cell],
            "low": stats.overall.low[cell],
            "high": stats.overall.high[cell],
            "state": np.asarray(STATES, dtype=object)[stats.overall.state[cell]],
            "p_adjusted": stats.p_adjusted[cell],
            "conflict_share": stats.share.conflicting[cell],
            "share_low": stats.share.low[cell],
            "share_high": stats.share.high[cell],
            f"{stats.share.unit}s": stats.share.n[cell],
            "naive_cosine": stats.naive_overall[cell],
            "magnitude_similarity": stats.similarity[cell],
        }
    )
    return frame.sort_values("p_adjusted", kind="stable", ignore_index=True)


def _by_window(stats: Conflict) -> pd.DataFrame:
    """All shared parameters together."""
    window, pair = (index.ravel() for index in np.indices(stats.window.value[:, -1].shape))
    found = stats.window[:, stats.total]
    cell = (window, pair)
    return pd.DataFrame(
        {
            "first_step": stats.windows[window, 0],
            "last_step": stats.windows[window, 1],
            "task_a": np.asarray(stats.tasks, dtype=object)[stats.pairs[pair, 0]],
            "task_b": np.asarray(stats.tasks, dtype=object)[stats.pairs[pair, 1]],
            "cosine": found.value[cell],
            "low": found.low[cell],
            "high": found.high[cell],
            "state": np.asarray(STATES, dtype=object)[found.state[cell]],
        }
    )


def _lengths(stats: Conflict) -> pd.DataFrame:
    """All shared parameters together; NaN where a task's signal is below its noise."""
    frame = pd.DataFrame(stats.norm[:, stats.total], columns=list(stats.tasks))
    frame.insert(0, "step", stats.steps)
    return frame
