"""Logs of other programs open in the app as they are; a broken one is a sentence, and the others still open."""

from __future__ import annotations

import json

import pandas as pd
import pytest


@pytest.fixture
def logs(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE_DIR", str(tmp_path / "cache"))
    folder = tmp_path / "logs"
    (folder / "lightning").mkdir(parents=True)
    (folder / "lightning" / "metrics.csv").write_text(
        "step,loss\n" + "".join(f"{i},{1 / (i + 1)}\n" for i in range(20))
    )
    (folder / "broken").mkdir()
    (folder / "broken" / "trainer_state.json").write_text("{")
    answers = pd.DataFrame({"target": [0, 1] * 100, "prediction": [0, 1, 1, 1] * 50, "light": ["day", "night"] * 100})
    answers.to_csv(folder / "answers.csv", index=False)
    for trial in range(2):
        (folder / "sweep" / str(trial)).mkdir(parents=True)
        arguments = {"algorithm": "ERM", "dataset": "PACS", "test_envs": [0], "trial_seed": trial, "hparams_seed": 0}
        record = {"args": arguments, "step": 1} | {f"env{i}_{s}_acc": 0.5 for i in range(4) for s in ("in", "out")}
        (folder / "sweep" / str(trial) / "results.jsonl").write_text(json.dumps(record))
    return folder


def test_the_list_shows_every_log_and_the_sweep(logs, open_app):
    app = open_app(logs)
    assert not app.exception
    shown = [frame.value for frame in app.dataframe]
    assert shown[0]["A"].tolist()[0] == "50.0 ± 0.0"
    assert set(shown[1]["run"]) == {"answers.csv", "broken", "lightning", "sweep/0", "sweep/1"}


@pytest.mark.parametrize(
    ("run", "page"), [("lightning", "overview"), ("answers.csv", "bias"), ("answers.csv", "overview")]
)
def test_a_log_opens_on_its_pages(logs, open_app, run, page):
    app = open_app(logs, run=run)
    app.switch_page(f"views/{page}.py").run()
    assert not app.exception
    assert not app.error
    assert app.get("plotly_chart")


def test_a_single_table_opens_by_itself(logs, open_app):
    app = open_app(logs / "answers.csv")
    assert not app.exception
    assert app.dataframe[0].value["run"].tolist() == ["answers.csv"]


def test_a_broken_log_is_one_sentence_on_every_page(logs, open_app):
    app = open_app(logs, run="broken")
    for page in ("overview", "bias"):
        app.switch_page(f"views/{page}.py").run()
        assert not app.exception
        assert "trainer_state.json is not valid JSON" in app.error[0].value.replace("\\", "")


def test_what_of_a_log_could_not_be_read_is_on_its_page(logs, open_app):
    (logs / "odd").mkdir()
    (logs / "odd" / "metrics.csv").write_text("step,loss\n0,0.5\n1,oops\n2,0.25\n")
    (logs / "odd" / "hparams.yaml").write_text("a: [")
    (logs / "cut.csv").write_text("target,prediction\n" + "0,1\n1,\n" * 40)
    app = open_app(logs, run="odd").switch_page("views/overview.py").run()
    assert not app.exception
    assert "Parts of 2 files could not be read" in app.expander[-1].label
    said = " ".join(item.value for item in app.expander[-1].markdown).replace("\\", "")
    assert "metrics.csv: column 'loss': 1 cell(s) are no numbers, first 'oops' in line 3" in said
    assert "hparams.yaml: skipped, not readable as YAML" in said
    app = open_app(logs, run="cut.csv").switch_page("views/bias.py").run()
    assert not app.exception
    assert "cut.csv: 40 row(s) without target or prediction were skipped" in " ".join(
        item.value for item in app.markdown
    ).replace("\\", "")
