"""What the labels lens says: contradictions first, then differing granularity, names, contexts."""

from __future__ import annotations

import pandas as pd

from workbench.lenses.base import Verdict
from workbench.lenses.labels.relations import MIN_SAMPLES
from workbench.lenses.labels.statistics import Labels
from workbench.lenses.words import count, listed, percent, percent_range

#: Labels of one name that surely agree on less than this (Dice) are used differently. Our choice.
AGREEMENT = 0.7
#: Outputs whose cosine surely lies below this are a problem, others that are surely pulled apart to watch. Our choice.
STRONG_PULL = -0.2
#: Labels with surely more wrong lessons than this under a softmax over the union are named. Our choice.
WRONG = 0.2
#: False discovery rate of contexts and gradients that are called different.
RATE = 0.05

_REMEDY = (
    "Train with one binary loss a class that stays silent about labels a dataset does not annotate (method uniseg), "
    "or mask these regions out of the loss of the dataset that folds them away."
)
_RECORD = (
    "Run each dataset's head on the other's samples and record, per region of one annotated label: "
    'rec.label_counts(dataset="city", sample=ids, region=regions, label=said, weight=pixels, source="highway").'
)


def verdicts(stats: Labels) -> list[Verdict]:
    """Contradictions, labels inside others, names used differently, contexts, what is undecided."""
    if len(stats.datasets) < 2:
        return [_alone(stats)]
    if not stats.pairs:
        return [*_pulls(stats), _unpredicted(stats), *_contexts(stats), *_trained(stats)]
    found = [
        *_contradictions(stats),
        *_pulls(stats),
        *_namesakes(stats),
        *_parts(stats),
        *_lessons(stats),
        *_contexts(stats),
        *_undecided(stats),
    ]
    return [*(found or [_agreement(stats)]), *_trained(stats)]


