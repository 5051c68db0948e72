"""Published class lists: their sizes, and overlaps that are known from the datasets' papers."""

from __future__ import annotations

import pytest

from workbench.core import ConfigError, RunInfo
from workbench.demos.label_spaces import LABEL_SPACES, published

SIZES = {
    "cityscapes": 19, "bdd100k": 19, "camvid": 11, "idd": 26, "wilddash2": 25, "mapillary": 65, "coco": 80,
    "ade20k": 150,
}  # fmt: skip


def shared(*names: str) -> int:
    """Number of names that all the given datasets spell alike."""
    return len(set.intersection(*(set(LABEL_SPACES[name]) for name in names)))


def test_every_list_has_its_published_number_of_different_names():
    assert {name: len(labels) for name, labels in LABEL_SPACES.items()} == SIZES
    for labels in LABEL_SPACES.values():
        assert len({label.casefold() for label in labels}) == len(labels)
        assert all(label == label.strip() and label for label in labels)


def test_the_union_of_three_driving_datasets_has_the_reported_size():
    # Kim et al. 2022, arXiv:2202.14030, train on Cityscapes, IDD and BDD100K with 28 classes.
    assert len({label for name in ("cityscapes", "idd", "bdd100k") for label in LABEL_SPACES[name]}) == 28


def test_names_agree_only_as_far_as_they_are_spelled_alike():
    assert shared("cityscapes", "bdd100k") == 19
    assert shared("cityscapes", "idd") == 17  # all but terrain and train
    assert shared("cityscapes", "wilddash2") == 18  # all but train
    assert shared("cityscapes", "mapillary") == 0  # capitals
    # road, sidewalk, building, wall, fence, pole, traffic light, sky, person, car, truck, bus, bicycle
    assert shared("cityscapes", "ade20k") == 13
    assert shared("cityscapes", "coco") == 8  # person, traffic light, and six vehicles


def test_published_lists_become_datasets_of_a_run():
    info = RunInfo("names", datasets=published("idd", "camvid"))
    assert [(dataset.name, len(dataset.labels)) for dataset in info.datasets] == [("idd", 26), ("camvid", 11)]
    assert [dataset.name for dataset in published()] == list(SIZES)
    assert RunInfo.from_json(info.to_json()).datasets == info.datasets


def test_an_unknown_dataset_is_refused_by_name():
    with pytest.raises(ConfigError, match="'moon'.*cityscapes"):
        published("moon")
