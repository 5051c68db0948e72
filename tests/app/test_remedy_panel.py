"""The conflict page trains the demo with a remedy and puts the two runs side by side."""

from __future__ import annotations

import shutil
import time

import pytest
import streamlit as st

from workbench.runs import sample_runs


@pytest.mark.slow
def test_a_remedy_is_trained_from_the_page_and_both_runs_stand_side_by_side(open_app, tmp_path, monkeypatch):
    pytest.importorskip("torchjd", reason="torchjd is not installed")
    st.cache_data.clear()
    shutil.copytree(sample_runs() / "digit-pairs" / "joint", tmp_path / "runs" / "joint")
    app = open_app(tmp_path / "runs")
    app.switch_page("views/conflict.py").run()
    assert not app.exception
    import training

    real = training._command
    monkeypatch.setattr(training, "_command", lambda *arguments: [*real(*arguments), "--short", "--lean"])
    button = next(button for button in app.button if str(button.key).startswith("train digit-pairs-seed-"))
    folder = str(button.key).split()[1]
    button.click().run()
    until = time.monotonic() + 400
    while not any(one.key == f"beside {folder}" for one in app.button) and time.monotonic() < until:
        assert not app.error, app.error[0].value
        time.sleep(1)
        app.run()
    app.button(key=f"beside {folder}").click().run()
    assert not app.exception
    assert app.session_state["run"] == f"{folder}/before"
