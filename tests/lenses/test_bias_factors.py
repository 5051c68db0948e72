"""Continuous attributes are cut as asked: equally filled, equally wide, or at the reader's own edges."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from bias_runs import write_table
from hypothesis import given
from hypothesis import strategies as st

from workbench.core import ConfigError
from workbench.lenses.bias.factors import Binning, _bin_names
from workbench.lenses.bias.paired import compare
from workbench.lenses.bias.statistics import statistics


def run_of(path, age, kind="continuous", **more):
    right = np.zeros(len(age), dtype=int)
    return write_table(path, {"age": age} | more, right, right, attributes=[{"name": "age", "kind": kind}, *more])


def sizes(stats):
    found = stats.groups[stats.groups["factor_1"] == "age"].query("order == 1").set_index("level_1")["n"]
    (factor,) = [factor for factor in stats.factors if factor.name == "age"]
    return found.reindex(factor.levels).fillna(0).astype(int).tolist()


def test_bins_hold_as_many_samples_or_are_as_wide(tmp_path):
    age = np.arange(200) ** 2 / 400.0  # 0 to 99, crowded near 0
    run = run_of(tmp_path / "run", age)
    assert sizes(statistics(run)) == [50, 50, 50, 50]
    stats = statistics(run, binning="widths")
    expected = pd.cut(age, np.linspace(age.min(), age.max(), 5), include_lowest=True).value_counts().tolist()
    assert sizes(stats) == expected
    assert stats.factors[0].edges == pytest.approx(np.linspace(age.min(), age.max(), 5)[1:-1])
    assert (stats.bins, stats.binning, stats.edges) == (4, "widths", {})


def test_own_edges_replace_the_bins_of_one_attribute(tmp_path):
    rng = np.random.default_rng(0)
    run = run_of(tmp_path / "run", np.linspace(0, 100, 101), height=rng.normal(size=101))
    stats = statistics(run, bins=3, edges={"age": (18, 65, 400)})
    age, height = stats.factors
    assert age.levels == ("0 to 18", "18 to 65", "65 to 100")
    assert sizes(stats) == [19, 47, 35]
    assert len(height.levels) == 3
    assert [len(compare(run, run, edges={"age": (18,)}).groups.query("factor == 'age'")), age.edges] == [
        2,
        (18.0, 65.0),
    ]
    outside = statistics(run, edges={"age": (-5, 200)})
    assert outside.notes == ("'age' was left out: all samples lie in one bin.",)


def test_whole_numbers_are_cut_when_there_are_too_many_of_them(tmp_path):
    rng = np.random.default_rng(0)
    age = rng.integers(18, 95, 4000)
    assert len(statistics(run_of(tmp_path / "ordered", age, "ordered")).factors[0].levels) == 4
    plain = write_table(tmp_path / "plain", {"age": age}, np.zeros(4000, dtype=int), np.zeros(4000, dtype=int))
    assert len(statistics(plain).factors[0].levels) == 4
    assert "too many" in statistics(run_of(tmp_path / "named", age, "categorical")).notes[0]


def test_an_identifier_is_no_measurement(tmp_path):
    zeros = np.zeros(500, dtype=int)
    run = write_table(tmp_path / "run", {"patient": np.arange(500) // 2, "side": ["a", "b"] * 250}, zeros, zeros)
    assert [factor.name for factor in statistics(run).factors] == ["side"]


def test_bins_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match="equal in 'counts' or 'widths'; got 4 and 'depth'"):
        Binning(4, "depth")
    with pytest.raises(ConfigError, match="edges of 'age' must be finite numbers; got \\[nan\\]"):
        Binning(edges={"age": (float("nan"),)})


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=8, unique=True))
def test_names_of_bins_differ_and_hold_no_exponent_of_small_numbers(limits):
    limits = sorted(limits)
    names = _bin_names(limits[1:-1], limits[0], limits[-1])
    assert len(set(names)) == len(names) == len(limits) - 1
    if all(abs(limit) < 10_000 and (abs(limit) >= 1 or limit == 0) for limit in limits):
        assert not any("e+" in name for name in names)


def test_names_of_bins_are_short():
    assert _bin_names((34.52, 43.5, 54.4), 10.04, 121.7) == ("10 to 35", "35 to 44", "44 to 54", "54 to 122")
    assert _bin_names((0.5,), 0.0, 1.0) == ("0 to 0.5", "0.5 to 1")
    assert _bin_names((1234567.0,), 12.5, 2345678.0) == ("12 to 1.2e+06", "1.2e+06 to 2.3e+06")
