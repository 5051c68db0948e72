"""When a gap opens: planted ones are dated right, and nothing is said where there is none or it was always there."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from workbench.core import Run, RunWriter
from workbench.lenses.bias import LENS
from workbench.lenses.bias.cube import Factor
from workbench.lenses.bias.groups import cube_of, history_table, spread_table
from workbench.lenses.bias.opening import opening_table
from workbench.lenses.bias.sample_metrics import ACCURACY, LOSS
from workbench.lenses.bias.statistics import statistics

STEPS = (0, 100, 200, 300, 400, 500)
FACTOR = Factor("light", "light", ("day", "night"))


def opening(rng, gaps, n=800, level=0.8, metric=ACCURACY):
    """The table of a run whose two groups differ by these gaps at STEPS, right or wrong of a sample drawn anew."""
    codes = np.arange(n)[:, None] % 2
    cubes = {}
    for step, gap in zip(STEPS, gaps, strict=True):
        mean = level - gap * (codes[:, 0] == 1)
        value = (rng.random(n) < mean).astype(float) if metric.counted else 2 - mean + rng.normal(scale=0.5, size=n)
        cubes[step] = cube_of((FACTOR,), codes, value)
    spread = spread_table(cubes[STEPS[-1]], metric, 20, rng)
    return opening_table(history_table(cubes, metric), spread, STEPS[-1], metric)


@pytest.mark.parametrize("metric", [ACCURACY, LOSS])
def test_a_planted_opening_is_dated(metric):
    rng = np.random.default_rng(0)
    dated = [opening(rng, (0, 0, 0, 0.3, 0.3, 0.3), metric=metric) for _ in range(100)]
    said = pd.concat(dated)
    assert len(said) >= 95
    # At the last step without a gap its interval misses 0 on that side in 2.5 % of runs.
    assert (said["opened"] == 300).mean() >= 0.9
    assert set(said["worst"]) == {"night"}
    assert (said.loc[said["opened"] == 300, "low_opened"] > 0.1).all()


@pytest.mark.parametrize("gap", [0.0, 0.08, 0.3])
def test_a_gap_that_never_changes_is_not_said_to_open(gap):
    rng = np.random.default_rng(1)
    false_alarms = sum(len(opening(rng, (gap,) * len(STEPS))) for _ in range(200))
    assert false_alarms <= 10  # 5 %


def test_a_gap_that_comes_and_goes_is_dated_from_its_last_return():
    found = opening(np.random.default_rng(2), (0.3, 0.3, 0.0, 0.0, 0.3, 0.3), n=4000)
    assert found["before"].tolist() == [300]
    assert found["opened"].tolist() == [400]


def test_the_numbers_of_two_steps_by_hand():
    history = pd.DataFrame(
        {
            "step": [0, 0, 10, 10],
            "factor": "light",
            "level": ["day", "night"] * 2,
            "value": [0.5, 0.5, 0.9, 0.5],
            "low": [0.45, 0.45, 0.86, 0.44],
            "high": [0.55, 0.55, 0.93, 0.56],
        }
    )
    spread = pd.DataFrame({"factor": ["light"], "worst": ["night"], "best": ["day"]})
    row = opening_table(history, spread, 10, ACCURACY).iloc[0]
    assert (row.before, row.opened, row.gap_before) == (0, 10, 0)
    assert row.gap == pytest.approx(0.4)
    assert row.low == pytest.approx(0.4 - np.hypot(0.04, 0.06))
    # z of 0.05 / 2 two-sided is 2.241403; both limits of the gap at step 0 are hypot(0.05, 0.05) away.
    half = 2.241403 / 1.959964 * np.hypot(np.hypot(0.04, 0.06), np.hypot(0.05, 0.05))
    assert row.change_low == pytest.approx(0.4 - half, abs=1e-6)
    assert opening_table(history, spread, 0, ACCURACY).empty


def test_the_verdict_and_the_figure_say_when(tmp_path):
    rng = np.random.default_rng(3)
    n = 800
    light = np.where(np.arange(n) % 2, "night", "day")
    with RunWriter(tmp_path / "run", tasks=[{"name": "sign", "classes": ["a", "b"]}]) as writer:
        writer.samples({"sample": np.arange(n), "split": "test", "target_sign": np.zeros(n, dtype=int), "light": light})
        for step in STEPS:
            wrong = rng.random(n) < np.where((light == "night") & (step >= 300), 0.5, 0.2)
            writer.predictions(step, "sign", sample=np.arange(n), prediction=wrong.astype(int))
    run = Run(tmp_path / "run")
    stats = statistics(run, factors=["light"])
    said = [verdict.sentence for verdict in LENS.verdicts(stats) if "opened between" in verdict.sentence]
    assert len(said) == 1
    assert "(95 % interval −" in said[0]  # before, the interval holds 0
    assert "light = night and light = day opened between the recorded steps 200 and 300" in said[0]
    figure = next(view for view in LENS.views if view.slug == "training").figure(stats)
    assert [(shape.x0, shape.x1) for shape in figure.layout.shapes] == [(200, 300)]
    early = statistics(run, factors=["light"], step=200)
    assert not any("opened between" in verdict.sentence for verdict in LENS.verdicts(early))
