"""Rates of classes in levels: scikit-learn's and fairlearn's numbers, and intervals that hold for pictures."""

from __future__ import annotations

import numpy as np
import pytest
from bias_classes import REGIONS, TAGS, labels, maps, write_labels, write_maps
from bias_runs import write_table
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as sk

from workbench.core import ConfigError
from workbench.lenses.bias import LENS, class_figures, depth_figures
from workbench.lenses.bias.class_metrics import class_table, effective_size
from workbench.lenses.bias.cube import Factor
from workbench.lenses.bias.metrics import Counted, differences, equity_scaled, one_against_rest, rates
from workbench.lenses.bias.statistics import statistics
from workbench.lenses.intervals import wilson


def rows(stats, measure):
    return stats.by_class[stats.by_class["measure"] == measure].set_index(["level", "class"])


def test_rates_of_labels_equal_scikit_learn(tmp_path):
    side, said, true, _ = labels()
    stats = statistics(write_labels(tmp_path / "run"))
    for level in ("left", "right"):
        y, p = true[side == level], said[side == level]
        tn, fp, fn, tp = sk.multilabel_confusion_matrix(y, p).reshape(-1, 4).T
        expected = {
            "tpr": sk.recall_score(y, p, average=None),
            "fpr": fp / (fp + tn),
            "precision": sk.precision_score(y, p, average=None),
            "iou": sk.jaccard_score(y, p, average=None),
            "dice": sk.f1_score(y, p, average=None),
        }
        for measure, values in expected.items():
            found = rows(stats, measure).loc[level].loc[list(TAGS)]
            assert found["value"].tolist() == pytest.approx(values.tolist())
        low, high = wilson(tp.astype(float), (tp + fn).astype(float))
        assert rows(stats, "tpr").loc[level]["low"].tolist() == pytest.approx(low.tolist())
        assert rows(stats, "tpr").loc[level]["high"].tolist() == pytest.approx(high.tolist())
        metrics = stats.metrics.set_index("level").loc[level]
        assert metrics["accuracy"] == pytest.approx(1 - sk.hamming_loss(y, p))
        assert metrics["balanced_accuracy"] == pytest.approx(sk.recall_score(y, p, average="macro"))
        assert metrics["dice"] == pytest.approx(sk.f1_score(y, p, average="macro"))
        assert metrics["iou"] == pytest.approx(sk.jaccard_score(y, p, average="macro"))
        assert metrics["dice_low"] < metrics["dice"] < metrics["dice_high"]
    assert rows(stats, "tpr").loc[("right", "dog"), "q"] < 0.01 < rows(stats, "tpr").loc[("right", "cat"), "q"]


def test_differences_of_labels_equal_fairlearn(tmp_path):
    from fairlearn import metrics as fl

    side, said, true, _ = labels()
    found = statistics(write_labels(tmp_path / "run")).differences.set_index("measure")
    each = [{"y_true": true[:, c], "y_pred": said[:, c], "sensitive_features": side} for c in range(true.shape[1])]
    odds = [fl.equalized_odds_difference(**one) for one in each]
    assert found.loc["equalised_odds", "value"] == pytest.approx(max(odds))
    assert found.loc["equalised_odds_mean", "value"] == pytest.approx(np.mean(odds))
    parity = [fl.demographic_parity_difference(**one) for one in each]
    assert found.loc["demographic_parity", "value"] == pytest.approx(max(parity))
    ratio = [fl.demographic_parity_ratio(**one) for one in each]
    assert found.loc["demographic_parity_ratio", "value"] == pytest.approx(min(ratio))
    assert (found["low"] <= found["high"]).all()


def test_calibration_of_labels_is_that_of_their_probabilities(tmp_path):
    side, _, true, logits = labels()
    found = statistics(write_labels(tmp_path / "run")).metrics.set_index("level")
    p = 1 / (1 + np.exp(-logits))
    for level in ("left", "right"):
        here = side == level
        assert found.loc[level, "brier"] == pytest.approx(
            np.mean([sk.brier_score_loss(true[here, c], p[here, c]) for c in range(3)])
        )
        assert found.loc[level, "brier_low"] < found.loc[level, "brier"] < found.loc[level, "brier_high"]


