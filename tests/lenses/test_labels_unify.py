"""The proposed label space: merged, nested, kept apart, without circles, and a person's word counts."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from label_runs import write_scenes

from workbench.core import Run, RunWriter
from workbench.lenses.labels.statistics import statistics
from workbench.lenses.labels.unify import propose


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
