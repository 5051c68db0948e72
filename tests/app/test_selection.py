"""A selection made on one page is shown by the others, stands in the address, and can be named, forgotten, cleared."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from workbench.core import Run
from workbench.lenses.sample_sets import named, remember, sample_set
from workbench.runs import sample_runs

OpenApp = Callable[..., AppTest]


@pytest.fixture(autouse=True)
def data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WORKBENCH_DATA_DIR", str(tmp_path / "data"))


def words(app: AppTest) -> str:
    assert not app.exception, [element.value for element in app.exception]
    return "\n".join(str(item.value) for kind in (app.markdown, app.caption) for item in kind).replace("\\", "")


def traces(app: AppTest) -> list[dict[str, Any]]:
    return list(json.loads(app.get("plotly_chart")[0].proto.spec)["data"])


def address_of(app: AppTest) -> str:
    """The selection in the address; the driver holds it as text or as a list of one."""
    value = app.query_params["selection"]
    return str(value if isinstance(value, str) else value[0])


def first(values: Any) -> float:
    """The first coordinate of a trace, which plotly may have packed."""
    return float(
        np.frombuffer(base64.b64decode(values["bdata"]), values["dtype"])[0] if "bdata" in values else values[0]
    )


def reds(folder: Path) -> list[int]:
    return [int(s) for s in Run(folder / "whole").query("SELECT sample FROM samples WHERE colour = 'red'")["sample"]]


def test_a_group_of_the_bias_page_travels_to_the_map(open_app: OpenApp, folder: Path):
    app = open_app(folder, run="whole").switch_page("views/bias.py").run()
    box = next(item for item in app.selectbox if item.label == "Select")
    assert "colour: red" in box.options
    box.set_value("colour: red").run()
    n = len(reds(folder))
    assert "The selection: its samples are predicted right in" in words(app)
    assert f"{n} samples" in words(app)
    own = next(trace for trace in traces(app) if trace["name"] == "selection (not tested)")
    group = next(trace for trace in traces(app) if trace["name"] == "worse than the rest")
    assert first(own["x"]) == first(group["x"]) < 0.7
    address = address_of(app)
    assert address.startswith("~")
    app.switch_page("views/domains.py").run()
    words(app)
    assert f"selection ({n})" in [trace["name"] for trace in traces(app)]
    assert address_of(app) == address


def test_a_link_brings_its_selection_and_clear_drops_it(open_app: OpenApp, folder: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE_DIR", str(tmp_path / "cache"))
    address = remember(Run(folder / "whole"), sample_set(reds(folder)[:30], "thirty of them"))
    app = open_app(folder, run="whole", selection=address).switch_page("views/bias.py")
    app.query_params["selection"] = address
    app.run()
    assert "thirty of them" in words(app)
    app.button(key="selection clear").click().run()
    assert "thirty of them" not in words(app)
    assert "selection" not in app.query_params


def test_a_selection_is_named_found_by_name_and_forgotten(open_app: OpenApp, folder: Path):
    run = Run(folder / "whole")
    app = open_app(folder, run="whole").switch_page("views/domains.py").run()
    next(item for item in app.selectbox if item.label == "Select").set_value("domain: night").run()
    app.text_input(key="selection name").set_value("by night").run()
    words(app)
    assert address_of(app) == "by night"
    assert set(named(run)) == {"by night"}
    app.button(key="selection clear").click().run()
    app.button(key="selection go by night").click().run()
    assert address_of(app) == "by night"
    app.button(key="selection forget").click().run()
    words(app)
    assert named(run) == {}
    assert address_of(app).startswith("~")


def test_a_selection_of_another_run_is_left_behind(open_app: OpenApp, folder: Path):
    app = open_app(folder, run="whole").switch_page("views/domains.py").run()
    next(item for item in app.selectbox if item.label == "Select").set_value("domain: night").run()
    app.selectbox(key="run").set_value("nan-loss").run()
    assert "The selection" not in words(app)
    assert "selection" not in app.query_params


@pytest.mark.parametrize("address", ["~nothing", "no such name", "~../../x", "\x00"])
@pytest.mark.parametrize("page", ["bias", "domains"])
def test_an_address_that_leads_nowhere_opens_the_page_without_a_selection(
    open_app: OpenApp, folder: Path, page: str, address: str
):
    app = open_app(folder, run="whole", selection=address).switch_page(f"views/{page}.py").run()
    assert "The selection" not in words(app)


def test_attribution_looks_at_the_selected_samples(open_app: OpenApp, monkeypatch, tmp_path: Path):
    samples = sample_runs() / "digit-pairs"
    run = Run(samples / "joint")
    monkeypatch.setenv("WORKBENCH_CACHE_DIR", str(tmp_path / "cache"))
    ids = [int(s) for s in run.query("SELECT sample FROM samples ORDER BY sample LIMIT 60")["sample"]]
    address = remember(run, sample_set(ids, "the first sixty"))
    app = open_app(samples, run="joint", selection=address).switch_page("views/attribution.py")
    app.query_params["selection"] = address
    app.run()
    assert "of the 60 selected samples can be asked about" in words(app)
    shown = json.loads(app.get("plotly_chart")[0].proto.spec)["layout"]["annotations"]
    numbers = [int(found[1]) for item in shown if (found := re.match(r"sample (\d+)", item["text"]))]
    assert numbers
    assert set(numbers) <= set(ids)


@pytest.mark.parametrize(
    ("page", "told"),
    [
        ("conflict", "not per sample, so the figures below stay the same"),
        ("gsnr", "100 % of them lie in 'night'. The view Domains tells them apart"),
        ("labels", "The figures above are about all samples"),
    ],
)
def test_every_lens_says_what_the_selection_means_to_it(open_app: OpenApp, folder: Path, page: str, told: str):
    app = open_app(folder, run="whole").switch_page("views/domains.py").run()
    next(item for item in app.selectbox if item.label == "Select").set_value("domain: night").run()
    address = address_of(app)
    app.switch_page(f"views/{page}.py").run()
    said = words(app)
    assert "selected samples**. More often than elsewhere: domain 'night' 100 %" in said
    assert told in said
    assert address_of(app) == address


def test_the_labels_page_shows_what_the_selected_samples_are_annotated_with(open_app: OpenApp, folder: Path):
    app = open_app(folder, run="whole").switch_page("views/domains.py").run()
    next(item for item in app.selectbox if item.label == "Select").set_value("domain: day").run()
    app.switch_page("views/labels.py").run()
    assert "Their annotation stands below" in words(app)
    titles = [json.loads(item.proto.spec)["layout"]["title"]["text"] for item in app.get("plotly_chart")]
    assert "What the selected samples are annotated with" in titles
