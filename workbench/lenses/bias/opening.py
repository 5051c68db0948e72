"""When does the gap between two groups open? Read from their values at every recorded step, with intervals.

The levels are the best and the worst one of a factor at the step studied. The gap *opened* between step A and the next
recorded step B where

- from B on, at every recorded step up to the one studied, its 95 % interval lies above 0, and at A it does not;
- the gap at the step studied is surely larger than the gap at A. A is found by looking at all steps, so that this
  interval has the level 1 - 0.05 / S over S steps (Bonferroni), and both gaps count as independent, which is cautious:
  the same samples are right or wrong at both.

Otherwise nothing is said: where the gap is there from the first step on, or comes and goes, or too few samples tell.
The rule is our choice; intervals of differences are Newcombe's (1998).
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pandas as pd

from workbench.core.gramian import Z95
from workbench.lenses.bias.sample_metrics import Metric
from workbench.lenses.bias.uncertainty import difference_interval

COLUMNS = (
    "factor", "worst", "best", "before", "opened", "gap_before", "low_before", "high_before", "gap_opened",
    "low_opened", "high_opened", "step", "gap", "low", "high", "change", "change_low", "change_high",
)  # fmt: skip


def opening_table(history: pd.DataFrame, spread: pd.DataFrame, step: int, metric: Metric) -> pd.DataFrame:
    """One row a factor whose gap surely opened while the run was recorded.

    Args:
        history, spread: As in :class:`workbench.lenses.bias.statistics.Bias`.
        step: The step studied; later ones are not looked at.

    Returns:
        factor, worst, best; ``before`` and ``opened``, the steps A and B; the gap (>= 0 is towards harm) with its 95 %
        limits at A, at B and at ``step``; ``change`` of the gap from A to ``step`` with limits of level 1 - 0.05 / S.
    """
    rows = []
    known = history[history["step"] <= step]
    for row in spread.to_dict("records"):
        gaps = _gaps(known[known["factor"] == row["factor"]], row["worst"], row["best"], metric)
        found = opened(gaps)
        if found is not None:
            rows.append({"factor": row["factor"], "worst": row["worst"], "best": row["best"], "step": step} | found)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _gaps(levels: pd.DataFrame, worst: str, best: str, metric: Metric) -> pd.DataFrame:
    """step, gap, low, high: how much worse the worst level is, at the steps that have both levels."""
    both = levels[levels["level"] == worst].merge(levels[levels["level"] == best], on="step", suffixes=("", "_best"))
    both = both.sort_values("step", ignore_index=True)
    sides = [[both[f"{name}{end}"].to_numpy(dtype=float) for name in ("value", "low", "high")] for end in ("", "_best")]
    harmed, spared = reversed(sides) if metric.share else sides
    low, high = difference_interval(harmed[0], (harmed[1], harmed[2]), spared[0], (spared[1], spared[2]))
    frame = pd.DataFrame({"step": both["step"], "gap": harmed[0] - spared[0], "low": low, "high": high})
    return frame[np.isfinite(frame["low"]) & np.isfinite(frame["high"])].reset_index(drop=True)


def opened(gaps: pd.DataFrame) -> dict[str, float] | None:
    """Steps A and B with the gaps there; None where the gap did not surely open between two recorded steps.

    Args:
        gaps: step, gap, low and high, of rising steps.
    """
    open_at = (gaps["low"] > 0).to_numpy()
    if len(gaps) < 2 or not open_at[-1] or open_at.all():
        return None
    before = int(np.flatnonzero(~open_at)[-1])
    first, then, last = (gaps.iloc[at] for at in (before, before + 1, -1))
    wider = NormalDist().inv_cdf(1 - 0.025 / len(gaps)) / Z95
    change = float(last["gap"] - first["gap"])
    low = change - wider * float(np.hypot(last["gap"] - last["low"], first["high"] - first["gap"]))
    high = change + wider * float(np.hypot(last["high"] - last["gap"], first["gap"] - first["low"]))
    if low <= 0:
        return None
    at = {"before": int(first["step"]), "opened": int(then["step"])}
    values = {f"{name}_before": first[name] for name in ("gap", "low", "high")}
    values |= {f"{name}_opened": then[name] for name in ("gap", "low", "high")}
    values |= {name: last[name] for name in ("gap", "low", "high")}
    return at | values | {"change": change, "change_low": low, "change_high": high}
