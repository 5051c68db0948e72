"""Covariances of pairs inside domains: against all pairs one by one, and what the figures show."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core import Domain, Run, RunWriter, Task
from workbench.lenses import look
from workbench.lenses.domains import pair_figures as figures
from workbench.lenses.domains.pair_covariances import alikeness, covariances, mean_angle

seeds = st.integers(0, 2**31 - 1)


def sums_of(features, classes):
    parts = [features[classes == c] for c in np.unique(classes)]
    n = np.array([float(len(part)) for part in parts])
    return n, np.stack([part.sum(axis=0) for part in parts]), np.stack([part.T @ part for part in parts])


@given(seeds)
def test_covariances_equal_a_loop_over_all_ordered_pairs(seed):
    rng = np.random.default_rng(seed)
    features, classes = rng.normal(size=(12, 3)), np.sort(rng.integers(3, size=12))
    same, other = [], []
    for i, j in itertools.permutations(range(12), 2):
        r = features[i] - features[j]
        (same if classes[i] == classes[j] else other).append(np.outer(r, r))
    within, between = covariances(*sums_of(features, classes))
    np.testing.assert_allclose(within, np.mean(same, axis=0), atol=1e-9)
    if other:
        np.testing.assert_allclose(between, np.mean(other, axis=0), atol=1e-9)


@given(seeds, st.floats(-50, 50))
def test_moving_a_domain_changes_nothing_and_scaling_grows_with_the_square(seed, by):
    rng = np.random.default_rng(seed)
    features, classes = rng.normal(size=(10, 3)), np.arange(10) % 3
    plain = covariances(*sums_of(features, classes))
    moved = covariances(*sums_of(features + by, classes))
    scaled = covariances(*sums_of(3 * features, classes))
    for a, b, c in zip(plain, moved, scaled, strict=True):
        np.testing.assert_allclose(b, a, atol=1e-6)
        np.testing.assert_allclose(c, 9 * a, rtol=1e-9)


def test_angles_and_agreement_by_hand():
    x, y, z = np.eye(3)
    assert mean_angle(np.stack([x, y], 1), np.stack([y, x], 1)) == pytest.approx(0)
    assert mean_angle(np.stack([x, y], 1), np.stack([x, z], 1)) == pytest.approx(45)
    assert alikeness(np.diag([1.0, 0]), np.diag([0, 1.0])) == 0
    assert alikeness(np.diag([1.0, 1]), np.diag([2.0, 0])) == pytest.approx(1 / np.sqrt(2))
    assert np.isnan(alikeness(np.zeros((2, 2)), np.eye(2)))


@pytest.fixture(scope="module")
def stats(tmp_path_factory):
    """Three domains of 10 own classes; within classes 'a' and 'b' vary along one axis, 'c' along another."""
    path = tmp_path_factory.mktemp("runs") / "pairs"
    rng = np.random.default_rng(0)
    n = 240
    domain, identity = np.repeat(["a", "b", "c"], 80), np.arange(n) // 8
    with RunWriter(
        path,
        tasks=[Task("same"), Task("person", classes=tuple(map(str, range(30))))],
        domains=[Domain("a"), Domain("b"), Domain("c", held_out=True)],
    ) as rec:
        rec.samples({"sample": np.arange(n), "domain": domain, "target_person": identity})
        rec.samples({"sample": [n], "domain": "a", "target_same": 1})
        noise = rng.normal(size=(n, 4)) * np.where(domain[:, None] == "c", [1, 1, 1, 9], [9, 1, 1, 1]) / 3
        for step, size in ((0, 0.0), (50, 2.0)):
            centres = np.random.default_rng(1).normal(size=(30, 4)) * size
            rec.embedding(step, "head", (centres[identity] + noise).astype(np.float32), np.arange(n))
            rec.scalars(step, {"active/a|b": 1.0 - step / 100, "active/b|a": 0.5})
            rec.scalars(step, {"trace+/b": 2.0, "trace-/b": 2.0 + step / 25, "trace-/c": 1.0, "angle/a|b": 60.0 - step})
    return look(Run(path), "domains", permutations=19).stats


def test_the_task_whose_targets_the_samples_carry_gives_the_classes(stats):
    assert stats.pairs.task == "person"
    assert set(stats.pairs.separation["classes"]) == {10}


def test_separation_is_one_without_classes_and_grows_with_them(stats):
    table = stats.pairs.separation.set_index(["step", "domain"])
    for domain in "abc":
        assert table.loc[(0, domain), "low"] < 1.05
        assert table.loc[(0, domain), "value"] == pytest.approx(1, abs=0.15)
        assert table.loc[(50, domain), "low"] > 1


def test_domains_that_vary_alike_agree(stats):
    table = stats.pairs.agreement.query("step == 50").set_index(["domain_a", "domain_b"])
    assert table.loc[("a", "b"), "agreement"] > 0.95
    assert table.loc[("a", "c"), "agreement"] < 0.4
    assert table.loc[("a", "b"), "chance"] > 0


def test_the_figures_show_every_domain(stats):
    spectrum = figures.spectrum_figure(stats)
    names = [trace.name for trace in spectrum.data if trace.showlegend]
    assert [name.split(":")[0] for name in names] == ["a", "b", "c (held out)"]
    assert "step 50 (person)" in spectrum.layout.title.text
    assert spectrum.layout.yaxis.type == "log"
    lines = figures.separation_figure(stats)
    assert list(lines.data[0].x) == [0, 50]
    (heat, *curves) = figures.agreement_figure(stats).data
    assert np.isnan(heat.z[0][0])
    assert len(curves) == 3
    hinges = figures.hinge_figure(stats)
    # Then what was logged of the batches: a domain without same-class traces has no separation.
    assert [trace.name for trace in hinges.data] == ["a measured by b", "b measured by a", "b", "a and b"]
    assert [list(trace.y) for trace in hinges.data] == [[1.0, 0.5], [0.5, 0.5], [1.0, 2.0], [60.0, 10.0]]
    assert hinges.data[2].line.color == lines.data[1].line.color
