"""Methods side by side, values of inputs that are no pictures, and units of a layer."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.lenses.attribution_grid import attribution_grid, values_grid
from workbench.lenses.conductance_figure import LOWERS, RAISES, UNITS, conductance_figure, unit_table
from workbench.lenses.palette import UNKNOWN


def test_every_map_stands_at_its_sample_task_and_method_with_its_checks():
    rng = np.random.default_rng(0)
    keys = [(task, method) for task in ("left", "right") for method in ("slow", "fast")]
    maps = {key: rng.normal(size=(3, 6, 6)) * (9 if key[1] == "fast" else 1) for key in keys}
    names = {task: [f"{task} {i}" for i in range(3)] for task in ("left", "right")}
    checks = {(task, method): [f"{task} {method} {i} checked" for i in range(3)] for task, method in keys}
    fig = attribution_grid(rng.random((3, 1, 6, 6)), maps, names, checks)
    heat = [trace for trace in fig.data if trace.type == "heatmap"]
    assert len(heat) == 12
    np.testing.assert_array_equal(heat[0].z, maps["left", "slow"][0])
    np.testing.assert_array_equal(heat[3].z, maps["right", "fast"][0])
    np.testing.assert_array_equal(heat[-1].z, maps["right", "fast"][2])
    assert heat[0].zmax == heat[2].zmax == -heat[0].zmin
    assert heat[1].zmax > 3 * heat[0].zmax
    said = [note.text for note in fig.layout.annotations]
    assert said[:3] == ["left 0", "left slow 0 checked", "left fast 0 checked"]
    assert said[-1] == "right fast 2 checked"


def test_values_of_vectors_are_rows_of_samples():
    maps = {("a", "slow"): np.arange(6.0).reshape(2, 3), ("b", "slow"): -np.ones((2, 3))}
    fig = values_grid(maps, ["sample 4", "sample 9"], ["0", "1", "2"])
    assert len(fig.data) == 2
    np.testing.assert_array_equal(fig.data[0].z, maps["a", "slow"])
    assert list(fig.data[0].y) == ["sample 4", "sample 9"]
    assert [note.text for note in fig.layout.annotations] == ["a: slow", "b: slow"]


def test_units_have_students_interval_and_one_order_for_all_tasks():
    values = {"a": np.array([[1.0, -4.0, 0.0], [3.0, -4.2, 0.1]]), "b": np.array([[0.0, 0.0, 9.0], [0.0, 0.0, 9.0]])}
    table = unit_table(values)
    row = table[(table["task"] == "a") & (table["unit"] == 0)].iloc[0]
    # Two samples: t of one degree of freedom at 97.5 % is 12.706, the standard error is 1.
    assert (row["mean"], row["n"]) == (2.0, 2)
    assert row["high"] == pytest.approx(2 + 12.7062, abs=1e-3)
    fig = conductance_figure(table)
    assert [list(trace.x) for trace in fig.data] == [["2", "1", "0"]] * 2
    assert list(fig.data[0].y) == pytest.approx([0.05, -4.1, 2.0])
    assert list(fig.data[0].marker.color) == [UNKNOWN, LOWERS, UNKNOWN]
    assert fig.data[1].marker.color[0] == RAISES
    assert [note.text for note in fig.layout.annotations] == ["a", "b"]


def test_only_the_largest_units_of_a_wide_layer_are_shown():
    values = np.tile(np.arange(90.0), (3, 1)) + np.random.default_rng(0).normal(size=(3, 90)) / 100
    fig = conductance_figure(unit_table({"a": values}))
    assert len(fig.data[0].x) == UNITS
    assert fig.data[0].x[0] == "89"
    alone = unit_table({"a": values[:1]})
    assert alone["low"].isna().all()
    assert conductance_figure(alone).data[0].error_y.array[0] == 0
