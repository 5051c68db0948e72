"""Commands explain themselves, say mistakes in one line, and print what the library found."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from workbench.cli import COMMANDS, main
from workbench.core import RunWriter


@pytest.fixture
def run_folder(tmp_path):
    with RunWriter(tmp_path / "runs" / "mine", question="why?", tasks=["digit"], seed=4) as rec:
        rec.scalars(0, {"loss": 1.0})
    return tmp_path / "runs"


def _invoke(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name):
    done = _invoke(name, "--help")
    assert done.exit_code == 0, done.output
    assert done.output.startswith("Usage: ")
    assert len(done.output.splitlines()) > 4


def test_list_shows_runs_and_skipped_folders(run_folder):
    (run_folder / "broken").mkdir()
    (run_folder / "broken" / "run.json").write_text("{")
    done = _invoke("list", run_folder)
    assert done.exit_code == 0
    assert "mine" in done.output
    assert "why?" in done.output
    assert "not valid JSON" in done.output
    data = json.loads(_invoke("list", run_folder, "--json").output)
    assert data["runs"][0]["seed"] == 4


def test_list_of_an_empty_folder_says_so(tmp_path):
    assert "No runs in" in _invoke("list", tmp_path).output


def test_show_says_a_verdict_a_lens_and_what_to_record(run_folder):
    done = _invoke("show", run_folder / "mine")
    assert done.exit_code == 0, done.output
    assert done.output.count("cannot tell") >= 5
    assert "Record it with" in done.output or "rec." in done.output
    data = json.loads(_invoke("show", run_folder / "mine", "--json").output)
    assert {verdict["level"] for verdict in data["verdicts"]} == {"cannot tell"}


def test_a_mistake_is_one_line_without_a_trace(run_folder):
    done = _invoke("show", run_folder)
    assert done.exit_code == 1
    assert done.output.startswith("Error: ")
    assert "Traceback" not in done.output
    assert isinstance(done.exception, SystemExit)


def test_a_lens_without_its_table_is_an_error_with_the_remedy(run_folder):
    done = _invoke("show", run_folder / "mine", "--lens", "conflict")
    assert done.exit_code == 1
    assert "rec.task_gradients(" in done.output


def test_validate_tells_sound_from_damaged(run_folder):
    assert _invoke("validate", run_folder).exit_code == 0
    part = next((run_folder / "mine").rglob("*.parquet"))
    part.write_bytes(part.read_bytes()[:50])
    done = _invoke("validate", run_folder)
    assert done.exit_code == 1
    assert "part-000001.parquet" in done.output
    data = json.loads(_invoke("validate", run_folder, "--json").output)
    assert len(data["mine"]) == 1


def test_validate_of_a_folder_without_runs_is_an_error(tmp_path):
    done = _invoke("validate", tmp_path)
    assert done.exit_code == 1
    assert "There is no run in" in done.output


def test_train_without_a_recipe_lists_them():
    done = _invoke("train")
    assert done.exit_code == 0
    assert "digit-pairs: " in done.output
    assert "    joint: " in done.output


def test_train_of_an_unknown_recipe_names_the_known_ones(tmp_path):
    done = _invoke("train", "digit-pear", "--out", tmp_path)
    assert done.exit_code == 1
    assert "There is no recipe 'digit-pear'. Recipes: digit-pairs" in done.output


def test_checkpoints_are_listed_opened_and_compared(tmp_path):
    from safetensors.numpy import save_file

    save_file({"w": np.ones((2, 3), np.float32)}, tmp_path / "a.safetensors")
    save_file({"w": 2 * np.ones((2, 3), np.float32)}, tmp_path / "b.safetensors")
    found = json.loads(_invoke("checkpoints", tmp_path, "--json").output)
    assert [row["checkpoint"] for row in found] == ["a.safetensors", "b.safetensors"]
    assert [row["relative_change"] for row in found] == [None, 1.0]
    assert "relative" in _invoke("checkpoints", tmp_path).output
    assert "2×3" in _invoke("checkpoints", tmp_path / "a.safetensors").output
    done = _invoke("checkpoints", tmp_path / "a.safetensors", tmp_path / "b.safetensors", "--json")
    norm = pytest.approx(6**0.5)
    assert json.loads(done.output) == [
        {"tensor": "w", "status": "changed", "parameters": 6, "norm": norm, "relative_change": 1.0, "cosine": 1.0}
    ]
    (tmp_path / "empty").mkdir()
    assert "There is no checkpoint in" in _invoke("checkpoints", tmp_path / "empty").output


def test_figures_are_written_and_mistakes_named(tmp_path):
    from workbench.runs import sample_runs

    run = sample_runs() / "digit-pairs" / "joint"
    done = _invoke("export", run, "--figure", "conflict", "--figure", "scalars", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"conflict.html", "scalars.html"}
    assert "Say what to write" in _invoke("export", run, "--out", tmp_path).output
    assert "has no view 'x'" in _invoke("export", run, "--figure", "bias/x", "--out", tmp_path).output
    assert "needs NAME=VALUE" in _invoke("export", run, "--figure", "bias", "--option", "x", "--out", tmp_path).output
