"""Members of groups agree with a plain look at the samples, and a chosen set of them with the table of groups."""

from __future__ import annotations

import numpy as np
import pytest
from bias_runs import write_run

from workbench.core import ConfigError, Run, RunWriter
from workbench.lenses.bias.figures import groups
from workbench.lenses.bias.members import chosen_group, chosen_words, group_members, pocket_members
from workbench.lenses.bias.statistics import statistics


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("members") / "run", n=600)


def test_members_of_groups_of_one_to_three_factors(run):
    stats = statistics(run)
    samples = run.query("SELECT * FROM samples")
    for order in (1, 2, 3):
        for row in stats.groups[stats.groups["order"] == order].to_dict("records"):
            inside = np.ones(len(samples), dtype=bool)
            for i in range(1, order + 1):
                inside &= (samples[row[f"factor_{i}"]] == row[f"level_{i}"]).to_numpy()
            found = group_members(run, stats, row["group"])
            assert found == sorted(samples["sample"][inside])
            assert len(found) == row["n"]


def test_members_of_bins_of_unknown_levels_and_of_one_split(tmp_path):
    rng = np.random.default_rng(0)
    n = 400
    size = np.where(np.arange(n) % 10 == 0, np.nan, rng.normal(size=n))
    target = rng.integers(2, size=n)
    with RunWriter(tmp_path / "run", tasks=[{"name": "t", "classes": ["a", "b"]}]) as writer:
        split = np.where(np.arange(n) < 300, "test", "train")
        writer.samples({"sample": np.arange(n), "split": split, "target_t": target, "size": size})
        writer.predictions(0, "t", sample=np.arange(n), prediction=np.zeros(n, dtype=int))
    run = Run(tmp_path / "run")
    stats = statistics(run, factors=["size"])
    seen = []
    for row in stats.groups.to_dict("records"):
        found = group_members(run, stats, row["group"])
        assert len(found) == row["n"]
        seen += found
    assert sorted(seen) == list(range(300))
    unknown = group_members(run, stats, f"size: {stats.factors[0].levels[-1]}")
    assert unknown == list(range(0, 300, 10))
    with pytest.raises(ConfigError, match="no group"):
        group_members(run, stats, "size: huge")
    with pytest.raises(ConfigError, match="no pocket"):
        pocket_members(stats, 1)


@pytest.mark.parametrize("metric", ["accuracy", "loss"])
def test_a_chosen_group_has_the_numbers_of_the_table_and_is_no_test(run, metric):
    stats = statistics(run, metric=metric)
    row = stats.groups.iloc[0].to_dict()
    found = chosen_group(run, stats, group_members(run, stats, row["group"]), "Selection").iloc[0].to_dict()
    for name in ("n", "value", "low", "high", "rest", "gap", "gap_low", "gap_high"):
        assert found[name] == pytest.approx(row[name], rel=1e-9)
    assert np.isnan(found["p"])
    assert not found["tested"]
    assert "is no test" in chosen_words(stats, found)


def test_a_chosen_group_of_all_samples_or_none(run):
    stats = statistics(run)
    everything = chosen_group(run, stats, range(600), "Selection").iloc[0].to_dict()
    assert everything["n"] == 600
    assert everything["value"] == pytest.approx(stats.overall)
    assert "holds all 600 samples" in chosen_words(stats, everything)
    assert not len(chosen_group(run, stats, [10_000], "Selection"))


def test_the_selection_stands_above_the_groups(run):
    stats = statistics(run)
    row = chosen_group(run, stats, range(50), "Selection")
    figure = groups(stats, selected=row)
    assert figure.layout.yaxis.categoryarray[0] == "Selection  (n = 50)"
    assert "selection (not tested)" in [trace.name for trace in figure.data]
    assert "selection (not tested)" not in [trace.name for trace in groups(stats).data]
