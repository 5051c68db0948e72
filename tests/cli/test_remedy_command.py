"""workbench remedy trains the demo of a run again with a remedy, and puts both side by side."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from workbench.cli import main
from workbench.core import Run, RunWriter
from workbench.demos import Recipe, train
from workbench.lenses import look
from workbench.lenses.conflict.remedy import remedies
from workbench.runs import sample_runs


def remedy(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["remedy", *map(str, arguments)])


def never(*arguments: object, **options: object) -> list[Path]:
    raise AssertionError("nothing was to be trained")


@pytest.fixture
def joint(tmp_path: Path) -> Path:
    return Path(shutil.copytree(sample_runs() / "digit-pairs" / "joint", tmp_path / "joint"))


@pytest.mark.slow
def test_a_run_is_trained_again_with_a_rule_and_compared(joint, tmp_path, monkeypatch):
    pytest.importorskip("torchjd", reason="torchjd is not installed")
    monkeypatch.setattr("workbench.cli.remedy.train_recipe", partial(train, lean=True))
    out = tmp_path / "out"
    result = remedy(joint, "--rule", "UPGrad", "--short", "--out", out, "--threads", 1, "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["rule"] == "UPGrad"
    # The sample run has conflicts beyond noise, so something is proposed, whatever was chosen here.
    assert [one["rule"] for one in said["proposed"]]
    trained = Run(said["runs"][0])
    assert trained.path == out / "upgrad" / "joint"
    assert (trained.info.status, trained.info.method, trained.info.seed) == ("done", "UPGrad", 0)
    by_tag = {row["tag"]: row for row in said["metrics"]}
    assert {"accuracy/left", "accuracy/parity", "error/rebuild"} <= set(by_tag)


def test_the_first_rule_that_is_proposed_is_trained_from_the_same_seed(joint, tmp_path, monkeypatch):
    asked: dict[str, object] = {}

    def trained(recipe: Recipe, folder: Path, seed: int, **options: object) -> list[Path]:
        asked.update(options, recipe=recipe.name, folder=folder, seed=seed)
        return [sample_runs() / "digit-pairs" / "left-alone"]

    monkeypatch.setattr("workbench.cli.remedy.train_recipe", trained)
    proposed = [one.rule for one in remedies(look(Run(joint), "conflict").stats)]
    result = remedy(joint, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert (asked["recipe"], asked["seed"], asked["only"]) == ("digit-pairs", 0, ["joint"])
    assert (asked["gradients"], asked["folder"]) == (proposed[0], tmp_path / "out" / proposed[0].lower())
    assert all(f"{rule}: " in result.output for rule in proposed)
    assert "accuracy/left" in result.output


def test_where_no_conflict_is_called_nothing_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr("workbench.cli.remedy.train_recipe", never)
    run = next(path.parent for path in sorted((sample_runs() / "null").glob("*/run.json")))
    result = remedy(run, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "nothing to mend" in result.output
    assert json.loads(remedy(run, "--out", tmp_path / "out", "--json").stdout) == {"proposed": [], "runs": []}


def test_a_run_that_is_no_demo_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("workbench.cli.remedy.train_recipe", never)
    RunWriter(tmp_path / "mine").close()
    result = remedy(tmp_path / "mine")
    assert result.exit_code == 1
    assert "not a plain demo run" in result.output
