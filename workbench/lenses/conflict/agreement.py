"""Do different measures of "who should train together" order the pairs of tasks alike?

Kendall's tau-b between every two measures over the pairs of tasks: 1 the same order, 0 unrelated, -1 reversed.
Without a relation |tau| exceeds 1.96 sqrt(2 (2 n + 5) / (9 n (n - 1))) in about 5 % of cases for n pairs (normal
approximation, rough below ten pairs). Source: Kendall 1938, 1945.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from workbench.core.gramian import Z95

#: Pairs of tasks that are compared at most; tau takes the square of their number.
MAX_PAIRS = 1000


@dataclass(frozen=True)
class Agreement:
    """Q measures. ``tau``: NaN with fewer than three pairs known to both, or without any order. ``n``: those pairs."""

    measures: tuple[str, ...]
    tau: Float[np.ndarray, "Q Q"]
    n: Int[np.ndarray, "Q Q"]

    @property
    def chance(self) -> Float[np.ndarray, "Q Q"]:
        """|tau| that unrelated measures exceed in about 5 % of cases; NaN where there is no tau."""
        n = np.where(self.n > 2, self.n, np.nan).astype(float)
        return Z95 * np.sqrt(2 * (2 * n + 5) / (9 * n * (n - 1)))


def agreement(measures: dict[str, Float[np.ndarray, " P"]]) -> Agreement | None:
    """From a number per pair of tasks, NaN where unknown. None with fewer than two measures or three pairs."""
    names = tuple(name for name, values in measures.items() if np.isfinite(values).sum() >= 3)
    if len(names) < 2:
        return None
    tau, n = np.full((len(names), len(names)), np.nan), np.zeros((len(names), len(names)), dtype=np.int64)
    for a, first in enumerate(names):
        for b, second in enumerate(names):
            known = np.flatnonzero(np.isfinite(measures[first]) & np.isfinite(measures[second]))[:MAX_PAIRS]
            n[a, b] = len(known)
            tau[a, b] = kendall(measures[first][known], measures[second][known])
    return Agreement(names, tau, n)


def kendall(x: Float[np.ndarray, " N"], y: Float[np.ndarray, " N"]) -> float:
    """tau-b: (concordant - discordant) / sqrt((pairs without a tie in x) (pairs without a tie in y))."""
    if len(x) < 3:
        return float("nan")
    i, j = np.triu_indices(len(x), 1)
    dx, dy = np.sign(x[i] - x[j]), np.sign(y[i] - y[j])
    scale = np.sqrt(np.square(dx).sum() * np.square(dy).sum())
    return float((dx * dy).sum() / scale) if scale > 0 else float("nan")