def test_rates_of_regions_pool_the_pixels(tmp_path):
    light, said, true = maps()
    stats = statistics(write_maps(tmp_path / "run"))
    for level in ("day", "night"):
        y, p = true[light == level].ravel(), said[light == level].ravel()
        for measure, score in (("iou", sk.jaccard_score), ("dice", sk.f1_score), ("tpr", sk.recall_score)):
            found = rows(stats, measure).loc[level].loc[list(REGIONS)]
            assert found["value"].tolist() == pytest.approx(score(y, p, average=None).tolist())
            assert ((found["low"] < found["value"]) & (found["value"] <= found["high"])).all()
        metrics = stats.metrics.set_index("level").loc[level]
        assert metrics["accuracy"] == pytest.approx(sk.accuracy_score(y, p))
        assert metrics["iou"] == pytest.approx(sk.jaccard_score(y, p, average="macro"))
        assert metrics["n"] == (light == level).sum()
        assert np.isnan(metrics["ece"])
    assert rows(stats, "iou").loc[("night", "car"), "q"] < 0.01


def test_equity_scaled_dice_of_regions(tmp_path):
    light, said, true = maps()
    found = statistics(write_maps(tmp_path / "run")).differences.set_index("measure")["value"]
    dice = [
        sk.f1_score(true[here].ravel(), said[here].ravel(), average="macro")
        for here in (light == "day", light == "night")
    ]
    overall = sk.f1_score(true.ravel(), said.ravel(), average="macro")
    assert found["dice_gap"] == pytest.approx(abs(dice[0] - dice[1]))
    assert found["equity_scaled_dice"] == pytest.approx(equity_scaled(np.array(overall), np.array(dice)).item())


def test_rates_of_single_answers_are_there_too(tmp_path):
    rng = np.random.default_rng(0)
    side, y = rng.choice(["a", "b"], 500), rng.integers(0, 3, 500)
    p = np.where(rng.random(500) < 0.7, y, rng.integers(0, 3, 500))
    tasks = [{"name": "digit", "classes": ("zero", "one", "two")}]
    stats = statistics(write_table(tmp_path / "run", {"side": side}, y, p, tasks=tasks))
    for level in ("a", "b"):
        found = rows(stats, "dice").loc[level].loc[["zero", "one", "two"], "value"]
        assert found.tolist() == pytest.approx(sk.f1_score(y[side == level], p[side == level], average=None).tolist())


def test_limits_hold_the_rate_of_all_pictures():
    # Pictures hold 0 to 60 pixels of a class; each has its own share, 0.7 on average over pixels.
    rng = np.random.default_rng(1)
    runs, n = 600, 30
    whole = rng.integers(0, 61, (n, runs, 1)).astype(float)
    part = rng.binomial(whole.astype(int), rng.beta(7, 3, (n, runs, 1))).astype(float)
    size = effective_size(part, whole)
    share = part.sum(axis=0) / whole.sum(axis=0)
    low, high = wilson(share * size, size)
    assert 0.93 < ((low < 0.7) & (high > 0.7)).mean() < 0.975
    pixels = whole.sum(axis=0)
    low, high = wilson(share * pixels, pixels)
    assert ((low < 0.7) & (high > 0.7)).mean() < 0.75  # as if pixels were independent


def test_equal_levels_are_seldom_called_different():
    # 20 classes, 3 levels, 60 pictures each, one share of 0.6 for all.
    rng = np.random.default_rng(2)
    called = []
    for _ in range(40):
        whole = rng.integers(5, 50, (180, 20)).astype(float)
        part = rng.binomial(whole.astype(int), rng.beta(6, 4, (180, 20))).astype(float)
        blocks = np.zeros((180, 3, 20, 4))
        level = np.repeat(np.arange(3), 60)
        blocks[np.arange(180), level, :, 0] = part
        blocks[np.arange(180), level, :, 2] = whole - part
        names = tuple(map(str, range(20)))
        outcomes = blocks.sum(axis=0)
        counts = Counted(
            Factor("f", "f", ("a", "b", "c")), np.full(3, 60), outcomes, outcomes[None], names, True, blocks
        )
        tpr = class_table([counts], clustered=True).query("measure == 'tpr'").drop_duplicates("class")
        called.append((tpr["p"] < 0.05).mean())
    assert 0.03 < np.mean(called) < 0.075


