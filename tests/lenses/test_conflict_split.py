"""Conflict before and after a split, flows, influence and use, on runs with known truth."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from synthetic_gradients import add_array, conflict_run

from workbench.core import Run
from workbench.lenses import look
from workbench.lenses.conflict import LENS, statistics
from workbench.lenses.conflict.split_figures import (
    NO_INFLUENCE,
    NO_ROUTING,
    NO_USE,
    before_after,
    flows,
    influence,
    use,
)

SPLIT_VIEWS = ("split", "flows", "influence", "who-helps", "group-use")


def against(cosine):
    return lambda progress: [[1.0, cosine], [cosine, 1.0]]


def grouped_run(path, first=-0.6, second=0.5, **more):
    """A layer of 8 channels: on the first task's the tasks conflict, on the second's they agree; and a whole layer."""
    modules = {"conv[0:4]": against(first), "conv[4:8]": against(second), "rest": against(0.0)}
    return conflict_run(path, modules, **({"noise": 0.05, "n_steps": 10} | more))


def with_relation(run, relation):
    file = run.path / "run.json"
    described = json.loads(file.read_text())
    described["config"]["relation"] = relation
    file.write_text(json.dumps(described))
    return Run(run.path)


def test_conflict_is_the_part_of_the_owners_gradient_that_others_cancel(tmp_path):
    # Equal lengths: on the first group the other task takes 0.6 of the owner's squared gradient, on the second nothing.
    split = statistics(grouped_run(tmp_path / "run")).split
    assert split.layers == ("conv",)
    assert split.before[0] == pytest.approx([0.6, 0.0], abs=0.03)
    assert not split.applied


def test_lengths_count_in_conflict_and_in_flows(tmp_path):
    # The second task's gradient is three times as long: it cancels 0.6 · 3 of the first's, and flows are as 1 to 3.
    split = statistics(grouped_run(tmp_path / "run", scales=(1.0, 3.0))).split
    assert split.before[0] == pytest.approx([1.8, 0.0], abs=0.1)
    assert split.flow[0] == pytest.approx(np.array([[1.0, 3.0], [1.0, 3.0]]), rel=0.05)


def test_the_runs_own_relation_says_what_is_left(tmp_path):
    run = grouped_run(tmp_path / "run", second=-0.3)
    split = statistics(with_relation(run, [[True, False], [True, True]])).split
    assert split.applied
    assert split.after[0] == pytest.approx([0.0, 0.3], abs=0.03)


def test_without_a_relation_the_intervals_decide(tmp_path):
    split = statistics(grouped_run(tmp_path / "run")).split
    assert split.relation[0].tolist() == [[True, False], [True, True]]
    assert split.after[0] == pytest.approx([0.0, 0.0], abs=0.01)


@pytest.mark.parametrize("relation", [[[True]], "all", [[True, False], [True]], None])
def test_a_relation_of_another_shape_is_not_used(tmp_path, relation):
    assert not statistics(with_relation(grouped_run(tmp_path / "run"), relation)).split.applied


def test_groups_below_noise_say_nothing(tmp_path):
    modules = {"conv[0:4]": against(-0.9), "conv[4:8]": against(-0.9)}
    run = conflict_run(tmp_path / "run", modules, noise=2000.0, n_steps=6)
    assert np.isnan(statistics(run).split.before).all()
    assert "unknown" in before_after(statistics(run)).layout.title.text


def test_influence_is_the_mean_over_probes_with_a_bootstrap_interval(tmp_path):
    run = grouped_run(tmp_path / "run")
    z = np.random.default_rng(0).normal([[0.3, -0.1], [0.0, 0.2]], 0.05, size=(50, 2, 2))
    add_array(run.path, "influence", 0, z=z)
    split = statistics(Run(run.path)).split
    assert split.probes == 50
    np.testing.assert_allclose(split.influence.value, z.mean(axis=0))
    half = 1.96 * z.std(axis=0) / np.sqrt(50)
    np.testing.assert_allclose(split.influence.high - split.influence.low, 2 * half, rtol=0.1)
    figure = influence(statistics(Run(run.path)))
    np.testing.assert_allclose(figure.data[0].z, 100 * z.mean(axis=0))
    assert "50 probes" in figure.layout.title.text
    assert figure.data[0].text[1][0].endswith("?")


@pytest.mark.parametrize("z", [np.zeros((2, 2, 2)), np.zeros((5, 3, 3)), np.zeros(4)])
def test_influence_of_too_few_probes_or_other_tasks_is_left_out(tmp_path, z):
    run = grouped_run(tmp_path / "run")
    add_array(run.path, "influence", 0, z=z)
    assert statistics(Run(run.path)).split.influence is None
    assert influence(statistics(Run(run.path))).layout.annotations[0].text == NO_INFLUENCE


def test_use_shows_what_heads_read_from_others(tmp_path):
    run = grouped_run(tmp_path / "run")
    assert use(statistics(run)).layout.annotations[0].text == NO_USE
    add_array(run.path, "group_use", 40, share=np.array([[0.7, 0.3], [0.5, 0.5]]))
    figure = use(statistics(Run(run.path)))
    np.testing.assert_allclose(figure.data[0].z, [[70, 30], [50, 50]])
    assert figure.layout.title.text.startswith("Heads read 40 % from")


def test_figures_leave_blocked_cells_empty_and_draw_their_flow_grey(tmp_path):
    stats = statistics(with_relation(grouped_run(tmp_path / "run"), [[True, False], [True, True]]))
    figure = before_after(stats)
    left, right = (trace.z for trace in figure.data if trace.type == "heatmap")
    assert left[0][1] == pytest.approx(-0.6, abs=0.05)
    assert np.isnan(right[0][1])
    assert right[1][0] == pytest.approx(0.5, abs=0.05)
    assert [note.text for note in figure.layout.annotations].count("×") == 1
    assert list(figure.layout.yaxis.ticktext) == ["left<br>60%", "right<br>0%"]
    assert list(figure.layout.yaxis2.ticktext) == ["left<br>0%", "right<br>0%"]
    link = flows(stats).data[0].link
    assert [colour.startswith("rgba(158") for colour in link.color] == [False, True, False, False]
    assert list(link.source) == [0, 1, 0, 1]
    assert list(link.target) == [2, 2, 3, 3]


def test_views_are_offered_only_where_they_have_something_to_show(tmp_path):
    plain = statistics(conflict_run(tmp_path / "plain", {"conv": against(-0.5)}, n_steps=4))
    assert plain.split is None
    assert not {view.slug for view in LENS.shown(plain)} & set(SPLIT_VIEWS)
    for figure in (before_after, flows):
        assert figure(plain).layout.annotations[0].text == NO_ROUTING
    grouped = statistics(grouped_run(tmp_path / "grouped"))
    assert {view.slug for view in LENS.shown(grouped)} & set(SPLIT_VIEWS) == {"split", "flows"}


def test_one_mini_batch_a_step_says_nothing(tmp_path):
    assert statistics(grouped_run(tmp_path / "run", n_batches=1)).split is None


def test_the_layer_can_be_chosen_and_a_notebook_reaches_the_views(tmp_path):
    modules = {f"{layer}[{k}:{k + 1}]": against(cosine) for layer, cosine in (("a", -0.2), ("b", -0.7)) for k in (0, 1)}
    reading = look(conflict_run(tmp_path / "run", modules, noise=0.05, n_steps=10), "conflict")
    assert reading.figure("split").layout.title.text.startswith("b:")
    assert reading.figure("split", module="a").layout.title.text.startswith("a: mean conflict 20%")
    assert reading.figure("flows", module="a").layout.title.text.startswith("a:")
    assert dataclasses.is_dataclass(reading.stats.split)
