"""How a teacher follows a learner of tasks, and what a setting trades between old tasks and new ones.

Read from scalars ``teacher/distance`` (‖θ − θ̄‖ / ‖θ‖, model and teacher) and ``loss/distillation`` (nats), and from an
array ``stability_sweep`` with ``values`` [V] of a setting and, for every scope of domains, ``old/<scope>`` and
``new/<scope>`` [V, R]: accuracies of R trainings with each value, in [0, 1]. The setting's name is the entry ``sweep``
of the configuration. Separate runs that differ in one option make the same table, see
:func:`workbench.lenses.domains.stream.sweep_of`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from workbench.core import Run
from workbench.core.gramian import student95

DISTANCE, DISTILLATION = "teacher/distance", "loss/distillation"
ARRAY = "stability_sweep"
OLD, NEW = "old", "new"


@dataclass(frozen=True)
class Sweep:
    """What a setting trades.

    Attributes:
        setting: Its name.
        points: One row a training and scope: setting (as text, in order), scope, repetition, old (accuracy on all tasks
            but the last, in the end), new (on each task, just after it was learned).
        paired: Whether trainings of one repetition share their data, so that what a repetition has in common is no
            doubt about the setting.
    """

    setting: str
    points: pd.DataFrame
    paired: bool = False

    @property
    def scopes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.points["scope"]))

    def means(self, scope: str) -> pd.DataFrame:
        """One row a value of the setting: old and new with old_half and new_half, n.

        The halves of 95 % Student-t intervals, NaN for one training. Of paired trainings without what a repetition has
        in common (Cousineau 2005), with Morey's correction for it (2008).
        """
        rows = self.points[self.points["scope"] == scope]
        n_values = rows["setting"].nunique()
        widen = 1.0
        if self.paired and n_values > 1:
            sides = [OLD, NEW]
            shared = rows.groupby("repetition")[sides].transform("mean") - rows[sides].mean()
            rows = rows.assign(**{side: rows[side] - shared[side] for side in sides})
            widen = (n_values / (n_values - 1)) ** 0.5
        return pd.DataFrame([_mean(str(value), part, widen) for value, part in rows.groupby("setting", sort=False)])


def teacher_of(run: Run) -> pd.DataFrame:
    """step, quantity (a tag above), value, in the order of training; empty where the run logged neither."""
    if not run.has("scalars"):
        return pd.DataFrame(columns=["step", "quantity", "value"])
    return run.query(
        "SELECT step, tag AS quantity, arg_max(value, wall_time) AS value FROM scalars "
        "WHERE list_contains($tags, tag) AND isfinite(value) GROUP BY step, tag ORDER BY quantity, step",
        {"tags": [DISTANCE, DISTILLATION]},
    )


def recorded_sweep(run: Run) -> Sweep | None:
    """The sweep that a run holds; None where it holds none, or one whose arrays do not fit."""
    steps = run.array_steps(ARRAY)
    if not steps:
        return None
    arrays = run.array(ARRAY, steps[-1])
    values = arrays.get("values", np.zeros(0))
    scopes = [name.removeprefix(f"{OLD}/") for name in sorted(arrays) if name.startswith(f"{OLD}/")]
    parts = [
        _points(values, arrays[f"{OLD}/{scope}"], arrays[f"{NEW}/{scope}"], scope)
        for scope in scopes
        if _fits(arrays.get(f"{NEW}/{scope}"), len(values)) and _fits(arrays[f"{OLD}/{scope}"], len(values))
    ]
    if not parts or len(values) < 2:
        return None
    return Sweep(str(run.info.config.get("sweep", "setting")), pd.concat(parts, ignore_index=True), paired=True)


def _fits(found: np.ndarray | None, n: int) -> bool:
    return found is not None and found.ndim == 2 and len(found) == n


def _points(
    values: Float[np.ndarray, " V"], old: Float[np.ndarray, "V R"], new: Float[np.ndarray, "V R"], scope: str
) -> pd.DataFrame:
    names = np.array([f"{value:g}" for value in values], dtype=object).repeat(old.shape[1])
    repetition = np.tile(np.arange(old.shape[1]), len(values))
    return pd.DataFrame(
        {"setting": names, "scope": scope, "repetition": repetition, OLD: old.ravel(), NEW: new.ravel()}
    )


def _mean(value: str, part: pd.DataFrame, widen: float) -> dict[str, object]:
    n = len(part)
    row: dict[str, object] = {"setting": value, "n": n}
    for side in (OLD, NEW):
        spread = float(part[side].std(ddof=1)) if n > 1 else np.nan
        half = widen * student95(n - 1) * spread / n**0.5 if n > 1 else np.nan
        row |= {side: float(part[side].mean()), f"{side}_half": half}
    return row
