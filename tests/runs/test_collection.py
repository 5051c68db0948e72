"""A folder of many runs opens by reading run.json files alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench import open_run, open_runs
from workbench.core import ConfigError, RunFormatError, RunWriter


def _record(path: Path, **info):
    with RunWriter(path, **info) as rec:
        rec.scalars(0, {"loss": 1.0})
    return path


def test_runs_are_found_by_their_relative_path(tmp_path):
    _record(tmp_path / "a" / "one", question="first?", seed=1)
    _record(tmp_path / "a" / "deep" / "two")
    _record(tmp_path / "three")
    (tmp_path / "notes").mkdir()
    runs = open_runs(tmp_path)
    assert list(runs) == ["a/deep/two", "a/one", "three"]
    assert runs["a/one"].info.seed == 1
    assert runs.frame().set_index("run").loc["a/one", "question"] == "first?"


def test_only_run_json_is_opened(tmp_path, monkeypatch):
    for number in range(50):
        _record(tmp_path / f"run-{number:02d}")
    opened = []
    read_text = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda self, *a, **k: opened.append(self.name) or read_text(self, *a, **k))
    monkeypatch.setattr("workbench.core.run.pq.read_schema", lambda *a: pytest.fail("a table was opened"))
    runs = open_runs(tmp_path)
    runs.frame()
    assert len(runs) == 50
    assert set(opened) == {"run.json"}
    assert len(opened) == 50


def test_a_run_folder_is_a_collection_of_one(tmp_path):
    path = _record(tmp_path / "mine")
    assert list(open_runs(path)) == ["mine"]


def test_a_damaged_run_is_listed_and_the_others_open(tmp_path):
    _record(tmp_path / "good")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "run.json").write_text("{")
    runs = open_runs(tmp_path)
    assert list(runs) == ["good"]
    assert "not valid JSON" in str(runs.problems[0])


def test_refresh_sees_new_and_removed_runs(tmp_path):
    runs = open_runs(tmp_path)
    assert len(runs) == 0
    path = _record(tmp_path / "new")
    runs.refresh()
    assert "new" in runs
    (path / "run.json").unlink()
    runs.refresh()
    assert len(runs) == 0


def test_mistakes_are_named(tmp_path):
    with pytest.raises(RunFormatError, match="is not a folder"):
        open_runs(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="no run 'x'.*Runs: none"):
        open_runs(tmp_path)["x"]
    with pytest.raises(RunFormatError, match="is not a run"):
        open_run(tmp_path)


def test_a_folder_of_aim_says_what_to_do_instead(tmp_path):
    (tmp_path / ".aim" / "meta").mkdir(parents=True)
    runs = open_runs(tmp_path)
    assert len(runs) == 0
    assert "a table with the columns run, step, name and value" in str(runs.problems[0])
    for place in (tmp_path, tmp_path / ".aim"):
        with pytest.raises(RunFormatError, match="repository of Aim, whose storage only Aim's own package can read"):
            open_run(place)
