from __future__ import annotations

from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest

from workbench.core import Run, RunWriter
from workbench.lenses.compare import differences, metrics, options, same_scales


def run(folder: Path, accuracy: float | None, **info: object) -> Run:
    with RunWriter(folder, versions={"torch": "1"}, code={"revision": "abc"}, **info) as writer:
        if accuracy is not None:
            writer.scalars(0, {"accuracy": 0.0})
            writer.scalars(9, {"accuracy": accuracy})
    return Run(folder)


def test_only_options_that_differ_are_listed_with_both_values(tmp_path: Path):
    first = run(tmp_path / "a", None, config={"lr": 0.1, "net": {"width": 8}}, seed=0, tasks=["left"])
    second = run(tmp_path / "b", None, config={"lr": 0.1, "net": {"width": 16}, "extra": True}, seed=0, tasks=["left"])
    table = differences(first, second).set_index("option")
    assert table.loc["config.net.width"].tolist() == ["8", "16"]
    assert table.loc["config.extra"].tolist() == ["", "True"]
    assert set(table.index) == {"config.net.width", "config.extra"}
    assert options(first)["seed"] == "0"


def test_last_values_of_either_run_with_their_difference(tmp_path: Path):
    table = metrics(run(tmp_path / "a", 0.5), run(tmp_path / "b", 0.75))
    assert table.to_dict("records") == [
        {"tag": "accuracy", "first": 0.5, "second": 0.75, "difference": pytest.approx(0.25)}
    ]
    alone = metrics(run(tmp_path / "c", 0.5), run(tmp_path / "d", None))
    assert np.isnan(alone["second"].iloc[0])
    assert metrics(run(tmp_path / "e", None), run(tmp_path / "f", None)).empty


def test_numeric_axes_get_the_range_of_both_figures_with_their_error_bars():
    first = go.Figure(go.Scatter(x=[0, 10], y=[1, 2], error_y={"array": [1, 1]}))
    second = go.Figure(go.Scatter(x=[5, 20], y=[0, 1]))
    same_scales(first, second)
    assert first.layout.xaxis.range == second.layout.xaxis.range == (-1.0, 21.0)
    low, high = first.layout.yaxis.range
    assert (low, high) == (pytest.approx(-0.15), pytest.approx(3.15))


def test_categories_are_left_alone_bars_start_at_zero_and_reversed_axes_stay_reversed():
    first = go.Figure(go.Bar(x=["a", "b"], y=[2, 4]))
    second = go.Figure(go.Bar(x=["a", "c"], y=[1, 3]))
    same_scales(first, second)
    assert first.layout.xaxis.range is None
    assert first.layout.yaxis.range[0] < 0 < 4 < first.layout.yaxis.range[1]
    flipped = go.Figure(go.Scatter(x=[0], y=[1]), layout={"yaxis": {"autorange": "reversed"}})
    same_scales(flipped, go.Figure(go.Scatter(x=[0], y=[2])))
    assert flipped.layout.yaxis.range[0] > flipped.layout.yaxis.range[1]


def test_heat_maps_share_limits_unless_they_fix_their_own():
    first, second = go.Figure(go.Heatmap(z=[[0, 1]])), go.Figure(go.Heatmap(z=[[-3, np.nan]]))
    same_scales(first, second)
    assert (first.data[0].zmin, first.data[0].zmax) == (second.data[0].zmin, second.data[0].zmax) == (-3, 1)
    fixed = go.Figure(go.Heatmap(z=[[0, 0.5]], zmin=-1, zmax=1))
    same_scales(fixed, go.Figure(go.Heatmap(z=[[9, 9]])))
    assert fixed.data[0].zmax == 1
