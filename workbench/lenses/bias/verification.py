"""True accept rates at a fixed false accept rate, per group, for tasks that accept or reject pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from workbench.core import ConfigError
from workbench.core.verification import MIN_ACCEPTED, threshold_at
from workbench.lenses.intervals import wilson


def tar_at_far(
    scores: Float[np.ndarray, " N"],
    genuine: Bool[np.ndarray, " N"],
    groups: Sequence[str],
    far: float,
    least: int = MIN_ACCEPTED,
) -> pd.DataFrame:
    """One row a group: true and false accept rate at one threshold for all, and at the group's own threshold.

    The threshold for all comes from the impostors of all groups. What a group gains at its own threshold is a gap of
    calibration, what remains is a gap of representation. The own threshold is NaN where the group has too few
    impostors for the rate. Limits are Wilson's, at the given threshold. Rates at which fewer than ``least`` impostors
    would be accepted are refused.

    Raises:
        ConfigError: too few impostor scores for that rate.
    """
    names = np.asarray(groups, dtype=object)
    common = threshold_at(scores[~genuine], far, least)
    rows = []
    for name in dict.fromkeys(groups):
        real, false = scores[genuine & (names == name)], scores[~genuine & (names == name)]
        accepted, n = np.array([float((real > common).sum())]), np.array([float(len(real))])
        low, high = wilson(accepted, n)
        try:
            own = threshold_at(false, far, least)
        except ConfigError:
            own = np.nan
        rows.append(
            {
                "group": name,
                "genuine": len(real),
                "impostors": len(false),
                "tar": (real > common).mean() if len(real) else np.nan,
                "low": low[0],
                "high": high[0],
                "far": (false > common).mean() if len(false) else np.nan,
                "own_threshold": own,
                "own_tar": (real > own).mean() if len(real) and np.isfinite(own) else np.nan,
            }
        )
    return pd.DataFrame(rows).assign(threshold=common)
