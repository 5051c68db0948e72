"""A set of chosen samples is found again at its address, and the run is not touched."""

from __future__ import annotations

import os

import pytest

from workbench.core import ConfigError, Run, RunWriter
from workbench.lenses import sample_sets
from workbench.lenses.kept import keep
from workbench.lenses.sample_sets import KIND, name_it, named, recall, remember, sample_set


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("WORKBENCH_CACHE_DIR", str(tmp_path / "cache"))
    RunWriter(tmp_path / "run", name="run").close()
    return Run(tmp_path / "run")


def test_an_unnamed_set_is_found_at_a_short_address_that_depends_on_all_it_holds(run):
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    chosen = sample_set([3, 1, 3], "colour: red")
    assert chosen.samples == (1, 3)
    address = remember(run, chosen)
    assert len(address) == 13
    assert recall(run, address) == chosen
    assert remember(run, sample_set([1, 3], "colour: red")) == address
    assert remember(run, sample_set([1, 3], "colour: blue")) != address
    assert remember(run, sample_set([1, 4], "colour: red")) != address
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before


def test_a_named_set_is_found_by_its_name_until_it_is_forgotten(run):
    chosen = sample_set([7], "pocket 1")
    assert name_it(run, chosen, " the dark ones / ä ") == "the dark ones / ä"
    assert recall(run, "the dark ones / ä") == chosen
    assert named(run) == {"the dark ones / ä": chosen}


def test_another_run_has_none_of_them(run, tmp_path):
    RunWriter(tmp_path / "other", name="other").close()
    other = Run(tmp_path / "other")
    name_it(run, sample_set([7], "a"), "mine")
    address = remember(run, sample_set([7], "a"))
    assert recall(other, "mine") is None
    assert recall(other, address) is None


@pytest.mark.parametrize("address", ["~", "~0000", "~../../etc/passwd", "", "no such name", "../x", "~" + "f" * 5000])
def test_an_address_that_leads_nowhere_gives_nothing(run, address):
    assert recall(run, address) is None


def test_what_cannot_be_a_set_says_why(run):
    with pytest.raises(ConfigError, match="no sample"):
        sample_set([], "colour: green")
    with pytest.raises(ConfigError, match="at most 200,000"):
        sample_set(range(200_001), "all")
    with pytest.raises(ConfigError, match="must not begin"):
        name_it(run, sample_set([1], "a"), "~x")
    with pytest.raises(ConfigError, match="1 to 80"):
        name_it(run, sample_set([1], "a"), " ")


@pytest.mark.parametrize("damaged", [[1, 2], {"words": "a"}, {"words": "a", "samples": "no"}, {"samples": [1]}, None])
def test_a_damaged_set_is_passed_over(run, damaged):
    keep(run, KIND, "damaged", damaged)
    assert named(run) == {}
    assert recall(run, "damaged") is None


def test_only_the_latest_unnamed_sets_stay(run, monkeypatch):
    monkeypatch.setattr(sample_sets, "MAX_UNNAMED", 3)
    addresses = []
    for number in range(5):
        addresses.append(remember(run, sample_set([number], "x")))
        for age, address in enumerate(addresses):
            path = sample_sets._folder(run) / f"{address[1:]}.json"
            if path.exists():
                os.utime(path, (age, age))
    assert [recall(run, address) is not None for address in addresses] == [False, False, True, True, True]
