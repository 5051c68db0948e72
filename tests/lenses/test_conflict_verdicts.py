"""What the conflict lens says: planted truth by name, and silence on null data."""

from __future__ import annotations

import re

import numpy as np
import pytest
from synthetic_gradients import conflict_run, pair

from workbench.lenses.base import read
from workbench.lenses.conflict import LENS


def reading(path, modules, **options):
    return read(conflict_run(path / "run", modules, **options), LENS)


def test_a_conflict_names_pair_module_share_interval_and_number(tmp_path):
    verdict = reading(tmp_path, {"conv1": pair(0.1), "conv2": pair(-0.6)}, n_batches=8).verdict
    assert verdict.level == "problem"
    assert "left and right pull the shared parameters in opposite directions in 100 % of recorded steps" in str(verdict)
    assert "(95 % interval 91–100 %, n = 40)" in verdict.sentence
    assert "The conflict sits in conv2." in verdict.sentence
    assert verdict.options == {"pair": "left – right"}
    assert "conv2" in verdict.next_step
    assert verdict.value == 1.0


def test_a_conflict_of_one_module_only_is_to_be_watched(tmp_path):
    verdict = reading(tmp_path, {"conv1": pair(0.6), "conv2": pair(-0.3)}, n_batches=8).verdict
    assert verdict.level == "watch"
    assert "left and right pull conv2 in opposite directions" in verdict.sentence
    assert verdict.options["module"] == "conv2"


@pytest.mark.parametrize("cosine", [0.0, 0.6, 1.0])
def test_without_conflict_it_is_fine(tmp_path, cosine):
    verdicts = reading(tmp_path, {"conv1": pair(cosine), "conv2": pair(cosine)}, n_batches=8).verdicts
    assert {verdict.level for verdict in verdicts} == {"fine"}


def test_the_same_task_twice_is_named(tmp_path):
    verdicts = reading(tmp_path, {"conv1": pair(1.0)}, n_batches=8).verdicts
    assert any("left and right train the shared parameters alike" in verdict.sentence for verdict in verdicts)


def test_a_copied_task_is_to_be_watched_whatever_the_weight_of_its_loss(tmp_path):
    def copy(index: int, gradients: np.ndarray) -> None:
        gradients[:, 1] = 3 * gradients[:, 0]

    found = reading(tmp_path, {"conv1": pair(1.0)}, n_batches=4, noise=4.0, n_steps=12, spoil=copy).verdict
    assert found.level == "watch"
    assert "left – right have the same gradient at each of 12 recorded steps (cosine 1.00" in found.sentence
    assert "one is a copy of the other" in found.sentence


def test_false_alarms_on_null_data_are_rare(tmp_path):
    levels = [
        reading(tmp_path / str(seed), {"a": pair(0.0), "b": pair(0.0)}, n_steps=24, seed=100 + seed).verdict.level
        for seed in range(20)
    ]
    assert np.mean([level in ("problem", "watch") for level in levels]) <= 0.05


def test_one_batch_cannot_tell_and_says_what_to_record(tmp_path):
    verdict = reading(tmp_path, {"a": pair(-0.5)}, n_batches=1).verdict
    assert verdict.level == "cannot tell"
    assert "per-sample losses" in verdict.next_step


def test_one_task_cannot_tell(tmp_path):
    verdict = reading(tmp_path, {"a": lambda progress: [[1.0]]}, tasks=["alone"]).verdict
    assert verdict.level == "cannot tell"
    assert "one task alone" in verdict.sentence


def test_nan_steps_are_named(tmp_path):
    def spoil(index: int, gradients: np.ndarray) -> None:
        if index > 30:
            gradients[:, 1] = np.nan

    found = reading(tmp_path, {"a": pair(0.3)}, spoil=spoil).verdicts
    assert found[0].level == "watch"
    assert "right held NaN or infinite values at 9 of 40 recorded steps" in found[0].sentence


def test_a_task_below_noise_cannot_tell(tmp_path):
    def spoil(index: int, gradients: np.ndarray) -> None:
        gradients[:, 1] = np.random.default_rng(index).standard_normal(gradients[:, 1].shape)

    verdict = reading(tmp_path, {"a": pair(-0.5)}, spoil=spoil).verdict
    assert verdict.level == "cannot tell"
    assert "signal of right is below its noise" in verdict.sentence


def test_a_loss_scaled_a_hundredfold_is_a_problem(tmp_path):
    verdict = reading(tmp_path, {"a": pair(0.3)}, scales=[1.0, 100.0]).verdict
    assert verdict.level == "problem"
    assert "The gradient of right is 101 times as long as that of left" in verdict.sentence
    assert verdict.low < 100 < verdict.high
    assert verdict.options == {"view": "magnitude"}


def test_wide_intervals_cannot_tell(tmp_path):
    verdict = reading(tmp_path, {"a": pair(0.0)}, n_steps=4, n_batches=3, noise=2.0, size=40).verdict
    assert verdict.level == "cannot tell"
    assert "cannot be ruled out" in verdict.sentence


def test_a_turn_names_both_cosines_and_the_step(tmp_path):
    def turn(progress: float) -> list[list[float]]:
        cosine = 0.4 if progress < 0.5 else -0.4
        return [[1.0, cosine], [cosine, 1.0]]

    found = reading(tmp_path, {"a": turn}, n_steps=60).verdicts
    text = "\n".join(verdict.sentence for verdict in found)
    assert re.search(
        r"left – right on the shared parameters turns from 0\.[34]\d to −0\.[34]\d at about step 300", text
    )
    assert re.search(r"below 0 beyond noise between steps (270|280|290|300|360) and 590", text)


def test_a_conflict_comes_with_a_remedy_beside_the_plain_sum(tmp_path):
    found = reading(tmp_path, {"a": pair(-0.6)}, n_batches=8, scales=[1.0, 3.0]).verdicts
    replayed = next(verdict for verdict in found if verdict.options.get("view") == "replay")
    assert "beside" not in replayed.sentence
    assert "2 backward passes a step instead of one" in replayed.sentence
    assert replayed.low > 0


def test_whether_it_mattered_is_said(tmp_path):
    def phases(progress: float) -> list[list[float]]:
        cosine = -0.5 if round(progress * 79) % 2 else 0.1
        return [[1.0, cosine], [cosine, 1.0]]

    found = reading(
        tmp_path,
        {"a": phases},
        n_steps=80,
        n_batches=8,
        scalars=lambda index: {"loss/left": 2.0 - index % 2, "loss/right": 1.0},
    ).verdicts
    assert any("here the conflict costs something" in verdict.sentence for verdict in found)
