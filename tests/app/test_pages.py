"""Every page through Streamlit's own test driver: opens, shows what it should, survives bad input."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from workbench.core import Run, RunWriter
from workbench.lenses import LENSES, figure_files, lens, read
from workbench.lenses.sample_sets import remember, sample_set

OpenApp = Callable[..., AppTest]
SLUGS = [item.slug for item in LENSES]


def assert_no_exception(app: AppTest) -> None:
    assert not app.exception, [element.value for element in app.exception]


def text(app: AppTest) -> str:
    """Everything a reader sees as words."""
    kinds = (app.markdown, app.info, app.warning, app.caption, app.title)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def charts(app: AppTest) -> list[Any]:
    """The figures on the page, decoded."""
    return [json.loads(element.proto.spec) for element in app.get("plotly_chart")]


def test_runs_page_lists_every_run_and_names_what_is_no_run(open_app: OpenApp, folder: Path):
    app = open_app(folder)
    assert_no_exception(app)
    assert list(app.dataframe[0].value["run"]) == ["nan-loss", "one-task", "truncated", "whole", "without-tables"]
    assert "not valid JSON" in text(app)


def test_a_link_to_a_run_that_was_just_begun_opens_it(open_app: OpenApp, folder: Path, tmp_path: Path):
    shutil.copytree(folder / "whole", tmp_path / "runs" / "whole")
    open_app(tmp_path / "runs")
    shutil.copytree(folder / "whole", tmp_path / "runs" / "begun")
    app = open_app(tmp_path / "runs", run="begun")
    assert_no_exception(app)
    assert app.selectbox(key="run").value == "begun"


def test_runs_page_filters_by_words_and_state(open_app: OpenApp, folder: Path):
    app = open_app(folder)
    app.text_input(key="filter").set_value("whole").run()
    assert_no_exception(app)
    assert list(app.dataframe[0].value["run"]) == ["whole"]
    app.text_input(key="filter").set_value("nothing like this").run()
    assert "No run matches" in text(app)


def test_empty_folder_says_so_on_every_page(open_app: OpenApp, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    app = open_app(tmp_path / "empty")
    assert_no_exception(app)
    assert "no runs" in text(app)
    for page in ["overview", "compare", *SLUGS]:
        app.switch_page(f"views/{page}.py").run()
        assert_no_exception(app)
        assert "There are no runs" in text(app).replace("\\", "")


def test_overview_shows_a_card_with_a_verdict_for_every_lens(open_app: OpenApp, folder: Path):
    app = open_app(folder, run="whole").switch_page("views/overview.py").run()
    assert_no_exception(app)
    words = text(app)
    assert sum(words.count(f"badge[{mark} ") for mark in "▲◆?●") >= len(LENSES)
    assert len(charts(app)) >= 1  # the curves, and a thumbnail for each lens that can draw


def test_the_sample_runs_open_with_one_that_has_a_finding_for_every_lens(open_app: OpenApp):
    app = open_app().switch_page("views/overview.py").run()
    assert_no_exception(app)
    words = text(app)
    assert sum(words.count(f"badge[{mark} ") for mark in "▲◆?●") == len(LENSES)
    assert len(charts(app)) >= len(LENSES)


def test_overview_says_where_a_loss_stops_being_a_number(open_app: OpenApp, folder: Path):
    app = open_app(folder, run="nan-loss").switch_page("views/overview.py").run()
    assert_no_exception(app)
    assert "loss/left is not a finite number in 5 of 10 logged values, first at step 50" in text(app)


def test_a_truncated_part_is_named_and_the_rest_is_shown(open_app: OpenApp, folder: Path):
    app = open_app(folder, run="truncated").switch_page("views/overview.py").run()
    assert_no_exception(app)
    assert "could not be read" in app.expander[-1].label
    assert "part\\-000001\\.parquet" in text(app)


@pytest.mark.parametrize("slug", SLUGS)
def test_a_lens_shows_its_question_verdict_figure_and_numbers(open_app: OpenApp, folder: Path, slug: str):
    app = open_app(folder, run="whole").switch_page(f"views/{slug}.py").run()
    assert_no_exception(app)
    assert app.title[0].value.replace("\\", "") == lens(slug).title
    assert "badge[" in text(app)
    assert charts(app)
    assert charts(app)[0]["data"]


@pytest.mark.parametrize("slug", SLUGS)
def test_every_view_of_a_lens_opens_in_its_tab(open_app: OpenApp, folder: Path, slug: str):
    for title in [*(view.title for view in lens(slug).views[1:]), "Numbers"]:
        app = open_app(folder, run="whole", view=title).switch_page(f"views/{slug}.py").run()
        assert_no_exception(app)
        if title == "Numbers":
            assert app.dataframe
        else:
            assert len(charts(app)) == 2, title


@pytest.mark.parametrize("slug", SLUGS)
@pytest.mark.parametrize("run", ["one-task", "nan-loss", "truncated"])
def test_odd_runs_open_in_every_lens(open_app: OpenApp, folder: Path, slug: str, run: str):
    app = open_app(folder, run=run).switch_page(f"views/{slug}.py").run()
    assert_no_exception(app)
    assert charts(app) or app.info


@pytest.mark.parametrize("slug", SLUGS)
def test_a_run_without_the_record_says_how_to_make_it(open_app: OpenApp, folder: Path, slug: str):
    app = open_app(folder, run="without-tables").switch_page(f"views/{slug}.py").run()
    assert_no_exception(app)
    assert "missing" in text(app)
    assert "rec." in app.code[0].value


def test_compare_asks_for_a_second_run_and_then_shows_what_differs(open_app: OpenApp, folder: Path):
    app = open_app(folder, run="whole").switch_page("views/compare.py").run()
    assert_no_exception(app)
    assert "Choose a second run" in text(app)
    app.selectbox(key="compare").select("one-task").run()
    assert_no_exception(app)
    assert "tasks" in list(app.dataframe[0].value["option"])


def test_an_address_with_an_unknown_run_falls_back_to_the_first(open_app: OpenApp, folder: Path):
    app = open_app(folder, run="../../etc").switch_page("views/overview.py").run()
    assert_no_exception(app)
    assert app.selectbox(key="run").value == "nan-loss"


def test_names_from_a_run_are_shown_letter_for_letter(open_app: OpenApp, tmp_path: Path):
    name = "<b>bold</b> [link](javascript:alert) $x$ :red[a] *b*"
    RunWriter(tmp_path / "runs" / "odd", name=name, question=name).close()
    app = open_app(tmp_path / "runs").switch_page("views/overview.py").run()
    assert_no_exception(app)
    shown = app.title[0].value
    assert shown.replace("\\", "") == name
    assert "\\<b\\>" in shown
    assert not any(element.allow_html for element in app.markdown)


def test_showing_a_verdict_sets_the_figures_to_what_it_speaks_of(open_app: OpenApp, folder: Path):
    app = open_app(folder, run="whole").switch_page("views/bias.py").run()
    shown = [button for button in app.button if str(button.key).startswith("show ")]
    assert shown
    verdict = read(Run(folder / "whole"), lens("bias")).verdicts[0]
    app.button(key="show 0").click().run()
    assert_no_exception(app)
    wanted = dict(verdict.options)
    if wanted.get("view") in {view.slug for view in lens("bias").views[1:]}:
        assert app.session_state["view"] == wanted["view"]


def test_a_link_may_name_a_view_by_its_short_name(open_app: OpenApp, folder: Path):
    app = open_app(folder, run="whole", view="ladder").switch_page("views/conflict.py").run()
    assert_no_exception(app)
    assert app.session_state["view"] == "ladder"


def test_selected_samples_are_listed_below_the_map_with_their_words(open_app: OpenApp, folder: Path):
    app = open_app(folder, run="whole")
    app.query_params["selection"] = remember(Run(folder / "whole"), sample_set([3, 5], "two of them"))
    app.switch_page("views/domains.py").run()
    assert_no_exception(app)
    assert "2 chosen samples" in text(app)
    assert any(element.value.startswith(("3\\:", "5\\:")) for element in app.caption)


def test_the_numbers_of_a_lens_can_be_downloaded(open_app: OpenApp, folder: Path):
    app = open_app(folder, run="whole", view="Numbers").switch_page("views/conflict.py").run()
    assert_no_exception(app)
    labels = [button.label for button in app.download_button]
    pictures = {"SVG", "PNG"} if figure_files.can_draw() else set()
    assert {"CSV", "Parquet", "HTML"} | pictures <= set(labels)


@pytest.mark.parametrize("page", SLUGS)
def test_pages_open_where_nothing_can_draw_pictures(
    open_app: OpenApp, folder: Path, monkeypatch: pytest.MonkeyPatch, page: str
):
    monkeypatch.setattr(figure_files, "can_draw", lambda: False)
    app = open_app(folder, run="whole").switch_page(f"views/{page}.py").run()
    assert_no_exception(app)


def test_the_camera_saves_what_was_chosen_once(open_app: OpenApp, folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(figure_files, "can_draw", lambda: False)
    app = open_app(folder, run="whole").switch_page("views/conflict.py").run()
    choices = [item for item in app.get("button_group") if str(item.key).startswith("camera ")]
    assert len(choices) >= 2
    choices[0].set_value("svg").run()
    assert_no_exception(app)
    assert {item.value for item in app.get("button_group") if str(item.key).startswith("camera ")} == {"svg"}
