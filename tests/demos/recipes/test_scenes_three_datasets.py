"""Three datasets of road scenes: their relations, and what a short training of every variant gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from workbench.core import Run, validate
from workbench.demos import find_recipe, train
from workbench.demos.recipes.scenes_three_datasets import training as recipe
from workbench.demos.scenes import (
    ALL_STYLES,
    AVENUE,
    ESPLANADE,
    STYLES,
    THREE_SPACES,
    Relation,
    draw_scenes,
    merged,
    relations,
)
from workbench.demos.scenes_study import Study

RECIPE = find_recipe("scenes-three-datasets")
SHORT = replace(RECIPE, variants=tuple(replace(variant, steps=6) for variant in RECIPE.variants))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"N_TRAIN": 16, "N_TEST": 4, "N_PICTURED": 2, "N_PROBE": 12}.items():
            patch.setattr(recipe, name, value)
        lean = train(SHORT, tmp_path_factory.mktemp("lean"), seed=3, lean=True)
        (whole,) = train(SHORT, tmp_path_factory.mktemp("whole"), seed=3, only=["class-relational"])
    return {path.name: Run(path) for path in lean} | {"whole": Run(whole)}


def test_every_variant_gives_what_the_claims_compare(runs):
    for name, run in runs.items():
        assert run.info.status == "done"
        assert validate(run.path) == []
        assert {claim.result for claim in RECIPE.claims} <= set(run.info.summary)
        assert all(np.isfinite(value) for value in run.info.summary.values())
        assert run.tables == (("scalars", "task_gradients", "samples") if name == "whole" else ("scalars",))
        assert [domain.name for domain in run.info.domains if domain.held_out] == ["coast"]


def test_a_lean_run_trains_as_a_whole_one(runs):
    assert runs["class-relational"].info.summary == runs["whole"].info.summary
    assert "Relations in use from step 4" in runs["class-relational"].info.notes[0]


def test_gradients_of_three_datasets_are_recorded_by_row(runs):
    modules, tasks, _ = runs["whole"].gramian_axes()
    assert tasks == ("avenue", "boulevard", "esplanade")
    assert {f"head[{name}]" for name in merged(THREE_SPACES).names} <= set(modules)


def test_the_third_list_has_synonyms_and_a_label_that_holds_two_of_the_others():
    assert ESPLANADE.labels == ("background", "sky", "ground", "person", "biker", "car", "lorry")
    found = set(relations(AVENUE, ESPLANADE))
    assert {Relation("rider", "biker", "same"), Relation("vehicle", "lorry", "inside")} <= found
    assert Relation("road", "ground", "overlap") in found
    assert Relation("background", "ground", "overlap") in found


def test_a_fourth_domain_leaves_the_scenes_of_the_first_three_as_they_are():
    # A domain's place in the list is part of its seed.
    assert list(ALL_STYLES)[: len(STYLES)] == list(STYLES)
    drawn = {name: draw_scenes(name, 1, 0).images for name in ALL_STYLES}
    assert len({images.tobytes() for images in drawn.values()}) == 4


def test_true_relations_of_three_lists_are_counted_by_hand():
    study = Study("class-relational", [draw_scenes(space.dataset, 2, 0) for space in THREE_SPACES], THREE_SPACES)
    union = study.uniseg.union
    for of, to, dataset in (("biker", "rider", 2), ("rider", "biker", 0), ("road", "ground", 0), ("sky", "person", 1)):
        study.uniseg.related[dataset, union.index(of), union.index(to)] = True
    # avenue: road in ground, rider = biker. boulevard in avenue: 6. boulevard in esplanade: road, sidewalk and lane
    # marking in ground, two bikers, truck = lorry: 6. esplanade: biker = rider, car, lorry in vehicle, lorry = truck.
    assert study.relation_results() == {"relations/found": pytest.approx(3 / 18), "relations/right": 0.75}
