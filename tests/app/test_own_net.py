"""The attribution page with a problem file: executed only where it is named or confirmed, then its model is asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from workbench.cli.app import PROBLEMS_VARIABLE
from workbench.diagnostics.recorder import Recorder
from workbench.forecast import forecast, load_problem
from workbench.forecast.templates import text

OpenApp = Callable[..., AppTest]


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A problem file that leaves a trace when it is executed, and a run with a checkpoint of its model."""
    folder = tmp_path / "mine"
    folder.mkdir()
    trace = f"open({str(tmp_path / 'executed')!r}, 'a').close()\n"
    (folder / "pictures.py").write_text(text("datasets").replace("import torch\n", f"import torch\n{trace}", 1))
    problem = load_problem(folder / "pictures.py")
    (tmp_path / "executed").unlink()
    with Recorder(folder / "trained", tasks=list(problem.tasks)) as rec:
        rec.scalars(0, {"loss/city": 1.0})
        rec.checkpoint_model(7, problem.model(1))
    return folder


def opened(open_app: OpenApp, folder: Path, **address: str) -> AppTest:
    app = open_app(folder, run="trained", **address)
    app.switch_page("views/attribution.py").run()
    assert not app.exception, [element.value for element in app.exception]
    return app


def words(app: AppTest) -> str:
    kinds = (app.markdown, app.info, app.caption, app.warning)
    return "\n".join(str(element.value) for kind in kinds for element in kind).replace("\\", "")


def test_a_found_file_is_executed_only_after_the_button_and_again_asked_when_it_changes(open_app, mine, tmp_path):
    app = opened(open_app, mine)
    assert "has to be executed on this machine" in words(app)
    assert "class Net(nn.Module)" in app.code[0].value
    assert not app.get("plotly_chart")
    assert not (tmp_path / "executed").exists()
    app.button(key="execute").click().run()
    assert not app.exception
    assert (tmp_path / "executed").exists()
    assert "the weights of step-00000007.safetensors" in words(app)
    assert len(app.get("plotly_chart")) == 1
    (mine / "pictures.py").write_text((mine / "pictures.py").read_text() + "\n# changed\n")
    app.run()
    assert "has to be executed on this machine" in words(app)
    assert not app.get("plotly_chart")


@pytest.fixture
def named(mine: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(PROBLEMS_VARIABLE, json.dumps([str(mine / "pictures.py")]))
    return mine


@pytest.mark.parametrize("ask", ["pixels", "layers", "concepts", "training data"])
def test_every_question_is_answered_for_a_file_named_on_the_command_line(open_app, named, ask):
    app = opened(open_app, named, ask=ask)
    assert len(app.get("plotly_chart")) == 1
    said = words(app)
    if ask == "pixels":
        assert "city and highway: cosine" in said
    if ask == "concepts":
        assert "moves the logit of city road" in said or "What moves the logit of city road" in said
    if ask == "training data":
        assert "1,024 training samples are the first ones of the problem's batches" in said
        assert "Step size 0.001. Checkpoints: 7." in said


def test_weights_before_training_can_be_asked_too(open_app, named):
    app = opened(open_app, named, methods="occlusion")
    app.selectbox(key="net weights").set_value("fresh, as before training").run()
    assert not app.exception
    assert "weights as before training, seed 0" in words(app)


def test_a_diagnosed_run_is_asked_about_its_own_samples_without_pictures(open_app, tmp_path, monkeypatch):
    file = tmp_path / "heads.py"
    file.write_text(text("heads"))
    forecast(load_problem(file), budget=5, seeds=2, max_steps=1, folder=tmp_path / "runs" / "trained")
    monkeypatch.setenv(PROBLEMS_VARIABLE, json.dumps([str(file)]))
    app = opened(open_app, tmp_path / "runs")
    figure = json.loads(app.get("plotly_chart")[0].proto.spec)
    assert {trace["type"] for trace in figure["data"]} == {"heatmap"}
    assert "shape: integrated gradients" in [note["text"] for note in figure["layout"]["annotations"]]
    assert "asked about the first 1,216 samples of its batches, which it is trained on" in words(app)


def test_a_model_that_the_weights_do_not_fit_says_so(open_app, named):
    content = (named / "pictures.py").read_text().replace("nn.Linear(16, len(names))", "nn.Linear(16, 2 + len(names))")
    (named / "pictures.py").write_text(content)
    app = opened(open_app, named)
    assert "has shape" in app.error[0].value.replace("\\", "")
    assert not app.get("plotly_chart")
