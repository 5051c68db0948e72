"""Relations by mean cosine: the rule worked by hand, what was planted and trained with, and the marks of the figure."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workbench.core import Run, RunWriter
from workbench.lenses import look
from workbench.lenses.labels.relatedness import Relatedness, read_relatedness
from workbench.lenses.labels.relatedness_figure import relatedness_figure
from workbench.lenses.labels.statistics import statistics
from workbench.methods.uniseg import related_labels

NAMES = ["road", "vehicle", "car"]
DATASETS = [{"name": "coarse", "labels": ("road", "vehicle")}, {"name": "fine", "labels": ("road", "car")}]
#: Pixels of cars lie closer to "vehicle" than to "car"; those of the fine road closer to "car" than they should.
S = np.array([[0.2, -0.5, 0.3], [np.nan] * 3, [-0.4, 0.35, 0.1]])
COARSE = np.array([[0.5, -0.2, -0.3], [-0.1, 0.4, 0.2], [np.nan] * 3])


def write(path, **more) -> Run:
    config = {"outputs": NAMES, "threshold": -0.08, "planted": {"relations": [["fine", "car", "vehicle"]]}} | more
    with RunWriter(path, datasets=DATASETS, config=config) as rec:
        rec.array("mean_cosines", 5, {"coarse": COARSE, "fine": S})
        rec.array("mean_cosines", 9, {"coarse": COARSE, "fine": S - 0.5})
        trained = np.where(np.eye(3) == 1, 1.0, 0.0)
        trained[2, 1] = 1
        rec.array("targets", 5, {"coarse": np.eye(3), "fine": trained})
    return Run(path)


def found(table):
    return [tuple(row) for row in table.loc[table["found"], ["dataset", "label", "related"]].itertuples(index=False)]


def test_relations_are_those_above_the_own_cosine_and_the_threshold(tmp_path):
    related = read_relatedness(write(tmp_path / "run"))
    assert (related.steps, related.taken, related.shown) == ((5, 9), 5, 5)
    table = related.table()
    assert len(table) == 8  # two labels with pixels a dataset, two other outputs each
    assert found(table) == [("fine", "road", "car"), ("fine", "car", "vehicle")]
    held, trained = table[table["planted"]], table[table["trained_with"]]
    assert held[["dataset", "label", "related"]].to_numpy().tolist() == [["fine", "car", "vehicle"]]
    assert trained.index.tolist() == held.index.tolist()
    assert held[["cosine", "own_cosine"]].iloc[0].tolist() == pytest.approx([0.35, 0.1])
    # Half a unit lower, both still exceed their own cosine, but not τ = -0.08.
    assert found(related.table(9)) == []
    assert found(related.table(9, -0.3)) == [("fine", "road", "car"), ("fine", "car", "vehicle")]


@given(st.integers(0, 2**31 - 1), st.floats(-1, 1))
def test_the_rule_is_the_one_that_the_method_trains_with(seed, threshold):
    s = np.random.default_rng(seed).uniform(-1, 1, (3, 3))
    related = Relatedness(tuple(NAMES), {0: {"fine": s}}, None, {}, None, threshold)
    expected = related_labels(torch.from_numpy(s), threshold).nonzero().tolist()
    assert found(related.table()) == [("fine", NAMES[c], NAMES[k]) for c, k in expected]


def test_runs_without_cosines_or_with_others_outputs_have_none(tmp_path):
    with RunWriter(tmp_path / "bare", datasets=DATASETS):
        pass
    assert read_relatedness(Run(tmp_path / "bare")) is None
    assert read_relatedness(write(tmp_path / "other", outputs=["a", "b"])) is None
    unknown = read_relatedness(write(tmp_path / "unknown", planted="yes", threshold=None))
    assert (unknown.planted, unknown.threshold) == (None, -0.08)
    assert not unknown.table()["planted"].any()


def test_the_figure_marks_what_was_found_planted_and_trained(tmp_path):
    stats = statistics(write(tmp_path / "run"))
    figure = relatedness_figure(stats)
    assert "2 relations found: 1 of the 1 planted, and 1 other" in figure.layout.title.text
    marks = {}
    for trace in figure.data:
        if trace.type == "scatter":
            marks.setdefault(trace.name, []).extend(zip(trace.y, trace.x, strict=True))
    assert marks == {
        "found by the rule": [("road", "car"), ("car", "vehicle")],
        "planted: holds in truth": [("car", "vehicle")],
        "trained with": [("car", "vehicle")],
    }
    heat = next(trace for trace in figure.data if trace.type == "heatmap" and "car" in trace.y)
    cell = np.asarray(heat.z)[list(heat.y).index("car"), list(heat.x).index("vehicle")]
    assert cell == pytest.approx(0.25)
    assert heat.zmin == -heat.zmax
    assert "0 relations found" in relatedness_figure(stats, threshold=1.0).layout.title.text
    only = relatedness_figure(stats, dataset="coarse")
    assert [trace.y for trace in only.data if trace.type == "heatmap"] == [("road", "vehicle")]


def test_the_verdict_counts_the_relations_that_were_trained(tmp_path):
    right = look(write(tmp_path / "right"), "labels").verdicts[-1]
    assert right.level == "fine"
    said = "From step 5 on, the loss joined fine's 'car' with 'vehicle': "
    assert right.sentence == f"{said}1 of the 1 relations that hold, and 0 that do not."
    assert right.options == {"view": "cosines"}
    other = {"planted": {"relations": [["fine", "car", "road"]]}}
    wrong = [v for v in look(write(tmp_path / "wrong", **other), "labels").verdicts if "the loss joined" in v.sentence]
    assert [(verdict.level, "0 of the 1" in verdict.sentence) for verdict in wrong] == [("watch", True)]
    unknown = look(write(tmp_path / "unknown", planted=None), "labels").verdicts[-1]
    assert unknown.sentence.endswith("joined fine's 'car' with 'vehicle'.")
