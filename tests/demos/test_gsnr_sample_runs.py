"""The committed runs of GSNR dropout: whole, and showing what the lesson says of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from workbench.core import Run, validate
from workbench.lenses import look

SAMPLE_RUNS = Path(__file__).parents[2] / "sample_runs"
RUNS = (
    "gsnr-shortcut/erm",
    "gsnr-shortcut/domains",
    "gsnr-shortcut/ratio-sweep",
    "gsnr-dropout/fixed-without-uci",
)
#: What they may take on disk together, in bytes.
MAX_BYTES = 600_000


@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_whole(name):
    run = Run(SAMPLE_RUNS / name)
    assert (run.info.name, run.info.status, run.info.seed, run.info.notes) == (name, "done", 0, ())
    assert validate(SAMPLE_RUNS / name) == []


def test_they_stay_small():
    files = [file for name in RUNS for file in (SAMPLE_RUNS / name).rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= MAX_BYTES


def test_the_highest_gsnr_lies_on_the_cue_early_and_leaves_it():
    stats = look(Run(SAMPLE_RUNS / "gsnr-shortcut" / "erm"), "gsnr").stats
    cue, base = stats.dropout.shortcut["cue"], stats.dropout.base["cue"]
    assert base == pytest.approx(10 / 74)
    assert cue.values[cue.steps <= 20].max() > 1.5 * base
    assert cue.values[cue.steps >= 150].max() < base


def test_the_early_mask_takes_more_of_the_cue_than_of_the_pixels():
    found = look(Run(SAMPLE_RUNS / "gsnr-shortcut" / "domains"), "gsnr").stats.dropout
    early = found.by_group(found.overlays["first.weight"])[found.mask_steps.tolist().index(20)]
    shares = dict(zip(found.groups, early, strict=True))
    assert shares["cue"] > 1.5 * shares["pixels"]


def test_masks_by_samples_collapse_where_masks_by_domains_do_not():
    found = look(Run(SAMPLE_RUNS / "gsnr-shortcut" / "ratio-sweep"), "gsnr").stats.dropout.cliff
    at = int(np.flatnonzero(np.isclose(found.ratios, 0.05))[0])
    assert found.mean["seen", "domains"][at] > 0.9
    assert found.mean["seen", "samples"][at] < 0.6
    assert found.mean["unseen", "samples"][at] + 0.2 < found.mean["unseen", "random"][at]


def test_the_mask_of_the_convolutional_net_ends_where_the_recipe_says():
    run = Run(SAMPLE_RUNS / "gsnr-dropout" / "fixed-without-uci")
    stats = look(run, "gsnr").stats
    assert stats.dropout.mask_steps.max() <= run.info.config["dropout"]["until"]
    taken = stats.dropout.overlays["trunk.conv2.0.weight"].by_input.mean()
    assert taken == pytest.approx(run.info.config["dropout"]["ratio"], abs=0.002)
