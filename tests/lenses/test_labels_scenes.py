"""Relations found between the drawn road scenes' label spaces against those that are known."""

from __future__ import annotations

from pathlib import Path

import pytest
from label_runs import write_scenes

from workbench.core import Run
from workbench.demos.scenes import AVENUE, BOULEVARD, TRUE_RELATIONS
from workbench.lenses.labels import LENS
from workbench.lenses.labels.statistics import statistics

RECORDED = Path(__file__).parents[2] / "sample_runs" / "scenes-two-datasets" / "own-heads"
#: Relations of the lens and of the generator that mean the same; a contradiction is a part with a clash of names.
KIND = {"same": "same", "part of": "inside", "contradicts": "inside"}


def precision_and_recall(stats):
    """Of found relations (same, part of, contradicts; avenue first) and of the known ones; exact kinds of both."""
    found = {
        (row.label_a, row.label_b): KIND[row.kind]
        for row in stats.relations.query("not explained and not pending").itertuples()
        if row.kind in KIND
    }
    known = {(relation.a, relation.b): relation.kind for relation in TRUE_RELATIONS}
    related = set(found) & set(known)
    exact = sum(found[pair] == known[pair] for pair in related)
    return len(related) / len(found), len(related) / len(known), exact / len(known)


def test_accurate_heads_recover_every_relation(tmp_path):
    spaces = {"avenue": AVENUE.label_of, "boulevard": BOULEVARD.label_of}
    stats = statistics(write_scenes(tmp_path / "run", spaces, n=80, accuracy=0.95))
    assert precision_and_recall(stats) == (1.0, 1.0, 1.0)


@pytest.mark.skipif(not RECORDED.exists(), reason="the sample run of separate heads is not in this checkout")
def test_recorded_heads_recover_most_relations():
    stats = statistics(Run(RECORDED))
    precision, recall, _ = precision_and_recall(stats)
    assert precision >= 0.9
    assert recall >= 0.7
    first = LENS.verdicts(stats)[0]
    assert first.level == "problem"
    assert "boulevard's 'lane marking' is 'road' to avenue" in first.sentence
    assert "boulevard's 'sidewalk' is 'background' to avenue" in first.sentence
