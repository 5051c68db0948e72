"""Choices of task, split, step and metric; planted joint effects; silence on null data."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from bias_runs import planted, write_run, write_table

from workbench.core import ConfigError, MissingTable, Run, RunWriter, WorkbenchError
from workbench.lenses.bias import LENS
from workbench.lenses.bias.statistics import statistics


def test_the_planted_joint_effect_is_found_at_its_size(tmp_path):
    stats = statistics(write_run(tmp_path / "run", n=6000, seed=3))
    worst = stats.interactions.iloc[0]
    assert (worst["level_1"], worst["level_2"]) == ("strong", "90")
    assert worst["lowest"]
    # Planted: both 0.48, blur alone 0.85, rotation alone 0.83, neither 0.95, so 0.25 below the sum of the parts.
    assert worst["extra_low"] < -0.25 < worst["extra_high"]
    assert worst["low"] < planted(np.array("strong"), np.array("90"), np.array("black")) < worst["high"]
    assert worst["expected"] == pytest.approx(worst["first_only"] + worst["second_only"] - worst["neither"])
    assert worst["extra"] == pytest.approx(worst["value"] - worst["expected"])
    assert stats.spread.iloc[0]["factor"] == "rotation"
    ink = stats.spread.set_index("factor").loc["ink"]
    assert ink["gap"] < ink["null_95"]


def test_statistics_pickle(tmp_path):
    stats = statistics(write_run(tmp_path / "run", n=300))
    assert pickle.loads(pickle.dumps(stats)).groups.equals(stats.groups)


def test_held_out_samples_are_studied_first(tmp_path):
    columns = {"side": ["a", "b"] * 60, "split": ["train"] * 60 + ["test"] * 60}
    run = write_table(tmp_path / "run", columns, [1] * 120, [1] * 60 + [0] * 60)
    stats = statistics(run)
    assert (stats.split, stats.n, stats.overall) == ("test", 60, 0.0)
    assert statistics(run, split="all").overall == pytest.approx(0.5)
    assert statistics(run, split="train").overall == 1.0
    with pytest.raises(ConfigError, match="no predictions in split 'val'. Splits: 'test', 'train', or 'all'"):
        statistics(run, split="val")


def test_tasks_without_right_answers_use_the_loss(tmp_path):
    loss = np.where(np.arange(200) % 2 == 0, 1.0, 3.0) + np.linspace(0, 0.1, 200)
    run = write_table(
        tmp_path / "run",
        {"side": ["a", "b"] * 100, "loss": loss},
        np.zeros(200),
        np.zeros(200),
        tasks=[{"name": "digit", "kind": "regression"}],
    )
    stats = statistics(run)
    assert stats.metric == "loss"
    worst = stats.groups.iloc[0]
    assert worst["level_1"] == "b"
    assert worst["value"] == pytest.approx(loss[1::2].mean())
    assert worst["q"] < 1e-6
    assert "mean loss of 3.05" in LENS.verdicts(stats)[0].sentence


def test_missing_losses_and_targets_are_left_out(tmp_path):
    loss = np.array([1.0, np.nan, np.inf, 2.0] * 30)
    run = write_table(tmp_path / "run", {"side": ["a", "b"] * 60, "loss": loss}, [1.0, np.nan] * 60, [1.0] * 120)
    assert statistics(run, metric="loss").n == 60
    assert statistics(run, metric="accuracy").n == 60


def test_mistakes_get_one_clear_sentence(tmp_path):
    run = write_run(tmp_path / "run", n=60)
    with pytest.raises(ConfigError, match="no predictions of a task 'letter'. It has: digit"):
        statistics(run, task="letter")
    with pytest.raises(ConfigError, match="no predictions at step 7. Steps: 100, 200"):
        statistics(run, step=7)
    with pytest.raises(ConfigError, match="bins must be at least 2"):
        statistics(run, bins=1)
    with RunWriter(tmp_path / "bare", tasks=["digit"]) as writer:
        writer.predictions(1, "digit", sample=[1], prediction=[1])
    with pytest.raises(MissingTable, match="no table 'samples'"):
        statistics(Run(tmp_path / "bare"))
    with RunWriter(tmp_path / "apart", tasks=["digit"]) as writer:
        writer.predictions(1, "digit", sample=[1, 2], prediction=[1, 1])
        writer.samples({"sample": [3, 4], "target_digit": [1, 1]})
    with pytest.raises(WorkbenchError, match="no prediction belongs to a described sample"):
        statistics(Run(tmp_path / "apart"))
    with pytest.raises(ConfigError, match="needs the column 'target_digit'"):
        with RunWriter(tmp_path / "untold", tasks=["digit"]) as writer:
            writer.predictions(1, "digit", sample=[1, 2], prediction=[1, 1], loss=[1.0, 2.0])
            writer.samples({"sample": [1, 2], "side": ["a", "b"]})
        statistics(Run(tmp_path / "untold"), metric="accuracy")


def alarms(folder, n_runs):
    """Runs, in which every group is truly 80 % right, that the lens is alarmed about."""
    found = 0
    for seed in range(n_runs):
        run = write_run(folder / str(seed), n=800, seed=seed, probability=0.8, steps=(1,))
        found += LENS.verdicts(statistics(run))[0].level in ("watch", "problem")
    return found


def test_null_runs_stay_silent(tmp_path):
    # At a rate of 5 %, more than 5 of 40 alarms happen in 1.4 % of cases.
    assert alarms(tmp_path, 40) <= 5


@pytest.mark.slow
def test_null_runs_stay_silent_in_many_runs(tmp_path):
    # At a rate of 5 %, more than 29 of 400 alarms happen in 2 % of cases.
    assert alarms(tmp_path, 400) <= 29
