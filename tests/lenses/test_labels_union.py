"""What a loss over the union would teach: counted by hand, and its limits by simulation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from workbench.core import Run, RunWriter
from workbench.lenses.labels.lesson_figure import lesson_figure
from workbench.lenses.labels.statistics import statistics
from workbench.lenses.labels.union import lessons

SPACES = {"A": ("vehicle", "road"), "B": ("car", "road")}
CAR_IN_VEHICLE = pd.DataFrame(
    [{"dataset_a": "A", "label_a": "vehicle", "dataset_b": "B", "label_b": "car", "kind": "part of",
      "direction": "b in a"}]
)  # fmt: skip


def write(path, n, cars):
    """``n`` samples of A with 6 of vehicle; B's samples hold ``cars`` each, which A's head calls vehicle."""
    with RunWriter(path, datasets=[{"name": name, "labels": labels} for name, labels in SPACES.items()]) as writer:
        for sample in range(n):
            place = {"dataset": "A", "sample": sample, "region": 0}
            writer.label_counts(**place, label="vehicle", weight=6.0)
            writer.label_counts(**place, label="vehicle", weight=6.0, source="A")
        for sample, weight in enumerate(cars, start=n):
            for region, (label, said, size) in enumerate((("car", "vehicle", weight), ("road", "road", 4.0))):
                place = {"dataset": "B", "sample": sample, "region": region}
                writer.label_counts(**place, label=label, weight=size)
                writer.label_counts(**place, label=said, weight=size, source="A")
    return Run(path)


def test_lessons_by_hand(tmp_path):
    found = lessons(write(tmp_path / "run", 5, [2.0, 2.0]), SPACES, CAR_IN_VEHICLE).set_index("label")
    vehicle = found.loc["vehicle"]
    # 6 a sample are taught, 2 a sample are opposed: a quarter is wrong; a part of vehicle may teach it instead.
    assert (vehicle.taught, vehicle.opposed, vehicle.extra, vehicle.at_home) == (6.0, 2.0, 2.0, 0.0)
    assert (vehicle.wrong, vehicle.low, vehicle.high) == pytest.approx((0.25, 0.25, 0.25))
    assert not vehicle.shared
    assert vehicle.wrong_per_class == 0
    # Road means the same to both.
    assert found.loc["road", "opposed"] == 0


def test_a_shared_name_is_opposed_under_binary_losses_too(tmp_path):
    spaces = {"A": ("vehicle", "road"), "B": ("car", "road", "vehicle")}
    found = lessons(write(tmp_path / "run", 5, [2.0, 2.0]), spaces, CAR_IN_VEHICLE).set_index("label")
    assert found.loc["vehicle", "wrong_per_class"] == found.loc["vehicle", "wrong"] == 0.25
    assert found.loc["vehicle", "extra"] == 0


def test_without_predictions_across_there_are_no_lessons(tmp_path):
    with RunWriter(tmp_path / "run", datasets=[{"name": "A", "labels": ["x"]}, {"name": "B", "labels": ["x"]}]) as w:
        w.label_counts(dataset="A", sample=0, region=0, label="x", weight=1.0)
    found = statistics(Run(tmp_path / "run"))
    assert len(found.lessons) == 0
    assert "No dataset's head" in lesson_figure(found).layout.title.text


def test_limits_cover_the_planted_share(tmp_path):
    # Weights are gamma with mean 6 in B; A's are fixed at 6: half of the lessons are wrong.
    rng = np.random.default_rng(0)
    covered = []
    for trial in range(60):
        row = lessons(write(tmp_path / str(trial), 3, rng.gamma(2, 3, size=40)), SPACES, CAR_IN_VEHICLE).iloc[0]
        covered.append(row.low <= 0.5 <= row.high)
    assert 0.87 <= np.mean(covered) <= 1.0
