"""The label-space editor of the Labels page: shown on request, kept by name, left out of the run."""

from __future__ import annotations

from pathlib import Path

from workbench.core import Run
from workbench.lenses.kept import keep, kept
from workbench.lenses.labels.statistics import statistics


def test_a_space_is_kept_and_taken_up_again(open_app, folder: Path, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_DATA_DIR", str(tmp_path / "data"))
    app = open_app(folder, run="whole")
    app.session_state["space"] = True
    app.switch_page("views/labels.py").run()
    assert not app.exception
    app.text_input(key="space name None").set_value("mine").run()
    app.button(key="space keep").click().run()
    assert not app.exception
    run = Run(folder / "whole")
    (value,) = kept(run, "label spaces").values()
    assert len(value["mapping"]) == len(statistics(run).unified.mapping)
    app.selectbox(key="space start").set_value("mine").run()
    app.button(key="space forget").click().run()
    assert kept(run, "label spaces") == {}


def test_a_kept_space_of_other_labels_is_refused_in_words(open_app, folder: Path, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_DATA_DIR", str(tmp_path / "data"))
    keep(Run(folder / "whole"), "label spaces", "old", {"mapping": [["city", "tram", "tram"]], "parents": []})
    app = open_app(folder, run="whole")
    app.session_state["space"] = True
    app.session_state["space start"] = "old"
    app.switch_page("views/labels.py").run()
    assert not app.exception
    assert "does not fit this run" in app.warning[0].value
