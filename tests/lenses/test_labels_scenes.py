"""Relations found between the drawn road scenes' label spaces against those that are known."""

from __future__ import annotations

from pathlib import Path

import pytest
from label_runs import write_scenes

from workbench.core import Run
from workbench.demos.scenes import AVENUE, BOULEVARD, TRUE_RELATIONS, true_relations
from workbench.lenses.labels import LENS
from workbench.lenses.labels.statistics import statistics
from workbench.lenses.labels.truth import against_truth

RECORDED = Path(__file__).parents[2] / "sample_runs" / "scenes-two-datasets" / "own-heads"


def test_accurate_heads_recover_every_relation(tmp_path):
    spaces = {"avenue": AVENUE.label_of, "boulevard": BOULEVARD.label_of}
    stats = statistics(write_scenes(tmp_path / "run", spaces, n=80, accuracy=0.95))
    score = against_truth(stats.relations, true_relations(stats.datasets))
    assert score.n_found == score.n_known == score.n_kind_right == len(TRUE_RELATIONS)


@pytest.mark.skipif(not RECORDED.exists(), reason="the sample run of separate heads is not in this checkout")
def test_recorded_heads_recover_most_relations():
    stats = statistics(Run(RECORDED))
    score = against_truth(stats.relations, true_relations(stats.datasets))
    assert score.precision[0] >= 0.9
    assert score.recall[0] >= 0.7
    first = LENS.verdicts(stats)[0]
    assert first.level == "problem"
    assert "boulevard's 'lane marking' is 'road' to avenue" in first.sentence
    assert "boulevard's 'sidewalk' is 'background' to avenue" in first.sentence
