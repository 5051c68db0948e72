"""The drawn road scenes: seeds, label spaces, and the relations between them."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.core import ConfigError
from workbench.demos.scenes import (
    APART,
    AVENUE,
    BOULEVARD,
    MERGED,
    SPACES,
    STYLES,
    TRUE_RELATIONS,
    LabelSpace,
    Relation,
    draw_scenes,
    relations,
    true_contingency,
)
from workbench.demos.scenes_draw import CONCEPTS, HEIGHT, WIDTH


def test_a_seed_decides_a_scene_whatever_else_is_drawn():
    many, few = draw_scenes("avenue", 5, seed=3), draw_scenes("avenue", 2, seed=3)
    assert np.array_equal(many.images[:2], few.images)
    assert np.array_equal(many.concepts[:2], few.concepts)
    assert not np.array_equal(draw_scenes("avenue", 2, seed=4).concepts, few.concepts)
    assert not np.array_equal(draw_scenes("boulevard", 2, seed=3).concepts, few.concepts)


@pytest.mark.parametrize("domain", STYLES)
def test_images_are_colours_and_every_concept_appears(domain):
    scenes = draw_scenes(domain, 60, seed=0)
    assert scenes.images.shape == (60, 3, HEIGHT, WIDTH)
    assert scenes.images.min() >= 0
    assert scenes.images.max() <= 1
    assert set(np.unique(scenes.concepts)) == set(range(len(CONCEPTS)))


def test_domains_differ_in_style_and_not_in_what_they_show():
    drawn = {domain: draw_scenes(domain, 150, seed=1) for domain in STYLES}
    share = {
        domain: np.bincount(scenes.concepts.ravel(), minlength=10) / scenes.concepts.size
        for domain, scenes in drawn.items()
    }
    assert np.abs(share["avenue"] - share["boulevard"]).max() < 0.03
    red_over_blue = {d: float(s.images[:, 0].mean() - s.images[:, 2].mean()) for d, s in drawn.items()}
    assert red_over_blue["avenue"] > red_over_blue["coast"] + 0.05 > red_over_blue["boulevard"] + 0.1
    spread = {d: float(s.images.std(axis=(2, 3)).mean()) for d, s in drawn.items()}
    assert spread["coast"] < spread["boulevard"] < spread["avenue"]


def test_labels_are_merged_by_name_into_twelve():
    assert AVENUE.labels == ("background", "sky", "road", "person", "rider", "vehicle")
    assert BOULEVARD.labels == CONCEPTS
    private = ("sidewalk", "lane marking", "cyclist", "motorcyclist", "car", "truck")
    assert (*AVENUE.labels, *private) == MERGED.names
    assert MERGED.label_sets == {"avenue": AVENUE.labels, "boulevard": BOULEVARD.labels}


def test_labels_kept_apart_share_no_row():
    assert len(APART.names) == 16
    assert APART.names[6] == "boulevard: background"
    assert sorted(APART.rows["avenue"] + APART.rows["boulevard"]) == list(range(16))


def test_the_true_relations_are_those_worked_out_by_hand():
    assert set(TRUE_RELATIONS) == {
        Relation("sky", "sky", "same"),
        Relation("person", "person", "same"),
        Relation("background", "background", "inside"),
        Relation("background", "sidewalk", "inside"),
        Relation("road", "road", "inside"),
        Relation("road", "lane marking", "inside"),
        Relation("rider", "cyclist", "inside"),
        Relation("rider", "motorcyclist", "inside"),
        Relation("vehicle", "car", "inside"),
        Relation("vehicle", "truck", "inside"),
    }
    contradicting = {relation.a for relation in TRUE_RELATIONS if relation.same_name and relation.kind != "same"}
    assert contradicting == {"background", "road"}


def test_labels_that_cross_overlap_and_labels_apart_are_not_related():
    crossed = LabelSpace("crossed", dict.fromkeys(CONCEPTS, "rest") | {"road": "ground", "car": "ground"})
    found = {(relation.a, relation.b): relation.kind for relation in relations(AVENUE, crossed)}
    assert found["road", "ground"] == "overlap"  # road holds lane marking, ground holds car
    assert found["sky", "rest"] == "overlap"  # sky lies inside rest, seen from rest's side
    assert ("sky", "ground") not in found


def test_annotations_and_the_true_contingency_agree_with_the_relations():
    concepts = draw_scenes("boulevard", 20, seed=2).concepts
    table = true_contingency(concepts)
    assert table.sum() == concepts.size
    related = {(AVENUE.labels.index(r.a), BOULEVARD.labels.index(r.b)) for r in TRUE_RELATIONS}
    assert {(int(a), int(b)) for a, b in np.argwhere(table > 0)} == related
    for space in SPACES:
        own = np.asarray(space.labels)[space.annotate(concepts)]
        assert np.array_equal(np.asarray(MERGED.names)[MERGED.annotate(concepts, space)], own)
        with_dataset = np.char.add(f"{space.dataset}: ", own)
        assert np.array_equal(np.asarray(APART.names)[APART.annotate(concepts, space)], with_dataset)


def test_an_unknown_domain_and_an_incomplete_label_space_are_refused():
    with pytest.raises(ConfigError, match="avenue, boulevard, coast"):
        draw_scenes("moon", 1, seed=0)
    with pytest.raises(ConfigError, match="'half' must label each concept"):
        LabelSpace("half", {"sky": "sky"})
