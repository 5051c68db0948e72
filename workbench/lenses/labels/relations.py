"""From conditional shares to relations between labels: same, part of, overlaps, contradicts, unrelated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from workbench.lenses.labels.contingency import Pair, npmi
from workbench.lenses.labels.names import is_background, similarity

Kind = Literal["same", "part of", "contradicts", "overlaps", "unrelated"]

#: A label lies inside another when the lower limit of its share there reaches this. Choice of the specification.
INSIDE = 0.7
#: Two labels overlap when both lower limits reach this.
OVERLAP = 0.2
#: A share of a label that fewer samples hold decides nothing. Our choice.
MIN_SAMPLES = 10
#: Name similarity from which two labels count as the same when nothing else is known. Our choice.
SAME_NAME = 0.9


def rule(b_given_a: float, a_given_b: float, inside: float = INSIDE, overlap: float = OVERLAP) -> tuple[Kind, str]:
    """Relation of two labels from two shares (lower limits, or estimates for a tentative answer), and its direction.

    ``b_given_a``: how much of a is b. Both reach ``inside``: same. Only one does: the label whose share it is lies
    inside the other ("a in b" or "b in a"). Both reach ``overlap``: overlaps. NaN counts as 0.
    """
    of_a, of_b = np.nan_to_num(b_given_a), np.nan_to_num(a_given_b)
    if of_a >= inside and of_b >= inside:
        return "same", ""
    if of_a >= inside:
        return "part of", "a in b"
    if of_b >= inside:
        return "part of", "b in a"
    if of_a >= overlap and of_b >= overlap:
        return "overlaps", ""
    return "unrelated", ""


def relation_table(
    pair: Pair, spaces: Mapping[str, Sequence[str]], inside: float = INSIDE, overlap: float = OVERLAP
) -> pd.DataFrame:
    """One row a pair of labels of two datasets with its relation and all evidence.

    A part of another label *contradicts* when the whole is the other dataset's background, or when the part's own
    dataset also has a label of the whole's name: then one name has two meanings, and one output of a classifier over
    the union of names is trained in opposite directions.

    Columns: the two conditional shares with limits, Dice, NPMI, name similarity, samples that hold each label;
    ``kind``, ``direction``; ``certainty`` = smallest of the lower limits that decide the kind (for unrelated labels:
    how far both shares surely stay below ``inside``); ``pending``: the estimates say ``tentative``, the limits do not
    yet.
    """
    information = npmi(pair.mass)
    rows = []
    for i, a in enumerate(pair.labels_a):
        for j, b in enumerate(pair.labels_b):
            if pair.samples_a[i] == 0 and pair.samples_b[j] == 0:
                continue
            evidence = _evidence(pair, i, j) | {"npmi": information[i, j], "name_similarity": similarity(a, b)}
            rows.append(_named(pair, a, b, evidence, spaces, inside, overlap))
    return pd.DataFrame(rows)


def _evidence(pair: Pair, i: int, j: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, rate in (("b_given_a", pair.b_given_a), ("a_given_b", pair.a_given_b), ("dice", pair.dice)):
        found |= {name: rate.value[i, j], f"{name}_low": rate.low[i, j], f"{name}_high": rate.high[i, j]}
    return found | {"mass": pair.mass[i, j], "samples_a": int(pair.samples_a[i]), "samples_b": int(pair.samples_b[j])}


def _named(
    pair: Pair,
    a: str,
    b: str,
    evidence: Mapping[str, Any],
    spaces: Mapping[str, Sequence[str]],
    inside: float,
    overlap: float,
) -> dict[str, Any]:
    low_of_a = evidence["b_given_a_low"] if evidence["samples_a"] >= MIN_SAMPLES else 0.0
    low_of_b = evidence["a_given_b_low"] if evidence["samples_b"] >= MIN_SAMPLES else 0.0
    kind, direction = rule(low_of_a, low_of_b, inside, overlap)
    tentative, towards = rule(evidence["b_given_a"], evidence["a_given_b"], inside, overlap)
    names = (a, b, spaces[pair.dataset_a], spaces[pair.dataset_b])
    kind, tentative = _contradiction(kind, direction, *names), _contradiction(tentative, towards, *names)
    return {
        "dataset_a": pair.dataset_a,
        "label_a": a,
        "dataset_b": pair.dataset_b,
        "label_b": b,
        "kind": kind,
        "direction": direction,
        "certainty": _certainty(kind, direction, evidence),
        "pending": (kind, direction) != (tentative, towards),
        "tentative": tentative,
        "tentative_direction": towards,
        **evidence,
    }


def _contradiction(kind: Kind, direction: str, a: str, b: str, space_a: Sequence[str], space_b: Sequence[str]) -> Kind:
    if kind != "part of" or a == b:
        return kind
    part, whole, own = (b, a, space_b) if direction == "b in a" else (a, b, space_a)
    if is_background(part):
        return kind
    return "contradicts" if is_background(whole) or whole in own else kind


def _certainty(kind: Kind, direction: str, evidence: Mapping[str, Any]) -> float:
    lows = {"b in a": evidence["a_given_b_low"], "a in b": evidence["b_given_a_low"]}
    if kind in ("part of", "contradicts"):
        return float(lows[direction])
    if kind == "unrelated":
        return float(1 - np.nanmax([evidence["b_given_a_high"], evidence["a_given_b_high"], 0.0]))
    return float(min(lows.values()))


def by_names(spaces: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Relations guessed from names alone: same where the names are nearly equal. All are pending."""
    datasets = list(spaces)
    rows = []
    for i, first in enumerate(datasets):
        for second in datasets[i + 1 :]:
            for a in spaces[first]:
                for b in spaces[second]:
                    score = similarity(a, b)
                    kind = "same" if score >= SAME_NAME else "unrelated"
                    names = {"dataset_a": first, "label_a": a, "dataset_b": second, "label_b": b}
                    rows.append(names | {"kind": kind, "direction": "", "pending": True, "name_similarity": score})
    return pd.DataFrame(rows)


