"""COCO files, VOC folders and label images open straight in the labels lens, one dataset each."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from workbench import open_run, open_runs
from workbench.core import RunFormatError, validate


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE_DIR", str(tmp_path / "cache"))


COCO = {
    "images": [{"id": 7}],
    "categories": [{"id": 3, "name": "car"}, {"id": 5, "name": "person"}],
    "annotations": [
        {"image_id": 7, "category_id": 3, "bbox": [0, 0, 4, 5], "area": 12.5},
        {"image_id": 9, "category_id": 5, "bbox": [0, 0, 2, 3]},
    ],
}
VOC = """<annotation><object><name>vehicle</name>
<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>5</xmax><ymax>4</ymax></bndbox></object></annotation>"""


def test_three_kinds_in_one_folder_are_three_datasets(tmp_path):
    (tmp_path / "city.json").write_text(json.dumps(COCO))
    (tmp_path / "road").mkdir()
    (tmp_path / "road" / "a.xml").write_text(VOC)
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "classes.txt").write_text("sky\nroad\n")
    Image.fromarray(np.array([[0, 0, 1], [0, 9, 1]], np.uint8)).save(tmp_path / "masks" / "1.png")
    run = open_run(tmp_path)
    assert {dataset.name: dataset.labels for dataset in run.info.datasets} == {
        "city": ("car", "person"),
        "road": ("vehicle",),
        "masks": ("sky", "road"),
    }
    table = run.table("label_counts").set_index(["dataset", "label"])["weight"]
    assert table.to_dict() == {
        ("city", "car"): 12.5,
        ("city", "person"): 6.0,
        ("road", "vehicle"): 8.0,
        ("masks", "sky"): 3.0,
        ("masks", "road"): 2.0,
    }
    assert run.table("label_counts").groupby("dataset")["sample"].min().is_unique
    assert validate(run.path) == []


def test_entities_in_xml_are_refused_and_named(tmp_path):
    (tmp_path / "road").mkdir()
    (tmp_path / "road" / "a.xml").write_text(VOC)
    bomb = '<!DOCTYPE a [<!ENTITY b "boom">]><annotation><object><name>&b;</name></object></annotation>'
    (tmp_path / "road" / "b.xml").write_text(bomb)
    (tmp_path / "road" / "c.xml").write_text(VOC[:40])
    run = open_run(tmp_path)
    assert run.table("label_counts")["label"].tolist() == ["vehicle"]
    reasons = " ".join(str(problem) for problem in run.problems)
    assert "entities, which are not expanded" in reasons
    assert "c.xml" in reasons


@given(st.integers(0, 10**4), st.integers(0, 255))
def test_a_damaged_coco_file_ends_in_data_or_a_clear_error(tmp_path_factory, place, byte):
    folder = tmp_path_factory.mktemp("coco")
    data = bytearray(json.dumps(COCO).encode())
    data[place % len(data)] = byte
    (folder / "city.json").write_bytes(bytes(data))
    try:
        run = open_run(folder)
        run.query("SELECT count(*) FROM label_counts")
    except RunFormatError as error:
        assert "city" in str(error) or str(folder) in str(error)


def test_masks_weigh_their_pixels_and_unlisted_categories_are_counted(tmp_path):
    annotations = [
        {"image_id": 1, "category_id": 3, "segmentation": {"counts": [10, 5, 80, 2], "size": [10, 10]}, "iscrowd": 1},
        {"image_id": "b", "category_id": 3, "segmentation": [[0, 0, 1, 0, 1, 1]], "bbox": []},
        {"image_id": 1, "category_id": 99, "bbox": [0, 0, 2, 2]},
        {"image_id": 1, "category_id": 5, "segmentation": {"counts": "abc"}, "bbox": [0, 0, 2, 3], "area": 0},
    ]
    (tmp_path / "city.json").write_text(json.dumps(COCO | {"annotations": annotations}))
    run = open_run(tmp_path)
    table = run.table("label_counts")
    assert table[["label", "weight", "region"]].to_numpy().tolist() == [["car", 7, 0], ["car", 1, 1], ["person", 6, 3]]
    assert "1 annotation(s) of categories that it does not list were skipped" in str(run.problems[0])


def test_a_file_that_is_skipped_leaves_no_label_behind(tmp_path):
    (tmp_path / "road").mkdir()
    (tmp_path / "road" / "a.xml").write_text(VOC)
    half = VOC.replace("</annotation>", "<object><bndbox><xmin>x</xmin></bndbox></object></annotation>")
    (tmp_path / "road" / "b.xml").write_text(half.replace("vehicle", "wrong"))
    (tmp_path / "road" / "c.xml").write_text("<annotation><object></object></annotation>")
    run = open_run(tmp_path)
    assert run.table("label_counts")["label"].tolist() == ["vehicle"]
    assert [problem.path.name for problem in run.problems] == ["b.xml"]


def test_other_runs_beside_annotations_are_found(tmp_path):
    (tmp_path / "city.json").write_text(json.dumps(COCO))
    (tmp_path / "road" / "Annotations").mkdir(parents=True)
    (tmp_path / "road" / "Annotations" / "a.xml").write_text(VOC)
    (tmp_path / "log.csv").write_text("step,loss\n1,0.5\n")
    (tmp_path / "deep" / "version_0").mkdir(parents=True)
    (tmp_path / "deep" / "version_0" / "metrics.csv").write_text("step,loss\n1,0.5\n")
    assert sorted(open_runs(tmp_path)) == sorted([tmp_path.name, "deep/version_0", "log.csv"])
