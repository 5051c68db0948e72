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
    assert recorded == {variant.name for variant in find_recipe("scenes-two-datasets").variants} - {"oracle-relations"}
    assert sum(file.stat().st_size for file in ROOT.rglob("*") if file.is_file()) < 3.1e6
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


def test_the_labels_lens_lays_the_relations_found_beside_the_planted_ones():
    run = run_of("class-relational")
    related = look(run, "labels").stats.relatedness
    table = related.table()
    found, held = (
        {tuple(row) for row in table.loc[table[column], ["dataset", "label", "related"]].itertuples(index=False)}
        for column in ("found", "planted")
    )
    assert held == related.planted
    assert len(held) == 6
    assert ("boulevard", "car", "vehicle") in found
    assert table["trained_with"].equals(table["found"])  # the rule at the run's τ is what the training used
    assert run.info.summary["relations/found"] == len(found & held) / len(held)
    assert run.info.summary["relations/right"] == len(found & held) / len(found)


@pytest.mark.parametrize("variant", ["class-relational", "per-class-bce", "cross-entropy", "own-heads"])
def test_scores_and_pictures_of_all_domains_are_there(variant):
    stats = look(run_of(variant), "labels").stats
    means = stats.scores[stats.scores["label"] == ""]
    assert set(zip(means["pictures"], means["labels"], strict=True)) == {
        (pictures, space.dataset) for pictures in ("avenue", "boulevard", "coast") for space in SPACES
    }
    assert len(stats.maps.samples) == 6
    assert all(picture is not None for picture in stats.maps.pictures)
