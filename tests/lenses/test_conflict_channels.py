"""Channel groups: layers put together again, and GradSplit's one-way relation found where it was planted."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_gradients import conflict_run, pair

from workbench.lenses.conflict.channels import Layout
from workbench.lenses.conflict.statistics import statistics


def test_a_layout_joins_groups_that_tile_a_layer_and_leaves_the_rest():
    layout = Layout.of(("a", "b[2:4]", "b[0:2]", "c[1:3]", "c[3:5]", "head[sky]", "d[0:4]"))
    assert layout.modules == ("a", "b", "c[1:3]", "c[3:5]", "head[sky]", "d[0:4]")
    assert layout.members[1] == (1, 2)
    assert layout.groups == ((2, 1),)
    assert layout.channels == (("0:2", "2:4"),)


def test_layers_in_groups_read_as_whole_layers(tmp_path):
    run = conflict_run(tmp_path / "run", {"a": pair(0.2), "b[0:2]": pair(0.6), "b[2:4]": pair(-0.6)}, n_batches=6)
    stats = statistics(run)
    assert stats.modules == ("a", "b", "(all shared parameters)")
    assert stats.overall.value[1, 0] == pytest.approx(0.0, abs=0.05)
    gram = next(iter(run.gramians().values()))
    by_hand = gram.dot[1:].sum(axis=0)
    naive = by_hand.mean(axis=(1, 3))
    assert stats.naive[0, 1, 0] == pytest.approx(naive[0, 1] / np.sqrt(naive[0, 0] * naive[1, 1]))


def test_a_one_way_relation_is_found(tmp_path):
    # On the channels of "left" the two pull apart, on those of "right" they agree.
    run = conflict_run(tmp_path / "run", {"b[0:2]": pair(-0.6), "b[2:4]": pair(0.6)}, n_batches=6)
    found = statistics(run).routing
    assert found.layers == ("b",)
    assert found.admitted[0].tolist() == [[True, False], [True, True]]
    assert (found.blocked.tolist(), found.one_way.tolist()) == ([1], [1])
    assert found.cosine.value[0, 0, 1] == pytest.approx(-0.6, abs=0.05)
    assert found.cosine.value[0, 1, 0] == pytest.approx(0.6, abs=0.05)


def test_as_many_groups_as_tasks_are_needed(tmp_path):
    run = conflict_run(tmp_path / "run", dict.fromkeys(("b[0:1]", "b[1:2]", "b[2:3]"), pair(0.6)), n_steps=5)
    assert statistics(run).routing is None
