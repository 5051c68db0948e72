"""Learned margins over several trainings that differ in their seed alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from workbench.core.gramian import student95

KEYS = ["factor", "level", "step"]


def bands(found: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The mean offset of every level over the trainings.

    Args:
        found: One table a training, as :attr:`workbench.lenses.bias.margins.Margins.offsets`.

    Returns:
        factor, level, step, mean, low, high (95 % Student-t over trainings; NaN for one), n. Only the steps that all
        trainings logged.
    """
    columns = [*KEYS, "mean", "low", "high", "n"]
    if not found:
        return pd.DataFrame(columns=columns)
    whole = pd.concat([table.groupby(KEYS, sort=False)["value"].mean() for table in found], axis=1, join="inner")
    values = whole.to_numpy(dtype=float)  # [rows, trainings]
    n = values.shape[1]
    mean = values.mean(axis=1)
    half = student95(n - 1) * values.std(axis=1, ddof=1) / n**0.5 if n > 1 else np.full(len(values), np.nan)
    table = whole.index.to_frame(index=False).assign(mean=mean, low=mean - half, high=mean + half, n=n)
    return table[columns].sort_values("step", kind="stable", ignore_index=True)
