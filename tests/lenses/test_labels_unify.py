"""The proposed label space: merged, nested, kept apart, without circles, and a person's word counts."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import yaml
from label_runs import write_scenes

from workbench.core import ConfigError, Run, RunWriter
from workbench.lenses.labels.statistics import statistics
from workbench.lenses.labels.unify import edited, propose


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return statistics(write_scenes(tmp_path_factory.mktemp("scenes") / "run", n=60))


def relation(a, b, kind, direction="", certainty=0.9, datasets=("A", "B")):
    names = {"dataset_a": datasets[0], "label_a": a, "dataset_b": datasets[1], "label_b": b}
    return names | {"kind": kind, "direction": direction, "certainty": certainty, "pending": False}


def test_known_scenes_are_unified(scenes):
    labels = scenes.unified.labels.set_index("label")
    assert labels.loc["sidewalk", "parent"] == "background (coarse)"
    assert labels.loc["lane", "parent"] == "road (coarse)"
    assert labels.loc[["car", "truck"], "parent"].tolist() == ["vehicle", "vehicle"]
    assert labels.loc["person", "datasets"] == "coarse, fine"
    # Fine's road lies inside coarse's road, which also holds lanes: one name, two meanings, kept apart.
    assert labels.loc["road (fine)", "parent"] == "road (coarse)"
    assert labels.loc["road (fine)", "origin"] == "name had two meanings"


def test_leaves_are_what_a_label_may_be(scenes):
    mapping = scenes.unified.mapping.set_index(["dataset", "label"])["leaves"]
    assert set(mapping["coarse", "vehicle"]) == {"vehicle", "car", "truck"}
    assert set(mapping["coarse", "road"]) == {"road (coarse)", "road (fine)", "lane"}
    assert mapping["fine", "car"] == ("car",)


def test_a_label_that_the_dataset_tells_apart_is_no_leaf_of_its_background():
    spaces = {"A": ("background",), "B": ("background", "sidewalk")}
    relations = pd.DataFrame(
        [
            relation("background", "background", "same"),
            relation("background", "sidewalk", "contradicts", "b in a"),
        ]
    )
    mapping = propose(spaces, relations).mapping.set_index(["dataset", "label"])["leaves"]
    assert mapping["A", "background"] == ("background", "sidewalk")
    assert mapping["B", "background"] == ("background",)


def test_the_weakest_edge_of_a_circle_is_dropped():
    spaces = {"A": ("x",), "B": ("y",), "C": ("z",)}
    relations = pd.DataFrame(
        [
            relation("x", "y", "part of", "a in b", 0.9),
            relation("y", "z", "part of", "a in b", 0.8, ("B", "C")),
            relation("x", "z", "part of", "b in a", 0.75, ("A", "C")),
        ]
    )
    labels = propose(spaces, relations).labels.set_index("label")["parent"]
    assert labels.to_dict() == {"x": "y", "y": "z", "z": ""}


def test_a_rejected_relation_does_not_count(scenes):
    pair = (("coarse", "person"), ("fine", "person"))
    again = propose(scenes.spaces, scenes.relations, rejected=[pair])
    assert {"person (coarse)", "person (fine)"} <= set(again.labels["label"])


def test_names_decide_where_nothing_was_measured(tmp_path):
    lists = [{"name": "A", "labels": ("car", "sky")}, {"name": "B", "labels": ("car", "tree")}]
    RunWriter(tmp_path / "run", datasets=lists).close()
    labels = statistics(Run(tmp_path / "run")).unified.labels
    assert labels["label"].tolist() == ["car", "sky", "tree"]
    assert labels["datasets"].tolist() == ["A, B", "A", "B"]


def test_export_is_plain_and_complete(scenes):
    plain = json.loads(json.dumps(scenes.unified.export()))
    assert {entry["name"] for entry in plain["labels"]} == set(scenes.unified.labels["label"])
    assert plain["mapping"]["fine"]["lane"] == {"unified": "lane", "any_of": ["lane"]}
    assert set(plain["mapping"]["coarse"]) == {"background", "road", "vehicle", "person"}


def test_an_edited_space_merges_what_has_one_name_and_checks_the_parents(scenes):
    unified = {(row.dataset, row.label): row.unified for row in scenes.unified.mapping.itertuples()}
    parents = scenes.unified.labels.set_index("label")["parent"].to_dict()
    same = edited(scenes.spaces, unified, parents)
    pd.testing.assert_frame_equal(same.labels, scenes.unified.labels)
    assert [set(leaves) for leaves in same.mapping["leaves"]] == [set(a) for a in scenes.unified.mapping["leaves"]]
    unified["fine", "car"] = unified["fine", "truck"] = "vehicle"
    merged = edited(scenes.spaces, unified)
    assert merged.labels.set_index("label").loc["vehicle", "datasets"] == "coarse, fine"
    with pytest.raises(ConfigError, match="'car' of fine has no unified name"):
        edited(scenes.spaces, unified | {("fine", "car"): " "})
    with pytest.raises(ConfigError, match="'lorry', the parent of 'vehicle', is no unified label"):
        edited(scenes.spaces, unified, {"vehicle": "lorry"})
    with pytest.raises(ConfigError, match="each be a part of the other"):
        edited(scenes.spaces, unified, {"vehicle": "person", "person": "vehicle"})


def test_a_space_is_written_in_three_formats(scenes):
    space = scenes.unified
    assert yaml.safe_load(space.text("yaml")) == json.loads(space.text("json")) == space.export()
    lines = space.text("csv").splitlines()
    assert lines[0] == "dataset,label,unified,any_of"
    assert len(lines) == 1 + len(space.mapping)
