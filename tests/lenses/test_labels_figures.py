"""The figures of the labels lens show what the statistics hold."""

from __future__ import annotations

import numpy as np
import pytest
from label_runs import write_scenes

from workbench.lenses.labels import LENS, figures
from workbench.lenses.labels.statistics import statistics


@pytest.fixture(scope="module")
def stats(tmp_path_factory):
    return statistics(write_scenes(tmp_path_factory.mktemp("figures") / "run", n=40))


def test_matrix_shows_both_directions(stats):
    figure = figures.matrix(stats)
    left, right = figure.data
    pair = stats.pair()
    i, j = pair.labels_a.index("road"), pair.labels_b.index("lane")
    at = (list(left.y).index("road"), list(left.x).index("lane"))
    assert np.asarray(left.z)[at] == pytest.approx(pair.b_given_a.value[i, j])
    assert np.asarray(right.z)[at] == pytest.approx(pair.a_given_b.value[i, j])
    assert list(left.x)[:2] == ["background", "sidewalk"]
    assert figure.layout.yaxis.title.text == "coarse"


def test_graph_draws_one_line_a_relation(stats):
    figure = figures.graph(stats)
    lines = [trace for trace in figure.data if trace.mode == "lines"]
    assert len(lines) == (stats.relations["kind"] != "unrelated").sum()
    assert {trace.name for trace in lines if trace.showlegend} == {"same", "part of", "contradicts"}
    only = figures.graph(stats, kinds="contradicts")
    assert sum(trace.mode == "lines" for trace in only.data) == 2


def test_conflicts_name_the_other_label(stats):
    figure = figures.conflicts(stats, dataset="fine")
    rows = list(figure.layout.yaxis.categoryarray)
    assert len(rows) == 7
    assert all(row.startswith("fine: ") for row in rows)
    called = next(trace for trace in figure.data if trace.mode == "text")
    assert {"  road", "  background", "  vehicle"} <= set(called.text)


def test_every_view_has_a_title(stats):
    for view in LENS.shown(stats):
        assert view.figure(stats).layout.title.text or view.slug in ("contexts", "pull")  # not recorded here
        assert view.about
