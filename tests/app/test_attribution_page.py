"""The attribution page: maps of a run that has a net, plain words for one that has none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from workbench.lenses.attribution_figure import attribution_figure

OpenApp = Callable[..., AppTest]
SAMPLES = Path(__file__).parents[2] / "sample_runs"


def opened(open_app: OpenApp, folder: Path, **address: str) -> AppTest:
    app = open_app(folder, **address)
    app.switch_page("views/attribution.py").run()
    assert not app.exception, [element.value for element in app.exception]
    return app


def words(app: AppTest) -> str:
    kinds = (app.markdown, app.info, app.caption)
    return "\n".join(str(element.value) for kind in kinds for element in kind).replace("\\", "")


def titles(app: AppTest) -> list[str]:
    figure: dict[str, Any] = json.loads(app.get("plotly_chart")[0].proto.spec)
    return [note["text"] for note in figure["layout"]["annotations"]]


def test_two_tasks_side_by_side_with_checks_and_agreement(open_app: OpenApp):
    app = opened(open_app, SAMPLES, run="digit-pairs/joint", method="gradient × input")
    shown = titles(app)
    assert sum(title.startswith("sample") for title in shown) == 6
    assert sum(title.startswith("left: ") for title in shown) == 6
    assert sum(title.startswith("right: ") for title in shown) == 6
    said = words(app)
    assert "infidelity" in said
    assert "left and right: cosine" in said
    assert "gap" not in said.split("How to read")[0].split("**left**")[1].split("\n")[0]


def test_samples_of_a_class_are_of_that_class(open_app: OpenApp):
    app = opened(
        open_app, SAMPLES, run="digit-biases/skewed", method="gradient × input", samples="by class", **{"class": "3"}
    )
    answers = [title for title in titles(app) if title.startswith("digit: ")]
    assert len(answers) == 6
    assert all(("is 3 ✕" in title) or title.startswith("digit: 3 ") for title in answers)


def test_integrated_gradients_come_with_their_gap(open_app: OpenApp):
    app = opened(open_app, SAMPLES, run="faults/case-b", tasks="parity")
    assert "gap up to" in words(app)


@pytest.mark.parametrize(
    ("run", "why"),
    [
        ("digit-pairs/left-alone", "no checkpoint"),
        ("faults/case-f", "not finite"),
        ("null/identical", "No head of the net"),
        ("scenes-two-datasets/own-heads", "no checkpoint"),
    ],
)
def test_a_run_without_a_net_says_why_and_leads_to_one_that_has_it(open_app: OpenApp, run: str, why: str):
    app = opened(open_app, SAMPLES, run=run)
    assert why in words(app)
    assert not app.get("plotly_chart")
    app.button(key="show sample").click().run()
    assert not app.exception
    assert len(app.get("plotly_chart")) == 1


def test_the_figure_shows_every_map_on_one_scale_around_zero():
    rng = np.random.default_rng(0)
    pictures, maps = rng.random((7, 3, 8, 8)), {"a": rng.normal(size=(7, 8, 8)), "b": 9 * rng.normal(size=(7, 8, 8))}
    names = [f"sample {i}" for i in range(7)]
    fig = attribution_figure(pictures, maps, names, {"a": names, "b": names})
    heat = [trace for trace in fig.data if trace.type == "heatmap"]
    assert len(heat) == 14
    np.testing.assert_array_equal(heat[1].z, maps["b"][0])
    axis = fig.layout.coloraxis
    assert axis.cmin == -axis.cmax
    assert axis.cmax == pytest.approx(np.quantile(np.abs(np.concatenate([maps["a"], maps["b"]])), 0.98))
    assert axis.colorscale[3] == (0.5, "rgba(255, 255, 255, 0)")
    assert sum(note.text == "sample 6" for note in fig.layout.annotations) == 3


def test_maps_of_zeros_and_of_nothing_finite_are_drawn():
    fig = attribution_figure(np.zeros((1, 1, 4, 4)), {"a": np.full((1, 4, 4), np.nan)}, ["sample 0"], {"a": ["a"]})
    assert fig.layout.coloraxis.cmax == 1


def test_the_planted_labels_are_named_as_what_hurts_the_group_they_were_planted_in(open_app: OpenApp):
    app = opened(open_app, SAMPLES, run="digit-biases/skewed", ask="training data", whose="rotation", group="tilted")
    said = words(app)
    assert "left out: tilted and blurred (-" in said
    assert "TracIn: " in said
    assert "8,000 training samples are not in the run" in said
    assert len(app.get("plotly_chart")) == 1


def test_a_run_whose_training_samples_are_not_known_says_so(open_app: OpenApp):
    app = opened(open_app, SAMPLES, run="digit-pairs/joint", ask="training data")
    assert "training samples of this run are not known" in words(app)


def test_concepts_are_shown_beside_random_ones(open_app: OpenApp):
    app = opened(open_app, SAMPLES, run="digit-biases/skewed", ask="concepts")
    figure = json.loads(app.get("plotly_chart")[0].proto.spec)
    shown = figure["data"][1]["y"]
    assert "blur: sharp" in shown
    assert "colour: red" in shown
    assert "the logit of digit 0" in words(app)
