"""What the bias lens says: the joint factor, the worst group, or why neither can be named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from workbench.lenses.base import Level, Verdict
from workbench.lenses.bias.statistics import Bias
from workbench.lenses.bias.uncertainty import difference_interval
from workbench.lenses.bias.words import difference_range, difference_text, points, points_range, range_text, value_text
from workbench.lenses.words import count, percent, percent_range

#: A difference whose whole interval lies beyond this (accuracy) is a problem, a smaller sure one to watch. Our choice.
PROBLEM_POINTS = 0.10
#: The same for losses, as a share of the overall loss. Our choice.
PROBLEM_SHARE = 0.25
#: A sure difference below this is not worth acting on. Our choice.
SMALL_POINTS, SMALL_SHARE = 0.02, 0.05
#: False discovery rate of what a verdict names.
RATE = 0.05


def verdicts(stats: Bias) -> list[Verdict]:
    """Joint factor, worst group and factor with the widest gap, as far as they stand up to the correction."""
    if not stats.factors:
        return [_without_factors(stats)]
    if not stats.groups["tested"].any():
        return [_too_few(stats)]
    found = [
        verdict
        for verdict in (_joint(stats), _worst(stats), _by_class(stats), _widest(stats), _opened(stats))
        if verdict is not None
    ]
    order = ("problem", "watch", "cannot tell", "fine")
    return sorted(found, key=lambda verdict: order.index(verdict.level)) or [_nothing(stats)]


def harmed(stats: Bias, frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """Rows whose difference is towards harm and sure after correction, the surest harm first."""
    rows = frame[(frame["q"] <= RATE) & (stats.harm_sign * frame[column] > 0)]
    bound = f"{column}_high" if stats.share else f"{column}_low"
    # Of groups that hold the same samples the one of fewer factors comes first.
    return rows.assign(n_factors=rows["group"].str.count(" · ")).sort_values(
        [bound, "n_factors"], ascending=[stats.share, True]
    )


def _level(stats: Bias, row: pd.Series, column: str) -> Level:
    nearest = min(abs(row[f"{column}_low"]), abs(row[f"{column}_high"]))
    unit = 1.0 if stats.share else max(stats.overall, 1e-12)
    problem, small = (PROBLEM_POINTS, SMALL_POINTS) if stats.share else (PROBLEM_SHARE, SMALL_SHARE)
    if row[f"{column}_low"] * row[f"{column}_high"] > 0 and nearest > problem * unit:
        return "problem"
    return "watch" if abs(row[column]) > small * unit else "fine"


def _what(stats: Bias, row: pd.Series) -> str:
    """ "Samples with blur = strong are predicted right in 41 % of cases (task digit, 95 % interval …, 380 samples)"."""
    parts = [
        f"{row[f'factor_{i}']} = {row[f'level_{i}']}"
        for i in (1, 2, 3)
        if f"factor_{i}" in row and isinstance(row[f"factor_{i}"], str)
    ]
    value = value_text(row["value"], stats.share)
    says = stats.measured.says.format(value)
    limits = range_text(row["low"], row["high"], stats.share)
    return (
        f"Samples with {' and '.join(parts)} {says} "
        f"(task {stats.task}, 95 % interval {limits}, {count(row['n'])} samples)"
    )


def _side(stats: Bias) -> str:
    return "below" if stats.share else "above"


def _joint(stats: Bias) -> Verdict | None:
    """The pair of levels that costs most surely more than the sum of its parts."""
    if not len(stats.interactions):
        return None
    rows = harmed(stats, stats.interactions, "extra")
    rows = rows[rows["lowest"].astype(bool)]
    if not len(rows):
        return None
    row = rows.iloc[0]
    sentence = (
        f"{_what(stats, row)}, {difference_text(row['extra'], stats.share)} {_side(stats)} what {row['factor_1']} "
        f"and {row['factor_2']} cost alone "
        f"(95 % interval {difference_range(row['extra_low'], row['extra_high'], stats.share)})."
    )
    return Verdict(
        _level(stats, row, "extra"),
        sentence,
        next_step=f"Add training samples that have both ({row['group']}), or augment the two factors together.",
        value=float(row["value"]),
        low=float(row["low"]),
        high=float(row["high"]),
        options=_options(stats, view="interaction", row=row["factor_1"], column=row["factor_2"]),
    )


def _worst(stats: Bias) -> Verdict | None:
    """The group of one or two factors that is most surely worse than the rest."""
    rows = harmed(stats, stats.groups[stats.groups["order"] <= 2], "gap")
    if not len(rows):
        return None
    row = rows.iloc[0]
    sentence = (
        f"{_what(stats, row)}, {difference_text(row['gap'], stats.share)} {_side(stats)} all other samples "
        f"(95 % interval {difference_range(row['gap_low'], row['gap_high'], stats.share)}); "
        f"{len(rows)} of {count(stats.n_tests)} tests find such a group after correction for their number."
    )
    return Verdict(
        _level(stats, row, "gap"),
        sentence,
        next_step=f"Look at samples of the group ({row['group']}) and at how many of them the training data hold. "
        "Whether other groups are pulled against it while training: record one loss for each group, "
        "rec.task_gradients(step, by_group(losses, groups), shared=model), and open the conflict lens.",
        value=float(row["value"]),
        low=float(row["low"]),
        high=float(row["high"]),
        options=_options(stats, view="groups", order=str(row["order"])),
    )


def _by_class(stats: Bias) -> Verdict | None:
    """The label or region whose IoU differs most surely between two levels; nothing where one class is studied."""
    if not stats.classes or stats.label is not None:
        return None
    rows = stats.by_class[(stats.by_class["measure"] == "iou") & (stats.by_class["q"] <= RATE)]
    ends = [_ends(levels) for _, levels in rows.groupby(["factor", "class"], sort=False)]
    if not ends:
        return None
    worst, best, low, high = max(ends, key=lambda end: end[2])
    gap = float(best["value"] - worst["value"])
    sides = (
        f"{percent(row['value'])} (95 % interval {percent_range(row['low'], row['high'])}) where {row['factor']} = "
        f"{row['level']}"
        for row in (worst, best)
    )
    return Verdict(
        "problem" if low > PROBLEM_POINTS else "watch" if gap > SMALL_POINTS else "fine",
        f"'{worst['class']}' has an IoU of {' and of '.join(sides)}: {points(gap)} apart (95 % interval "
        f"{points_range(low, high)}); {len(ends)} of {len(stats.classes) * len(stats.factors)} pairs of a class and a "
        "factor differ so after correction for their number.",
        next_step=f"See in the rates whether '{worst['class']}' is missed or invented there, and look at such samples.",
        value=gap,
        low=low,
        high=high,
        options=_options(stats, view="classes", factor=worst["factor"]),
    )


def _ends(levels: pd.DataFrame) -> tuple[pd.Series, pd.Series, float, float]:
    """The worst and the best level of a class, and the limits of their difference (Newcombe 1998)."""
    ordered = levels.sort_values("value", kind="stable")
    worst, best = ordered.iloc[0], ordered.iloc[-1]
    sides = [[np.array([row[name]], dtype=float) for name in ("value", "low", "high")] for row in (best, worst)]
    (a, *limits_a), (b, *limits_b) = sides
    low, high = difference_interval(a, (limits_a[0], limits_a[1]), b, (limits_b[0], limits_b[1]))
    return worst, best, float(low[0]), float(high[0])


def _widest(stats: Bias) -> Verdict | None:
    """The factor whose best and worst level lie further apart than chance explains."""
    rows = _beyond_chance(stats)
    if not len(rows):
        return None
    row = rows.iloc[0]
    gap = difference_text(row["gap"], stats.share)
    unit = 1.0 if stats.share else max(stats.overall, 1e-12)
    problem, small = (PROBLEM_POINTS, SMALL_POINTS) if stats.share else (PROBLEM_SHARE, SMALL_SHARE)
    beyond = row["gap"] - row["null_95"]
    level: Level = "problem" if beyond > problem * unit else "watch" if row["gap"] > small * unit else "fine"
    of_what = "" if stats.metric == "accuracy" else f" in {stats.measured.title}"
    sentence = (
        f"{row['factor']} opens a gap of {gap}{of_what} between its levels: {row['best']} "
        f"{value_text(row['best_value'], stats.share)}, {row['worst']} "
        f"{value_text(row['worst_value'], stats.share)}; with {row['groups']} groups of these sizes chance alone "
        f"stays below {difference_text(row['null_95'], stats.share)} in 95 % of cases."
    )
    return Verdict(
        level,
        sentence,
        next_step="Compare with a run that balances or augments this factor.",
        value=float(row["gap"]),
        options=_options(stats, view="training", factor=row["factor"]),
    )


def _beyond_chance(stats: Bias) -> pd.DataFrame:
    """Factors whose gap is more than chance makes of it, the widest first."""
    return stats.spread[(stats.spread["q"] <= RATE) & (stats.spread["gap"] > stats.spread["null_95"])]


def _opened(stats: Bias) -> Verdict | None:
    """When the widest gap that surely opened while the run was recorded did so; nothing where that is uncertain."""
    rows = stats.openings.set_index("factor")
    names = [factor for factor in _beyond_chance(stats)["factor"] if factor in rows.index]
    if not names:
        return None
    row = rows.loc[names[0]]
    unit = 1.0 if stats.share else max(stats.overall, 1e-12)
    sides = {
        end: f"{_signed(row[f'gap{end}'], stats)} (95 % interval {_limits(row[f'low{end}'], row[f'high{end}'], stats)})"
        for end in ("_before", "_opened", "")
    }
    later = "" if row["opened"] == row["step"] else f", and is {sides['']} at step {row['step']}"
    return Verdict(
        "watch" if row["gap"] > (SMALL_POINTS if stats.share else SMALL_SHARE) * unit else "fine",
        f"The gap between {names[0]} = {row['worst']} and {names[0]} = {row['best']} opened between the recorded steps "
        f"{row['before']} and {row['opened']}: it was {sides['_before']} and became {sides['_opened']}{later}.",
        next_step=f"Look at what changed between steps {row['before']} and {row['opened']}: learning rate, mix of the "
        "data, or the first samples learned by heart.",
        value=float(row["opened"]),
        low=float(row["before"]),
        high=float(row["opened"]),
        options=_options(stats, view="training", factor=names[0]),
    )


def _signed(gap: float, stats: Bias) -> str:
    """A gap that may point the other way."""
    return f"{'−' if gap < 0 else ''}{difference_text(gap, stats.share)}"


def _limits(low: float, high: float, stats: Bias) -> str:
    """The interval of such a gap, with its signs."""
    scale, unit = (100, " points") if stats.share else (1, "")
    ends = [f"{end:.0f}" if abs(end) >= 9.95 else f"{end:.2g}" for end in (scale * low, scale * high)]
    return f"{' to '.join(ends)}{unit}".replace("-", "−")


def _nothing(stats: Bias) -> Verdict:
    """No difference stands: fine when one of some size would have been seen, else undecided."""
    names = ", ".join(factor.name for factor in stats.factors)
    if not len(stats.spread):
        return _too_few(stats)
    row = stats.spread.iloc[0]
    unit = 1.0 if stats.share else max(stats.overall, 1e-12)
    limit = (PROBLEM_POINTS if stats.share else PROBLEM_SHARE) * unit
    gap, chance = (difference_text(row[name], stats.share) for name in ("gap", "null_95"))
    blind = float(stats.spread["null_95"].max())
    widest = (
        f"The widest gap, between levels of {row['factor']}, is {gap}; chance alone reaches {chance} in 5 % of cases."
    )
    if blind > limit:
        size = points(blind) if stats.share else f"{blind:.2g}"
        return Verdict(
            "cannot tell",
            f"No group of {names} differs surely from the rest, but with {count(stats.n)} samples gaps below {size} "
            f"cannot be told from chance. {widest}",
            next_step="Record predictions of more samples, or choose fewer factors.",
            options=_options(stats, view="factors"),
        )
    return Verdict(
        "fine",
        f"No group of {names} is treated differently beyond chance in task {stats.task} ({count(stats.n_tests)} tests "
        f"on {count(stats.n)} samples). {widest}",
        next_step="Add further attributes if you suspect other factors.",
        value=float(row["gap"]),
        options=_options(stats, view="factors"),
    )


def _without_factors(stats: Bias) -> Verdict:
    reasons = " ".join(stats.notes)
    return Verdict(
        "cannot tell",
        f"The samples of task {stats.task} carry no attribute that splits them into groups. {reasons}".strip(),
        next_step='Record attributes: rec.samples({"sample": ids, "target_…": y, "colour": colours, "blur": blur}).',
    )


def _too_few(stats: Bias) -> Verdict:
    return Verdict(
        "cannot tell",
        f"No group reaches {stats.min_support} samples ({count(stats.n)} in all), too few to compare groups.",
        next_step="Record predictions of more samples.",
    )


def _options(stats: Bias, **more: Any) -> dict[str, str]:
    return {"task": stats.task, "step": str(stats.step)} | {key: str(value) for key, value in more.items()}
