"""Cosines between classifier rows."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.core import Run, RunWriter
from workbench.lenses.labels.statistics import statistics

LISTS = [{"name": "A", "labels": ("car", "sky")}, {"name": "B", "labels": ("vehicle", "tree", "air")}]


def test_rows_of_two_heads_are_centred_before_they_are_compared(tmp_path):
    common = np.array([5.0, 5.0, 5.0])
    heads = {
        "A": np.array([[1.0, 0, 0], [-1.0, 0, 0]]) + common,
        "B": np.array([[2.0, 0, 0], [-1.0, 1, 0], [-1.0, -1, 0]]) - common,
    }
    with RunWriter(tmp_path / "run", datasets=LISTS) as writer:
        writer.array("classifier", 10, heads)
    rows = statistics(Run(tmp_path / "run")).relations.set_index(["label_a", "label_b"])["weight_cosine"]
    assert rows["car", "vehicle"] == pytest.approx(1.0)
    assert rows["car", "tree"] == pytest.approx(-1 / np.sqrt(2))
    assert rows["sky", "air"] == pytest.approx(1 / np.sqrt(2))


def test_one_classifier_over_the_union_gives_one_row_a_name(tmp_path):
    union = ["car", "sky", "vehicle", "tree", "air"]
    with RunWriter(tmp_path / "run", datasets=LISTS, config={"union": union}) as writer:
        writer.array("classifier", 10, {"weight": np.eye(5)})
    rows = statistics(Run(tmp_path / "run")).relations["weight_cosine"]
    assert rows.tolist() == pytest.approx([-0.25] * 6)


def test_rows_that_do_not_fit_the_labels_are_left_out(tmp_path):
    with RunWriter(tmp_path / "run", datasets=LISTS) as writer:
        writer.array("classifier", 10, {"A": np.eye(3), "B": np.eye(3)})
    assert statistics(Run(tmp_path / "run")).relations["weight_cosine"].isna().all()
    RunWriter(tmp_path / "none", datasets=LISTS).close()
    assert statistics(Run(tmp_path / "none")).relations["weight_cosine"].isna().all()
