"""Learned margins in the bias lens: what is read from the log, and what the figures show of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core import Attribute, Run, RunWriter, Task
from workbench.lenses import look
from workbench.lenses.bias import margin_figures as figures
from workbench.lenses.bias.margins import cramers_v


@pytest.fixture(scope="module")
def stats(tmp_path_factory):
    """60 training and 40 test samples; blur is rare in training, its offset falls, its samples disagree."""
    path = tmp_path_factory.mktemp("runs") / "margins"
    rng = np.random.default_rng(1)
    blur = np.where(np.arange(100) % 5 == 0, "blurred", "sharp")
    blur[60:] = np.where(np.arange(40) % 2 == 0, "blurred", "sharp")
    pose = np.where(np.arange(100) % 2 == 0, "frontal", "turned")
    with RunWriter(
        path,
        tasks=[Task("person", classes=("a", "b"))],
        attributes=[Attribute("blur", levels=("sharp", "blurred")), Attribute("pose", levels=("frontal", "turned"))],
    ) as rec:
        ids, target = np.arange(100), rng.integers(2, size=100)
        split = np.where(ids < 60, "train", "test")
        rec.samples({"sample": ids, "split": split, "blur": blur, "pose": pose, "target_person": target})
        rec.predictions(10, "person", sample=ids[60:], prediction=target[60:])
        bad = blur[:60] == "blurred"
        rec.predictions(
            10, "person", sample=ids[:60], prediction=target[:60], margin=np.where(bad, -0.1, 0.3),
            hardness=rng.random(60), agreement=np.where(bad, -0.5, 0.4) + 0.1 * rng.normal(size=60),
        )  # fmt: skip
        for step in (0, 5, 10):
            rec.scalars(step, {"margin/blur/sharp": 0.01 * step, "margin/blur/blurred": -0.04 * step, "meta/gain": 0.1})
        rec.scalars(10, {"margin/blur/blurred": -0.5})
    return look(Run(path), "bias").stats


def test_offsets_are_read_by_factor_and_level_and_the_last_entry_of_a_step_counts(stats):
    rows = stats.margins.offsets.set_index(["factor", "level", "step"])["value"]
    assert rows["blur", "sharp", 5] == pytest.approx(0.05)
    assert rows["blur", "blurred", 10] == -0.5


def test_shares_count_each_split(stats):
    shares = stats.margins.shares.set_index(["split", "factor", "level"])
    assert shares.loc[("train", "blur", "blurred"), ["n", "share"]].tolist() == [12, 0.2]
    assert shares.loc[("test", "blur", "blurred"), ["n", "share"]].tolist() == [20, 0.5]


def test_association_by_hand():
    # 2 x 2 counts (30, 10; 10, 30): expected 20 each, χ² = 4 · 100 / 20 = 20, V = sqrt(20 / 80) = 1/2.
    table = pd.DataFrame({"a": [0, 0, 1, 1], "b": [0, 1, 0, 1], "weight": [30, 10, 10, 30]})
    assert cramers_v(table, "a", "b") == pytest.approx(0.5)
    assert cramers_v(table.assign(weight=[10, 0, 0, 10]), "a", "b") == pytest.approx(1.0)
    assert np.isnan(cramers_v(table[:2], "a", "b"))


@given(st.lists(st.integers(1, 50), min_size=2, max_size=4), st.lists(st.integers(1, 50), min_size=2, max_size=4))
def test_independent_factors_are_not_associated(rows, columns):
    grid = [(i, j, n * m) for i, n in enumerate(rows) for j, m in enumerate(columns)]
    table = pd.DataFrame(grid, columns=["a", "b", "weight"])
    assert cramers_v(table, "a", "b") == pytest.approx(0, abs=1e-7)


def test_the_figures_show_what_was_logged(stats):
    assert stats.margins.widest == "blur"
    lines = {trace.name: trace for trace in figures.offsets(stats).data if trace.type == "scatter"}
    assert list(lines["blur: blurred"].y) == pytest.approx([0.0, -0.2, -0.5])
    scatter = figures.hardness(stats)
    assert [trace.name for trace in scatter.data] == ["sharp (n = 48)", "blurred (n = 12)"]
    ridges = {trace.name.split("  ")[0]: np.mean(trace.x) for trace in figures.agreement(stats).data}
    assert ridges["blur: blurred"] < -0.3 < 0.3 < ridges["blur: sharp"]
    assert len(figures.agreement(stats, factor="pose").data) == 2
    assert {trace.name for trace in figures.balance(stats).data if trace.type == "bar"} == {
        "train (n = 60)",
        "test (n = 40)",
    }
    assert "above 0 in 100 % of the logged steps" in figures.gain(stats).layout.title.text


def test_the_views_are_offered(stats):
    assert figures.has_offsets(stats)
    assert figures.has_samples(stats)
    assert figures.has_splits(stats)
