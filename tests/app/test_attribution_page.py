"""The attribution page: maps of a run that has a net, plain words for one that has none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from workbench.core import Run
from workbench.lenses.attribution_figure import attribution_figure
from workbench.lenses.sample_sets import remember, sample_set

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


def test_methods_of_two_tasks_side_by_side_with_checks_above_every_map_and_agreement(open_app: OpenApp):
    app = opened(open_app, SAMPLES, run="digit-pairs/joint")
    shown = titles(app)
    assert sum(title.startswith("sample") for title in shown) == 6
    for task in ("left", "right"):
        assert sum(f"<br>{task}: " in title for title in shown) == 3
    for method in ("integrated gradients", "occlusion", "grad-cam", "layer conductance"):
        of_method = [title for title in shown if title.startswith(f"{method}<br>")]
        assert len(of_method) == 6
        assert all("inf " in title and "sens " in title and "new " in title for title in of_method)
        assert f"Alike by {method}?" in words(app)
    assert "left and right: cosine" in words(app)
    assert "left, layer conductance** gap up to" in words(app)


def test_one_method_shows_more_samples(open_app: OpenApp):
    app = opened(open_app, SAMPLES, run="digit-pairs/joint", methods="gradient × input")
    shown = titles(app)
    assert sum(title.startswith("sample") for title in shown) == 6
    assert sum(title.startswith("left: ") and "<br>inf " in title for title in shown) == 6
    assert sum(title.startswith("right: ") for title in shown) == 6
    assert "gap" not in words(app).split("left, gradient × input")[1].split("\n")[0]


def test_units_of_a_layer_task_by_task(open_app: OpenApp):
    app = opened(open_app, SAMPLES, run="digit-pairs/joint", ask="layers", layer="trunk.conv2")
    said = words(app)
    assert "left and right share the layer's units with cosine" in said
    assert "half of all that flows goes through" in said
    assert "Layer trunk.conv2, step 600, 12 samples" in said
    figure = json.loads(app.get("plotly_chart")[0].proto.spec)
    assert [trace["type"] for trace in figure["data"]] == ["bar", "bar"]


def test_samples_of_a_class_are_of_that_class(open_app: OpenApp):
    app = opened(
        open_app, SAMPLES, run="digit-biases/skewed", methods="gradient × input", samples="by class", **{"class": "3"}
    )
    answers = [title for title in titles(app) if title.startswith("digit: ")]
    assert len(answers) == 6
    assert all(("is 3 ✕" in title) or title.startswith("digit: 3 ") for title in answers)


def test_integrated_gradients_come_with_their_gap(open_app: OpenApp):
    app = opened(open_app, SAMPLES, run="faults/case-b", tasks="parity")
    assert "integrated gradients** gap up to" in words(app)


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
    assert "gradients alike: tilted and blurred (" in said
    assert "A limit of TracIn" in said
    assert "TracIn: " in said
    assert "8,000 training samples are not in the run" in said
    assert len(app.get("plotly_chart")) == 1


def test_a_run_whose_training_samples_are_not_known_says_so(open_app: OpenApp):
    app = opened(open_app, SAMPLES, run="digit-pairs/joint", ask="training data")
    assert "training samples of this run are not known" in words(app)


def test_concepts_are_shown_beside_random_ones_for_the_class_of_the_address(open_app: OpenApp):
    app = opened(open_app, SAMPLES, run="faults/case-a", ask="concepts", **{"of class": "7"})
    figure = json.loads(app.get("plotly_chart")[0].proto.spec)
    assert "paper: green" in figure["data"][1]["y"]
    said = words(app)
    assert "paper: green raises it" in said
    assert "logit of digit 7" in said
    assert "its own 1,000 test inputs" in said


def test_a_selection_is_what_concepts_and_training_data_are_asked_about(open_app: OpenApp, monkeypatch, tmp_path):
    monkeypatch.setenv("WORKBENCH_CACHE_DIR", str(tmp_path / "cache"))
    run = Run(SAMPLES / "digit-biases" / "skewed")
    sevens = run.query("SELECT sample FROM samples WHERE target_digit = 7 AND rotation = 'tilted'")["sample"]
    address = remember(run, sample_set(sevens, "tilted sevens"))
    about = {"run": "digit-biases/skewed", "selection": address}
    app = opened(open_app, SAMPLES, **about, ask="concepts", **{"of class": "7", "logits of": "the selection"})
    assert f"of the {len(sevens)} selected samples" in words(app)
    app = opened(open_app, SAMPLES, **about, ask="training data", whose="the selection")
    assert "What hurts selected most" in words(app)
