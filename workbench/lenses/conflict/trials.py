"""What recorded trial steps say: the error of first order, the curvature, and the true lookahead affinity.

A trial step moves the shared parameters along one task's gradient, or along the sum of all, by the learning rate lr,
and measures every loss before and after (``workbench.diagnostics.trial_steps``).

    error       sum |L' - L + lr ⟨d, g⟩| / sum |L' - L| over all trial steps and losses of a recorded step
    lost gain   lr H / (2 |d|²),  H = ⟨d, grad L(theta) - grad L(theta')⟩ / lr along the sum of gradients: the share of
                the gain foretold to first order that curvature takes away; 1 means that the step gains nothing
    affinity    Z_ij / lr, Z_ij = 1 - L_j(theta - lr g_i) / L_j(theta), on other samples than the step was taken on

Sources: Yu et al. 2020, Definition 3 (H; here along the multi-task gradient itself, where the fundamental theorem of
calculus makes it exact); Fifty et al. 2021 (Z). The lost gain and the error are our choice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from workbench.core import Run
from workbench.core.gramian import student95
from workbench.lenses.conflict.estimates import Estimate, states

#: Above this median error a replay is said to be rough.
ROUGH = 0.2


@dataclass(frozen=True)
class Trials:
    """S recorded steps with trial steps of the shared parameters; T tasks in the order of the lens.

    Attributes:
        lr: Median learning rate of the trial steps.
        error: Relative error of first order; NaN where no loss moved.
        lost_gain: Mean over mini-batches; NaN where it was not recorded. lost_low, lost_high: the smallest and the
            largest of them.
        affinity, first_order: Row the task whose gradient is followed, column the task whose loss is measured; mean
            over steps with Student's interval, relative change of the loss per unit of learning rate; None below three
            steps.
    """

    steps: Int[np.ndarray, " S"]
    lr: float
    error: Float[np.ndarray, " S"]
    lost_gain: Float[np.ndarray, " S"]
    lost_low: Float[np.ndarray, " S"]
    lost_high: Float[np.ndarray, " S"]
    affinity: Estimate | None
    first_order: Estimate | None

    @property
    def median_error(self) -> float:
        known = self.error[np.isfinite(self.error)]
        return float(np.median(known)) if len(known) else float("nan")


def read_trials(run: Run, tasks: tuple[str, ...]) -> Trials | None:
    """None where no trial steps of the shared parameters were recorded, or for other tasks."""
    if not run.has("trial_steps"):
        return None
    frame = run.query(
        "SELECT step, along, batch_along, task, batch, lr, before, after, slope, slope_after FROM trial_steps "
        "WHERE moved = 'shared' AND list_contains($tasks, task) AND isfinite(after) AND isfinite(slope) ORDER BY step",
        {"tasks": list(tasks)},
    )
    frame = frame[frame["along"].isin(["", *tasks])]
    if not len(frame):
        return None
    frame["change"] = frame["after"] - frame["before"]
    frame["missed"] = (frame["change"] + frame["lr"] * frame["slope"]).abs()
    by_step = frame.groupby("step", sort=True)
    moved = by_step["change"].agg(lambda change: change.abs().sum())
    error = by_step["missed"].sum() / moved.where(moved > 0)
    steps = error.index.to_numpy()
    lost = _lost_gain(frame).reindex(steps)
    other = frame[(frame["along"] != "") & (frame["batch"] != frame["batch_along"]) & (frame["before"] > 0)].copy()
    other["affinity"] = -other["change"] / (other["before"] * other["lr"])
    other["first_order"] = other["slope"] / other["before"]
    mean, smallest, largest = (lost[name].to_numpy(dtype=float) for name in ("mean", "min", "max"))
    return Trials(
        steps=steps.astype(np.int64),
        lr=float(frame["lr"].median()),
        error=error.to_numpy(dtype=float),
        lost_gain=mean,
        lost_low=smallest,
        lost_high=largest,
        affinity=_over_steps(other, "affinity", tasks),
        first_order=_over_steps(other, "first_order", tasks),
    )


def _lost_gain(frame: pd.DataFrame) -> pd.DataFrame:
    """lr H / (2 |d|²) = (slope - slope_after) / (2 slope), summed over tasks: mean, min and max over mini-batches."""
    own = frame[(frame["along"] == "") & (frame["batch"] == frame["batch_along"]) & np.isfinite(frame["slope_after"])]
    sums = own.groupby(["step", "batch"])[["slope", "slope_after"]].sum()
    share = (sums["slope"] - sums["slope_after"]) / (2 * sums["slope"].where(sums["slope"] > 0))
    return share.groupby("step").agg(["mean", "min", "max"])


def _over_steps(frame: pd.DataFrame, column: str, tasks: tuple[str, ...]) -> Estimate | None:
    mean = frame.groupby(["step", "along", "task"])[column].mean()
    steps = sorted(set(frame["step"]))
    if len(steps) < 3:
        return None
    index = pd.MultiIndex.from_product([steps, tasks, tasks])
    table = mean.reindex(index).to_numpy(dtype=float).reshape(len(steps), len(tasks), len(tasks))
    complete = np.isfinite(table).all(axis=(1, 2))
    n = int(complete.sum())
    if n < 3:
        return None
    value = table[complete].mean(axis=0)
    half = student95(n - 1) * table[complete].std(axis=0, ddof=1) / np.sqrt(n)
    low, high = value - half, value + half
    return Estimate(value, low, high, states(value, low, high, np.zeros(value.shape, dtype=bool)))
