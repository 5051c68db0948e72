"""Statistics of the conflict lens: planted truth, calibration on null data, damaged and unusual records."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from synthetic_gradients import conflict_run, pair

from workbench.core import Run, RunWriter
from workbench.core.gramian import Gramian, cosines
from workbench.lenses.conflict.estimates import ALIGNED, BELOW_NOISE, CONFLICT, MISSING, UNDETERMINED
from workbench.lenses.conflict.statistics import statistics


def covered(estimate, truth) -> float:
    return float(((estimate.low <= truth) & (estimate.high >= truth)).mean())


def test_steps_equal_the_cosines_of_each_gramian(tmp_path):
    run = conflict_run(tmp_path / "run", {"a": pair(-0.3), "b": pair(0.5)}, n_steps=5, n_batches=4)
    stats = statistics(run)
    for index, gramian in enumerate(run.gramians().values()):
        slow = cosines(np.concatenate([gramian.dot, gramian.dot.sum(axis=0, keepdims=True)]))
        np.testing.assert_allclose(stats.cosine.value[index, :, 0], slow.value[:, 0, 1])
        np.testing.assert_allclose(stats.cosine.high[index, :, 0], slow.high[:, 0, 1])
    assert stats.modules == ("a", "b", "(all shared parameters)")


def test_reading_in_pieces_changes_nothing(tmp_path):
    run = conflict_run(tmp_path / "run", {"a": pair(-0.3)}, n_steps=11, n_batches=3)
    whole = statistics(run)
    pieces = statistics(run, chunk_entries=80)
    np.testing.assert_array_equal(whole.cosine.value, pieces.cosine.value)
    np.testing.assert_array_equal(whole.overall.high, pieces.overall.high)


def test_a_large_record_is_thinned_evenly(tmp_path):
    run = conflict_run(tmp_path / "run", {"a": pair(-0.3)}, n_steps=21, n_batches=2)
    stats = statistics(run, max_entries=16 * 5)
    assert stats.steps.tolist() == [0, 50, 100, 150, 200]
    assert stats.n_recorded == 21
    assert stats.steps_read == "5 of 21 recorded steps were read, evenly spaced from step 0 to step 200."
    every = statistics(run, max_entries=16 * 5, every_step=True)
    assert (len(every.steps), every.steps_read) == (21, "")


@pytest.mark.parametrize("n_batches", [2, 4, 8])
def test_planted_conflict_is_found_where_it_is(tmp_path, n_batches):
    modules = {"stem": pair(0.4), "block": pair(-0.3), "head": pair(0.1)}
    run = conflict_run(tmp_path / "run", modules, n_batches=n_batches, noise=2.0, shared=0.4)
    stats = statistics(run)
    assert stats.called[:, 0].tolist() == [False, True, False, False]
    assert stats.overall.state[:, 0].tolist()[:2] == [ALIGNED, CONFLICT]
    np.testing.assert_allclose(stats.overall.value[:3, 0], [0.4, -0.3, 0.1], atol=0.06)
    assert covered(stats.overall[:, 0], np.array([0.4, -0.3, 0.1, 0.2 / 3])) >= 0.75


def test_shared_noise_fools_the_naive_cosine_only(tmp_path):
    run = conflict_run(tmp_path / "run", {"a": pair(-0.2)}, n_batches=4, noise=8.0, shared=0.6, size=1000)
    stats = statistics(run)
    assert stats.naive_overall[0, 0] > 0.1
    assert stats.overall.high[0, 0] < 0


@pytest.mark.parametrize("n_batches", [2, 4, 8])
def test_on_null_data_false_alarms_are_rare_and_intervals_cover(tmp_path, n_batches):
    # Every module is an independent repetition of the same null: 400 in all.
    modules = {str(index): pair(0.0) for index in range(400)}
    run = conflict_run(tmp_path / "run", modules, n_steps=24, n_batches=n_batches, noise=2.0, shared=0.5, size=100)
    stats = statistics(run)
    assert stats.called.mean() <= 0.005
    assert 0.93 <= covered(stats.overall[:400], 0.0) <= 0.975
    assert (stats.window.state[:, :400] == CONFLICT).mean() <= 0.03


def test_few_steps_with_many_batches_still_give_an_interval(tmp_path):
    stats = statistics(conflict_run(tmp_path / "run", {"a": pair(-0.5)}, n_steps=2, n_batches=8))
    assert stats.share.unit == "step"
    assert stats.called[0, 0]
    assert stats.overall.low[0, 0] < -0.5 < stats.overall.high[0, 0] < 0


def test_two_steps_of_two_batches_give_no_interval(tmp_path):
    stats = statistics(conflict_run(tmp_path / "run", {"a": pair(-0.5)}, n_steps=2, n_batches=2))
    assert stats.overall.state[0, 0] == UNDETERMINED
    assert stats.overall.high[0, 0] == np.inf
    assert not stats.called.any()


def test_a_conflict_of_one_phase_is_called_though_the_mean_is_positive(tmp_path):
    def phase(progress: float) -> list[list[float]]:
        cosine = -0.4 if progress > 0.8 else 0.4
        return [[1.0, cosine], [cosine, 1.0]]

    stats = statistics(conflict_run(tmp_path / "run", {"a": phase}, n_steps=80, n_batches=2))
    assert stats.overall.state[0, 0] == ALIGNED
    assert stats.called[0, 0]
    assert stats.window.state[-1, 0, 0] == CONFLICT


def test_with_enough_batches_a_conflict_of_a_few_steps_is_called(tmp_path):
    def phase(progress: float) -> list[list[float]]:
        cosine = -0.5 if 0.3 < progress < 0.6 else 0.3
        return [[1.0, cosine], [cosine, 1.0]]

    stats = statistics(conflict_run(tmp_path / "run", {"a": phase}, n_steps=16, n_batches=8, noise=2.0))
    assert stats.overall.state[0, 0] == ALIGNED
    assert stats.called[0, 0]


def test_steps_with_nan_are_left_out_and_counted(tmp_path):
    def spoil(index: int, gradients: np.ndarray) -> None:
        if index in (3, 4):
            gradients[:, 1] = np.nan

    stats = statistics(conflict_run(tmp_path / "run", {"a": pair(-0.3)}, spoil=spoil))
    assert stats.nonfinite.tolist() == [0, 2]
    assert stats.cosine.state[3:5, 0, 0].tolist() == [MISSING, MISSING]
    assert stats.overall.value[0, 0] == pytest.approx(-0.3, abs=0.05)
    assert stats.share.n[0, 0] == len(stats.steps) - 2


def test_a_step_with_fewer_batches_uses_those_it_has(tmp_path):
    rng = np.random.default_rng(0)
    with RunWriter(tmp_path / "run", tasks=["x", "y"], modules=["a"]) as writer:
        for step, n_batches in enumerate([4, 4, 3, 4]):
            g = rng.standard_normal((2, n_batches, 30)) * 0.05 + np.array([[[1.0]], [[-1.0]]])
            dot = np.einsum("ikp,jlp->ikjl", g, g)[None]
            writer.gramian(step, Gramian(("a",), ("x", "y"), dot, np.full((2, n_batches), 8)))
    stats = statistics(Run(tmp_path / "run"))
    assert (stats.cosine.state[:, 0, 0] == CONFLICT).all()


def test_a_task_without_signal_is_below_noise(tmp_path):
    def spoil(index: int, gradients: np.ndarray) -> None:
        rng = np.random.default_rng(index)
        gradients[:, 1] = rng.standard_normal(gradients[:, 1].shape)

    stats = statistics(conflict_run(tmp_path / "run", {"a": pair(-0.5)}, spoil=spoil))
    assert stats.below_noise[:, 0].mean(axis=0)[1] > 0.8
    assert stats.overall.state[0, 0] == BELOW_NOISE
    assert np.isnan(stats.overall.value[0, 0])


def test_one_batch_says_nothing(tmp_path):
    stats = statistics(conflict_run(tmp_path / "run", {"a": pair(-0.5)}, n_batches=1))
    assert np.isnan(stats.overall.value).all()
    assert not stats.called.any()


def test_one_task_has_no_pairs(tmp_path):
    stats = statistics(conflict_run(tmp_path / "run", {"a": lambda progress: [[1.0]]}, tasks=["alone"]))
    assert stats.pairs.shape == (0, 2)
    assert np.isfinite(stats.norm).all()


def test_length_ratio_is_found(tmp_path):
    stats = statistics(conflict_run(tmp_path / "run", {"a": pair(0.2)}, scales=[1.0, 20.0]))
    ratio = stats.ratio(0)
    assert ratio.low[0] < 20 < ratio.high[0] < 22
    assert stats.longer_first(0, 0) == ("right", "left")


def test_statistics_pickle(tmp_path):
    stats = statistics(conflict_run(tmp_path / "run", {"a": pair(0.2)}))
    again = pickle.loads(pickle.dumps(stats))
    np.testing.assert_array_equal(again.overall.value, stats.overall.value)
