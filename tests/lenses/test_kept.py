"""What a person keeps about a run lies outside the run's folder."""

from __future__ import annotations

import pytest

from workbench.core import ConfigError, Run, RunWriter
from workbench.lenses.kept import forget, keep, kept


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_DATA_DIR", str(tmp_path / "data"))
    RunWriter(tmp_path / "run", name="run").close()
    return Run(tmp_path / "run")


def test_what_was_kept_is_found_by_name_and_the_run_is_not_touched(run, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    keep(run, "selections", "the blurred ones / pose", {"ids": [1, 2]})
    keep(run, "selections", "a", 1)
    keep(run, "selections", "a", 2)
    assert kept(run, "selections") == {"a": 2, "the blurred ones / pose": {"ids": [1, 2]}}
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before
    forget(run, "selections", "a")
    forget(run, "selections", "a")
    assert list(kept(run, "selections")) == ["the blurred ones / pose"]
    assert kept(run, "other") == {}


def test_names_stay_inside_their_folder_and_have_a_length(run, tmp_path):
    path = keep(run, "selections", "../../../escape", 1)
    assert path.parent.parent.parent.name == "analysis"
    for name in ("", "  ", "x" * 81):
        with pytest.raises(ConfigError, match="1 to 80 characters"):
            keep(run, "selections", name, 1)


def test_a_damaged_file_is_passed_over(run):
    keep(run, "selections", "whole", 1)
    keep(run, "selections", "cut", [1, 2, 3]).write_text("[1, 2")
    assert kept(run, "selections") == {"whole": 1}
