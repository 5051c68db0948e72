"""Label lists: who annotates what, what each loss speaks about, scores, pictures, and two runs label by label."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from workbench.core import ConfigError, Run, RunWriter
from workbench.demos.data.thumbnails import pngs
from workbench.lenses.labels import list_figures, map_figure, paired
from workbench.lenses.labels.scores import BINARY, RELATIONAL, SOFTMAX
from workbench.lenses.labels.statistics import statistics

DATASETS = [{"name": "coarse", "labels": ("road", "vehicle")}, {"name": "fine", "labels": ("road", "car", "truck")}]
NAMES = ["road", "vehicle", "car", "truck"]


def write(path, gain=0.0, samples=(4, 7)) -> Run:
    with RunWriter(path, datasets=DATASETS, config={"outputs": NAMES}) as rec:
        rec.label_counts(dataset="coarse", sample=[0, 0], region=[0, 1], label=["road", "vehicle"], weight=[3.0, 1.0])
        rec.label_counts(
            dataset="fine", sample=[1, 1, 1], region=[0, 1, 2], label=["road", "car", "truck"], weight=[5.0, 3.0, 2.0]
        )
        rec.array("mean_cosines", 2, {name: np.zeros((4, 4)) for name in ("coarse", "fine")})
        fine = np.eye(4)
        fine[[2, 3], 1] = 1  # car and truck are vehicles
        fine[0, 2] = 1  # a wrong one inside the own list
        rec.array("targets", 2, {"coarse": np.eye(4), "fine": fine})
        for step in (1, 2):
            rec.scalars(step, {"mIoU/coarse/coarse": 0.4 * step, "mIoU/street/fine": 0.1 * step, "loss/fine": 1.0})
            rec.scalars(step, {"IoU/street/fine/road": 0.3 * step + gain, "IoU/street/fine/car": 0.1 * step})
        rec.scalars(2, {"IoU/street/fine/truck": float("nan")})
        rec.samples(
            {"sample": list(samples), "domain": ["street", "town"], "thumbnail": [*pngs(np.zeros((1, 2, 3))), None]}
        )
        truth = np.array([[[0, 1, 0], [0, 0, 0]], [[1, 1, 1], [0, 0, 9]]], dtype=np.uint8)
        maps = {"truth/coarse": truth, "said/coarse": truth[::-1], "truth/fine": truth, "said/fine": truth}
        rec.array("label_maps", 2, {"sample": np.array(samples)} | maps)
    return Run(path)


@pytest.fixture(scope="module")
def stats(tmp_path_factory):
    return statistics(write(tmp_path_factory.mktemp("lists") / "run"))


def test_shares_of_annotation_are_weights_over_the_datasets_total(stats):
    shares = stats.annotated.set_index(["dataset", "label"])["share"].to_dict()
    expected = {("coarse", "road"): 0.75, ("coarse", "vehicle"): 0.25, ("fine", "road"): 0.5, ("fine", "car"): 0.3}
    assert shares == pytest.approx(expected | {("fine", "truck"): 0.2})


def test_terms_of_each_loss_by_hand(stats):
    # Four names. Fine, related: of 10 pixels, 5 road (yes: road, car; no: truck), 3 car and 2 truck (yes: own, vehicle;
    # no: the other two of the list) make 20 yes and 5 + 10 no among 40 terms.
    terms = stats.terms.set_index(["dataset", "loss"])[["positive", "negative", "silent"]]
    assert terms.loc[("fine", SOFTMAX)].tolist() == [0.25, 0.75, 0.0]
    assert terms.loc[("coarse", BINARY)].tolist() == [0.25, 0.25, 0.5]
    assert terms.loc[("fine", BINARY)].tolist() == [0.25, 0.5, 0.25]
    assert terms.loc[("coarse", RELATIONAL)].tolist() == pytest.approx([0.25, 0.25, 0.5])
    assert terms.loc[("fine", RELATIONAL)].tolist() == pytest.approx([20 / 40, 15 / 40, 5 / 40])
    assert np.allclose(terms.sum(axis=1), 1)


def test_the_last_finite_score_of_every_place_is_kept(stats):
    rows = {(row.pictures, row.labels, row.label): (row.step, row.value) for row in stats.scores.itertuples()}
    assert rows == {
        ("coarse", "coarse", ""): (2, 0.8),
        ("street", "fine", ""): (2, 0.2),
        ("street", "fine", "road"): (2, 0.6),
        ("street", "fine", "car"): (2, 0.2),
    }


def test_figures_show_the_lists_the_terms_and_the_scores(stats):
    lists = list_figures.lists(stats)
    (heat,) = lists.data
    assert list(heat.x) == NAMES
    assert np.isnan(np.asarray(heat.z, dtype=float)[0, 2])  # coarse has no cars
    assert np.asarray(heat.z, dtype=float)[1].tolist()[2:] == pytest.approx([0.3, 0.2])
    assert lists.layout.title.text.startswith("4 names in 2 lists; 1 in all of them")
    bars = {trace.name: dict(zip(trace.y, trace.x, strict=True)) for trace in list_figures.terms(stats).data}
    assert set(bars) == {"positive", "negative", "silent"}
    assert bars["silent"][f"fine: {BINARY}"] == 0.25
    (board,) = list_figures.scoreboard(stats).data
    assert (list(board.y), list(board.x)) == (["coarse", "street"], ["coarse", "fine"])
    assert np.asarray(board.z, dtype=float)[0, 0] == 0.8
    assert np.isnan(np.asarray(board.z, dtype=float)[0, 1])


def test_pictures_stand_beside_what_is_true_and_what_was_said(stats):
    assert stats.maps.titles == ("street 4", "town 7")
    assert stats.maps.truth["fine"][0].tolist() == [[0, 2, 0], [0, 0, 0]]  # the list's second label is car
    assert stats.maps.truth["fine"][1, 1, 2] == -1  # no label has that number
    figure = map_figure.strip(stats)
    assert sum(trace.type == "image" for trace in figure.data) == 1
    assert sum(trace.type == "heatmap" for trace in figure.data) == 2 * 4
    assert {trace.name for trace in figure.data if trace.type == "scatter"} == {"road", "vehicle", "car"}


def test_two_runs_are_compared_label_by_label(stats, tmp_path):
    other = statistics(write(tmp_path / "other", gain=0.2))
    compared = paired.compare(stats, other)
    assert compared["label"].tolist() == ["car", "road"]
    assert compared["difference"].tolist() == pytest.approx([0.0, 0.2])
    assert paired.places(compared) == [("street", "fine")]
    figure = paired.figure(compared, ("one", "two"), "street", "fine")
    assert "+10.0 points" in figure.layout.title.text
    assert {trace.name: list(trace.x) for trace in figure.data if trace.mode == "markers"} == {
        "one": pytest.approx([0.2, 0.6]),
        "two": pytest.approx([0.2, 0.8]),
    }
    with pytest.raises(ConfigError, match="did not both score the pictures of 'moon'"):
        paired.figure(compared, ("one", "two"), "moon", "fine")
    both = map_figure.strip_of_two(stats, other, ("one", "two"), "fine")
    assert sum(trace.type == "heatmap" for trace in both.data) == 2 * 3


def test_pictures_of_two_runs_must_be_the_same(stats, tmp_path):
    elsewhere = statistics(write(tmp_path / "elsewhere", samples=(4, 8)))
    for second in (elsewhere, replace(stats, maps=None)):
        with pytest.raises(ConfigError, match="no label maps of the same pictures"):
            map_figure.strip_of_two(stats, second, ("one", "two"), "fine")
    with pytest.raises(ConfigError, match="no label maps in one list 'none'"):
        map_figure.strip_of_two(stats, stats, ("one", "two"), "none")
