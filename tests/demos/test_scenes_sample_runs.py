"""The committed runs on the road scenes: the lenses find in them what was planted."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.core import Run
from workbench.demos import find_recipe
from workbench.demos.scenes import SPACES, TRUE_RELATIONS
from workbench.lenses import look

ROOT = Path(__file__).resolve().parents[2] / "sample_runs" / "scenes-two-datasets"
PRIVATE = {label for space in SPACES for label in space.labels} - set.intersection(*(set(s.labels) for s in SPACES))


def run_of(variant: str) -> Run:
    return Run(ROOT / variant)


def test_every_variant_is_recorded_and_together_they_stay_small():
    recorded = {path.name for path in ROOT.iterdir()}
    assert recorded == {variant.name for variant in find_recipe("scenes-two-datasets").variants}
    assert sum(file.stat().st_size for file in ROOT.rglob("*") if file.is_file()) < 3e6
    for variant in recorded:
        assert run_of(variant).info.status == "done"
        assert run_of(variant).problems == []


def test_the_labels_lens_names_the_two_folded_labels_and_nothing_else():
    worst = look(run_of("own-heads"), "labels").verdict
    assert worst.level == "problem"
    folded = {r.b for r in TRUE_RELATIONS if r.kind == "inside" and not r.same_name and r.a in SPACES[1].labels}
    assert folded == {"sidewalk", "lane marking"}
    assert {label for label in SPACES[1].labels if f"boulevard's '{label}'" in worst.sentence} == folded


@pytest.mark.parametrize(("variant", "conflict"), [("cross-entropy", True), ("per-class-bce", False)])
def test_private_labels_are_in_conflict_under_cross_entropy_and_silent_under_the_null_loss(variant, conflict):
    rows = run_of(variant).query(
        "SELECT replace(tag, 'row_cosine/', '') AS label, avg(value) AS cosine FROM scalars "
        "WHERE tag LIKE 'row_cosine/%' AND step BETWEEN 50 AND 250 GROUP BY tag"
    )
    private = rows[rows["label"].isin(PRIVATE)]
    assert len(private) == len(PRIVATE)
    assert private["cosine"].mean() < -0.2 if conflict else (private["cosine"] == 0).all()


def test_the_conflict_lens_names_private_rows_of_the_merged_classifier():
    worst = look(run_of("cross-entropy"), "conflict").verdict
    assert worst.level in ("problem", "watch")
    assert any(f"head[{label}]" in worst.sentence for label in PRIVATE)
    assert look(run_of("per-class-bce"), "conflict").verdict.level == "fine"
