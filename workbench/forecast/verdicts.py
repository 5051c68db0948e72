"""What a forecast says in words. The limits below are our choice; the numbers are in every sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.core.schema import ALL_MODULES
from workbench.forecast.estimator import MARGIN
from workbench.forecast.where import places, rows
from workbench.lenses.base import Verdict
from workbench.lenses.words import listed, percent

if TYPE_CHECKING:
    from workbench.forecast.result import Forecast

#: A sure cost of at least this is a problem, below it is worth watching.
PROBLEM_COST = 0.1
#: One gradient this many times longer than another decides the shared step alone.
DOMINANCE = 10.0
#: Groups with a smaller share, or fewer samples among those looked at, are hard to learn and to judge.
RARE_SHARE, RARE_COUNT = 0.05, 30
#: Domains are apart when a simple classifier tells them this well (proxy A-distance, 0 to 2).
APART = 1.0
#: Sentences of one kind; the tables hold the rest.
MOST = 3
WINDOW = 0.1
NO_INTERVAL = "no interval from one seed"


def verdicts(found: Forecast) -> list[Verdict]:
    """Never empty."""
    said = [*_conflicts(found), *_diverged(found), *_dominance(found), *_undetermined(found), *_helpful(found)]
    if found.n_seeds > 1 and not (found.pairs["call"] == "conflict").any():
        said.append(_quiet(found))
    return [*said, *_networks(found), *_limits(found), *_labels(found), *_domains(found), *_attributes(found)]


def remedy(found: Forecast, task_a: str, task_b: str) -> str:
    """What fits the kind of conflict of a pair, in a sentence."""
    here = places(found.modules, task_a, task_b) if len(found.modules) else pd.DataFrame()
    names = [name for name in here["module"] if name != ALL_MODULES] if len(here) else []
    n_modules = found.modules["module"].nunique() - 1 if len(found.modules) else 0
    ratio = _ratio(found, task_a, task_b)
    if max(ratio, 1 / ratio) >= DOMINANCE:
        longer = task_a if ratio > 1 else task_b
        return (
            f"The gradient of {longer} is {max(ratio, 1 / ratio):.2g} times as long: weigh the losses or normalise the "
            "gradients first, then forecast again."
        )
    if names and len(names) <= max(1, n_modules // 2):
        return (
            f"They oppose each other in {listed(names, 3)} only: give each its own copy of that and share the rest; "
            "compare with a gradient aggregator, beside the plain sum of losses."
        )
    if names:
        return (
            f"They oppose each other in {len(names)} of {max(n_modules, 1)} modules: train them in separate networks, "
            "or check whether the targets contradict each other."
        )
    return (
        "Their gradients do not oppose each other, so gradient surgery will not help: the shared part is too narrow or "
        "the step too large for both. Widen it, or train them in separate networks."
    )


def _ratio(found: Forecast, task_a: str, task_b: str) -> float:
    """Length of a's gradient over b's on all shared parameters, the milder of both phases; 1 where unknown."""
    if not len(found.modules):
        return 1.0
    last = found.modules["module"].iloc[-1]
    mine = found.modules[(found.modules["task_a"] == task_a) & (found.modules["task_b"] == task_b)]
    ratios = np.log(mine.loc[mine["module"] == last, "ratio"].to_numpy(dtype=float))
    if not len(ratios) or not np.isfinite(ratios).all():
        return 1.0
    same_side = (ratios > 0).all() or (ratios < 0).all()
    return float(np.exp(ratios[np.argmin(np.abs(ratios))])) if same_side else 1.0


def _probe(found: Forecast) -> str:
    return f"{found.n_seeds} seed{'s' * (found.n_seeds != 1)}, {found.settings.get('steps')} steps"


def _cost(value: float, low: float, high: float, unit: str) -> str:
    limits = f"95 % interval {_points(low)} to {_points(high)} %" if np.isfinite([low, high]).all() else NO_INTERVAL
    return f"{_points(value)} % {unit} ({limits})"


def _points(share: float) -> str:
    """A signed share in percent, without its unit."""
    text = f"{100 * share:.0f}" if abs(share) >= 0.095 else f"{100 * share:.1f}"
    return text.replace("-", "−") if float(text) else "0"


def _conflicts(found: Forecast) -> list[Verdict]:
    mine = found.pairs[found.pairs["call"] == "conflict"].sort_values("low", ascending=False)
    said = []
    for row in rows(mine.head(MOST)):
        level: Any = "problem" if row.low > PROBLEM_COST else "watch"
        sentence = (
            f"Sharing the network will cost {row.task_a} and {row.task_b} "
            f"{_cost(row.cost, row.low, row.high, found.unit)} on average ({_probe(found)}){_where(found, row)}."
        )
        said.append(
            Verdict(level, sentence, remedy(found, row.task_a, row.task_b), row.cost, row.low, row.high, _option(row))
        )
    if len(mine) > MOST:
        others = [f"{row.task_a} – {row.task_b}" for row in rows(mine.iloc[MOST:])]
        said.append(Verdict("watch", f"{len(others)} more pairs will conflict: {listed(others, 6)}.", "See the table."))
    return said


def _where(found: Forecast, row: Any) -> str:
    if not row.where:
        return "; no single module's gradients oppose each other surely"
    here = places(found.modules, row.task_a, row.task_b).iloc[0]
    return (
        f"; they pull apart most in {here.module} (cosine {here.cosine:.2f}, 95 % interval {here.low:.2f} to "
        f"{here.high:.2f}, {here.phase})"
    ).replace("-", "−")


def _option(row: Any) -> dict[str, str]:
    return {"pair": f"{row.task_a} – {row.task_b}"}


def _helpful(found: Forecast) -> list[Verdict]:
    mine = found.pairs[found.pairs["call"] == "help"].sort_values("high")
    return [
        Verdict(
            "fine",
            f"{row.task_a} and {row.task_b} will help each other: sharing changes their lowest loss by "
            f"{_cost(row.cost, row.low, row.high, found.unit)} ({_probe(found)}).",
            "Train them together.", row.cost, row.low, row.high, _option(row),
        )
        for row in rows(mine.head(MOST))
    ]  # fmt: skip


def _undetermined(found: Forecast) -> list[Verdict]:
    mine = found.pairs[found.pairs["call"] == "undetermined"]
    if not len(mine):
        return []
    widest = mine.iloc[int(np.argmax((mine["high"] - mine["low"]).to_numpy()))]
    names = [f"{row.task_a} – {row.task_b}" for row in rows(mine)]
    some = f"{len(mine)} of {len(found.pairs)} pairs are" if len(found.pairs) > 1 else "The pair is"
    width = f"the widest interval is {_points(widest.low)} to {_points(widest.high)} % {found.unit}"
    return [
        Verdict(
            "cannot tell",
            f"{some} undetermined ({listed(names, 4)}); {width if found.n_seeds > 1 else NO_INTERVAL} "
            f"({_probe(found)}).",
            _settle(found, mine),
            options=_option(widest),
        )
    ]


def _settle(found: Forecast, mine: pd.DataFrame) -> str:
    """How many seeds, how long, and which batch size would settle it."""
    if found.n_seeds < 2:
        return "One seed has no interval. Give a larger budget."
    needed = int(mine["seeds_needed"].max())
    seconds = float(found.settings.get("seconds", np.nan)) / found.n_seeds * needed
    name = str(found.settings.get("source") or "") or "PROBLEM.py"
    if needed >= 999:
        return "The costs lie on the border of what matters: take longer trajectories (--steps) instead of more seeds."
    return (
        f"About {needed} seeds would settle it, {seconds / 60:.1g} min: "
        f"`workbench diagnose {name} --seeds {needed} --budget {np.ceil(1.3 * seconds):.0f}`"
    )


def _quiet(found: Forecast) -> Verdict:
    pairs = found.pairs
    worst = pairs.iloc[int(np.argmax(np.nan_to_num(pairs["high"].to_numpy(), nan=np.inf)))]
    settled = (pairs["call"] != "undetermined").all()
    what = "The pair is" if len(pairs) == 1 else f"None of {len(pairs)} pairs of tasks is"
    negation = " not" if len(pairs) == 1 else ""
    sentence = (
        f"{what}{negation} expected to conflict: the highest upper limit of a cost is {_points(worst.high)} % "
        f"{found.unit}, {worst.task_a} with {worst.task_b} ({_probe(found)})."
    )
    hint = "Train together; compare with each task alone once, on the real length of training."
    return Verdict("fine" if settled else "cannot tell", sentence, hint, worst.cost, worst.low, worst.high)


def _networks(found: Forecast) -> list[Verdict]:
    if len(found.tasks) < 3:
        return []
    best, one = found.grouping(), found.grouping(1)
    worst = found.together.iloc[int(np.argmax(np.nan_to_num(found.together["cost"].to_numpy(), nan=-np.inf)))]
    alike = (
        f"In one network for all, {worst.task} pays most: {_cost(worst.cost, worst.low, worst.high, found.unit)}, "
        "measured."
    )
    if len(best.groups) == 1:
        return [Verdict("fine", f"All {len(found.tasks)} tasks can share one network. {alike}", value=best.cost)]
    names = "; ".join(listed([found.tasks[i] for i in group], 8) for group in best.groups)
    gain = f"predicted mean cost {_points(best.cost)} % against {_points(one.cost)} % in one network"
    return [
        Verdict(
            "watch" if one.cost - best.cost > MARGIN else "fine",
            f"Cheapest in {len(best.groups)} networks: {names} ({gain}, {found.unit}). {alike}",
            "Train so, if the further networks are affordable at inference.",
            best.cost,
        )
    ]


def _dominance(found: Forecast) -> list[Verdict]:
    pairs = [(row, _ratio(found, row.task_a, row.task_b)) for row in rows(found.pairs)]
    row, ratio = max(pairs, key=lambda item: abs(np.log(item[1])))
    times = max(ratio, 1 / ratio)
    if times < DOMINANCE:
        return []
    longer, shorter = (row.task_a, row.task_b) if ratio > 1 else (row.task_b, row.task_a)
    return [
        Verdict(
            "watch",
            f"The gradient of {longer} is at least {times:.2g} times as long as that of {shorter} on the shared "
            "parameters, at the start and on the way.",
            f"Check the unit of {longer}'s loss, and weigh the losses before training.",
            times,
            options=_option(row),
        )
    ]  # fmt: skip


def _diverged(found: Forecast) -> list[Verdict]:
    broken = ~np.isfinite(found.measured.alone).all(axis=(0, 1))
    names = [task for task, bad in zip(found.tasks, broken, strict=True) if bad]
    if not names:
        return []
    return [
        Verdict(
            "problem",
            f"The loss of {listed(names)} stopped being finite within {found.settings.get('steps')} steps, alone.",
            "Lower the learning rate or check the loss before anything else.",
        )
    ]


def _limits(found: Forecast) -> list[Verdict]:
    """How narrow cosines are known, and which batch would make one step enough."""
    half, batch = (float(found.settings.get(key) or np.nan) for key in ("half_width", "batch_samples"))
    ended = str(found.settings.get("ended") or "")
    said = [Verdict("cannot tell", f"The probe ended early: {ended}.", "Give a larger budget.")] if ended else []
    if np.isfinite(half) and half > WINDOW and batch > 1:
        wanted = int(np.ceil(batch * (half / WINDOW) ** 2))
        said.append(
            Verdict(
                "fine",
                f"One batch of {batch:.0f} samples tells a gradient cosine to ±{half:.2f} (95 %); the forecast pools "
                "batches and steps instead.",
                f"To see the cosine of a single step to ±{WINDOW:g} in training, measure on about {wanted:,} samples.",
                half,
            )
        )
    return said


def _labels(found: Forecast) -> list[Verdict]:
    mine = found.labels[found.labels["kind"] == "contradicts"] if len(found.labels) else found.labels
    if not len(mine):
        return []
    names = [f"{row.label_a} ({row.dataset_a})" for row in rows(mine)]
    first = mine.iloc[0]
    return [
        Verdict(
            "watch",
            f"{len(mine)} labels have no counterpart in another dataset's list, which has a class for everything else: "
            f"{listed(names, 4)}. A shared output would be taught both ways, e.g. {first.label_a} in {first.dataset_a} "
            f"against {first.label_b} in {first.dataset_b}.",
            "Mask those outputs on the other dataset's samples, or give each dataset its own head.",
            float(len(mine)),
        )
    ]


def _domains(found: Forecast) -> list[Verdict]:
    mine = found.domains[found.domains["measure"] == "pad"] if len(found.domains) else found.domains
    if not len(mine):
        return []
    row = mine.iloc[int(np.argmax(mine["value"].to_numpy()))]
    apart = row.value > APART and row.p_adjusted < 0.05
    return [
        Verdict(
            "watch" if apart else "fine",
            f"Before training, the domains farthest apart are {row.domain_a} and {row.domain_b}: proxy A-distance "
            f"{row.value:.2f} of 2 in {row.layer} (95 % interval {row.low:.2f} to {row.high:.2f}, n = {row.n} each).",
            "Expect the network to treat them apart: check each domain's score by itself." if apart else "",
            float(row.value), float(row.low), float(row.high),
        )
    ]  # fmt: skip


def _attributes(found: Forecast) -> list[Verdict]:
    if not len(found.attributes):
        return []
    row = found.attributes.iloc[int(np.argmin(found.attributes["share"].to_numpy()))]
    total = round(row.n / row.share)
    rare = row.high < RARE_SHARE or row.n < RARE_COUNT
    return [
        Verdict(
            "watch" if rare else "fine",
            f"The smallest group is {row.attribute} = {row.level}: {percent(row.share)} of {total:,} samples looked at "
            f"(95 % interval {percent(row.low)} to {percent(row.high)}).",
            "Collect or draw more of it: too few to learn from, and to judge by." if rare else "",
            float(row.share), float(row.low), float(row.high),
        )
    ]  # fmt: skip
