"""Accepting or rejecting pairs by a score: thresholds at a false accept rate, and rates at a threshold.

A genuine pair shows one identity twice, an impostor pair two identities. The false accept rate (FAR) is the share of
impostor pairs that are accepted, the true accept rate (TAR) the share of genuine pairs that are.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from workbench.core.errors import ConfigError

#: A false accept rate is refused when fewer impostors than this would be accepted.
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


def true_accept_rate(scores: Float[np.ndarray, " N"], genuine: Bool[np.ndarray, " N"], far: float) -> float:
    """TAR over all pairs at the threshold of their own impostors; NaN without genuine pairs.

    Raises:
        ConfigError: too few impostor scores for that rate.
    """
    real = scores[genuine]
    return float((real > threshold_at(scores[~genuine], far)).mean()) if len(real) else float("nan")


def rank_one(scores: Float[np.ndarray, "N M"], probes: Int[np.ndarray, " N"], gallery: Int[np.ndarray, " M"]) -> float:
    """Share of the N probes whose most similar gallery entry has their identity (ties: the first entry)."""
    return float((gallery[scores.argmax(axis=1)] == probes).mean())
