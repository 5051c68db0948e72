"""Arrows between two states: turns are no moves, planted moves are found, chance is grey, runs must fit together."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from domains_runs import write_run
from hypothesis import given
from hypothesis import strategies as st

from workbench.core import ConfigError, RunWriter
from workbench.core.run import Run
from workbench.lenses import look
from workbench.lenses.domains.arrow_figures import MOST_ARROWS, class_moves_figure, moves_figure
from workbench.lenses.domains.measure import REFERENCE
from workbench.lenses.domains.moves import moves_between, turned
from workbench.lenses.domains.points import Points

seeds = st.integers(0, 2**31 - 1)


def points(features, step=0, sample=None):
    n = len(features)
    sample = np.arange(n) if sample is None else sample
    zeros = np.zeros(n, dtype=np.int64)
    return Points("trunk", step, sample, features.astype(np.float32), 1.0, zeros, zeros)


def groups(n, names=("a", "b", "c")):
    return pd.Series([names[i % len(names)] for i in range(n)])


def cloud(seed, n=90, width=6):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, width)) + 4 * np.eye(3, width)[np.arange(n) % 3]


def some_turn(seed, width):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(width, width)))[0]


@given(seeds, st.floats(0.1, 10), st.floats(-20, 20))
def test_a_turn_a_stretch_and_a_shift_of_everything_are_no_move(seed, stretch, shift):
    before = cloud(seed)
    after = stretch * before @ some_turn(seed, 6) + shift
    found = moves_between(points(before), points(after), groups(90))
    assert found.kept == pytest.approx(1.0, abs=1e-3)
    assert found.centres["move"].max() < 5e-3


@given(seeds)
def test_more_dimensions_that_hold_nothing_change_nothing(seed):
    before, after = cloud(seed), cloud(seed + 1)
    plain = moves_between(points(before), points(after), groups(90))
    wider = moves_between(points(before), points(np.pad(after, ((0, 0), (0, 3)))), groups(90))
    np.testing.assert_allclose(wider.centres["move"], plain.centres["move"], rtol=1e-4)
    assert wider.kept == pytest.approx(plain.kept, rel=1e-4)


def test_the_turn_is_the_best_one():
    a, b = cloud(1), cloud(2)
    first, second, kept = turned(a, b)
    best = ((first - second) ** 2).sum()
    for seed in range(20):
        assert ((first - second @ some_turn(seed, 6)) ** 2).sum() >= best - 1e-9
    # With both of root mean square length 1, the squared distance left is 2 - 2 sqrt(kept) a sample.
    assert best / len(a) == pytest.approx(2 - 2 * kept**0.5)


def test_a_planted_move_is_the_longest_arrow_and_points_where_it_went():
    """One group of seven goes most of the way to another; the best turn shares its move out, but not evenly."""
    rng = np.random.default_rng(3)
    names = tuple("abcdefg")
    place = np.arange(700) % 7
    centres = 6 * np.eye(7, 10)
    before = centres[place] + rng.normal(size=(700, 10))
    after = before + 0.3 * rng.normal(size=before.shape)
    after[place == 0] += 0.8 * (centres[1] - centres[0])
    found = moves_between(points(before), points(after, 10), groups(700, names)).centres.set_index("group")
    assert found.index[0] == "a"
    assert found.loc["a", "p_adjusted"] < 0.05
    assert found.loc["a", "move"] > 1.2 * found["move"].drop(["a", "b"]).max()
    assert found["n"].tolist() == [100] * 7
    to_b = found.loc["b", ["x_0", "y_0"]].to_numpy(dtype=float)
    apart = [np.linalg.norm(found.loc["a", [f"x_{k}", f"y_{k}"]].to_numpy(dtype=float) - to_b) for k in (0, 1)]
    assert apart[1] < apart[0]


def test_where_nothing_moves_but_noise_chance_covers_it():
    """Of 200 groups that stay, about 5 % lie above what chance exceeds in 5 % of draws."""
    above = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        before = 3 * rng.normal(size=(400, 8))
        after = before + rng.normal(size=before.shape)
        found = moves_between(points(before), points(after), groups(400, tuple("abcdefghij"))).centres
        above += (found["move"] > found["null_high"]).tolist()
    assert 0.01 < np.mean(above) < 0.1


def test_samples_of_both_states_count_whatever_their_order():
    before, after = cloud(5), cloud(6)
    order = np.random.default_rng(0).permutation(90)
    plain = moves_between(points(before), points(after), groups(90))
    mixed = moves_between(points(before), points(after[order], sample=order), groups(90))
    np.testing.assert_allclose(mixed.centres["move"], plain.centres["move"], rtol=1e-5)
    half = moves_between(points(before), points(after[:45], sample=np.arange(45)), groups(90))
    assert half.centres["n"].tolist() == [15] * 3


def test_too_little_in_common_is_said():
    with pytest.raises(ConfigError, match="these two share 10"):
        moves_between(points(cloud(0)), points(cloud(0)[:10]), groups(90))
    with pytest.raises(ConfigError, match="No group has 5 samples"):
        moves_between(points(cloud(0)), points(cloud(1)), pd.Series([str(i) for i in range(90)]))
    with pytest.raises(ConfigError, match="two dimensions"):
        moves_between(points(cloud(0)[:, :1]), points(cloud(1)[:, :1]), groups(90))


@pytest.fixture(scope="module")
def stats(tmp_path_factory):
    run = write_run(tmp_path_factory.mktemp("moves") / "run", shifts={"near": 0.0, "far": 6.0}, held_out=("far",))
    return look(run, "domains", permutations=19).stats


def drawn_arrows(fig):
    return [note for note in fig.layout.annotations if note.showarrow]


def test_arrows_go_from_the_earlier_centre_to_the_later_one(stats):
    fig = moves_figure(stats, colour="class")
    assert len(drawn_arrows(fig)) == len(stats.classes)
    ends = {trace.legendgroup: trace for trace in fig.data if trace.legendgroup}
    assert set(ends) == set(stats.classes)
    for arrow, trace in zip(drawn_arrows(fig), ends.values(), strict=True):
        assert (arrow.ax, arrow.ay, arrow.x, arrow.y) == pytest.approx(
            (*trace.x[:1], *trace.y[:1], trace.x[1], trace.y[1])
        )
    assert "Hollow: step 0, filled: step 100" in fig.layout.title.subtitle.text


def test_the_class_arrows_carry_the_shift_of_the_table(stats):
    fig = class_moves_figure(stats, "far", "stem")
    rows = stats.class_shift.query("layer == 'stem' and step == 100 and domain_a == 'far'")
    rows = rows[rows["domain_b"] == REFERENCE]
    shift = rows.set_index("class")["shift"]
    for trace in fig.data[1:]:
        assert trace.name == f"{trace.legendgroup}: {shift[trace.legendgroup]:.2f}"
    # All classes of the domain are moved alike, so that the arrows point one way.
    ways = np.array([[note.x - note.ax, note.y - note.ay] for note in drawn_arrows(fig)])
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    assert (ways @ ways.T).min() > 0.9


def test_what_cannot_be_drawn_is_said(stats, tmp_path):
    assert "has none" in moves_figure(stats, colour="size").layout.annotations[0].text
    assert "two checkpoints" in moves_figure(stats, step=0).layout.annotations[0].text
    with pytest.raises(ConfigError, match="There is no layer 'attic'"):
        moves_figure(stats, layer="attic")
    other = look(write_run(tmp_path / "other", shifts={"near": 0.0, "far": 6.0}, seed=1), "domains", permutations=19)
    fig = moves_figure(stats, other=other.stats)
    assert "filled: synthetic, step 100" in fig.layout.title.subtitle.text
    strange = write_run(tmp_path / "strange", shifts={"far": 0.0, "near": 0.0}, n=60)
    with pytest.raises(ConfigError, match="same sample numbers stand for samples of other domains"):
        moves_figure(stats, other=look(strange, "domains", permutations=19).stats)


def test_of_many_groups_the_longest_arrows_are_drawn(tmp_path):
    n, n_levels = 600, MOST_ARROWS + 6
    rng = np.random.default_rng(0)
    with RunWriter(tmp_path / "many", name="many", domains=["here", "there"], attributes=[{"name": "room"}]) as rec:
        rooms = np.array([f"room {i:02d}" for i in range(n_levels)])[np.arange(n) % n_levels]
        rec.samples({"sample": np.arange(n), "domain": np.repeat(["here", "there"], n // 2), "room": rooms})
        for step in (0, 5):
            rec.embedding(step, "trunk", rng.normal(size=(n, 5)).astype(np.float32), np.arange(n))
    fig = moves_figure(look(Run(tmp_path / "many"), "domains", permutations=19).stats, colour="room")
    assert len(drawn_arrows(fig)) == MOST_ARROWS
    assert f"the {MOST_ARROWS} longest of {n_levels}" in fig.layout.title.subtitle.text
