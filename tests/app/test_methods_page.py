"""The Methods page: what each method does, what held, and a training started, followed and opened from the page."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from workbench.demos import RECIPES
from workbench.demos.board import rows_of
from workbench.methods import METHODS, describe

OpenApp = Callable[..., AppTest]
WITH_CLAIMS = [recipe for recipe in RECIPES if recipe.claims]


def text(app: AppTest) -> str:
    kinds = (app.markdown, app.info, app.error, app.caption, app.title)
    return "\n".join(str(element.value) for kind in kinds for element in kind).replace("\\", "")


@pytest.fixture(autouse=True)
def _fresh_cache():
    st.cache_data.clear()
    yield
    st.cache_data.clear()


@pytest.fixture
def board(monkeypatch):
    """A board on which the first claim of every recipe holds, the others do not, and nothing rests on training."""

    def results(recipe, seed):
        ahead = set(recipe.claims[0].methods)
        names = {claim.result for claim in recipe.claims}
        return {v.name: dict.fromkeys(names, (v.name in ahead) + seed / 100) for v in recipe.variants}

    rows = [row for recipe in WITH_CLAIMS for row in rows_of(recipe, {s: results(recipe, s) for s in (1, 2, 3)}, [4.0])]
    monkeypatch.setattr("workbench.demos.board.read_board", lambda *folder: rows)
    return rows


def open_methods(open_app: OpenApp, folder: Path, **address: str) -> AppTest:
    app = open_app(folder)
    for name, value in address.items():
        app.query_params[name] = value
    app.switch_page("views/methods.py").run()
    assert not app.exception, [element.value for element in app.exception]
    return app


def test_every_method_has_a_card_and_the_filter_finds_it(open_app: OpenApp, folder: Path, board):
    app = open_methods(open_app, folder)
    for slug in METHODS:
        assert describe(slug).name in text(app)
    app.text_input(key="filter").set_value("moving average").run()
    assert "Mahalanobis" in text(app)
    assert "UniSeg" not in text(app)


@pytest.mark.parametrize("slug", METHODS)
def test_a_method_shows_its_words_its_equations_and_its_claims(open_app: OpenApp, folder: Path, board, slug):
    app = open_methods(open_app, folder, method=slug)
    assert describe(slug).plain[:60] in text(app)
    assert describe(slug).equations in [code.value for code in app.code]
    own = [row for row in board if row.method == slug]
    for row in own:
        assert row.sentence in text(app)
    planes = [recipe for recipe in WITH_CLAIMS if recipe.method == slug and recipe.plane]
    assert len(app.get("plotly_chart")) == len({row.unit for row in own}) + len(planes)


def test_the_plane_of_costs_changes_its_axes(open_app: OpenApp, folder: Path, board):
    app = open_methods(open_app, folder, method="gradsplit", cost="parameters", gain="delta")
    plane = next(recipe.plane for recipe in WITH_CLAIMS if recipe.plane)
    figure = next(
        found
        for chart in app.get("plotly_chart")
        if "costs" in (found := json.loads(chart.proto.spec))["layout"]["title"]["text"]
    )
    assert figure["layout"]["xaxis"]["title"]["text"] == "parameters"
    assert "relative gain" in figure["layout"]["yaxis"]["title"]["text"]
    assert {trace["name"] for trace in figure["data"]} == {*plane.variants, "best for its cost"}


def test_the_board_lists_every_claim(open_app: OpenApp, folder: Path, board):
    app = open_methods(open_app, folder, part="Claims board")
    assert list(app.dataframe[0].value["claim"]) == [row.sentence for row in board]


def test_a_damaged_board_is_named_and_the_page_still_opens(open_app: OpenApp, folder: Path, monkeypatch):
    from workbench.core import WorkbenchError

    def damaged(*folder):
        raise WorkbenchError("uniseg.json is not a claims board")

    monkeypatch.setattr("workbench.demos.board.read_board", damaged)
    app = open_methods(open_app, folder)
    assert "uniseg.json is not a claims board" in app.warning[0].value.replace("\\", "")


def test_a_training_is_started_followed_and_opened(open_app: OpenApp, folder: Path, monkeypatch):
    recipe = WITH_CLAIMS[0]
    app = open_methods(open_app, folder, method=recipe.method)
    import training

    real = training._command
    monkeypatch.setattr(training, "_command", lambda *arguments: [*real(*arguments), "--short", "--lean"])
    chosen = recipe.claims[0].methods[0]
    app.multiselect(key=f"variants {recipe.name}").set_value([chosen]).run()
    name = f"{recipe.name}-seed-1"
    app.button(key=f"train {name} {chosen}").click().run()
    until = time.monotonic() + 400
    while not any(button.key == f"see {name}/{chosen}" for button in app.button) and time.monotonic() < until:
        assert not app.error, app.error[0].value
        time.sleep(1)
        app.run()
    app.button(key=f"see {name}/{chosen}").click().run()
    assert not app.exception
    assert app.session_state["folder"] == "Trained here"
    assert app.session_state["run"] == f"{name}/{chosen}"
