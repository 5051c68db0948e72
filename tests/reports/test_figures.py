"""Every figure of a run can be drawn by its name; what cannot be drawn says why."""

from __future__ import annotations

import pytest

from workbench import open_run
from workbench.core import ConfigError
from workbench.reports.figures import draw, draw_all, names
from workbench.runs import sample_runs


@pytest.fixture(scope="module")
def run():
    return open_run(sample_runs() / "digit-pairs" / "joint")


def test_every_name_draws_or_says_what_is_missing(run):
    drawn, missing = draw_all(run)
    assert set(drawn) | set(missing) == set(names())
    assert {"conflict", "bias", "domains", "scalars"} & set(drawn)
    assert all(fig.data or fig.layout.annotations for fig in drawn.values())
    assert all(missing.values())


def test_options_reach_the_figure_and_mistakes_are_named(run):
    step = run.gramian_steps()[0]
    assert draw(run, "conflict", {"step": str(step)}) != draw(run, "conflict")
    with pytest.raises(ConfigError, match="has no option 'colour'"):
        draw(run, "conflict", {"colour": "red"})
    with pytest.raises(ConfigError, match="has no view 'x'. Views: "):
        draw(run, "conflict/x")
    with pytest.raises(ConfigError, match="There is no lens 'nothing'"):
        draw(run, "nothing")
