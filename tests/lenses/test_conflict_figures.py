"""Figures of the conflict lens draw what the statistics hold."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_gradients import add_array, conflict_run

from workbench.core import ConfigError
from workbench.lenses.base import read
from workbench.lenses.conflict import LENS
from workbench.lenses.conflict.figures import matrix, over_time, share
from workbench.lenses.conflict.module_figures import ladder
from workbench.lenses.conflict.statistics import statistics

THREE = [[1.0, -0.6, 0.0], [-0.6, 1.0, 0.5], [0.0, 0.5, 1.0]]


@pytest.fixture(scope="module")
def reading(tmp_path_factory):
    path = tmp_path_factory.mktemp("conflict") / "run"
    run = conflict_run(
        path,
        dict.fromkeys(("conv1", "conv2[0:2]", "conv2[2:4]", "conv2[4:6]"), lambda p: THREE),
        tasks=["a", "b", "c"],
        n_batches=8,
        noise=1.0,
        scalars=lambda index: {"loss/a": 1.0 + index % 3, "loss/b": 1.0 + index % 2, "loss/c": 1.0},
    )
    add_array(path, "influence", 0, z=np.random.default_rng(0).normal(size=(5, 3, 3)))
    add_array(path, "group_use", 40, share=np.full((3, 3), 1 / 3))
    return read(run, LENS)


@pytest.mark.parametrize("view", [view.slug for view in LENS.views])
def test_every_view_draws_something_with_a_title(reading, view):
    figure = reading.figure(view)
    assert figure.layout.title.text
    assert len(figure.data) > 0


@pytest.mark.parametrize("view", [view.slug for view in LENS.views])
def test_no_ground_or_text_colour_is_fixed(reading, view):
    figure = reading.figure(view)
    assert figure.layout.paper_bgcolor is None
    assert figure.layout.plot_bgcolor is None
    assert figure.layout.font.color is None


@pytest.mark.parametrize("view", [view.slug for view in LENS.views])
def test_one_task_draws_a_sentence_or_its_length(tmp_path, view):
    stats = statistics(conflict_run(tmp_path / "run", {"a": lambda progress: [[1.0]]}, tasks=["alone"]))
    figure = next(one for one in LENS.views if one.slug == view).figure(stats)
    assert figure.layout.annotations or figure.data


def test_cells_of_the_matrix_name_their_pair(reading):
    for heat in matrix(reading.stats).data:
        if heat.type == "heatmap":
            assert heat.meta["cells"] == [[None, "a – b", "a – c"], ["a – b", None, "b – c"], ["a – c", "b – c", None]]


def test_matrix_shows_called_cells_in_colour_and_others_apart(reading):
    called, undetermined = matrix(reading.stats).data[:2]
    assert called.z[0, 1] == pytest.approx(-0.6, abs=0.1)
    assert called.z[0, 1] == called.z[1, 0]
    assert np.isnan(called.z[0, 0])
    assert np.isnan(called.z[0, 2])
    assert undetermined.z[0, 2] == 0
    assert (called.zmin, called.zmax) == (-1, 1)
    assert "−0.6" in called.text[0, 1]


def test_matrix_at_a_step_and_with_naive_cosines(reading):
    stats = reading.stats
    figure = matrix(stats, step=100, module="conv2", naive=True)
    assert "at step 100" in figure.layout.title.text
    assert figure.data[0].z[0, 1] == pytest.approx(stats.naive[10, 1, 0])
    assert figure.data[0].z[1, 0] == pytest.approx(stats.cosine.value[10, 1, 0])


def test_unknown_options_name_what_there_is(reading):
    with pytest.raises(ConfigError, match="conv1, conv2"):
        matrix(reading.stats, module="conv9")
    with pytest.raises(ConfigError, match="a – b"):
        ladder(reading.stats, pair="a – z")
    with pytest.raises(ConfigError, match="step 7"):
        matrix(reading.stats, step=7)


def test_over_time_draws_windows_and_steps(reading):
    figure = over_time(reading.stats, pair="a – b")
    assert figure.layout.yaxis.title.text == "cosine between task gradients"
    names = [trace.name for trace in figure.data]
    assert "window of steps: pooled cosine" in names
    assert "one step: conflict" in names


def test_shares_add_up(reading):
    figure = share(reading.stats)
    top = [trace for trace in figure.data if trace.type == "bar" and trace.orientation != "h"]
    np.testing.assert_allclose(np.sum([trace.y for trace in top], axis=0), 1.0)


def test_ladder_keeps_the_order_of_the_modules(reading):
    figure = ladder(reading.stats)
    assert list(figure.layout.yaxis.ticktext) == ["conv1", "conv2", "all shared"]


def test_tables_hold_every_pair_and_module(reading):
    tables = reading.tables
    assert len(tables["Pairs by module"]) == 9
    assert set(tables["Pairs by module"]["state"]) >= {"conflict", "aligned"}
    assert tables["Gradient lengths"].columns.tolist() == ["step", "a", "b", "c"]


def test_price_of_peace_stands_against_what_it_buys_the_worst_off_task(reading):
    figure, board = reading.figure("peace"), reading.stats.replay
    marks = {trace.name: trace for trace in figure.data}
    assert list(marks) == [name for name, price in zip(board.names, board.price, strict=True) if np.isfinite(price)]
    at = board.names.index("UPGrad")
    assert (marks["UPGrad"].x[0], marks["UPGrad"].y[0]) == (board.price[at], board.worst_gain[at])
    assert marks["UPGrad"].y[0] + marks["UPGrad"].error_y.array[0] == pytest.approx(board.worst_gain_high[at])
    # The plain sum is what both are measured against.
    assert (marks[board.names[0]].x[0], marks[board.names[0]].y[0]) == (0.0, 0.0)
    assert "progress given up" in figure.layout.xaxis.title.text


def test_replay_board_has_a_row_per_aggregator_and_the_baseline_first(reading):
    figure = reading.figure("replay")
    assert figure.data[0].z.shape == (12, 3)
    assert figure.layout.yaxis.ticktext[0] == "plain sum"


def test_together_shows_the_groups_of_the_budget(reading):
    figure = reading.figure("together", budget=2)
    assert "at most 2 networks" in figure.layout.annotations[1].text
    assert np.isnan(figure.data[0].z[0, 0])
    with pytest.raises(ConfigError, match="1 to 2"):
        reading.figure("together", budget=7)


def test_views_without_their_record_say_what_is_missing(tmp_path):
    stats = statistics(conflict_run(tmp_path / "run", {"a": lambda p: THREE}, tasks=["a", "b", "c"], n_batches=1))
    for view in LENS.views:
        figure = view.figure(stats)
        if view.slug in ("replay", "peace", "together", "noise-floor", "matter", "planner"):
            assert len(figure.data) == 0
            assert figure.layout.annotations[0].text


def test_planner_passes_through_the_pilot(reading):
    stats = reading.stats
    figure = reading.figure("planner", pair="a – b")
    curve = next(trace for trace in figure.data if trace.name == "a – b")
    assert curve.y[list(curve.x).index(8)] == pytest.approx(stats.plan.measured[0])
