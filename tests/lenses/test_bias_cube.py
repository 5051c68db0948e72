"""Counting cells equals counting by hand, whatever the columns hold."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from bias_runs import write_run, write_table

from workbench.core import ConfigError
from workbench.lenses.bias.cube import UNKNOWN_LEVEL
from workbench.lenses.bias.statistics import statistics


def test_every_margin_equals_a_groupby(tmp_path):
    run = write_run(tmp_path / "run", n=700)
    stats = statistics(run)
    frame = run.table("predictions").query("step == 200").merge(run.table("samples"), on="sample")
    frame["right"] = frame["prediction"] == frame["target_digit"]
    for _, group in stats.groups.iterrows():
        chosen = frame
        for i in range(1, group["order"] + 1):
            chosen = chosen[chosen[group[f"factor_{i}"]] == group[f"level_{i}"]]
        assert group["n"] == len(chosen)
        assert group["value"] == pytest.approx(chosen["right"].mean())
        others = frame.drop(chosen.index)["right"]
        assert group["rest"] == pytest.approx(others.mean())
    assert set(stats.groups["order"]) == {1, 2, 3}
    assert stats.groups.query("order == 3")["n"].sum() == len(frame)


def test_each_step_has_its_own_counts(tmp_path):
    run = write_run(tmp_path / "run", n=700, steps=(10, 20, 30))
    stats = statistics(run, step=20)
    assert (stats.step, stats.steps) == (20, (10, 20, 30))
    overall = stats.history.query("factor == ''").set_index("step")["value"]
    assert overall[20] == pytest.approx(stats.overall)
    assert overall[30] > overall[20]


def test_levels_keep_the_declared_order_and_unknown_comes_last(tmp_path):
    size = ["large", None, "small", "medium"] * 30
    attributes = [{"name": "size", "kind": "ordered", "levels": ("small", "medium", "large")}]
    run = write_table(tmp_path / "run", {"size": size}, [1] * 120, [1] * 120, attributes=attributes)
    (factor,) = statistics(run).factors
    assert factor.levels == ("small", "medium", "large", UNKNOWN_LEVEL)
    assert statistics(run).groups.query("order == 1")["n"].tolist() == [30] * 4


def test_continuous_attributes_are_cut_at_quantiles(tmp_path):
    angle = np.linspace(0, 90, 400)
    run = write_table(
        tmp_path / "run",
        {"angle": np.where(np.arange(400) % 100 == 7, np.nan, angle)},
        np.zeros(400, dtype=int),
        (angle > 45).astype(int),
        attributes=[{"name": "angle", "kind": "continuous"}],
    )
    stats = statistics(run, bins=3)
    (factor,) = stats.factors
    assert len(factor.levels) == 4
    assert factor.levels[-1] == UNKNOWN_LEVEL
    n = stats.groups.set_index("level_1")["n"]
    assert n[UNKNOWN_LEVEL] == 4
    assert n[list(factor.levels[:3])].tolist() == [132, 132, 132]
    assert len(statistics(run, bins=5).factors[0].levels) == 6


def test_repeated_quantiles_make_fewer_bins(tmp_path):
    noise = np.array([0.0] * 300 + list(np.linspace(1, 2, 100)))
    run = write_table(tmp_path / "run", {"noise": noise}, [0] * 400, [0] * 400)
    (factor,) = statistics(run, bins=4).factors
    assert factor.levels == ("0", "0 to 2")
    assert sorted(statistics(run).groups["n"]) == [100, 300]


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        ([True, False] * 40, ("false", "true")),
        ([2, 10] * 40, ("2", "10")),
        ([0.5, 1.0] * 40, ("0.5", "1.0")),
        (["it's", 'say "no"'] * 40, ("it's", 'say "no"')),
    ],
)
def test_undeclared_columns_of_any_kind_are_factors(tmp_path, values, levels):
    run = write_table(tmp_path / "run", {'of "any" kind': values}, [1] * 80, [1] * 80)
    (factor,) = statistics(run).factors
    assert factor.levels == levels
    assert statistics(run).groups["n"].tolist() == [40, 40]


def test_columns_that_cannot_form_groups_are_named(tmp_path):
    columns = {"file": [f"{i}.png" for i in range(400)], "same": ["x"] * 400, "side": ["left", "right"] * 200}
    stats = statistics(write_table(tmp_path / "run", columns, [1] * 400, [1] * 400))
    assert [factor.name for factor in stats.factors] == ["side"]
    assert any("'file' was left out" in note for note in stats.notes)
    assert any("'same' was left out" in note for note in stats.notes)


def test_domain_and_class_serve_when_there_is_no_attribute(tmp_path):
    run = write_table(
        tmp_path / "run",
        {"domain": ["mnist", "uci"] * 50},
        [0, 0, 1, 1] * 25,
        [0, 1, 1, 1] * 25,
        tasks=[{"name": "digit", "classes": ("zero", "one")}],
    )
    stats = statistics(run)
    assert [factor.name for factor in stats.factors] == ["domain", "class"]
    assert stats.factors[1].levels == ("zero", "one")
    values = stats.groups.set_index("group")["value"]
    assert values["class: zero"] == pytest.approx(0.5)
    assert values["domain: uci · class: zero"] == pytest.approx(0.0)
    with pytest.raises(ConfigError, match="no factor 'size'. Factors: domain, dataset, class"):
        statistics(run, factors=["size"])


def test_text_predictions_meet_number_targets_as_text(tmp_path):
    run = write_table(tmp_path / "run", {"side": ["a", "b"] * 30}, [1, 2] * 30, ["1", "3"] * 30)
    assert statistics(run).groups.set_index("level_1")["value"].to_dict() == {"a": 1.0, "b": 0.0}


def test_order_of_rows_and_duplicates(tmp_path):
    rng = np.random.default_rng(0)
    side, target = rng.choice(["a", "b"], 200), rng.integers(0, 2, 200)
    prediction = rng.integers(0, 2, 200)
    one = statistics(write_table(tmp_path / "one", {"side": side}, target, prediction))
    shuffled = rng.permutation(200)
    two = statistics(write_table(tmp_path / "two", {"side": side[shuffled]}, target[shuffled], prediction[shuffled]))
    pd.testing.assert_frame_equal(one.groups, two.groups)
    doubled = statistics(
        write_table(tmp_path / "three", {"side": np.tile(side, 2)}, np.tile(target, 2), np.tile(prediction, 2))
    )
    assert doubled.groups["value"].tolist() == pytest.approx(one.groups["value"].tolist())
    width, half_width = (s.groups["high"] - s.groups["low"] for s in (one, doubled))
    assert (half_width < width).all()
