"""The committed runs on drawn faces: whole, and showing what was planted in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from workbench.core import Run, validate
from workbench.lenses import look

SAMPLE_RUNS = Path(__file__).parents[2] / "sample_runs"


@pytest.mark.parametrize("name", ["mvcom/mislabelled-mvcom", "cdt/cdt", "cdt/one-group"])
def test_the_run_is_whole(name):
    run = Run(SAMPLE_RUNS / name)
    assert (run.info.name, run.info.status, run.info.seed) == (name, "done", 0)
    assert validate(SAMPLE_RUNS / name) == []
    assert run.query("SELECT count(thumbnail) AS n FROM samples")["n"].item() >= 100


@pytest.fixture(scope="module")
def mislabelled():
    return look(Run(SAMPLE_RUNS / "mvcom" / "mislabelled-mvcom"), "bias")


def test_the_bias_lens_names_the_variation_with_wrong_names(mislabelled):
    (level,) = mislabelled.run.info.config["planted"]["levels"].items()
    assert mislabelled.verdict.level == "problem"
    assert " = ".join(level) in mislabelled.verdict.sentence


def test_its_margin_ends_below_all_others(mislabelled):
    offsets = mislabelled.stats.margins.offsets
    last = offsets[offsets["step"] == offsets["step"].max()].set_index(["factor", "level"])["value"]
    assert last.idxmin() == ("blur", "blurred")
    assert last["blur", "blurred"] < last.drop(("blur", "blurred")).min() - 0.2


def test_its_gradients_disagree_with_the_meta_set(mislabelled):
    means = mislabelled.stats.margins.samples.groupby("blur")["agreement"].mean()
    assert means["blurred"] < 0 < means["sharp"]


def test_a_net_trained_on_one_group_serves_that_group_best_in_the_mean():
    tasks = look(Run(SAMPLE_RUNS / "cdt" / "one-group"), "bias").stats.verified.tasks
    table = tasks[tasks["factor"] == "group"].pivot(index="task", columns="level", values="own_tar")
    own = [table.loc[f"trained on {group}", group] for group in table.columns]
    single = table.drop(index="trained on all").to_numpy()
    others = (single.sum() - sum(own)) / (single.size - len(own))
    assert np.mean(own) > others
    assert table.loc["trained on all"].mean() > others


def test_people_come_apart_in_the_held_out_group_too():
    stats = look(Run(SAMPLE_RUNS / "cdt" / "cdt"), "domains", permutations=19).stats
    (unseen,) = (domain for domain, held_out in zip(stats.domains, stats.held_out, strict=True) if held_out)
    table = stats.pairs.separation.query("layer == 'embed'").set_index(["step", "domain"])
    assert table.loc[(max(stats.steps), unseen), "low"] > table.loc[(0, unseen), "value"]
