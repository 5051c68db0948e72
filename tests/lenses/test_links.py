from __future__ import annotations

from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

from workbench.core import ConfigError, Run, RunWriter
from workbench.lenses.base import Lens, Reading, Verdict, View, read
from workbench.lenses.links import figure_of, first_verdict, lacking


def main_view(stats: Any, step: int | None = None) -> go.Figure:
    if step == 9:
        raise ConfigError("There is no step 9.")
    return go.Figure(layout={"title": f"main at {step!r}"})


def other_view(stats: Any, pair: str = "") -> go.Figure:
    return go.Figure(layout={"title": f"other of {pair}"})


def lens(needs: tuple[str, ...] = (), verdict: Verdict | None = None) -> Lens:
    def statistics(run: Run) -> str:
        run.require("scalars")
        return "stats"

    said = verdict or Verdict("fine", "All is well.")
    views = (View("main", "Main", main_view), View("other", "Other", other_view))
    return Lens("toy", "Is it a toy?", "doc", needs, statistics, lambda stats: [said], views, lambda stats: {})


@pytest.fixture
def run(tmp_path: Path) -> Run:
    with RunWriter(tmp_path / "run") as writer:
        writer.scalars(0, {"loss": 1.0})
    return Run(tmp_path / "run")


@pytest.mark.parametrize(
    ("options", "title"),
    [
        ({}, "main at None"),
        ({"step": "3", "pair": "a – b"}, "main at 3"),
        ({"view": "other", "pair": "a – b", "step": "3"}, "other of a – b"),
        ({"view": "no such view"}, "main at None"),
        ({"step": "9"}, "main at None"),
    ],
)
def test_the_figure_of_a_verdict_is_the_view_it_names_with_the_options_it_takes(
    run: Run, options: dict[str, str], title: str
):
    verdict = Verdict("watch", "Look.", options=options)
    assert figure_of(read(run, lens()), verdict).layout.title.text == title


def test_first_verdict_gives_the_reading_or_says_what_was_not_recorded(run: Run, tmp_path: Path):
    def reading(run: Run, slug: str) -> Reading:
        return read(run, lens())

    verdict, found = first_verdict(run, lens(), reading)
    assert (verdict.sentence, found.run) == ("All is well.", run)
    RunWriter(tmp_path / "bare").close()
    verdict, found = first_verdict(Run(tmp_path / "bare"), lens(), reading)
    assert (verdict.level, verdict.sentence, found) == ("cannot tell", "This run did not record scalars.", None)


def test_lacking_lists_what_a_lens_needs_and_a_run_has_not(run: Run):
    assert lacking(lens(needs=("scalars", "gsnr")), run) == ("gsnr",)
    assert lacking(lens(), run, None) == ()
