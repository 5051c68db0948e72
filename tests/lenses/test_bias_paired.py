"""Two runs on the same samples: golden numbers, coverage, whom it helped and whom it cost."""

from __future__ import annotations

import numpy as np
import pytest
from bias_runs import write_run, write_table
from scipy import stats as scipy_stats

from workbench.core import WorkbenchError
from workbench.lenses.bias.paired import compare, figure, mcnemar_p, paired_interval, verdicts
from workbench.lenses.bias.sample_metrics import ACCURACY


def write_answers(path, right, side):
    return write_table(path, {"side": side}, np.ones(len(right), dtype=int), right.astype(int), name=path.name)


@pytest.fixture
def runs(tmp_path):
    # The change helps b (0.5 to 0.8) and costs a (0.9 to 0.75).
    rng = np.random.default_rng(0)
    side = rng.choice(["a", "b", "c"], 1500)
    first = rng.random(1500) < np.select([side == "a", side == "b"], [0.9, 0.5], 0.7)
    flipped = rng.random(1500)
    second = np.where(side == "a", first & (flipped > 1 / 6), np.where(side == "b", first | (flipped < 0.6), first))
    return write_answers(tmp_path / "before", first, side), write_answers(tmp_path / "after", second, side)


def test_gains_and_losses_are_found_group_by_group(runs):
    comparison = compare(*runs)
    rows = comparison.groups.set_index("group")
    assert comparison.n == 1500
    assert rows.loc["side: a", "high"] < 0 < rows.loc["side: b", "low"]
    assert rows.loc["side: a", "low"] < -0.15 < rows.loc["side: a", "high"]
    assert rows.loc["side: b", "low"] < 0.3 < rows.loc["side: b", "high"]
    assert rows.loc["side: c", "change"] == 0
    assert not rows.loc["side: c", "q"] <= 0.05
    said = [verdict.sentence for verdict in verdicts(comparison)]
    assert said[0].startswith("side: a lost 1")
    assert said[1].startswith("side: b gained ")
    assert [verdict.level for verdict in verdicts(comparison)] == ["watch", "fine"]
    drawn = figure(comparison)
    assert drawn.layout.yaxis.categoryarray[0].startswith("side: a")
    assert {trace.name for trace in drawn.data if trace.name} == {"before", "after"}


def test_a_run_against_itself_changes_nothing(tmp_path):
    run = write_run(tmp_path / "run", n=300)
    comparison = compare(run, run)
    assert (comparison.groups["change"] == 0).all()
    assert verdicts(comparison)[0].level == "cannot tell"
    over_time = compare(run, run, steps=(100, 200))
    assert over_time.steps == (100, 200)
    assert over_time.groups.iloc[0]["change"] > 0.1


def test_losses_are_compared_by_their_differences(tmp_path):
    rng = np.random.default_rng(1)
    side, loss = np.array(["a", "b"] * 200), rng.exponential(1, 400)
    tasks = [{"name": "digit", "kind": "regression"}]
    runs = [
        write_table(tmp_path / name, {"side": side, "loss": values}, np.zeros(400), np.zeros(400), tasks=tasks)
        for name, values in (("one", loss), ("two", loss + np.where(side == "a", 0.1, 0.0) + rng.normal(0, 0.05, 400)))
    ]
    rows = compare(*runs).groups.set_index("group")
    assert rows.loc["side: a", "low"] < 0.1 < rows.loc["side: a", "high"]
    assert rows.loc["side: b", "low"] < 0 < rows.loc["side: b", "high"]


def test_runs_of_other_samples_are_refused(tmp_path):
    side = np.array(["a", "b"] * 30)
    one = write_answers(tmp_path / "one", np.ones(60), side)
    other = write_table(tmp_path / "other", {"side": side}, [2] * 60, [2] * 60)
    with pytest.raises(WorkbenchError, match="the same sample numbers have other targets"):
        compare(one, other)


def test_mcnemar_equals_the_binomial_test():
    for gained, lost in ((3, 9), (0, 4), (5, 5)):
        expected = scipy_stats.binomtest(gained, gained + lost).pvalue
        assert mcnemar_p(gained, lost) == pytest.approx(expected)


def test_paired_interval_covers():
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(1000):
        a = (rng.random(40) < 0.8).astype(float)
        b = np.where(rng.random(40) < 0.15, 1 - a, a)  # expected change 0.15 (0.2 - 0.8) = -0.09
        low, high, _ = paired_interval(a, b, ACCURACY)
        covered += low <= -0.09 <= high
    # The added pairs make it a little wide in so few samples.
    assert 0.935 <= covered / 1000 <= 0.985
