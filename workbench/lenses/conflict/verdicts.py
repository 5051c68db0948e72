"""What the conflict lens says in words. The limits below are our choice; the numbers are in every sentence."""

from __future__ import annotations

import numpy as np

from workbench.lenses.base import Level, Verdict
from workbench.lenses.conflict.drawing import MINUS, interval, number
from workbench.lenses.conflict.estimates import ALIGNED, BELOW_NOISE, CONFLICT
from workbench.lenses.conflict.statistics import Conflict

#: A called conflict is a problem when it is in at least this share of what was counted, or so deep on average.
PROBLEM_SHARE, PROBLEM_COSINE = 0.25, -0.1
#: A mean cosine that cannot be below this is no conflict worth naming.
NEGLIGIBLE = -0.1
#: A task is dominated when another's gradient is at least this many times longer.
DOMINANCE_WATCH, DOMINANCE_PROBLEM = 10.0, 30.0
#: Pairs above this mean cosine with equal lengths may be one task under two names.
SAME_TASK = 0.95
#: A task is a copy of another when the cosine of the whole batch's gradients is above this at every step.
COPY = 0.9999
#: Nothing is concluded about a task below noise in more than this share of the recorded steps and pooled.
MOSTLY = 0.5
#: Sentences about pairs; the table holds the rest.
MAX_PAIRS = 3

RECORD_BATCHES = (
    "Pass per-sample losses to Recorder.task_gradients, so that the batch can be split into at least 4 mini-batches."
)


def verdicts(stats: Conflict) -> list[Verdict]:
    """Worst first by level when sorted; never empty."""
    if len(stats.tasks) < 2:
        return [
            Verdict(
                "cannot tell",
                f"Gradients of one task alone were recorded ({stats.tasks[0]}): a conflict needs two.",
                "Record a second task, or let domains or groups play the tasks by recording one loss for each.",
            )
        ]
    if stats.n_batches < 2:
        return [*_nonfinite(stats), _one_batch(stats)]
    fights = [*_conflicts(stats), *_turns(stats)]
    found = [*_nonfinite(stats), *fights, *_copies(stats), *_dominance(stats), *_below_noise(stats)]
    if not any(verdict.level in ("problem", "watch") and "pair" in verdict.options for verdict in fights):
        found.append(_no_conflict(stats))
    return [*found, *_same_task(stats)]


def _one_batch(stats: Conflict) -> Verdict:
    return Verdict(
        "cannot tell",
        "Only one mini-batch a step was recorded. The product of two gradients from the same samples holds their "
        "shared noise, so not even its sign can be trusted.",
        RECORD_BATCHES,
    )


def _nonfinite(stats: Conflict) -> list[Verdict]:
    """One sentence for all tasks: usually they break together."""
    broken = [task for task, n in zip(stats.tasks, stats.nonfinite.tolist(), strict=True) if n]
    if not broken:
        return []
    share = float(stats.nonfinite.max()) / stats.n_recorded
    return [
        Verdict(
            "problem" if share >= PROBLEM_SHARE else "watch",
            f"The gradients of {joined_words(broken)} held NaN or infinite values at "
            f"{'up to ' if len(set(stats.nonfinite[stats.nonfinite > 0].tolist())) > 1 else ''}"
            f"{stats.nonfinite.max()} of {stats.n_recorded} recorded steps; those steps are left out.",
            "Look at the losses before those steps; a smaller learning rate or clipping the gradient's norm usually "
            "ends it.",
            value=share,
        )
    ]


