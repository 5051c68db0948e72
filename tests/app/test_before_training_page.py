"""The page "Before training": a recorded forecast in words and figures, templates, a probe beside the app."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from workbench.core import RunWriter
from workbench.core.gramian import Gramian
from workbench.forecast.measured import Measured, save

OpenApp = Callable[..., AppTest]
TASKS = ("digit", "parity", "noise")


def record(folder: Path) -> Path:
    """A forecast of three tasks of which two cost each other 20 to 30 %, in block "late"."""
    rng = np.random.default_rng(0)
    alone = np.linspace(1.0, 0.5, 5)[None, :, None] + 0.002 * rng.normal(size=(4, 5, 3))
    paired = np.stack([alone[:, :, [0, 1]], alone[:, :, [0, 2]], alone[:, :, [1, 2]]], axis=2)
    paired[:, :, 0] += np.linspace(0, 0.25, 5)[:, None]
    together = alone + np.linspace(0, 0.1, 5)[:, None]
    measured = Measured(np.linspace(0, 40, 5), alone, paired, together, rng.normal(size=(4, 2, 3, 3)))
    forecast = {"steps": 40, "stride": 100, "device": "CPU", "seconds": 12.0, "half_width": 0.3, "batch_samples": 64}
    with RunWriter(
        folder, tasks=TASKS, method="forecast", config={"forecast": forecast}, modules=("early", "late")
    ) as w:
        for seed in range(4):
            for step in (0, 40):
                common = rng.normal(size=(2, 1, 1, 30))
                signs = np.ones((2, 3, 1, 1))
                signs[1, 1] = -1
                gradients = signs * common + 0.3 * rng.normal(size=(2, 3, 6, 30))
                dot = np.einsum("mtkp,msjp->mtksj", gradients, gradients)
                w.gramian(100 * seed + step, Gramian(("early", "late"), TASKS, dot, np.full((3, 6), 8)))
        save(w, measured)
    return folder


def opened(open_app: OpenApp, folder: Path, **address: str) -> AppTest:
    app = open_app(folder, **address)
    app.switch_page("views/before_training.py").run()
    assert not app.exception, [element.value for element in app.exception]
    return app


def words(app: AppTest) -> str:
    kinds = (app.markdown, app.info, app.caption, app.title, app.error)
    return "\n".join(str(element.value) for kind in kinds for element in kind).replace("\\", "")


def titles(app: AppTest) -> list[str]:
    return [json.loads(chart.proto.spec)["layout"]["title"]["text"] for chart in app.get("plotly_chart")]


@pytest.mark.parametrize(
    ("view", "title"),
    [
        ("Where", "Where digit and parity pull apart"),
        ("Who pays for whom", "Who pays"),
        ("Losses on the way", "Held-out"),
    ],
)
def test_a_recorded_forecast_is_told_and_drawn(open_app: OpenApp, tmp_path: Path, view: str, title: str):
    record(tmp_path / "forecast-mine")
    app = opened(open_app, tmp_path, view=view)
    assert "Sharing the network will cost digit and parity" in words(app)
    assert "pull apart most in late" in words(app)
    shown = titles(app)
    assert shown[0].startswith("Predicted cost of sharing")
    assert shown[1].startswith(title)


def test_numbers_can_be_had(open_app: OpenApp, tmp_path: Path):
    record(tmp_path / "forecast-mine")
    app = opened(open_app, tmp_path, view="Numbers")
    assert app.dataframe[0].value["call"].tolist()[0] == "conflict"


def test_an_empty_folder_says_what_to_do_and_that_the_file_is_executed(open_app: OpenApp, tmp_path: Path):
    (tmp_path / "other.py").write_text("raise SystemExit('this must not run')\n")
    app = opened(open_app, tmp_path)
    assert "No forecast here yet" in words(app)
    assert "executes the chosen file, your own code" in words(app)
    assert not [button for button in app.button if button.key == "diagnose"]


def test_a_template_is_written_diagnosed_beside_the_app_and_shown(open_app: OpenApp, tmp_path: Path):
    app = opened(open_app, tmp_path)
    app.button(key="write").click().run()
    assert (tmp_path / "heads.py").exists()
    for key, value in (("budget", 300), ("seeds", 2), ("steps", 3)):
        app.number_input(key=key).set_value(value)
    app.button(key="diagnose").click().run()
    assert not app.exception
    until = time.monotonic() + 240
    while not (tmp_path / "forecast-heads" / "arrays" / "forecast").exists() and time.monotonic() < until:
        time.sleep(0.5)
    while "Predicted cost of sharing, pair by pair" not in titles(app) and time.monotonic() < until:
        time.sleep(0.5)
        app.run()
        assert not app.exception, [element.value for element in app.exception]
    assert "Predicted cost of sharing, pair by pair" in titles(app)


def test_a_damaged_forecast_is_said(open_app: OpenApp, tmp_path: Path):
    folder = record(tmp_path / "forecast-mine")
    array = next((folder / "arrays" / "forecast").glob("step-*.safetensors"))
    array.write_bytes(array.read_bytes()[:100])
    assert "damaged" in words(opened(open_app, tmp_path))


def test_the_page_says_how_often_forecasts_came_true(open_app: OpenApp, tmp_path: Path) -> None:
    app = opened(open_app, tmp_path, truth="against")
    assert "the rank correlation of the forecast with the realised cost of sharing is" in words(app)
    assert "What was forecast, and what sharing then cost" in titles(app)
    for view, title in (("ranking", "Who orders the problems"), ("lengths", "How long does a probe")):
        app = opened(open_app, tmp_path, truth=view)
        assert any(title in text for text in titles(app))
