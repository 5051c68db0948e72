"""The plane of cost and accuracy: means with intervals, ways of one cost side by side, the best for each cost."""

from __future__ import annotations

import math

import pytest

from workbench.lenses.cost_figure import Costed, cost_figure

POINTS = (
    Costed("shared", (100.0, 100.0), (60.0, 64.0)),
    Costed("split", (100.0, 100.0), (61.0, 61.0)),
    Costed("alone", (400.0, 400.0), (70.0, 70.0)),
    Costed("wide", (900.0, 900.0), (65.0, 65.0)),
)


def traces(points=POINTS):
    figure = cost_figure(points, "operations", "accuracy, %")
    return figure, {trace.name: trace for trace in figure.data}


def test_every_way_has_its_mean_and_interval():
    figure, drawn = traces()
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == ("operations", "accuracy, %")
    assert list(drawn["shared"].y) == [62.0]
    # Two seeds: t = 12.706 times the standard deviation √8 over √2, which is 2.
    assert drawn["shared"].error_y.array[0] == pytest.approx(12.706 * 2, rel=1e-3)
    assert drawn["split"].error_y.array[0] == 0
    assert len({(trace.marker.color, trace.marker.symbol) for name, trace in drawn.items() if name != "best"}) == 5


def test_ways_of_one_cost_stand_side_by_side_and_say_their_true_cost():
    _, drawn = traces()
    assert drawn["shared"].x[0] < 100 < drawn["split"].x[0]
    assert drawn["alone"].x[0] == 400
    assert "cost 100" in drawn["shared"].hovertemplate


def test_the_steps_join_what_nothing_as_cheap_beats():
    _, drawn = traces()
    best = drawn["best for its cost"]
    assert (list(best.x), list(best.y)) == ([100, 400], [62, 70])


def test_one_seed_has_no_interval():
    _, drawn = traces([Costed("one", (5.0,), (1.0,))])
    assert math.isnan(drawn["one"].error_y.array[0])
