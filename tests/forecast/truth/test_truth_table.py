"""Tables put every forecast beside its own truth, and come back from a file as they were."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.demos.sharing import truth
from workbench.demos.sharing.problem import Sharing
from workbench.demos.sharing.tasks import TaskSpec
from workbench.forecast.truth import figures, prediction, statistics, table

TRUTH = {
    "problem": "p", "family": "related", "tasks": ["a", "b"],
    "score_alone": [[0.9, 0.8, 0.7], [0.5, 0.5, 0.5]], "score_together": [[0.8, 0.7, 0.6], [0.5, 0.6, 0.4]],
    "loss_alone": [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]], "loss_together": [[2.0, 2.0, 2.0], [2.0, 2.0, 2.0]],
    "cosine": [[1.0, -0.2], [-0.2, 1.0]], "affinity": [[1.0, 0.1], [0.3, 1.0]],
}  # fmt: skip
FOUND = {
    "problem": "p", "steps": 4, "seconds": 1.0, "cost": 0.2, "low": 0.1, "high": 0.3, "call": "conflict",
    "task_cost": [0.4, 0.0], "task_low": [0.3, -0.1], "task_high": [0.5, 0.1], "by_steps": [[2, 0.1], [4, 0.2]],
}  # fmt: skip


def test_costs_are_paired_by_seed_in_points():
    row = table.problems([TRUTH], [{**FOUND, "problem": "other"}, FOUND], "reported").iloc[0]
    # Per seed: (10 + 0) / 2, (10 - 10) / 2, (10 + 10) / 2.
    assert row["cost"] == pytest.approx(5)
    assert row["once"] == pytest.approx(5)
    assert row["others"] == pytest.approx(5)
    # Student with two degrees of freedom: 4.303 · 5 / sqrt(3).
    assert row["cost_high"] - row["cost"] == pytest.approx(4.3027 * 5 / np.sqrt(3), rel=1e-3)
    assert row["loss_cost"] == pytest.approx(np.log(2) / 2)
    assert row["cosine"] == pytest.approx(0.2)
    assert row["affinity"] == pytest.approx(-0.2)
    tasks = table.tasks([TRUTH], [FOUND], "reported").set_index("task")
    assert tasks.loc["a", ["alone", "together", "cost"]].tolist() == pytest.approx([80, 70, 10])
    assert table.lengths([TRUTH], [FOUND], "tuning")["forecast"].tolist() == [0.1, 0.2]


def test_tables_come_back_from_their_files(tmp_path, monkeypatch):
    made = {"problems": table.problems([TRUTH], [FOUND], "reported")}
    table.publish(made, tmp_path / "new")
    monkeypatch.setattr(table, "RESULTS", tmp_path / "new")
    back = table.published()
    assert list(back.columns) == list(made["problems"].columns)
    assert back["cost_low"].iloc[0] == pytest.approx(made["problems"]["cost_low"].iloc[0], rel=1e-3)


def test_a_problem_is_forecast_and_trained_from_different_seeds():
    specs = {"ink": TaskSpec("ink", n=64, head="h"), "minus": TaskSpec("minus ink", n=64, head="h")}
    problem = Sharing("opposite", "contradictory", specs, steps=60)
    found = prediction.predict(problem, steps=20, seeds=2)
    assert not set(found["seeds"]) & set(truth.SEEDS)
    assert found["steps"] == 20
    assert found["by_steps"][-1] == (20, pytest.approx(found["cost"]))
    assert found["low"] <= found["cost"] <= found["high"]
    row = table.problems([truth.work(problem, seeds=(1000, 1001))], [found], "reported").iloc[0]
    assert row["cost"] > 20
    assert row["forecast"] > 0.1


def test_published_tables_are_whole_and_drawn():
    frame = table.published()
    reported = frame[frame["half"] == "reported"].reset_index(drop=True)
    assert (reported["n_tasks"] == 2).sum() >= 30
    assert (reported["n_tasks"] > 2).sum() >= 10
    assert not reported[["cost", "cost_low", "cost_high", "forecast", "cosine", "affinity"]].isna().any().any()
    missed = statistics.misses(reported)
    figure = figures.against(reported, missed)
    drawn = {trace.name: len(trace.x) for trace in figure.data}
    assert sum(n for name, n in drawn.items() if name != "miss") == len(reported)
    assert drawn["miss"] == len(missed)
    assert "points" in figure.layout.yaxis.title.text
    found = statistics.correlations(reported)
    assert len(figures.correlations(found).data) == 3
    lengths = table.published("lengths")
    by_length = statistics.by_length(lengths[lengths["half"] == "reported"], reported)
    assert figures.lengths(by_length, 600).data[0].x.max() == pytest.approx(by_length["steps"].max() / 6)
    tasks = table.published("tasks")
    assert set(tasks["problem"]) == set(frame["problem"])


def test_published_problems_are_those_of_the_catalogue():
    from workbench.demos.sharing.catalogue import REPORTED

    frame = table.published()
    assert set(frame.loc[frame["half"] == "reported", "problem"]) == {problem.name for problem in REPORTED}