def joined_words(names: list[str], most: int = 6) -> str:
    """Names as a list in a sentence."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _conflicts(stats: Conflict) -> list[Verdict]:
    called = np.flatnonzero(stats.called.any(axis=0))
    order = [pair for pair in stats.ranking.tolist() if pair in set(called.tolist())]
    found = [_conflict(stats, pair) for pair in order[:MAX_PAIRS]]
    if order:
        found.extend([*_matter(stats), *_remedy_by_replay(stats)])
    if len(order) > MAX_PAIRS:
        found.append(
            Verdict(
                "watch",
                f"{len(order)} of {len(stats.pairs)} pairs of tasks conflict beyond noise somewhere in the network; "
                f"the {MAX_PAIRS} with the most evidence are named above.",
                "The table of pairs lists all of them.",
                value=float(len(order)),
            )
        )
    return found


def _conflict(stats: Conflict, pair: int) -> Verdict:
    """One pair, told where its conflict is strongest: all parameters if it is called there, else its worst module."""
    total = stats.total
    parts = _called_modules(stats, pair)
    at = total if stats.called[total, pair] else parts[0]
    i, j = stats.pairs[pair]
    share, low, high = (float(a[at, pair]) for a in (stats.share.conflicting, stats.share.low, stats.share.high))
    n = int(stats.share.n[at, pair])
    cosine = stats.overall[at, pair]
    what = _places(stats, parts) if at != total or len(stats.modules) == 1 else "the shared parameters"
    sentence = (
        f"{stats.tasks[i]} and {stats.tasks[j]} pull {what} in opposite directions "
        f"in {100 * share:.0f} % of {_units(stats)} (95 % interval {100 * low:.0f}–{100 * high:.0f} %, n = {n})"
    )
    if np.isfinite(cosine.value):
        mean = f"{number(float(cosine.value))} ({interval(float(cosine.low), float(cosine.high))})"
        sentence += f"; their mean cosine over training is {mean}"
    sentence += _phase(stats, at, pair) + "."
    if at == total and parts and len(stats.modules) > 1:
        sentence += f" The conflict sits in {_places(stats, parts)}."
    deep = bool(cosine.high < PROBLEM_COSINE)
    level: Level = "problem" if at == total and (low > PROBLEM_SHARE or deep) else "watch"
    options = {"pair": stats.pair_name(pair)} | ({} if at == total else {"module": stats.modules[at]})
    return Verdict(level, sentence, _remedy(stats, parts), share, low, high, options)


def _phase(stats: Conflict, at: int, pair: int) -> str:
    """When, for a conflict that the mean over training hides."""
    if stats.overall.high[at, pair] < 0:
        return ""
    inside = np.flatnonzero(stats.window.state[:, at, pair] == CONFLICT)
    if not len(inside):
        return ""
    first, last = stats.windows[inside[0], 0], stats.windows[inside[-1], 1]
    return f", but below 0 beyond noise between steps {first} and {last}"


def _units(stats: Conflict) -> str:
    if stats.share.unit == "step":
        return "recorded steps"
    return f"windows of about {max(1, round(len(stats.steps) / len(stats.windows)))} recorded steps"


def _called_modules(stats: Conflict, pair: int) -> list[int]:
    """Single modules in which the pair's conflict is called, most certain first."""
    single = np.arange(stats.total if len(stats.modules) > 1 else 1)
    inside = single[stats.called[single, pair]]
    return inside[np.argsort(np.nan_to_num(stats.overall.high[inside, pair], nan=np.inf), kind="stable")].tolist()


def _places(stats: Conflict, parts: list[int]) -> str:
    names = [stats.modules[part] for part in sorted(parts[:3])]
    more = len(parts) - len(names)
    if more > 0:
        return f"{', '.join(names)} and {more} more module{'s' if more > 1 else ''}"
    return joined_words(names)


def _remedy(stats: Conflict, parts: list[int]) -> str:
    if len(stats.modules) == 1 or not parts:
        return "Compare the aggregators on the replay board, beside the plain sum of losses."
    return (
        f"Give each of the two its own copy of {_places(stats, parts)} (layer ladder), "
        "or compare aggregators on the replay board, beside the plain sum of losses."
    )


def _matter(stats: Conflict) -> list[Verdict]:
    """Whether losses rose more often after conflicts."""
    found = stats.matter
    if found is None:
        return []
    word = "conflicting steps" if found.called else "steps with a negative cosine"
    limits = f"{100 * found.difference_low:.0f} to {100 * found.difference_high:.0f}"
    points = f"{100 * found.difference:.0f} points (95 % interval {limits})".replace("-", MINUS)
    sentence = (
        f"The loss of one of the two tasks rose after {100 * found.share[0]:.0f} % of {word} (n = {found.n[0]}) and "
        f"after {100 * found.share[1]:.0f} % of the others (n = {found.n[1]}), a difference of {points}"
    )
    numbers = (found.difference, found.difference_low, found.difference_high, {"view": "matter"})
    if found.difference_low > 0:
        return [Verdict("watch", f"{sentence}: here the conflict costs something.", "", *numbers)]
    hint = "Compare with each task trained alone before paying for a remedy."
    return [Verdict("fine", f"{sentence}: that conflicts cost something here is not shown.", hint, *numbers)]


