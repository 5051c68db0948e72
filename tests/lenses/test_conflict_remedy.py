"""What is proposed against a conflict: a rule that can be trained with, and where to split."""

from __future__ import annotations

import pytest
from synthetic_gradients import conflict_run, pair

from workbench.demos.gradient_rules import gradient_rule
from workbench.lenses.conflict.remedy import DEFAULT, RULES, SPLIT, remedies, split_points
from workbench.lenses.conflict.statistics import statistics


def test_a_conflict_of_unequal_gradients_gets_an_aggregator_and_a_split(tmp_path):
    modules = {"conv1": pair(0.2), "conv2": pair(-0.7)}
    stats = statistics(conflict_run(tmp_path / "run", modules, n_batches=8, n_steps=20, scales=[1.0, 3.0]))
    first, second = remedies(stats)
    assert first.rule in RULES.values()
    assert "over the plain sum" in first.reason
    assert second.rule == SPLIT
    assert split_points(stats) == ["conv2"]
    assert "conv2" in second.reason


def test_without_a_conflict_nothing_is_proposed(tmp_path):
    assert remedies(statistics(conflict_run(tmp_path / "run", {"a": pair(0.5)}, n_batches=8, n_steps=8))) == []


@pytest.mark.parametrize("rule", [*RULES.values(), SPLIT, DEFAULT])
def test_every_proposed_rule_can_be_trained_with(rule):
    pytest.importorskip("torchjd", reason="torchjd is not installed")
    from workbench.demos.nets import Net, NetSpec

    assert callable(gradient_rule(rule, Net(NetSpec({"a": 2, "b": 2}, width=4, features=8))))
