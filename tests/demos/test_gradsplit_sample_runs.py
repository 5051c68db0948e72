"""The committed runs of GradSplit: whole, and showing the split at work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from workbench.core import Run, validate
from workbench.lenses import look

FOLDER = Path(__file__).parents[2] / "sample_runs" / "gradsplit"
VIEWS = ("routing", "split", "flows", "influence", "group-use")


@pytest.mark.parametrize("variant", ["shared", "gradsplit"])
def test_the_run_was_recorded_whole(variant):
    run = Run(FOLDER / variant)
    assert (run.info.name, run.info.status, run.info.seed) == (f"gradsplit/{variant}", "done", 0)
    assert validate(FOLDER / variant) == []
    assert {"task_gradients", "trial_steps", "predictions", "embeddings", "samples"} <= set(run.tables)
    assert run.info.domains[1].held_out


def test_the_split_shows_what_it_keeps_out():
    reading = look(Run(FOLDER / "gradsplit"), "conflict")
    split = reading.stats.split
    assert split.applied
    assert not split.relation.all()
    assert (np.nan_to_num(split.after) <= np.nan_to_num(split.before)).all()
    assert {view.slug for view in reading.lens.shown(reading.stats)} >= set(VIEWS)
    for view in VIEWS:
        assert reading.figure(view).data


def test_plain_sharing_lets_everything_in():
    split = look(Run(FOLDER / "shared"), "conflict").stats.split
    assert split.applied
    assert split.relation.all()
    assert split.influence is None


def test_the_relation_is_the_sign_of_the_recorded_influence():
    run = Run(FOLDER / "gradsplit")
    influence = run.array("influence", 0)["z"].mean(axis=0)
    assert np.array_equal(run.info.config["relation"], (influence > 0) | np.eye(4, dtype=bool))
