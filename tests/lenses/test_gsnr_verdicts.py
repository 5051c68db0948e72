"""What the GSNR lens says, and that it stays calm where nothing is wrong."""

from __future__ import annotations

import numpy as np
from synthetic_gsnr import gaussian, gsnr_run

from workbench.lenses.base import read
from workbench.lenses.gsnr import LENS


def reading(path, gradients, tensors=("a.w", "b.w"), **options):
    return read(gsnr_run(path / "run", tensors, gradients, **options), LENS)


def test_a_healthy_run_is_fine(tmp_path):
    found = reading(tmp_path, lambda progress, tensor, rng: gaussian(rng, 64, 300, 0.5 - 0.4 * progress))
    assert {verdict.level for verdict in found.verdicts} == {"fine"}
    assert "95 % interval" in found.verdict.sentence
    assert "for the 64 samples measured" in found.verdict.sentence


def test_pure_noise_is_a_problem(tmp_path):
    verdict = reading(tmp_path, lambda progress, tensor, rng: gaussian(rng, 64, 3000, 0.0)).verdict
    assert verdict.level == "problem"
    assert "at no time do updates follow more than noise" in verdict.sentence
    assert "labels" in verdict.next_step


def test_domains_that_pull_apart_are_a_problem(tmp_path):
    def gradients(progress, tensor, rng):
        noise = rng.standard_normal((2, 64, 200))
        return {"day": 0.5 + noise[0], "night": -0.4 + noise[1]}

    verdict = reading(tmp_path, gradients).verdict
    assert verdict.level == "problem"
    assert "they pull apart" in verdict.sentence
    assert verdict.options["view"] == "domains"


def test_domains_that_agree_little_are_to_be_watched(tmp_path):
    def gradients(progress, tensor, rng):
        truth = np.zeros((2, 200))
        truth[0, :100], truth[1, 100:] = 0.8, 0.8
        return {name: truth[i] + rng.standard_normal((64, 200)) for i, name in enumerate(("day", "night"))}

    verdict = reading(tmp_path, gradients).verdict
    assert verdict.level == "watch"
    assert "they agree little" in verdict.sentence


def test_identical_domains_are_fine(tmp_path):
    levels = []
    for seed in range(15):
        found = reading(
            tmp_path / str(seed),
            lambda progress, tensor, rng: {name: gaussian(rng, 32, 200, 0.3) for name in "abc"},
            seed=seed,
        )
        levels.append(found.verdict.level)
    assert np.mean([level in ("problem", "watch") for level in levels]) <= 0.05


def test_one_module_that_pulls_domains_apart_is_to_be_watched(tmp_path):
    def gradients(progress, tensor, rng):
        noise = rng.standard_normal((2, 64, 200))
        night = -0.3 if tensor == "b.w" else 0.8
        return {"day": (0.3 if tensor == "b.w" else 0.8) + noise[0], "night": night + noise[1]}

    verdict = reading(tmp_path, gradients).verdict
    assert verdict.level == "watch"
    assert "pull apart in b" in verdict.sentence
    assert verdict.options["part"] == "b"


def test_a_lone_collapse_is_to_be_watched(tmp_path):
    def gradients(progress, tensor, rng):
        return gaussian(rng, 64, 800, 0.01 if tensor == "a.w" and progress > 0.5 else 0.8)

    verdict = reading(tmp_path, gradients, tensors=("a.w", "b.w", "c.w"), n_steps=20).verdict
    assert verdict.level == "watch"
    assert "The GSNR of a falls below a tenth of its peak" in verdict.sentence
    assert "at step 100" in verdict.sentence


def test_too_few_steps_or_samples_cannot_tell(tmp_path):
    few_steps = reading(tmp_path / "1", lambda progress, tensor, rng: gaussian(rng, 64, 30, 0.5), n_steps=2).verdict
    few_samples = reading(tmp_path / "2", lambda progress, tensor, rng: gaussian(rng, 5, 30, 0.5)).verdict
    assert (few_steps.level, few_samples.level) == ("cannot tell", "cannot tell")
    assert "2 recorded steps are too few" in few_steps.sentence
    assert "5 samples" in few_samples.sentence
