"""Every template is written, read and diagnosed as it is, with a tiny budget, by the command."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from workbench.cli import main
from workbench.core import Run, validate
from workbench.forecast import load_problem, read_forecast
from workbench.forecast.templates import TEMPLATES, text

NEEDS = {"lightning": "lightning", "huggingface": "transformers"}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def installed(name: str) -> None:
    if name in NEEDS and importlib.util.find_spec(NEEDS[name]) is None:
        pytest.skip(f"the package {NEEDS[name]} is not installed")


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", list(TEMPLATES))
def test_template_is_written_and_diagnosed(name: str, place: Path):
    installed(name)
    assert f"{name}.py" in run("diagnose", "--template", name)
    said = run("diagnose", f"{name}.py", "--budget", "900", "--seeds", "2", "--steps", "4", "--threads", "1")
    assert "Planned: from each of 2 seeds, 4 steps" in said
    folder = place / "runs" / f"forecast-{name}"
    assert validate(folder) == []
    found = read_forecast(Run(folder))
    assert found.n_seeds == 2
    assert list(found.tasks) == list(load_problem(place / f"{name}.py").tasks)
    assert len(found.pairs) == len(found.tasks) * (len(found.tasks) - 1) // 2
    assert found.verdicts()


def test_templates_look_at_the_data_too(place: Path):
    run("diagnose", "--template", "datasets")
    run("diagnose", "datasets.py", "--budget", "900", "--seeds", "2", "--steps", "2")
    found = read_forecast(Run(place / "runs" / "forecast-datasets"))
    assert set(found.domains["layer"]) == {"encoder", "raw inputs"}
    assert set(found.domains["domain_a"]) == {"city"}
    contradicting = found.labels[found.labels["kind"] == "contradicts"]
    assert contradicting["label_a"].tolist() == ["person", "bicycle"]
    assert contradicting["label_b"].tolist() == ["other", "other"]
    run("diagnose", "--template", "heads")
    run("diagnose", "heads.py", "--budget", "900", "--seeds", "2", "--steps", "2")
    found = read_forecast(Run(place / "runs" / "forecast-heads"))
    assert found.attributes["level"].tolist() == ["dark", "bright"]


def test_templates_are_ordinary_files_that_nothing_else_of_ours_is_needed_for():
    for name in TEMPLATES:
        assert "workbench" not in text(name).replace("workbench diagnose", "")


def test_json_and_estimate(place: Path):
    run("diagnose", "--template", "heads")
    told = CliRunner().invoke(main, ["diagnose", "heads.py", "--estimate", "--json", "--budget", "900"])
    assert json.loads(told.stdout)["plan"]["seeds"] == [0, 1, 2, 3]
    assert not (place / "runs").exists()
    told = CliRunner().invoke(
        main, ["diagnose", "heads.py", "--json", "--budget", "900", "--seeds", "2", "--steps", "2", "--out", "here"]
    )
    answer = json.loads(told.stdout)
    assert answer["run"] == "here"
    assert {pair["call"] for pair in answer["pairs"]} <= {"conflict", "help", "neither", "undetermined"}


def test_what_cannot_be_done_is_said_in_one_line(place: Path):
    run("diagnose", "--template", "heads")
    assert "is there already and is not replaced" in run("diagnose", "--template", "heads", code=1)
    assert "Name a problem file, or write one" in run("diagnose", code=2)
    assert "Error: absent.py is no Python file" in run("diagnose", "absent.py", code=1)
    (place / "broken.py").write_text("tasks = ['a', 'b']\nraise RuntimeError('no data here')\n")
    said = run("diagnose", "broken.py", code=1)
    assert said.startswith("Error: broken.py could not be run: it raised RuntimeError at line 2")
    assert "no data here" in said
    run("diagnose", "heads.py", "--budget", "900", "--seeds", "2", "--steps", "1", "--out", "taken")
    again = run("diagnose", "heads.py", "--budget", "900", "--seeds", "2", "--steps", "1", "--out", "taken", code=1)
    assert "already holds a run" in again
