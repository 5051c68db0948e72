"""Training samples drawn again are those of the run, and a training that ends early is the beginning of the whole."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from workbench.core import Run, RunFormatError
from workbench.demos import RECIPES
from workbench.demos.nets import load_net
from workbench.demos.recipe import train
from workbench.demos.training_data import checkpoints_again, training_data, why_not_redrawn

SAMPLES = Path(__file__).parents[2] / "sample_runs"


@pytest.mark.parametrize("key", ["digit-biases/skewed", "digit-domains/without-uci", "faults/case-b"])
def test_the_net_answers_the_drawn_test_samples_as_it_did_when_it_was_recorded(key: str):
    run = Run(SAMPLES / key)
    fitted, tested = training_data(run)
    assert len(fitted.inputs) == run.info.config["n_train"]
    step = run.info.config["probes"][-1]
    net = load_net(run.checkpoints()[step])
    with torch.no_grad():
        said = {task: logits.argmax(1).numpy() for task, logits in net(tested.inputs).items()}
    for task, answers in said.items():
        recorded = run.query(
            "SELECT prediction FROM predictions WHERE task = ? AND step = ? ORDER BY sample", [task, step]
        )["prediction"].to_numpy()
        assert (answers == recorded).mean() > 0.999
    samples = run.query("SELECT * FROM samples ORDER BY sample")
    for name, levels in tested.levels.items():
        assert (samples[name].to_numpy() == levels).all()


def test_the_planted_labels_are_among_the_training_samples():
    fitted, _ = training_data(Run(SAMPLES / "digit-biases/skewed"))
    planted = (fitted.levels["rotation"] == "tilted") & (fitted.levels["blur"] == "blurred")
    net = load_net(Run(SAMPLES / "digit-biases/skewed").checkpoints()[700])
    with torch.no_grad():
        said = net(fitted.inputs)["digit"].argmax(1).numpy()
    wrong = said != fitted.targets["digit"]
    assert wrong[planted].mean() > 0.7 > 0.4 > wrong[~planted].mean()


def test_a_run_of_another_recipe_or_seed_is_refused(tmp_path: Path):
    assert "not known" in str(why_not_redrawn(Run(SAMPLES / "digit-pairs/joint")))
    with pytest.raises(RunFormatError, match="not known"):
        training_data(Run(SAMPLES / "digit-pairs/joint"))
    shutil.copytree(SAMPLES / "digit-domains/without-uci", tmp_path / "other")
    file = tmp_path / "other" / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"seed": 5}))
    with pytest.raises(RunFormatError, match="not have the recorded targets"):
        training_data(Run(tmp_path / "other"))


def test_checkpoints_of_a_shorter_training_lie_on_the_way(tmp_path: Path):
    recipe = next(one for one in RECIPES if one.name == "faults")
    short = replace(recipe, variants=(replace(recipe.variant("case-a"), steps=3),), claims=())
    run = Run(train(short, tmp_path / "whole", seed=1)[0])
    reported = []
    found = checkpoints_again(run, (2, 3), tmp_path / "again", lambda done, total: reported.append((done, total)))
    assert reported[-1] == (5, 5)
    whole, again = load_net(run.checkpoints()[3]), load_net(found[3])
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        np.testing.assert_array_equal(one.detach(), other.detach())
    assert list(found) == [2, 3]
