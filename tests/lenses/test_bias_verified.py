"""Scored pairs in the bias lens: rates, curves, histograms and tasks, against plain counts."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.core import Attribute, ConfigError, Domain, Run, RunWriter, Task
from workbench.core.verification import threshold_at
from workbench.lenses import look
from workbench.lenses.bias import verified_figures as figures

GROUPS = ("plain", "blurred")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Two tasks score the same 600 genuine and 6,000 impostor pairs; blurred genuine pairs score lower."""
    path = tmp_path_factory.mktemp("runs") / "pairs"
    rng = np.random.default_rng(0)
    genuine = np.arange(6600) < 600
    blurred = rng.random(6600) < 0.4
    with RunWriter(
        path,
        tasks=[Task(name, classes=("different", "same")) for name in ("both", "plain only")],
        attributes=[Attribute("blur", levels=GROUPS)],
        domains=[Domain("plain"), Domain("blurred", held_out=True)],
    ) as rec:
        levels = np.where(blurred, "blurred", "plain")
        targets = {f"target_{name}": genuine.astype(int) for name in ("both", "plain only")}
        split = np.where(genuine, "test", "test impostors")
        rec.samples({"sample": np.arange(6600), "split": split, "domain": levels, "blur": levels} | targets)
        for name, cost in (("both", 1.0), ("plain only", 2.5)):
            scores = rng.normal(size=6600) + genuine * (3 - cost * blurred)
            rec.predictions(5, name, sample=np.arange(6600), prediction=(scores > 2).astype(int), score=scores)
    return Run(path)


@pytest.fixture(scope="module")
def stats(recorded):
    return look(recorded, "bias").stats


def plain_table(recorded, task):
    return recorded.query(
        "SELECT score, split = 'test' AS genuine, blur FROM predictions JOIN samples USING (sample) WHERE task = ?",
        [task],
    )


def test_rates_are_plain_counts_at_one_threshold(recorded, stats):
    table = plain_table(recorded, "both")
    threshold = threshold_at(table["score"][~table["genuine"]].to_numpy(), 0.01)
    found = stats.verified
    assert (found.n_genuine, found.n_impostors) == (600, 6000)
    assert found.thresholds[0.01] == threshold
    assert set(found.thresholds) == {0.01, 0.1}  # 0.001 of 6,000 impostors are 6: too few
    rows = found.rates[found.rates["rate"] == 0.01].set_index("level")
    for level in GROUPS:
        accepted = (table["score"] > threshold)[table["genuine"] & (table["blur"] == level)]
        assert rows.loc[level, "tar"] == pytest.approx(accepted.mean())
        assert rows.loc[level, "low"] < rows.loc[level, "tar"] < rows.loc[level, "high"]
    assert rows.loc["plain", "tar"] > rows.loc["blurred", "tar"] + 0.1


def test_a_curve_meets_the_own_rate_and_rises(stats):
    own = stats.verified.rates.set_index(["rate", "level"])["own_tar"]
    for level in GROUPS:
        curve = stats.verified.curves[stats.verified.curves["level"] == level]
        assert curve["tar"].is_monotonic_increasing
        at_ten_percent = np.interp(0.1, curve["far"], curve["tar"])
        assert at_ten_percent == pytest.approx(own[0.1, level], abs=0.03)


def test_histograms_are_shares_and_overlap_lies_between_0_and_1(stats):
    sums = stats.verified.histograms.groupby(["level", "kind"])["share"].sum()
    assert sums.to_numpy() == pytest.approx(1.0)
    overlap = stats.verified.overlap.set_index("level")["overlap"]
    assert 0 < overlap["plain"] < overlap["blurred"] < 1


def test_a_threshold_of_minus_infinity_accepts_all(stats):
    errors = stats.verified.at(-np.inf, "blur").set_index("level")
    assert errors["false rejects"].tolist() == [0.0, 0.0]
    assert errors["false accepts"].tolist() == [1.0, 1.0]


def test_genuine_pairs_are_the_split_that_is_studied(recorded, stats):
    table = plain_table(recorded, "both")
    assert stats.split == "test"
    assert stats.overall == pytest.approx((table["score"] > 2)[table["genuine"]].mean())


def test_the_matrix_shows_every_task_on_every_level(stats):
    figure = figures.task_matrix(stats)
    (heat,) = figure.data
    assert list(heat.y) == ["both", "plain only"]
    assert list(heat.x) == list(GROUPS)
    assert heat.z[1][1] < heat.z[0][1] < heat.z[0][0]
    assert figure.layout.xaxis.title.text == "tested on (blur)"


def test_figures_name_their_axes_and_mark_the_unseen_level(stats):
    rates = figures.rates(stats)
    assert "false accept rate of 1.0 %" in rates.layout.title.text
    assert len(rates.data[0].x) == len(rates.data[1].x) == 2
    roc = figures.roc(stats, "blur")
    names = [trace.name for trace in roc.data if trace.name]
    assert "blurred (unseen in training)" in names
    assert roc.layout.xaxis.type == "log"
    low, high = (figures.score_histograms(stats, "blur", threshold) for threshold in (-9.0, 9.0))
    assert "0 % of genuine rejected, 100 % of impostors accepted" in low.layout.annotations[0].text
    assert "100 % of genuine rejected, 0 % of impostors accepted" in high.layout.annotations[0].text


def test_an_unknown_factor_is_refused(stats):
    with pytest.raises(ConfigError, match="no factor 'pose'. Factors: blur"):
        figures.roc(stats, "pose")


def test_a_run_without_scores_offers_none_of_the_views(tmp_path):
    with RunWriter(tmp_path / "run", tasks=["digit"], attributes=["colour"]) as rec:
        rec.samples({"sample": np.arange(40), "colour": ["red", "blue"] * 20, "target_digit": [0, 1] * 20})
        rec.predictions(0, "digit", sample=np.arange(40), prediction=[0, 1] * 20)
    reading = look(Run(tmp_path / "run"), "bias")
    assert reading.stats.verified is None
    shown = {view.slug for view in reading.lens.shown(reading.stats)}
    assert not shown & {"verification", "roc", "scores", "tasks", "margins", "hardness", "agreement", "balance", "gain"}
    with pytest.raises(ConfigError, match="has no scored pairs"):
        reading.figure("roc")
