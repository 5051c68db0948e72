"""What each sample is judged by, for every kind of task: scikit-learn's numbers, sample by sample."""

from __future__ import annotations

import numpy as np
import pytest
from bias_classes import labels, maps, write_labels, write_maps
from bias_runs import write_table
from sklearn import metrics as sk

from workbench.core import ConfigError
from workbench.lenses import lens
from workbench.lenses.bias.members import group_members
from workbench.lenses.bias.paired import compare
from workbench.lenses.bias.statistics import statistics


def by_level(stats):
    return stats.groups.query("order == 1").set_index("level_1")["value"]


@pytest.mark.parametrize(
    ("metric", "score"),
    [
        ("iou", lambda y, said: sk.jaccard_score(y, said, average="samples", zero_division=1)),
        ("dice", lambda y, said: sk.f1_score(y, said, average="samples", zero_division=1)),
        ("label_accuracy", lambda y, said: 1 - sk.hamming_loss(y, said)),
        ("exact", sk.accuracy_score),
    ],
)
def test_labels_of_samples_equal_scikit_learn(tmp_path, metric, score):
    side, said, true, _ = labels()
    stats = statistics(write_labels(tmp_path / "run"), metric=metric)
    assert stats.overall == pytest.approx(score(true, said))
    for level, value in by_level(stats).items():
        assert value == pytest.approx(score(true[side == level], said[side == level]))
    assert stats.low < stats.overall < stats.high
    assert stats.high <= 1


def test_one_label_alone_is_counted(tmp_path):
    side, said, true, _ = labels()
    stats = statistics(write_labels(tmp_path / "run"), label="dog", metric="label_accuracy")
    assert stats.measured.counted
    for level, value in by_level(stats).items():
        assert value == pytest.approx((said[side == level, 1] == true[side == level, 1]).mean())
    stats = statistics(write_labels(tmp_path / "again"), label="dog")
    either = (said[:, 1] + true[:, 1]) > 0
    assert stats.n == either.sum()
    assert stats.overall == pytest.approx(sk.jaccard_score(true[:, 1], said[:, 1]))
    assert "for 'dog'" in lens("bias").verdicts(stats)[0].sentence


def test_a_planted_gap_of_a_label_is_found(tmp_path):
    stats = statistics(write_labels(tmp_path / "run", n=1500), label="dog")
    worst = stats.groups.iloc[0]
    assert worst["level_1"] == "right"
    assert worst["q"] < 0.01
    assert lens("bias").verdicts(stats)[0].level in ("problem", "watch")
    assert statistics(write_labels(tmp_path / "other", n=1500), label="cat").groups["q"].min() > 0.01


def test_pictures_are_judged_by_the_mean_over_their_classes(tmp_path):
    light, said, true = maps()
    run = write_maps(tmp_path / "run")
    each = {
        "iou": [sk.jaccard_score(y.ravel(), p.ravel(), average="macro") for y, p in zip(true, said, strict=True)],
        "dice": [sk.f1_score(y.ravel(), p.ravel(), average="macro") for y, p in zip(true, said, strict=True)],
        "pixel_accuracy": (said == true).mean(axis=(1, 2)),
    }
    assert statistics(run).metric == "iou"
    for metric, values in each.items():
        for level, value in by_level(statistics(run, metric=metric)).items():
            assert value == pytest.approx(np.mean(np.array(values)[light == level]))


def test_one_region_alone_counts_the_pictures_that_hold_it(tmp_path):
    light, said, true = maps()
    stats = statistics(write_maps(tmp_path / "run"), label="car")
    has = ((said == 1) | (true == 1)).any(axis=(1, 2))
    assert stats.n == has.sum() < len(has)
    values = [sk.jaccard_score(y.ravel() == 1, p.ravel() == 1) for y, p in zip(true[has], said[has], strict=True)]
    for level, value in by_level(stats).items():
        assert value == pytest.approx(np.mean(np.array(values)[light[has] == level]))
    assert by_level(stats)["night"] < by_level(stats)["day"]
    members = group_members(write_maps(tmp_path / "again"), stats, "light: night")
    assert members == np.flatnonzero(has & (light == "night")).tolist()


def test_a_regression_has_its_error(tmp_path):
    rng = np.random.default_rng(0)
    side, target = rng.choice(["a", "b"], 300), rng.normal(size=300)
    said = target + rng.normal(size=300) * np.where(side == "a", 1, 3)
    said[0] = np.nan
    tasks = [{"name": "digit", "kind": "regression"}]
    run = write_table(tmp_path / "run", {"side": side}, target, said, tasks=tasks)
    stats = statistics(run)
    assert (stats.metric, stats.choices, stats.n) == ("error", ("error",), 299)
    kept = ~np.isnan(said)
    for level, value in by_level(stats).items():
        here = kept & (side == level)
        assert value == pytest.approx(sk.mean_absolute_error(target[here], said[here]))
    assert "off by" in lens("bias").verdicts(stats)[0].sentence
    assert stats.metrics.empty
    assert stats.by_class.empty


def test_two_runs_are_compared_by_any_metric(tmp_path):
    first, second = write_labels(tmp_path / "a"), write_labels(tmp_path / "b")
    found = compare(first, second, steps=(0, 9), metric="exact")
    _side, said, true, _ = labels()
    assert found.groups["second"].iloc[0] == pytest.approx(sk.accuracy_score(true, said))
    assert found.groups["change"].iloc[0] == pytest.approx(
        sk.accuracy_score(true, said) - sk.accuracy_score(true, true[::-1])
    )
    alone = compare(first, second, steps=(0, 9), label="dog")
    assert alone.metric.title == "IoU (Jaccard index) of 'dog'"


def test_what_a_task_cannot_be_judged_by_is_named(tmp_path):
    run = write_labels(tmp_path / "run")
    assert statistics(run).choices == ("iou", "dice", "label_accuracy", "exact", "loss")
    with pytest.raises(ConfigError, match="'tags' cannot be judged by 'pixel_accuracy'. It can be by: iou, dice"):
        statistics(run, metric="pixel_accuracy")
    with pytest.raises(ConfigError, match="no class 'horse' to study alone. Classes: cat, dog, rain"):
        statistics(run, label="horse")
    with pytest.raises(ConfigError, match="One class alone cannot be judged by 'loss'"):
        statistics(run, label="cat", metric="loss")
    plain = write_table(tmp_path / "plain", {"side": ["a", "b"] * 30}, [0, 1] * 30, [0, 1] * 30)
    with pytest.raises(ConfigError, match="predictions hold one class each"):
        statistics(plain, label="cat")
