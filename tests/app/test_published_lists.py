"""Published class lists open from the labels page as a run of names; drawn scenes' relations are held against truth."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from workbench.core import Run

SAMPLES = Path(__file__).parents[2] / "sample_runs"


def words(app) -> str:
    kinds = (app.markdown, app.caption, app.info)
    return "\n".join(str(item.value) for kind in kinds for item in kind).replace("\\", "")


def test_lists_open_as_a_run_of_names(open_app, tmp_path):
    app = open_app(SAMPLES, run="digit-pairs/joint").switch_page("views/labels.py").run()
    assert not app.exception
    app.multiselect(key="published lists").set_value(["cityscapes", "ade20k", "camvid"]).run()
    app.button(key="open lists").click().run()
    assert not app.exception, [item.value for item in app.exception]
    assert "have nearly the same name, but whether they mean the same cannot be told" in words(app)
    app.selectbox(key="datasets").set_value("ade20k and camvid").run()
    assert not app.exception
    figure = json.loads(app.get("plotly_chart")[0].proto.spec)
    assert figure["layout"]["title"]["text"] == "How alike the names of ade20k and camvid are"
    (written,) = (tmp_path / "cache").rglob("run.json")
    assert [(d.name, len(d.labels)) for d in Run(written.parent).info.datasets] == [
        ("cityscapes", 19), ("ade20k", 150), ("camvid", 11),
    ]  # fmt: skip
    app.button(key="open lists").click().run()
    assert not app.exception
    app.multiselect(key="published lists").set_value(["camvid"]).run()
    assert app.button(key="open lists").disabled


@pytest.mark.parametrize(("run", "has"), [("scenes-two-datasets/own-heads", True), ("digit-pairs/joint", False)])
def test_found_relations_stand_against_the_truth_where_it_is_known(open_app, run, has):
    app = open_app(SAMPLES, run=run).switch_page("views/labels.py").run()
    assert not app.exception
    said = words(app)
    assert ("relations found are right (precision" in said) == has
    if has:
        assert "that there are were found (recall" in said
