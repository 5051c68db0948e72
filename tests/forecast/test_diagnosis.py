"""The whole forecast on problems of which the truth is known."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from planted import opposed, regression

from workbench.core import ConfigError, Run, validate
from workbench.core.schema import ALL_MODULES
from workbench.forecast import estimate, forecast, is_forecast, read_forecast
from workbench.forecast.where import START, WAY
from workbench.lenses import look


@pytest.fixture(scope="module")
def fight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forecast") / "run"
    return forecast(opposed(), budget=900, max_steps=40, folder=folder), folder


def test_opposite_targets_are_located_to_their_block_at_the_start_and_on_the_way(fight):
    found, _ = fight
    pair = found.pairs.iloc[0]
    assert pair["call"] == "conflict"
    assert pair["where"] == "fight"
    assert pair["low"] > 0.1
    for phase in (START, WAY):
        mine = found.modules[found.modules["phase"] == phase].set_index("module")
        assert bool(mine.loc["fight", "called"])
        assert not bool(mine.loc["agree", "called"])
        assert mine.loc["agree", "cosine"] > 0.9
        assert mine.loc["fight", "cosine"] < -0.5
        assert mine.loc["fight", "share"] == 1.0


def test_verdict_names_the_place_and_the_remedy_that_fits(fight):
    found, _ = fight
    first = found.verdicts()[0]
    assert first.level == "problem"
    assert "up and down" in first.sentence
    assert "most in fight (cosine −" in first.sentence
    assert "give each its own copy" in first.next_step


def test_run_opens_in_every_lens_and_gives_the_same_forecast_again(fight):
    found, folder = fight
    run = Run(folder)
    assert validate(folder) == []
    assert is_forecast(run)
    assert "fight" in look(run, "conflict").verdict.sentence
    again = read_forecast(run)
    assert again.pairs.equals(found.pairs)
    assert again.measured.n_seeds == 4
    assert again.settings["seconds"] > 0


def test_identical_tasks_are_no_conflict():
    found = forecast(opposed(opposite=False), budget=900, max_steps=30)
    assert found.pairs["call"].tolist() != ["conflict"]
    assert not found.modules["called"].any()
    assert all(verdict.level in ("fine", "cannot tell") for verdict in found.verdicts())


def test_tasks_that_share_no_signal_are_no_conflict():
    # Each target depends on its own inputs and the trunk has room for all of them.
    targets = {f"task {i}": (lambda x, i=i: x[:, i]) for i in range(4)}
    found = forecast(regression(targets), budget=900, max_steps=80)
    assert "conflict" not in found.pairs["call"].tolist()
    assert not found.modules.loc[found.modules["module"] == ALL_MODULES, "called"].any()
    assert found.grouping(1).cost <= 0.02


def test_three_tasks_of_which_one_pulls_the_other_way_are_parted():
    # Two tasks want the same output, the third its opposite; all through one head.
    def losses(model, x):
        out, wanted = model.heads["a"](model.trunk(x))[:, 0], 2 * x[:, 0]
        return {"a": (out - wanted) ** 2, "b": (out - wanted) ** 2, "against": (out + wanted) ** 2}

    targets = dict.fromkeys(("a", "b", "against"), lambda x: x[:, 0])
    problem = regression(targets, losses=losses, shared=lambda model: [model.trunk, model.heads["a"]])
    found = forecast(problem, budget=900, max_steps=40)
    assert found.groups == [("a", "b"), ("against",)]
    calls = found.pairs.set_index(["task_a", "task_b"])["call"]
    assert calls["a", "against"] == calls["b", "against"] == "conflict"
    assert calls["a", "b"] != "conflict"


def test_unequal_scales_are_said_with_the_remedy_for_them():
    targets = {"small": lambda x: x[:, 0], "large": lambda x: 40 * x[:, 1]}
    found = forecast(regression(targets), budget=900, max_steps=20)
    said = [verdict for verdict in found.verdicts() if "times as long" in verdict.sentence]
    assert said
    assert said[0].sentence.startswith("The gradient of large")


def test_result_does_not_depend_on_what_was_drawn_before_nor_touch_the_generators():
    problem = regression({"a": lambda x: x[:, 0], "b": lambda x: x[:, 1]})
    cost = estimate(problem, budget=900, seeds=2, max_steps=5)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = forecast(problem, cost=cost)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(7)
    second = forecast(problem, cost=cost)
    np.testing.assert_array_equal(first.measured.together, second.measured.together)


def test_stop_keeps_whole_seeds(tmp_path):
    problem = regression({"a": lambda x: x[:, 0], "b": lambda x: x[:, 1]})
    done = []

    def progress(now, total):
        done.append((now, total))

    cost = estimate(problem, budget=900, seeds=4, max_steps=10)
    found = forecast(
        problem, cost=cost, folder=tmp_path / "run", progress=progress, stop=lambda: done[-1][0] > 0.6 * done[-1][1]
    )
    assert found.n_seeds == 2
    assert "stopped on request" in found.settings["ended"]
    assert any("ended early: stopped on request" in note for note in Run(tmp_path / "run").info.notes)
    assert Run(tmp_path / "run").info.status == "done"


def test_stop_before_the_first_seed_is_said(tmp_path):
    problem = regression({"a": lambda x: x[:, 0], "b": lambda x: x[:, 1]})
    with pytest.raises(ConfigError, match="no forecast: stopped on request before the first seed"):
        forecast(problem, budget=900, max_steps=10, folder=tmp_path / "run", stop=lambda: True)
    assert Run(tmp_path / "run").info.status == "failed"


def test_budget_is_kept_approximately():
    def slow(x):
        time.sleep(0.002)
        return x[:, 0]

    problem = regression({"a": slow, "b": lambda x: x[:, 1], "c": lambda x: x[:, 2]})
    cost = estimate(problem, budget=6, seeds=2)
    begun = time.monotonic()
    found = forecast(problem, cost=cost, budget=6)
    assert cost.seconds <= 6
    assert cost.plan.steps < 200
    assert found.n_seeds == 2
    assert time.monotonic() - begun < 6 * 2.5  # twice the budget ends it whatever the machine does; then the reading


def test_diverging_task_is_named():
    problem = regression(
        {"good": lambda x: x[:, 0], "bad": lambda x: 1e18 * x[:, 1] ** 9},
        optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=1.0),
    )
    found = forecast(problem, budget=900, seeds=2, max_steps=20)
    said = [verdict.sentence for verdict in found.verdicts() if verdict.level == "problem"]
    assert any("bad" in sentence and "stopped being finite" in sentence for sentence in said)


def test_too_small_a_budget_still_tries_the_fewest_steps():
    problem = regression({"a": lambda x: x[:, 0], "b": lambda x: x[:, 1], "c": lambda x: x[:, 2]})
    cost = estimate(problem, budget=1e-4, seeds=2)
    assert cost.plan.steps == 1
    assert not cost.plan.paired


@pytest.mark.parametrize("wrong", [{"seeds": 1}, {"budget": 0.0}, {"max_steps": 0}, {"interval": 0.0}])
def test_bad_arguments_are_refused(wrong):
    with pytest.raises(ConfigError, match="at least 2 seeds"):
        estimate(opposed(), **wrong)


def test_loss_that_does_not_reach_the_shared_part_is_named():
    problem = regression(
        {"a": lambda x: x[:, 0], "b": lambda x: x[:, 1]},
        losses=lambda model, x: {"a": model.heads["a"](model.trunk(x))[:, 0], "b": model.heads["b"].bias.expand(64)},
    )
    with pytest.raises(ConfigError, match="loss of task 'b' does not depend on any shared parameter"):
        estimate(problem)
