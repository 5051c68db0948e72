"""Who decides the step and who helps whom: shares of known lengths, arrows of known influence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_gradients import add_array, conflict_run

from workbench.core import Run
from workbench.lenses.conflict import LENS, statistics
from workbench.lenses.conflict.split_figures import NO_INFLUENCE
from workbench.lenses.conflict.who_decides import HARMS, HELPS, arrows, domination, length_shares


def against(cosine):
    return lambda progress: [[1.0, cosine], [cosine, 1.0]]


def test_shares_of_lengths_by_hand():
    norm = np.array([[1.0, 3.0], [np.nan, 2.0], [np.nan, np.nan]])
    np.testing.assert_array_equal(length_shares(norm), [[0.25, 0.75], [0.0, 1.0], [np.nan, np.nan]])


@given(st.integers(0, 2**31 - 1), st.floats(1e-3, 1e3))
def test_shares_sum_to_one_and_do_not_see_a_common_scale(seed, scale):
    norm = np.random.default_rng(seed).uniform(0.1, 5, (4, 3))
    shares = length_shares(norm)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    np.testing.assert_allclose(length_shares(scale * norm), shares)


def test_a_loud_task_holds_its_share_of_the_step(tmp_path):
    run = conflict_run(
        tmp_path / "run", {"a": against(0.0), "b": against(0.0)}, n_steps=6, noise=0.05, scales=(1.0, 9.0)
    )
    figure = domination(statistics(run))
    left, right = figure.data
    assert (left.name, right.name) == ("left", "right")
    assert np.mean(right.y) == pytest.approx(0.9, abs=0.02)
    assert {trace.stackgroup for trace in figure.data} == {"share"}
    assert "right holds most, 90%" in figure.layout.title.text
    assert domination(statistics(run), module="a").layout.title.text.startswith("Share of the gradients' length, a:")


def test_lengths_below_noise_are_said_to_be_unknown(tmp_path):
    run = conflict_run(tmp_path / "run", {"a": against(0.0)}, n_steps=3, noise=5000.0)
    stats = statistics(run)
    if not np.isfinite(stats.norm).any():
        assert "no length is above its noise" in domination(stats).layout.title.text


def test_sure_influences_are_arrows_and_the_others_are_counted(tmp_path):
    modules = {"conv[0:4]": against(-0.5), "conv[4:8]": against(-0.5)}
    run = conflict_run(tmp_path / "run", modules, n_steps=4, noise=0.05)
    assert arrows(statistics(run)).layout.annotations[0].text == NO_INFLUENCE
    assert "who-helps" not in {view.slug for view in LENS.shown(statistics(run))}
    # A step on the right task surely harms the left one; whether one on the left helps the right one is not sure.
    z = np.random.default_rng(0).normal([[0.3, -0.2], [0.0, 0.4]], 0.05, size=(30, 2, 2))
    z[:, 1, 0] -= z[:, 1, 0].mean()
    add_array(run.path, "influence", 0, z=z)
    stats = statistics(Run(run.path))
    figure = arrows(stats)
    (arrow,) = (note for note in figure.layout.annotations if note.showarrow)
    assert arrow.arrowcolor == HARMS
    right, left = np.array([0.0, -1.0]), np.array([0.0, 1.0])  # the first task stands on top
    start, end = np.array([arrow.ax, arrow.ay]), np.array([arrow.x, arrow.y])
    assert np.linalg.norm(start - right) < np.linalg.norm(start - left)
    assert np.linalg.norm(end - left) < np.linalg.norm(end - right)
    assert "1 of 2 influences are sure; 1 could be either" in figure.layout.title.text
    told = next(trace.customdata for trace in figure.data if trace.customdata is not None)
    assert told[0].startswith("right → left")
    assert sum(trace.name == "could be either" for trace in figure.data) == 1
    assert HELPS != HARMS
    assert "who-helps" in {view.slug for view in LENS.shown(stats)}
