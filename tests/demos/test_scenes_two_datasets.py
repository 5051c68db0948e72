"""The recipe with two datasets of road scenes: what its runs hold, and that the planted conflict is there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from workbench.core import Run
from workbench.demos import find_recipe, train
from workbench.demos.recipes.scenes_two_datasets import training as recipe
from workbench.demos.scenes import MERGED, SPACES, draw_scenes

PRIVATE = [label for label in MERGED.names if sum(label in space.labels for space in SPACES) == 1]
STEPS = 40


@pytest.fixture(scope="module")
def all_runs(tmp_path_factory):
    """All variants, cut down to 40 steps on 16 scenes, and a lean one."""
    full = find_recipe("scenes-two-datasets")
    short = replace(full, variants=tuple(replace(variant, steps=STEPS) for variant in full.variants))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe, "TRAINING", replace(recipe.TRAINING, probes=(0, 20, STEPS)))
        patch.setattr(recipe, "FULL", (0, STEPS))
        patch.setattr(recipe, "SWITCH", STEPS)
        for name, value in {"N_TRAIN": 16, "N_TEST": 4, "N_PICTURED": 2, "N_PROBE": 16}.items():
            patch.setattr(recipe, name, value)
        patch.setattr(recipe, "EARLY", (20, STEPS))
        paths = train(short, tmp_path_factory.mktemp("scenes"), seed=3)
        lean = train(short, tmp_path_factory.mktemp("lean"), seed=3, only=["class-relational"], lean=True)
    return {path.name: Run(path) for path in paths} | {"lean": Run(lean[0])}


@pytest.fixture(scope="module")
def runs(all_runs):
    return {name: run for name, run in all_runs.items() if name != "lean"}


def test_a_lean_run_gives_the_same_results_and_records_scalars_only(all_runs):
    lean, whole = all_runs["lean"], all_runs["class-relational"]
    assert lean.info.summary == whole.info.summary
    assert lean.tables == ("scalars",)
    assert lean.array_names == ()
    assert {claim.result for claim in find_recipe("scenes-two-datasets").claims} <= set(lean.info.summary)


def test_results_count_the_planted_relations():
    study = recipe.Study("class-relational", [draw_scenes(space.dataset, 2, 0) for space in SPACES])
    union = study.uniseg.union
    related = torch.zeros(2, len(union), len(union), dtype=torch.bool)
    for of, to in (("car", "vehicle"), ("cyclist", "rider"), ("sky", "road")):
        related[1, union.index(of), union.index(to)] = True
    study.uniseg.related = related
    # True: two riders, two vehicles, lane marking in road, sidewalk in background.
    assert study.relation_results() == {
        "relations/found": pytest.approx(2 / 6),
        "relations/right": pytest.approx(2 / 3),
    }


def test_the_oracle_trains_with_exactly_the_planted_relations(all_runs):
    study = recipe.Study("oracle-relations", [draw_scenes(space.dataset, 2, 0) for space in SPACES])
    named = study.relate(torch.full((2, len(MERGED.names), len(MERGED.names)), torch.nan))  # asks S nothing
    assert set(study.true_relations) == study.found
    assert "boulevard: car -> vehicle" in named.split("; ")
    assert study.relation_results() == {"relations/found": 1.0, "relations/right": 1.0}
    run = all_runs["oracle-relations"]
    assert run.info.summary["relations/found"] == run.info.summary["relations/right"] == 1.0
    planted = {tuple(relation) for relation in run.info.config["planted"]["relations"]}
    assert planted == study.found
    assert run.info.notes[0].startswith(f"Relations in use from step {STEPS}: boulevard: ")


def test_each_variant_names_its_method_datasets_and_held_out_domain(runs):
    assert list(runs) == list(recipe.METHODS)
    for name, run in runs.items():
        assert run.info.status == "done"
        assert run.info.method == recipe.METHODS[name]
        assert {dataset.name: dataset.labels for dataset in run.info.datasets} == {s.dataset: s.labels for s in SPACES}
        assert [domain.name for domain in run.info.domains if domain.held_out] == ["coast"]
        assert set(run.info.summary) == {
            *("mIoU/own labels", "mIoU/other labels", "mIoU/unseen domain", "private rows"),
            *("relations/found", "relations/right", "relations/car and truck"),
        }
        assert run.problems == []
        losses = run.query("SELECT value FROM scalars WHERE tag LIKE 'loss/%'")["value"]
        assert len(losses) > 0
        assert np.isfinite(losses).all()


def test_every_record_that_the_lenses_read_is_there(runs):
    run = runs["cross-entropy"]
    recorded = {"scalars", "task_gradients", "gsnr", "samples", "predictions", "label_counts", "embeddings"}
    assert set(run.tables) >= recorded
    assert set(run.table("gsnr")["domain"]) == {"", "avenue", "boulevard"}
    answers = run.table("predictions")
    assert answers.groupby(["step", "task"]).size().eq(12).all()
    assert np.isfinite(answers["loss"]).all()
    samples = run.table("samples")
    assert samples.groupby(["domain", "split"]).size().to_dict() == {
        ("avenue", "test"): 4,
        ("boulevard", "test"): 4,
        ("coast", "test"): 4,
        ("avenue", "train"): 16,
        ("boulevard", "train"): 16,
    }
    assert samples["thumbnail"].notna().sum() == 6
    counts = run.table("label_counts")
    assert set(counts["source"]) == {"truth", "avenue", "boulevard"}
    assert set(counts["dataset"]) == {"avenue", "boulevard"}
    values, ids = run.embedding("trunk.conv4", STEPS)
    assert values.shape == (6, 24)
    assert ids.tolist() == [0, 1, 4, 5, 8, 9]


def test_the_null_loss_leaves_private_rows_without_conflict_and_cross_entropy_does_not(runs):
    def rows(name):
        frame = runs[name].query(
            "SELECT tag, avg(value) AS value FROM scalars WHERE tag LIKE 'row_cosine/%' GROUP BY tag"
        )
        return frame.set_index("tag")["value"]

    tags = [f"row_cosine/{label}" for label in PRIVATE]
    assert rows("cross-entropy")[tags].mean() < -0.2
    assert (rows("per-class-bce")[tags] == 0).all()
    assert (rows("own-heads") == 0).all()


def test_the_variants_start_from_one_net_and_the_relational_run_follows_the_null_loss_until_the_switch(runs):
    def heads(step):
        return {name: run.array("classifier", step) for name, run in runs.items()}

    def same(a, b):
        return all(np.array_equal(a[space.dataset], b[space.dataset]) for space in SPACES)

    first, last = heads(0), heads(STEPS)
    assert {name: rows.shape for name, rows in first.pop("own-heads").items()} == {
        space.dataset: (len(space.labels), 24) for space in SPACES
    }
    assert all(same(head, first["cross-entropy"]) for head in first.values())
    assert same(last["per-class-bce"], last["class-relational"])
    assert not same(last["per-class-bce"], last["cross-entropy"])


def test_the_relational_run_keeps_its_targets_and_says_what_it_found(runs):
    targets = runs["class-relational"].array("targets", STEPS)
    assert {name: t.shape for name, t in targets.items()} == {s.dataset: (12, 12) for s in SPACES}
    n_related = sum(int(np.sum(t == 1)) - len(MERGED.names) for t in targets.values())
    (note,) = runs["class-relational"].info.notes
    assert note.count("->") == n_related
    assert runs["per-class-bce"].array_names == runs["cross-entropy"].array_names


@pytest.mark.slow
def test_the_null_loss_carries_over_to_the_other_datasets_labels(tmp_path):
    """Mean of 3 seeds over the two cross-label scores: at least 5 points above cross-entropy."""
    gains = []
    for seed in range(3):
        paths = train(
            find_recipe("scenes-two-datasets"), tmp_path / str(seed), seed, only=["cross-entropy", "per-class-bce"]
        )
        ce, null = (Run(path).info.summary["mIoU/other labels"] for path in paths)
        gains.append(null - ce)
    assert np.mean(gains) >= 0.05
