"""Two runs on the same genuine pairs: planted changes, gaps, coverage, and what cannot be compared."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.core import Attribute, ConfigError, Run, RunWriter, Task
from workbench.lenses import look
from workbench.lenses.bias.paired_verified import compare_rates, two_runs

N_GENUINE, N_IMPOSTORS = 400, 2000


def write_run(path, accepted, seed=0, first_sample=0, flip=False):
    """Impostors score 0 to 1, the threshold for 1 % lies near 0.99; genuine pairs lie above or below it as told.

    Args:
        accepted: Level of pose -> share of its genuine pairs above the threshold, the first pairs of each level.
    """
    rng = np.random.default_rng(seed)
    n = N_GENUINE + N_IMPOSTORS
    ids, genuine = first_sample + np.arange(n), np.arange(n) < N_GENUINE
    levels = tuple(accepted)
    pose = np.array(levels)[np.arange(n) % len(levels)]
    score = np.where(genuine, 0.5, np.linspace(0, 1, n)) * 0.9 + 0.05 * rng.random(n)
    for level, share in accepted.items():
        mine = np.flatnonzero(genuine & (pose == level))
        score[mine[: round(share * len(mine))]] = 2.0
    if flip:
        pose = np.array(levels)[(np.arange(n) + 1) % len(levels)]
    with RunWriter(
        path,
        name=path.name,
        tasks=[Task("same", classes=("different", "same"))],
        attributes=[Attribute("pose", levels=levels)],
    ) as rec:
        rec.samples({"sample": ids, "split": "test", "pose": pose, "target_same": genuine.astype(int)})
        rec.predictions(5, "same", sample=ids, prediction=(score > 1).astype(int), score=score)
    return look(Run(path), "bias").stats


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verified")
    return (
        write_run(folder / "before", {"frontal": 0.9, "turned": 0.5}),
        write_run(folder / "after", {"frontal": 0.9, "turned": 0.8}, seed=1),
    )


def test_planted_rates_and_their_change_come_back(pair):
    found = compare_rates(*(stats.verified for stats in pair))
    rows = found.levels.set_index("level")
    assert (found.rate, found.n) == (0.01, N_GENUINE)
    assert rows.loc["frontal", ["first", "second", "n"]].tolist() == pytest.approx([0.9, 0.9, 200])
    assert rows.loc["turned", ["first", "second", "change"]].tolist() == pytest.approx([0.5, 0.8, 0.3])
    assert rows.loc["turned", "low"] > 0.2
    assert rows.loc["turned", "q"] < 0.001
    assert rows.loc["frontal", "low"] < 0 < rows.loc["frontal", "high"]


def test_a_gap_that_closes_is_seen_with_its_interval(pair):
    (gap,) = compare_rates(*(stats.verified for stats in pair)).gaps.to_dict("records")
    assert (gap["first"], gap["second"], gap["change"]) == pytest.approx((0.4, 0.1, -0.3))
    assert gap["low"] < -0.3 < gap["high"] < 0
    # Two levels: the standard deviation is the gap over the square root of 2.
    assert gap["first_spread"] == pytest.approx(0.4 / 2**0.5)


def test_the_other_way_round_everything_changes_sign(pair):
    first, second = (stats.verified for stats in pair)
    there, back = compare_rates(first, second), compare_rates(second, first)
    assert there.levels.set_index("level")["change"].to_dict() == pytest.approx(
        (-back.levels.set_index("level")["change"]).to_dict()
    )
    assert back.gaps["change"].item() == pytest.approx(0.3)


def test_a_run_beside_itself_changes_nothing(pair):
    found = compare_rates(pair[0].verified, pair[0].verified)
    assert (found.levels["change"] == 0).all()
    assert (found.levels["q"] > 0.99).all()
    assert found.gaps["change"].item() == 0


def test_the_figure_joins_both_runs_and_colours_what_is_sure(pair):
    fig = two_runs(*pair)
    lines = {trace.y[0].split("  ")[0]: trace for trace in fig.data if trace.mode == "lines"}
    assert lines["pose: turned"].line.width > lines["pose: frontal"].line.width
    assert list(lines["pose: turned"].x) == pytest.approx([0.5, 0.8])
    assert list(lines["pose"].x) == pytest.approx([0.4, 0.1])
    assert lines["pose"].line.width == 5  # the gap surely closed
    assert "false accept rate of 1.0%" in fig.layout.title.subtitle.text
    assert "Compare with" in two_runs(pair[0]).layout.annotations[0].text


def test_what_cannot_be_compared_is_said(pair, tmp_path):
    elsewhere = write_run(tmp_path / "elsewhere", {"frontal": 0.9, "turned": 0.5}, first_sample=10_000)
    with pytest.raises(ConfigError, match="share no genuine pair"):
        compare_rates(pair[0].verified, elsewhere.verified)
    flipped = write_run(tmp_path / "flipped", {"frontal": 0.9, "turned": 0.5}, flip=True)
    with pytest.raises(ConfigError, match="describe the same pairs otherwise"):
        compare_rates(pair[0].verified, flipped.verified)
