from __future__ import annotations

import math

import pandas as pd
import pytest

from workbench.lenses.labels.truth import against_truth

COLUMNS = ["dataset_a", "label_a", "dataset_b", "label_b", "kind", "direction", "pending", "explained"]


def relations(*rows: tuple[str, str, str, str, bool, bool]) -> pd.DataFrame:
    return pd.DataFrame([("A", a, "B", b, *rest) for a, b, *rest in rows], columns=COLUMNS)


def test_precision_and_recall_by_hand():
    found = relations(
        ("road", "road", "same", "", False, False),
        ("vehicle", "car", "part of", "b in a", False, False),
        ("nothing", "walk", "contradicts", "b in a", False, False),
        ("sky", "car", "overlaps", "", False, False),  # not related
        ("rider", "cyclist", "part of", "a in b", False, False),  # the wrong way round
        ("tree", "bush", "same", "", True, False),  # pending
        ("dog", "cat", "same", "", False, True),  # explained
        ("sky", "sky", "unrelated", "", False, False),  # missed
    )
    known = {
        ("A", "road", "B", "road"): "same",
        ("A", "vehicle", "B", "car"): "b in a",
        ("B", "walk", "A", "nothing"): "a in b",  # the other order
        ("A", "rider", "B", "cyclist"): "b in a",
        ("A", "sky", "B", "sky"): "same",
    }
    score = against_truth(found, known)
    assert (score.n_found, score.n_known, score.n_right, score.n_kind_right) == (5, 5, 4, 3)
    value, low, high = score.precision
    # Wilson with 4 of 5: centre (0.8 + 1.9207 / 5) / 1.7683, half-width 1.96 / 1.7683 · sqrt(0.16 / 5 + 3.8415 / 100).
    assert (value, low, high) == pytest.approx((0.8, 0.3755, 0.9638), abs=1e-3)
    assert score.recall[0] == 0.8
    missed = score.table[(score.table["known"] != "") & ~score.table["right"]]
    assert missed[["label_a", "label_b"]].to_numpy().tolist() == [["sky", "sky"]]


def test_nothing_found_has_no_precision():
    score = against_truth(relations(), {("A", "a", "B", "a"): "same"})
    assert math.isnan(score.precision[0])
    assert score.recall[0] == 0
