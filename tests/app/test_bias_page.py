"""What the bias page offers beyond the other lenses' pages: classes, metrics, bins, and the views behind them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from workbench.core import RunWriter
from workbench.core.outcomes import of_labels, of_maps

OpenApp = Callable[..., AppTest]
N = 400


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """labels: the label "dog" is missed on the right. maps: the region "car" at night. ages: wrong above 60."""
    root, rng = tmp_path_factory.mktemp("bias-page"), np.random.default_rng(0)
    ids, side = np.arange(N), rng.choice(["left", "right"], N)
    true = rng.integers(0, 2, (N, 3))
    missed = (side == "right")[:, None] & (np.arange(3) == 1) & (rng.random((N, 3)) < 0.6)
    tasks = [{"name": "tags", "kind": "multilabel", "classes": ("cat", "dog", "rain")}]
    with RunWriter(root / "labels", tasks=tasks, attributes=["side"]) as rec:
        rec.samples({"sample": ids, "side": side})
        for step in (0, 9):
            rec.predictions(step, "tags", sample=ids, **of_labels(np.where(missed & (step > 0), 0, true), true))
    regions = np.repeat(np.arange(3), 12).reshape(6, 6)
    maps = np.broadcast_to(regions, (N, 6, 6))
    night = rng.random(N) < 0.5
    said = np.where((maps == 1) & night[:, None, None] & (rng.random(maps.shape) < 0.4), 0, maps)
    tasks = [{"name": "seg", "kind": "segmentation", "classes": ("road", "car", "sky")}]
    with RunWriter(root / "maps", tasks=tasks, attributes=["light"]) as rec:
        rec.samples({"sample": ids, "light": np.where(night, "night", "day")})
        rec.predictions(1, "seg", sample=ids, **of_maps(said, maps, 3))
    age, blur, target = rng.uniform(20, 80, N), rng.choice(["none", "strong"], N), rng.integers(0, 3, N)
    with RunWriter(root / "ages", tasks=["face"], attributes=[{"name": "age", "kind": "continuous"}, "blur"]) as rec:
        rec.samples({"sample": ids, "target_face": target, "age": age, "blur": blur})
        for step in range(4):
            right = rng.random(N) < 0.95 - 0.5 * (age > 60) * (step > 1)
            said = np.where(right, target, (target + 1) % 3)
            rec.predictions(step, "face", sample=ids, prediction=said, confidence=0.9, loss=1.0 - right)
    return root


def opened(open_app: OpenApp, runs: Path, **address: str) -> AppTest:
    return checked(open_app(runs, **address).switch_page("views/bias.py").run())


def checked(app: AppTest) -> AppTest:
    assert not app.exception, [element.value for element in app.exception]
    return app


def charts(app: AppTest) -> list[Any]:
    return [json.loads(element.proto.spec) for element in app.get("plotly_chart")]


def rows(app: AppTest) -> str:
    return " ".join(charts(app)[0]["layout"]["yaxis"]["categoryarray"])


def test_one_label_can_be_studied_alone(open_app: OpenApp, runs: Path):
    app = opened(open_app, runs, run="labels", view="By class")
    assert charts(app)[0]["layout"]["xaxis"]["title"]["text"] == "IoU (Jaccard index)"
    assert charts(app)[1]["layout"]["yaxis"]["ticktext"][0] == "dog (differs)"
    checked(app.button_group(key="label").set_value("dog").run())
    assert charts(app)[0]["layout"]["xaxis"]["title"]["text"] == "IoU (Jaccard index) of 'dog'"
    assert "for 'dog'" in app.markdown[0].value + app.markdown[1].value + app.markdown[2].value
    app.selectbox(key="rate").set_value("tpr")
    checked(app.run())
    assert charts(app)[1]["layout"]["title"]["text"].startswith("True positive rate (recall) of each class by side")


def test_labels_can_be_judged_by_all_of_them(open_app: OpenApp, runs: Path):
    app = opened(open_app, runs, run="labels", metric="exact")
    assert charts(app)[0]["layout"]["xaxis"]["title"]["text"] == "all labels right"


def test_regions_of_pictures_are_judged_by_class(open_app: OpenApp, runs: Path):
    app = opened(open_app, runs, run="maps", view="By class", rate="Dice (F1)")
    assert charts(app)[1]["layout"]["yaxis"]["ticktext"][0] == "car (differs)"
    assert "light: night" in rows(app)


def test_bins_of_a_continuous_attribute_can_be_changed(open_app: OpenApp, runs: Path):
    app = opened(open_app, runs, run="ages")
    assert rows(app).count("age: ") == 4
    checked(app.select_slider(key="bins").set_value(7).run())
    assert rows(app).count("age: ") == 7
    checked(app.button_group(key="binning").set_value("widths").run())
    assert "age: 20 to 29" in rows(app)
    checked(app.text_input(key="edges age").set_value("60; 40").run())
    assert [f"age: {level}" in rows(app) for level in ("20 to 40", "40 to 60", "60 to 80")] == [True] * 3
    checked(app.text_input(key="edges age").set_value("forty").run())
    assert any("forty holds something that is no number" in element.value for element in app.caption)
    assert rows(app).count("age: ") == 7


def test_bins_come_from_the_address(open_app: OpenApp, runs: Path):
    app = opened(open_app, runs, run="ages", bins="3", **{"edges age": ""})
    assert rows(app).count("age: ") == 3


def test_shares_over_training_and_of_pairs_are_shown(open_app: OpenApp, runs: Path):
    app = opened(open_app, runs, run="ages", view="Shares over training")
    names = [trace.get("name") for trace in charts(app)[1]["data"]]
    assert "age (opens, steps 1–2)" in names
    app = opened(open_app, runs, run="ages", view="Shares of pairs")
    assert "cost together beyond the sum of each" in charts(app)[1]["layout"]["title"]["text"]