tables = arrays(float, (2, 3, 3), elements=st.integers(0, 30).map(float))


@given(tables)
def test_rates_lie_between_0_and_1_and_dice_follows_iou(table):
    found = rates(one_against_rest(table))
    for values in found.values():
        known = values[~np.isnan(values)]
        assert ((known >= 0) & (known <= 1)).all()
    np.testing.assert_allclose(found["dice"], 2 * found["iou"] / (1 + found["iou"]))
    np.testing.assert_allclose(one_against_rest(table).sum(axis=-1), table.sum(axis=(1, 2))[:, None].repeat(3, axis=1))


@given(tables.filter(lambda table: (table.sum(axis=(1, 2)) > 0).all()), st.permutations([0, 1]))
def test_doubling_all_samples_and_the_order_of_groups_change_no_difference(table, order):
    plain, other = differences(one_against_rest(table)), differences(one_against_rest(2 * table[list(order)]))
    for name, value in plain.items():
        np.testing.assert_allclose(value, other[name], err_msg=name)


def test_the_figure_shows_the_class_with_the_widest_gap_first(tmp_path):
    stats = statistics(write_labels(tmp_path / "run", n=1500))
    figure = class_figures.classes(stats)
    assert figure.layout.yaxis.ticktext[0] == "dog (differs)"
    assert [trace.name for trace in figure.data] == ["left", "right"]
    found = rows(stats, "iou").loc[("right", "dog")]
    assert figure.data[1].x[0] == pytest.approx(found["value"])
    assert figure.data[1].x[0] + figure.data[1].error_x.array[0] == pytest.approx(found["high"])
    assert "2 more in the table" in class_figures.classes(stats, "tpr", limit=1).layout.title.text
    with pytest.raises(ConfigError, match="There is no rate of that name. Known: tpr"):
        class_figures.classes(stats, "auc")
    with pytest.raises(ConfigError, match="There is no factor of that name. Known: side"):
        class_figures.classes(stats, factor="ink")


def test_every_view_draws_for_labels_and_for_regions(tmp_path):
    for run in (write_labels(tmp_path / "labels"), write_maps(tmp_path / "maps")):
        stats = statistics(run)
        assert {"classes", "metrics", "fairness"} <= {view.slug for view in LENS.shown(stats)}
        for view in LENS.shown(stats):
            drawn = view.figure(stats).layout
            assert drawn.title.text or drawn.annotations, view.slug
        for measure in ("dice", "iou", "balanced_accuracy", "loss"):
            assert depth_figures.metrics(stats, measure).data
        assert "Rates of each class" in LENS.tables(stats)


def test_the_verdict_names_the_class_and_both_levels(tmp_path):
    stats = statistics(write_labels(tmp_path / "run", n=1500))
    (verdict,) = [found for found in LENS.verdicts(stats) if found.options.get("view") == "classes"]
    table = rows(stats, "iou")
    worst, best = table.loc[("right", "dog")], table.loc[("left", "dog")]
    assert verdict.level == "problem"
    assert verdict.value == pytest.approx(best["value"] - worst["value"])
    assert verdict.low < verdict.value < verdict.high
    assert verdict.sentence.startswith(f"'dog' has an IoU of {100 * worst['value']:.0f} %")
    assert "1 of 3 pairs of a class and a factor differ" in verdict.sentence
    alone = LENS.verdicts(statistics(write_labels(tmp_path / "again", n=1500), label="dog"))
    assert all(found.options.get("view") != "classes" for found in alone)
