"""Logs dropped into the Runs page or named by a path open; a guess is shown, confirmed and kept in the cache."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from workbench.core import RunWriter
from workbench.runs import open_run
from workbench.runs.tables import kept_file
from workbench.runs.uploads import uploads

METRICS = b"step,loss\n1,0.5\n2,0.25\n"
ANSWERS = "gold,model,light\n" + "0,0,day\n1,0,night\n" * 60


@pytest.fixture
def folder(tmp_path) -> Path:
    with RunWriter(tmp_path / "runs" / "mine") as rec:
        rec.scalars(0, {"loss": 1.0})
    (tmp_path / "runs" / "deep" / "a" / "b" / "c" / "d" / "log").mkdir(parents=True)
    (tmp_path / "runs" / "deep" / "a" / "b" / "c" / "d" / "log" / "metrics.csv").write_bytes(METRICS)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "metrics.csv").write_bytes(METRICS)
    (tmp_path / "runs" / "answers.csv").write_text(ANSWERS)
    return tmp_path / "runs"


def _panel(app, way: str = "Files or an archive"):
    app.session_state["open a log"] = True
    app.session_state["open from"] = way
    return app.run()


def _words(app) -> str:
    shown = [item.value for kind in (app.markdown, app.caption, app.success, app.warning, app.error) for item in kind]
    return " ".join(shown).replace("\\", "")


def _button(app, label: str):
    return next(button for button in app.button if label in button.label.replace("\\", ""))


def test_a_dropped_archive_is_recognised_and_opens(folder, open_app):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("lightning_logs/version_3/metrics.csv", METRICS)
    app = _panel(open_app(folder))
    app.file_uploader[0].upload("logs.zip", stream.getvalue()).run()
    assert not app.exception
    assert "Recognised: PyTorch Lightning CSV log" in _words(app)
    _button(app, "Open").click().run()
    assert not app.exception
    assert app.query_params["folder"] == "Uploads"
    assert len(list(uploads().glob("logs-*/logs/lightning_logs/version_3/metrics.csv"))) == 1
    assert app.get("plotly_chart")


def test_a_file_of_no_known_format_and_a_dangerous_archive_are_one_sentence(folder, open_app):
    app = _panel(open_app(folder))
    app.file_uploader[0].upload("notes.md", b"hello").run()
    assert not app.exception
    assert "is of a known format" in _words(app)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("../out", b"x")
    app.file_uploader[0].set_value([("bad.zip", stream.getvalue(), "application/zip")]).run()
    assert not app.exception
    assert "points outside its folder; refused" in _words(app)


def test_a_pasted_path_opens_inside_the_folders_only(folder, open_app):
    app = _panel(open_app(folder), "A path")
    app.text_input(key="pasted").set_value("deep/a/b/c/d/log").run()
    assert "Recognised: PyTorch Lightning CSV log" in _words(app)
    _button(app, "Open log").click().run()
    assert not app.exception
    address = app.query_params["folder"]
    assert address == str((folder / "deep/a/b/c/d/log").resolve())
    again = open_app(folder, folder=address)
    assert not again.exception
    assert again.dataframe[0].value["run"].tolist() == ["log"]
    app = _panel(open_app(folder), "A path")
    app.text_input(key="pasted").set_value(str(folder.parent / "elsewhere")).run()
    assert "is outside the folders that may be read" in _words(app)
    outside = open_app(folder, folder=str(folder.parent / "elsewhere"))
    assert not outside.exception
    assert outside.selectbox(key="folder").value == "runs"


def test_a_table_that_nobody_can_guess_is_mapped_in_the_app_and_opens(folder, open_app):
    app = _panel(open_app(folder), "A path")
    app.text_input(key="pasted").set_value("answers.csv").run()
    table = (folder / "answers.csv").resolve()
    assert "its columns do not tell what it holds" in _words(app)
    assert "the role 'target' has no column" in _words(app)
    app.selectbox(key=f"target predictions {table}").set_value("gold").run()
    app.selectbox(key=f"prediction predictions {table}").set_value("model").run()
    _button(app, "Read it like this").click().run()
    assert not app.exception
    assert "✓ confirmed" in _words(app)
    assert kept_file(table).is_file()
    assert not list(folder.glob("*.toml"))
    run = open_run(table)
    assert run.task_names == ("label",)
    assert run.attribute_names == ("light",)
    opened = open_app(folder, run="answers.csv")
    opened.switch_page("views/bias.py").run()
    assert not opened.exception
    assert opened.get("plotly_chart")


def test_a_guess_is_marked_on_the_overview_and_can_be_changed_and_undone(folder, open_app):
    table = folder / "scored.csv"
    table.write_text("label,prediction,colour,shade\n" + "0,0,red,a\n1,0,blue,b\n" * 60)
    app = open_app(folder, run="scored.csv")
    app.switch_page("views/overview.py").run()
    assert "? guessed" in _words(app)
    app.session_state["about"] = "Columns"
    app.run()
    rest = next(item for item in app.multiselect if item.label == "Attributes")
    assert rest.value == ["colour", "shade"]
    rest.set_value(["colour"]).run()
    _button(app, "Read it like this").click().run()
    assert not app.exception
    assert open_run(table).attribute_names == ("colour",)
    _button(app, "Guess again").click().run()
    assert open_run(table).attribute_names == ("colour", "shade")
