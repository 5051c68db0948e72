"""True accept rates at a fixed false accept rate, per group, for tasks that accept or reject pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from workbench.core import ConfigError
from workbench.lenses.intervals import wilson

#: A false accept rate is refused when so few impostors or fewer would be accepted.
MIN_ACCEPTED = 10


def threshold_at(impostors: Float[np.ndarray, " N"], far: float, least: int = MIN_ACCEPTED) -> float:
    """The smallest threshold τ, accepting scores above it, with a false accept rate of at most ``far``.

    Raises:
        ConfigError: too few impostor scores for that rate.
    """
    if not 0 < far < 1:
        raise ConfigError(f"The false accept rate must lie between 0 and 1; got {far}.")
    if len(impostors) * far < least - 1e-9:
        raise ConfigError(
            f"A false accept rate of {far:g} needs at least {int(np.ceil(least / far))} impostor scores; there are "
            f"{len(impostors)}. Choose a larger rate."
        )
    allowed = int(np.floor(far * len(impostors) + 1e-9))
    return float(np.sort(impostors)[len(impostors) - 1 - allowed])


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
