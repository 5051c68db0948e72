"""What is said and drawn, from measurements made up so that the answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from workbench.core import ConfigError, MissingTable, Run, RunWriter
from workbench.core.gramian import Gramian
from workbench.forecast import figures, read_forecast
from workbench.forecast.estimator import pairs_of
from workbench.forecast.labels import relations
from workbench.forecast.measured import Measured, save

TASKS = ("a", "b", "c")
STEPS, SEEDS = 5, 4


def record(
    folder: Path,
    cost: dict[tuple[int, int], float],
    noise: float = 0.002,
    opposed: tuple[int, ...] = (),
    scale: float = 1.0,
    seeds: int = SEEDS,
    **info,
) -> Run:
    """Pairs that cost so much at the end; tasks a and b oppose each other in the modules ``opposed`` of four."""
    rng = np.random.default_rng(0)
    fall = np.linspace(1.0, 0.5, STEPS)[None, :, None]
    alone = np.repeat(np.repeat(fall, seeds, axis=0), len(TASKS), axis=2)
    paired = np.stack([alone[:, :, list(pair)] for pair in pairs_of(len(TASKS))], axis=2)
    for p, pair in enumerate(pairs_of(len(TASKS))):
        paired[:, 1:, p] += cost.get(pair, 0.0) + noise * rng.normal(size=(seeds, 1, 2))
    measured = Measured(np.arange(STEPS, dtype=float), alone, paired, alone, np.zeros((seeds, 1, 3, 3)))
    settings = {"steps": 40, "stride": 100, "device": "CPU", "seconds": 8.0, "source": "mine.py"}
    modules = ("one", "two", "three", "four")
    with RunWriter(folder, tasks=TASKS, method="forecast", config={"forecast": settings}, **info) as writer:
        for seed in range(seeds):
            for step in (0, 40):
                signs = np.ones((4, 3, 1, 1))
                signs[list(opposed), 1] = -1
                size = np.array([scale, 1.0, 1.0])[None, :, None, None]
                gradients = signs * rng.normal(size=(4, 1, 1, 40)) + 0.2 * rng.normal(size=(4, 3, 6, 40))
                gradients = size * gradients
                dot = np.einsum("mtkp,msjp->mtksj", gradients, gradients)
                writer.gramian(100 * seed + step, Gramian(modules, TASKS, dot, np.full((3, 6), 8)))
        save(writer, measured)
    return Run(folder)


def test_a_conflict_in_one_place_asks_for_a_copy_of_that_place(tmp_path):
    found = read_forecast(record(tmp_path / "run", {(0, 1): 0.2}, opposed=(2,)))
    pair = found.pairs.iloc[0]
    assert (pair["call"], pair["where"]) == ("conflict", "three")
    assert pair["cost"] == pytest.approx(0.2, abs=0.01)
    verdict = found.verdicts()[0]
    assert verdict.level == "problem"
    assert verdict.sentence.startswith("Sharing the network will cost a and b 20 % of the loss at the start")
    assert "oppose each other in three only: give each its own copy" in verdict.next_step
    assert verdict.options == {"pair": "a – b"}
    assert found.groups == [("a", "c"), ("b",)]
    assert any("Cheapest in 2 networks: a and c; b" in one.sentence for one in found.verdicts())


def test_a_conflict_everywhere_asks_for_separate_networks(tmp_path):
    found = read_forecast(record(tmp_path / "run", {(0, 1): 0.2}, opposed=(0, 1, 2, 3)))
    assert "4 of 4 modules: train them in separate networks" in found.verdicts()[0].next_step


def test_a_cost_without_opposition_is_no_case_for_surgery(tmp_path):
    found = read_forecast(record(tmp_path / "run", {(0, 1): 0.2}))
    assert "gradient surgery will not help" in found.verdicts()[0].next_step
    assert "no single module's gradients oppose each other surely" in found.verdicts()[0].sentence


def test_a_task_with_long_gradients_is_weighed_first(tmp_path):
    found = read_forecast(record(tmp_path / "run", {(0, 1): 0.2}, scale=50.0))
    assert "gradient of a is 5" in found.verdicts()[0].next_step
    assert any("times as long as that of" in one.sentence for one in found.verdicts())


def test_quiet_helpful_and_undetermined_pairs(tmp_path):
    quiet = read_forecast(record(tmp_path / "quiet", {}))
    assert set(quiet.pairs["call"]) == {"neither"}
    assert quiet.verdicts()[0].level == "fine"
    assert any(one.sentence.startswith("None of 3 pairs of tasks is expected to conflict") for one in quiet.verdicts())
    assert any(one.sentence.startswith("All 3 tasks can share one network") for one in quiet.verdicts())
    helpful = read_forecast(record(tmp_path / "help", {(0, 1): -0.1}))
    assert any(one.sentence.startswith("a and b will help each other") for one in helpful.verdicts())
    loud = read_forecast(record(tmp_path / "loud", {(0, 1): 0.2}, noise=0.3))
    said = next(one for one in loud.verdicts() if "undetermined" in one.sentence)
    assert said.level == "cannot tell"
    assert "seeds would settle it" in said.next_step
    assert "`workbench diagnose mine.py --seeds" in said.next_step


def test_one_seed_says_nothing_surely(tmp_path):
    found = read_forecast(record(tmp_path / "run", {(0, 1): 0.5}, seeds=1))
    assert set(found.pairs["call"]) == {"undetermined"}
    assert any("One seed has no interval" in one.next_step for one in found.verdicts())
    words = " ".join(one.sentence for one in found.verdicts())
    assert not any(word in words for word in ("inf ", "unknown", "1 seeds", "is expected to conflict"))


def test_another_estimator_takes_its_place(tmp_path):
    run = record(tmp_path / "run", {})
    found = read_forecast(run, lambda measured: np.full((SEEDS, 3, 3), 0.3))
    assert found.pairs["cost"].tolist() == pytest.approx([0.3] * 3)


def test_figures_draw_what_the_tables_hold(tmp_path):
    found = read_forecast(record(tmp_path / "run", {(0, 1): 0.2}, opposed=(2,)))
    drawn = figures.costs(found)
    conflict = next(trace for trace in drawn.data if trace.name == "conflict")
    assert list(conflict.y) == ["a – b"]
    assert conflict.x[0] == pytest.approx(100 * found.pairs.iloc[0]["cost"])
    matrix = figures.matrix(found).data[0]
    assert matrix.z[1][0] == pytest.approx(100 * found.costs[:, 1, 0].mean())
    assert matrix.colorscale[0][1] != matrix.colorscale[-1][1]
    ladder = figures.ladder(found, "a – b")
    assert list(ladder.data[0].y) == ["one", "two", "three", "four", "all shared"]
    assert ladder.data[0].marker.symbol[2] == "circle"
    assert ladder.data[0].marker.symbol[0] == "circle-open"
    lines = figures.trajectories(found, "b")
    assert [trace.name for trace in lines.data] == ["alone", "with a", "with c", "all together"]
    with pytest.raises(ConfigError, match="no pair 'a – d'. Pairs: a – b"):
        figures.ladder(found, "a – d")
    with pytest.raises(ConfigError, match="no task 'd'. Tasks: a, b, c"):
        figures.trajectories(found, "d")


def test_a_run_without_a_forecast_is_named(tmp_path):
    RunWriter(tmp_path / "run", tasks=TASKS).close()
    with pytest.raises(MissingTable, match="is no forecast"):
        read_forecast(Run(tmp_path / "run"))


def test_groups_of_people_are_counted(tmp_path):
    run = record(tmp_path / "run", {}, attributes=["light"])
    writer = RunWriter(tmp_path / "more", tasks=TASKS)
    writer.samples({"sample": np.arange(200), "light": ["dark"] * 4 + ["bright"] * 196})
    writer.close()
    (run.path / "tables" / "samples").mkdir()
    part = next((tmp_path / "more" / "tables" / "samples").glob("*.parquet"))
    part.rename(run.path / "tables" / "samples" / part.name)
    found = read_forecast(Run(run.path))
    assert found.attributes["n"].tolist() == [4, 196]
    said = next(one for one in found.verdicts() if "smallest group" in one.sentence)
    assert said.level == "watch"
    assert "light = dark: 2.0 % of 200 samples" in said.sentence


def test_label_lists_alone_show_what_will_be_taught_both_ways():
    found = relations({"city": ["road", "car", "person"], "highway": ["Roads", "car", "lane", "background"]})
    kinds = {(row.label_a, row.label_b): row.kind for row in found.itertuples()}
    assert kinds["road", "Roads"] == "same"
    assert kinds["car", "car"] == "same"
    assert kinds["person", "background"] == "contradicts"
    assert ("lane", "background") not in kinds
    assert len(found) == 3
    assert relations({}).empty