def _remedy_by_replay(stats: Conflict) -> list[Verdict]:
    """The aggregator that would have served the worst-off task best, beside the plain sum and with its cost."""
    board = stats.replay
    if board is None or board.best is None:
        return []
    best = board.best
    gain, low, high = (float(a[best]) for a in (board.worst_gain, board.worst_gain_low, board.worst_gain_high))
    price = f"{100 * float(board.price[best]):.0f} %".replace("-", MINUS)
    return [
        Verdict(
            "fine",
            f"Replayed on {len(board.steps)} recorded steps, {board.names[best]} would have served the worst-off task "
            f"best: the cosine of the step with its gradient rises from {number(float(board.worst[0]))} for the plain "
            f"sum by {number(gain)} (95 % interval {interval(low, high)}), for {price} less progress in sum and about "
            f"{len(stats.tasks)} backward passes a step instead of one.",
            f"Train once with {board.names[best]} and once with the plain sum, which often wins, and compare.",
            gain,
            low,
            high,
            {"view": "replay"},
        )
    ]


def _turns(stats: Conflict) -> list[Verdict]:
    """Pairs that turn from agreement into conflict during training."""
    turned = stats.changes[(stats.changes["before"] > 0) & (stats.changes["after"] < 0)]
    found = []
    for _, row in turned.head(MAX_PAIRS).iterrows():
        pair = int(row["pair"])
        found.append(
            Verdict(
                "watch",
                f"The cosine of {stats.pair_name(pair)} on the shared parameters turns from {number(row['before'])} "
                f"to {number(row['after'])} at about step {row['step']} (adjusted p = {row['p_adjusted']:.1g}).",
                "Try sharing up to there and separate copies afterwards, or a schedule of the loss weights.",
                float(row["step"]),
                options={"view": "over-time", "pair": stats.pair_name(pair)},
            )
        )
    return found


def _dominance(stats: Conflict) -> list[Verdict]:
    """The most dominated pair of all shared parameters, when one gradient is many times longer than the other."""
    ratio = stats.ratio(stats.total)
    certain = np.nan_to_num(ratio.low, nan=0.0)
    pair = int(np.argmax(certain))
    if certain[pair] < DOMINANCE_WATCH:
        return []
    longer, shorter = stats.longer_first(stats.total, pair)
    value, low, high = float(ratio.value[pair]), float(ratio.low[pair]), float(ratio.high[pair])
    return [
        Verdict(
            "problem" if low > DOMINANCE_PROBLEM else "watch",
            f"The gradient of {longer} is {value:.3g} times as long as that of {shorter} on the shared parameters "
            f"(95 % interval {low:.3g} to {high:.3g}): their sum trains mostly {longer}.",
            f"Check the scale of {longer}'s loss; weigh the losses, or normalise the gradients before adding them.",
            value,
            low,
            high,
            {"view": "magnitude"},
        )
    ]


def _below_noise(stats: Conflict) -> list[Verdict]:
    """Tasks without enough signal, step by step and also after pooling all steps."""
    total = stats.total
    found = []
    for index, task in enumerate(stats.tasks):
        mine = (stats.pairs == index).any(axis=1)
        pooled = (stats.overall.state[total, mine] == BELOW_NOISE).all()
        share = float(stats.below_noise[:, total, index].mean())
        if pooled and share > MOSTLY:
            found.append(
                Verdict(
                    "cannot tell",
                    f"The gradient signal of {task} is below its noise in {100 * share:.0f} % of "
                    f"{len(stats.steps)} recorded steps, and pooling all steps does not lift it above.",
                    "Record larger or more mini-batches a step. Near convergence, or in a task that nothing is learnt "
                    "for, this is expected.",
                    value=share,
                )
            )
    return found


