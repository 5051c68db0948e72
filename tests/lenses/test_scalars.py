from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core import ConfigError, MissingTable, Run, RunWriter
from workbench.lenses import scalars


def recorded(folder: Path, values: dict[str, list[float]], **info: object) -> Run:
    with RunWriter(folder, **info) as writer:
        for step in range(max(len(course) for course in values.values())):
            writer.scalars(step, {tag: course[step] for tag, course in values.items() if step < len(course)})
    return Run(folder)


def test_short_curves_are_drawn_value_by_value(tmp_path: Path):
    stats = scalars.statistics(recorded(tmp_path / "run", {"loss/left": [3.0, 2.0, 1.0]}))
    assert stats.of("loss/left")["value"].tolist() == [3.0, 2.0, 1.0]
    assert stats.of("loss/left")["step"].tolist() == [0.0, 1.0, 2.0]
    assert stats.reduced == ()


def test_long_curves_keep_their_extremes_in_at_most_the_asked_number_of_points(tmp_path: Path):
    course = np.zeros(10_000)
    course[1234], course[7777] = 50.0, -9.0
    stats = scalars.statistics(recorded(tmp_path / "run", {"loss/left": course.tolist()}))
    curve = stats.of("loss/left")
    assert len(curve) == scalars.MAX_BUCKETS
    assert (curve["high"].max(), curve["low"].min()) == (50.0, -9.0)
    assert curve["count"].sum() == 10_000
    assert stats.reduced == ("loss/left",)
    band = scalars.figure(stats).data[0]
    assert len(band.x) <= 2000


def test_buckets_are_equally_filled_and_hold_means(tmp_path: Path):
    # 0..5 in three buckets: (0, 1), (2, 3), (4, 5)
    run = recorded(tmp_path / "run", {"lr": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]})
    curve = scalars.statistics(run, buckets=3).of("lr")
    assert curve["value"].tolist() == [0.5, 2.5, 4.5]
    assert curve["low"].tolist() == [0.0, 2.0, 4.0]
    assert curve["high"].tolist() == [1.0, 3.0, 5.0]


def test_values_that_are_not_finite_are_counted_located_and_marked(tmp_path: Path):
    course = [1.0, float("nan"), 0.5, float("inf"), float("inf")]
    stats = scalars.statistics(recorded(tmp_path / "run", {"loss/left": course}))
    row = stats.tags.iloc[0]
    assert (row["not_finite"], row["first_not_finite"], row["smallest"], row["largest"]) == (3, 1, 0.5, 1.0)
    crosses = [trace for trace in scalars.figure(stats).data if trace.marker.symbol == "x"]
    assert [trace.x.tolist() for trace in crosses] == [[1.0, 3.0]]  # where each stretch begins


def test_smoothing_is_the_bias_corrected_moving_average(tmp_path: Path):
    # w = 1/2 over 4, 2, 1: 2/(1/2) = 4, (2/2 + 2/2)/(3/4) = 8/3, (1/2 + 2/4 + 4/8)/(7/8) = 12/7
    run = recorded(tmp_path / "run", {"loss": [4.0, 2.0, 1.0]})
    curve = scalars.statistics(run, smoothing=0.5).of("loss")
    assert curve["smoothed"].tolist() == pytest.approx([4.0, 8 / 3, 12 / 7])


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30), st.floats(0, 0.99))
def test_smoothed_values_stay_between_the_extremes(course: list[float], weight: float):
    import pandas as pd

    curves = pd.DataFrame({"tag": "loss", "value": course})
    smooth = scalars.smoothed(curves, weight)
    assert smooth.min() >= min(course) - 1e-6
    assert smooth.max() <= max(course) + 1e-6


def test_panels_are_the_first_part_of_a_tag_and_a_task_keeps_its_colour(tmp_path: Path):
    run = recorded(tmp_path / "run", {"loss/left": [1.0, 0.5], "loss/right": [2.0, 1.0], "accuracy/right": [0.1, 0.9]})
    fig = scalars.figure(scalars.statistics(run), names=["left", "right"])
    assert [note.text for note in fig.layout.annotations] == ["loss", "accuracy"]
    colour = {(trace.name, trace.yaxis): trace.line.color for trace in fig.data}
    assert colour["right", "y"] == colour["right", "y2"] != colour["left", "y"]


def test_log_scale_is_put_on_every_panel(tmp_path: Path):
    run = recorded(tmp_path / "run", {"loss/left": [1.0, 0.5], "accuracy/left": [0.1, 0.9]})
    fig = scalars.figure(scalars.statistics(run), log=True)
    assert (fig.layout.yaxis.type, fig.layout.yaxis2.type) == ("log", "log")


@pytest.mark.parametrize(
    ("tags", "summary", "expected"),
    [
        (["loss/a", "accuracy/a"], {}, "accuracy/a"),
        (["lr", "loss/a"], {}, "loss/a"),
        (["loss/a", "accuracy/a"], {"loss/a": 0.1}, "loss/a"),
        (["lr"], {}, "lr"),
        ([], {}, None),
    ],
)
def test_main_tag(tmp_path: Path, tags: list[str], summary: dict[str, float], expected: str | None):
    RunWriter(tmp_path / "run", summary=summary).close()
    assert scalars.main_tag(Run(tmp_path / "run"), tags) == expected


def test_mistakes_are_named(tmp_path: Path):
    run = recorded(tmp_path / "run", {"loss": [1.0]})
    with pytest.raises(ConfigError, match=r"smoothing must lie in \[0, 1\); got 1"):
        scalars.statistics(run, smoothing=1.0)
    with pytest.raises(ConfigError, match="at least 1; got 0"):
        scalars.statistics(run, buckets=0)
    RunWriter(tmp_path / "bare").close()
    with pytest.raises(MissingTable, match="scalars"):
        scalars.statistics(Run(tmp_path / "bare"))


def test_a_thicket_of_curves_waits_until_it_is_asked_for(tmp_path: Path):
    many = {f"IoU/{i}": [0.5] for i in range(scalars.MAX_CURVES + 1)}
    tags = scalars.summary(recorded(tmp_path / "run", many | {"loss/left": [1.0], "lr": [0.1]}))
    assert scalars.panels(tags) == ["loss", "IoU", "lr"]
    assert scalars.first_panels(tags) == ["loss", "lr"]
    assert scalars.first_panels(tags[tags["group"] == "IoU"]) == ["IoU"]


def test_tags_that_differ_in_one_word_share_a_panel():
    evaluated = [f"eval_g{i}_{name}" for i in range(3) for name in ("loss", "accuracy", "samples_per_second")]
    tags = ["loss", "epoch", "train_loss", "val_loss", "loss/left", "acc_0", "acc_1", "_step", "a__b", "", *evaluated]
    found = scalars.grouped(tags)
    assert found["eval_g1_accuracy"] == ("eval_accuracy", "g1")
    assert found["eval_g2_samples_per_second"] == ("eval_samples_per_second", "g2")
    assert found["train_loss"] == ("loss", "train")
    assert found["val_loss"] == ("loss", "val")
    assert found["loss"] == ("loss", "loss")
    assert found["loss/left"] == ("loss", "left")
    assert found["acc_1"] == ("acc", "1")
    assert found["epoch"] == ("epoch", "epoch")
    assert found["_step"] == ("_step", "_step")
    assert len(set(found.values())) == len(tags)
