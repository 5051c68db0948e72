"""Which labels keep each other company, and whether that differs between datasets."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.core import Run, RunWriter
from workbench.lenses.labels import LENS
from workbench.lenses.labels.copresence import context_differences, copresence, log_odds_ratio
from workbench.lenses.labels.statistics import statistics


def write_presence(path, tables):
    """Annotations of labels x and y (and z in every sample) with (both, x only, y only, neither) samples a dataset."""
    with RunWriter(path, datasets=[{"name": name, "labels": ("x", "y", "z")} for name in tables]) as writer:
        first = 0
        for dataset, counts in tables.items():
            for labels, n in zip((("x", "y", "z"), ("x", "z"), ("y", "z"), ("z",)), counts, strict=True):
                for label in labels:
                    writer.label_counts(dataset=dataset, sample=np.arange(first, first + n), label=[label] * n)
                first += n
    return Run(path)


def test_golden_counts(tmp_path):
    frame = copresence(write_presence(tmp_path / "run", {"A": (30, 20, 10, 40)}))
    row = frame.query("label_x == 'x' and label_y == 'y'").iloc[0]
    assert row[["both", "x_only", "y_only", "neither"]].tolist() == [30, 20, 10, 40]
    assert row["lift"] == pytest.approx(1.5)
    assert np.log2(row["lift"]) == pytest.approx(0.5850, abs=1e-4)
    assert row["jaccard"] == pytest.approx(0.5)
    assert row["phi"] == pytest.approx(0.4082, abs=1e-4)
    assert row["log_odds_ratio"] == pytest.approx(1.7918, abs=1e-4)
    assert row["error"] == pytest.approx(0.4564, abs=1e-4)


def test_empty_cells_get_half_a_sample():
    value, error = log_odds_ratio(np.array([[10.0, 0.0, 5.0, 5.0]]))
    assert value.item() == pytest.approx(np.log(10.5 * 5.5 / (0.5 * 5.5)))
    assert error.item() == pytest.approx(np.sqrt(1 / 10.5 + 1 / 0.5 + 1 / 5.5 + 1 / 5.5))


def test_a_context_of_one_dataset_is_named(tmp_path):
    stats = statistics(write_presence(tmp_path / "run", {"A": (60, 10, 10, 60), "B": (35, 35, 35, 35)}))
    row = stats.contexts.iloc[0]
    assert (row["label_x"], row["label_y"]) == ("x", "y")
    assert row["difference"] == pytest.approx(np.log(36))
    assert row["low"] < row["difference"] < row["high"]
    (verdict,) = [verdict for verdict in LENS.verdicts(stats) if verdict.level == "watch"]
    assert "'x' and 'y' share samples more often in A than in B" in verdict.sentence
    (names,) = LENS.figure(stats).data  # of relations, only the likeness of names is known here
    assert names.type == "heatmap"
    drawn = next(view for view in LENS.views if view.slug == "contexts").figure(stats)
    assert {trace.name for trace in drawn.data} == {"A", "B"}


def test_labels_that_are_always_there_are_no_context(tmp_path):
    stats = statistics(write_presence(tmp_path / "run", {"A": (60, 10, 10, 60), "B": (35, 35, 35, 35)}))
    assert "z" not in set(stats.contexts["label_x"]) | set(stats.contexts["label_y"])


def test_equal_contexts_stay_silent():
    # 300 pairs of datasets with the same true presence: p below 0.05 in about 5 % of cases.
    import pandas as pd

    rng = np.random.default_rng(0)
    frames = []
    for i in range(300):
        for dataset in ("A", "B"):
            table = rng.multinomial(200, [0.35, 0.25, 0.15, 0.25]).astype(float)
            value, error = log_odds_ratio(table[None])
            names = ("both", "x_only", "y_only", "neither")
            row = {"dataset": dataset, "label_x": f"x{i}", "label_y": f"y{i}", **dict(zip(names, table, strict=True))}
            frames.append(row | {"log_odds_ratio": value.item(), "error": error.item()})
    found = context_differences(pd.DataFrame(frames))
    assert len(found) == 300
    assert (found["p"] <= 0.05).mean() == pytest.approx(0.05, abs=0.03)
    assert (found["q"] <= 0.05).sum() <= 1