def _no_conflict(stats: Conflict) -> Verdict:
    """Fine when every pair's mean cosine is known well enough, else cannot tell."""
    overall = stats.overall[stats.total]
    n_pairs, n_modules = len(stats.pairs), max(1, len(stats.modules) - 1)
    low = np.where(np.isnan(overall.low), -np.inf, overall.low)
    excluded = low > NEGLIGIBLE
    where = f"in any of {n_modules} modules" if n_modules > 1 else "in the shared parameters"
    pairs = "the pair of tasks does" if n_pairs == 1 else f"none of {n_pairs} pairs of tasks does"
    if excluded.all():
        worst = int(np.argmin(overall.value))
        name = stats.pair_name(worst)
        least = (
            f"{number(float(overall.value[worst]))} ({interval(float(overall.low[worst]), float(overall.high[worst]))})"
        )
        start = (
            f"No conflict beyond noise {where}"
            if n_pairs == 1
            else f"No pair of {len(stats.tasks)} tasks conflicts beyond noise {where}"
        )
        lowest = f"the mean cosine is {least}" if n_pairs == 1 else f"the lowest mean cosine, {name}, is {least}"
        return Verdict(
            "fine",
            f"{start}; {lowest} over {stats.n_usable} recorded steps.",
            "If a task still learns worse than alone, compare gradient lengths, or the labels.",
            float(overall.value[worst]), float(overall.low[worst]), float(overall.high[worst]),
        )  # fmt: skip
    unknown = int((~excluded).sum())
    return Verdict(
        "cannot tell",
        f"In {stats.n_usable} recorded steps {pairs} not show a conflict beyond noise, but a mean cosine below "
        f"{number(NEGLIGIBLE, 1)} cannot be ruled out for {unknown} of {n_pairs}.",
        "Record more steps, or more and larger mini-batches a step.",
    )


def _copied(stats: Conflict) -> np.ndarray:
    """Pairs whose whole-batch gradients have the same direction at every step: the same samples and targets."""
    naive = stats.naive[:, stats.total]
    known = np.isfinite(naive)
    return np.flatnonzero((np.where(known, naive, 1.0) > COPY).all(axis=0) & (known.sum(axis=0) >= 2))


def _copies(stats: Conflict) -> list[Verdict]:
    """Tasks that are one task twice, whatever the weights of their losses."""
    pairs = _copied(stats)
    if not len(pairs):
        return []
    names = joined_words([stats.pair_name(pair) for pair in pairs[:MAX_PAIRS].tolist()])
    more = f" and {len(pairs) - MAX_PAIRS} more pairs" if len(pairs) > MAX_PAIRS else ""
    least = float(np.nanmin(stats.naive[:, stats.total, pairs]))
    return [
        Verdict(
            "watch",
            f"{names}{more} have the same gradient at each of {stats.n_usable} recorded steps (cosine {number(least)} "
            "on every whole batch): one is a copy of the other.",
            "Check whether one was given the other's targets; as it is, that loss only counts twice.",
            least,
            options={"pair": stats.pair_name(int(pairs[0]))},
        )
    ]


def _same_task(stats: Conflict) -> list[Verdict]:
    """Pairs whose gradients are the same in direction and length."""
    overall = stats.overall[stats.total]
    same = np.flatnonzero(
        (np.nan_to_num(overall.low, nan=-1.0) > SAME_TASK)
        & (overall.state == ALIGNED)
        & (stats.similarity[stats.total] > 0.9)
    )
    found = []
    for pair in np.setdiff1d(same, _copied(stats))[:MAX_PAIRS].tolist():
        i, j = stats.pairs[pair]
        value, low, high = (float(a[pair]) for a in (overall.value, overall.low, overall.high))
        found.append(
            Verdict(
                "fine",
                f"{stats.tasks[i]} and {stats.tasks[j]} train the shared parameters alike: mean cosine {number(value)} "
                f"({interval(low, high)}), and their gradients are equally long.",
                "If they are meant to be different tasks, check whether one is a copy of the other's targets.",
                value,
                low,
                high,
                {"pair": stats.pair_name(pair)},
            )
        )
    return found
