"""The committed runs of tasks learned one after the other: whole, small, and what the domains lens reads in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.core import Run, validate
from workbench.lenses import look

RUNS = Path(__file__).parents[2] / "sample_runs" / "mahalanobis-continual"


VARIANTS = ("replay", "metric-average")


@pytest.fixture(scope="module")
def readings():
    return {variant: look(Run(RUNS / variant), "domains") for variant in VARIANTS}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_is_whole_and_its_record_agrees_with_its_results(variant, readings):
    run = Run(RUNS / variant)
    assert (run.info.name, run.info.status, run.info.seed) == (f"mahalanobis-continual/{variant}", "done", 0)
    assert validate(run.path) == []
    summary = readings[variant].stats.stream.summary.set_index(["model", "scope"])
    for model, prefix in (("digit", ""), ("digit_average", "average/")):
        for scope in ("seen", "unseen"):
            # A fifth of the test pictures was recorded, 318 unseen ones: a standard error of at most 2.8 points.
            recorded = summary.loc[(model, f"{scope} domains"), "average"]
            assert recorded == pytest.approx(run.info.summary[f"{prefix}accuracy/{scope}"], abs=3 * 0.028)


def test_both_runs_forget_and_know_less_in_unseen_domains(readings):
    for reading in readings.values():
        stream = reading.stats.stream
        rows = stream.summary[stream.summary["model"] == "digit"].set_index("scope")
        assert rows.loc["seen domains", "forgetting_low"] > 0.05
        assert rows.loc["unseen domains", "average_high"] < rows.loc["seen domains", "average_low"]


def test_the_sweep_shows_a_memory_that_is_too_long_for_its_tasks():
    """An average over 1,000 steps never learns a task of 200: it keeps less of earlier tasks than one over 100."""
    reading = look(Run(RUNS / "decay-sweep"), "domains")
    assert validate(RUNS / "decay-sweep") == []
    assert "stability" in {view.slug for view in reading.lens.shown(reading.stats)}
    means = reading.stats.sweep.means("seen").set_index("setting")
    assert means["n"].tolist() == [5] * 7
    assert means.loc["0.999", "old"] + means.loc["0.999", "old_half"] < means.loc["0.99", "old"]
    assert means.loc["0", "old"] < means.loc["0.99", "old"]


def test_both_runs_show_how_far_the_teacher_lags_behind(readings):
    for variant, reading in readings.items():
        quantities = set(reading.stats.stream.teacher["quantity"])
        assert quantities == {"teacher/distance"} | ({"loss/distillation"} if variant == "metric-average" else set())


def test_only_the_run_with_metrics_shows_them(readings):
    views = {name: {view.slug for view in reading.lens.shown(reading.stats)} for name, reading in readings.items()}
    assert views["metric-average"] - views["replay"] == {"ignored", "measured", "metrics"}