def sure(relations: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Relations of a kind that stand and are not explained by a head's own confusion, the most certain first."""
    rows = relations[(relations["kind"] == kind) & ~relations["explained"].astype(bool)]
    return rows.sort_values("certainty", ascending=False)


def _inner(row: pd.Series) -> tuple[str, str, str, str, float, float, float, int]:
    """Part and its dataset, whole and its dataset, share of the part with limits, samples that hold the part."""
    part, whole, name = ("b", "a", "a_given_b") if row["direction"] == "b in a" else ("a", "b", "b_given_a")
    return (
        row[f"label_{part}"],
        row[f"dataset_{part}"],
        row[f"label_{whole}"],
        row[f"dataset_{whole}"],
        float(row[name]),
        float(row[f"{name}_low"]),
        float(row[f"{name}_high"]),
        int(row[f"samples_{part}"]),
    )


def _clause(row: pd.Series) -> str:
    part, dataset, whole, other, share, low, high, n = _inner(row)
    return (
        f"{dataset}'s '{part}' is '{whole}' to {other} ({percent(share)} of it, "
        f"95 % interval {percent_range(low, high)}, {count(n)} samples)"
    )


def _contradictions(stats: Labels) -> list[Verdict]:
    rows = sure(stats.relations, "contradicts")
    if not len(rows):
        return []
    _, _, _, _, share, low, high, _ = _inner(rows.iloc[0])
    noun = "1 label contradicts" if len(rows) == 1 else f"{len(rows)} labels contradict"
    return [
        Verdict(
            "problem",
            f"{noun} the other dataset's labels: {listed([_clause(row) for _, row in rows.iterrows()], 3)}. A softmax "
            "over both label lists is trained in opposite directions there.",
            next_step=_REMEDY,
            value=share,
            low=low,
            high=high,
            options={"view": "conflicts"},
        )
    ]


def _pulls(stats: Labels) -> list[Verdict]:
    """Labels whose output the datasets' losses pull in opposite directions."""
    if not len(stats.gradients):
        return []
    rows = stats.gradients[(stats.gradients["q"] <= RATE) & (stats.gradients["cosine"] < 0)].sort_values("cosine")
    if not len(rows):
        return []
    clauses = [
        f"'{row['label']}' (cosine {max(row['cosine'], -1):.2f}, 95 % interval {max(row['low'], -1):.2f} to "
        f"{row['high']:.2f})"
        for _, row in rows.iterrows()
    ]
    worst = rows.iloc[0]
    n_private = int((~rows["shared"].astype(bool)).sum())
    return [
        Verdict(
            "problem" if worst["high"] < STRONG_PULL else "watch",
            f"The losses of {worst['dataset_a']} and {worst['dataset_b']} pull the outputs of {len(rows)} of "
            f"{len(stats.gradients)} labels in opposite directions, {n_private} of which only one of them annotates: "
            f"{listed(clauses, 6)}; over {worst['steps']} recorded steps.",
            next_step=_REMEDY,
            value=float(worst["cosine"]),
            low=float(worst["low"]),
            high=float(worst["high"]),
            options={"view": "pull"},
        )
    ]


def _parts(stats: Labels) -> list[Verdict]:
    """Labels of one dataset that divide one of another's, without a clash of names."""
    rows = sure(stats.relations, "part of")
    rows = rows[rows["label_a"] != rows["label_b"]]
    wholes: dict[tuple[str, str, str], list[str]] = {}
    for _, row in rows.iterrows():
        part, dataset, whole, other, *_ = _inner(row)
        wholes.setdefault((other, whole, dataset), []).append(part)
    if not wholes:
        return []
    clauses = [
        f"{other}'s '{whole}' holds {dataset}'s {listed([repr(part) for part in sorted(parts)])}"
        for (other, whole, dataset), parts in wholes.items()
    ]
    return [
        Verdict(
            "watch",
            f"The label lists differ in detail: {listed(clauses, 4)} ({count(len(rows))} shares, each with a 95 % "
            f"lower limit above {percent(stats.inside)}). A softmax over both lists makes these names compete.",
            next_step="Merge them into the coarser label, or keep the finer ones and teach the coarse dataset's "
            "samples as 'any of these'.",
            options={"view": "graph"},
        )
    ]


def _namesakes(stats: Labels) -> list[Verdict]:
    """Labels of one name whose areas surely agree badly."""
    rows = stats.relations[stats.relations["label_a"] == stats.relations["label_b"]]
    beyond_home = ~(rows["own_confusion"] >= 1 - rows["dice_high"])
    rows = rows[(rows["dice_high"] < AGREEMENT) & beyond_home].sort_values("dice")
    if not len(rows):
        return []
    row = rows.iloc[0]
    more = "" if len(rows) == 1 else f" The same holds for {listed([repr(name) for name in rows['label_a'][1:]])}."
    conflict, low, high = 1 - row["dice"], 1 - row["dice_high"], 1 - row["dice_low"]
    return [
        Verdict(
            "watch",
            f"{row['dataset_a']} and {row['dataset_b']} both use the name '{row['label_a']}', but disagree on "
            f"{percent(conflict)} of it (95 % interval {percent_range(low, high)}, {count(row['samples_a'])} and "
            f"{count(row['samples_b'])} samples).{more}",
            next_step="Look at samples where they disagree: the definitions differ, or the model does not transfer.",
            value=float(conflict),
            low=float(low),
            high=float(high),
            options={"view": "matrix"},
        )
    ]


def _lessons(stats: Labels) -> list[Verdict]:
    """What a softmax over the union would teach wrongly, and what the two other losses would change."""
    counted = stats.lessons[stats.lessons["samples"] >= MIN_SAMPLES]
    surely = counted[(counted["low"] > WRONG) & (counted["opposed"] > 2 * counted["at_home"])]
    if not len(surely):
        return []
    row = surely.iloc[0]
    left = int((surely["wrong_per_class"] > 0).sum())
    gaining = counted[counted["extra"] > 0]
    names = [repr(label) for label in gaining["label"]]
    more = f"; relations between labels would teach {listed(names, 3)} from both datasets" if names else ""
    n = len(surely)
    noun = "label gets" if n == 1 else "labels get"
    return [
        Verdict(
            "watch",
            f"In a softmax over all labels merged by name, {n} {noun} more than {percent(WRONG)} wrong lessons from "
            f"the other dataset, most of all '{row['label']}' (95 % interval {percent_range(row['low'], row['high'])}, "
            f"{count(row['samples'])} samples). One binary loss a class leaves {left} of them"
            f"{more}.",
            next_step=_REMEDY,
            value=float(row["wrong"]),
            low=float(row["low"]),
            high=float(row["high"]),
            options={"view": "lessons"},
        )
    ]


def _contexts(stats: Labels) -> list[Verdict]:
    rows = stats.contexts[stats.contexts["q"] <= RATE] if len(stats.contexts) else stats.contexts
    if not len(rows):
        return []
    row = rows.iloc[0]
    more, less = (row["dataset_a"], row["dataset_b"]) if row["difference"] > 0 else (row["dataset_b"], row["dataset_a"])
    ends = sorted((abs(row["low"]), abs(row["high"])))
    return [
        Verdict(
            "watch",
            f"'{row['label_x']}' and '{row['label_y']}' share samples more often in {more} than in {less} (log odds "
            f"ratio differs by {abs(row['difference']):.2g}, 95 % interval {ends[0]:.2g} to {ends[1]:.2g}); "
            f"{len(rows)} of {len(stats.contexts)} shared pairs differ after correction.",
            next_step="A context that one dataset has and the other lacks is a shortcut: test on samples without it.",
            value=float(abs(row["difference"])),
            low=float(ends[0]),
            high=float(ends[1]),
            options={"view": "contexts"},
        )
    ]


def _pairs(n: int) -> str:
    return "1 pair of labels looks" if n == 1 else f"{n} pairs of labels look"


def _undecided(stats: Labels) -> list[Verdict]:
    relations = stats.relations
    rows = relations[relations["pending"] & (relations["tentative"] != "unrelated")]
    explained = relations[relations["explained"] & relations["kind"].isin(["contradicts", "part of"])]
    found = []
    if len(rows):
        names = [f"'{row['label_a']}' and '{row['label_b']}'" for _, row in rows.iterrows()]
        found.append(
            Verdict(
                "cannot tell",
                f"{_pairs(len(rows))} related, but the samples are too few to say how: {listed(names, 3)}.",
                next_step="Record more samples that hold these labels.",
                options={"view": "matrix"},
            )
        )
    if len(explained):
        names = [f"'{row['label_a']}' and '{row['label_b']}'" for _, row in explained.iterrows()]
        found.append(
            Verdict(
                "cannot tell",
                f"{listed(names, 3)} look nested across datasets, but the heads make such confusions on their own "
                "samples as well, so that a disagreement of labels cannot be told from an error of the model.",
                next_step="Train longer, or compare a checkpoint that tells these labels apart.",
                options={"view": "matrix"},
            )
        )
    return found


def _agreement(stats: Labels) -> Verdict:
    rows = sure(stats.relations, "same")
    weakest = "no two labels coincide"
    if len(rows):
        worst = rows.sort_values("dice").iloc[0]
        weakest = (
            f"{len(rows)} pairs of labels coincide, the least alike is '{worst['label_a']}' with an agreement (Dice) "
            f"of {percent(worst['dice'])} (95 % interval {percent_range(worst['dice_low'], worst['dice_high'])})"
        )
    return Verdict(
        "fine",
        f"No label of {listed(stats.datasets)} contradicts or divides another one: {weakest}.",
        next_step="The label lists can be merged by name.",
        options={"view": "matrix"},
    )


def _alone(stats: Labels) -> Verdict:
    names = listed(stats.datasets) if stats.datasets else "no dataset"
    return Verdict(
        "cannot tell",
        f"Labels are recorded for {names} only; there is nothing to compare them with.",
        next_step=_RECORD,
    )


def _unpredicted(stats: Labels) -> Verdict:
    same = stats.relations[stats.relations["kind"] == "same"] if len(stats.relations) else stats.relations
    return Verdict(
        "cannot tell",
        f"{len(same)} pairs of labels of {listed(stats.datasets)} have nearly the same name, but whether they mean the "
        "same cannot be told: no dataset's head was run on another's samples.",
        next_step=_RECORD,
        options={"view": "graph"},
    )


def _trained(stats: Labels) -> list[Verdict]:
    """Relations that the training took from its mean cosines, and whether they hold where the truth is known."""
    known = stats.relatedness
    if known is None or known.taken is None:
        return []
    table = known.table(known.taken)
    taken = table[table["trained_with"]]
    names = [f"{row.dataset}'s '{row.label}' with '{row.related}'" for row in taken.itertuples()]
    said = f"From step {known.taken} on, the loss joined {listed(names) if names else 'no labels'}"
    if known.planted is None:
        return [Verdict("fine", f"{said}.", options={"view": "cosines"})]
    wrong = int((~taken["planted"]).sum())
    held = f"{len(taken) - wrong} of the {len(known.planted)} relations that hold, and {wrong} that do not"
    advice = "Raise τ, or take the mean cosines later, when labels lie close to their own outputs." if wrong else ""
    return [Verdict("watch" if wrong else "fine", f"{said}: {held}.", advice, options={"view": "cosines"})]