def with_own_confusion(relations: pd.DataFrame, own: pd.DataFrame) -> pd.DataFrame:
    """Mark what the heads confuse as often at home: ``own_confusion`` (upper limit) and ``explained``.

    That a part is called by the whole's name says nothing about annotators where the part's own head makes the same
    confusion, or where the whole's head gives that name as often to some other label of its own dataset. For labels of
    one name, ``own_confusion`` is 1 - Dice of the worse head at home.
    """
    wrong = own[own["label"] != own["called"]]
    keys = zip(wrong["dataset"], wrong["label"], wrong["called"], strict=True)
    by_part = dict(zip(keys, wrong["high"], strict=True))
    by_whole = wrong.groupby(["dataset", "called"])["high"].max().to_dict()
    right = own[own["label"] == own["called"]]
    at_home = dict(zip(zip(right["dataset"], right["label"], strict=True), 1 - right["dice_low"], strict=True))
    confusion = []
    for _, row in relations.iterrows():
        inner, outer = ("b", "a") if row["direction"] == "b in a" else ("a", "b")
        part, whole = ((row[f"dataset_{side}"], row[f"label_{side}"]) for side in (inner, outer))
        if part[1] == whole[1]:
            confusion.append(np.fmax(at_home.get(part, np.nan), at_home.get(whole, np.nan)))
        elif row["direction"]:
            confusion.append(np.fmax(by_part.get((*part, whole[1]), np.nan), by_whole.get(whole, np.nan)))
        else:
            confusion.append(np.nan)
    marked = relations.assign(own_confusion=np.array(confusion, dtype=float))
    renamed = (marked["direction"] != "") & (marked["label_a"] != marked["label_b"])
    return marked.assign(explained=renamed & (marked["own_confusion"] >= marked["certainty"]))
