import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.lenses.domains.distances import squared_distances
from workbench.lenses.domains.neighbours import mean_mixing, mixing, nearest, nearest_within, shuffled_within, trust

HIGH = np.array([0, 1, 2.1, 3.3, 4.6, 6.0])[:, None]
FOLDED = np.array([0, 1, 2.1, 3.3, 4.6, 0.4])[:, None]


def test_trust_in_a_map_that_folds_one_point_back():
    found = trust(HIGH, np.concatenate([FOLDED, np.zeros((6, 1))], axis=1), k=2)
    assert found.trustworthiness == pytest.approx(0.6)
    assert found.continuity == pytest.approx(0.7)
    assert found.recall == pytest.approx(0.58333, abs=1e-5)
    assert found.chance == pytest.approx(0.4)
    assert found.point_trust.mean() == pytest.approx(0.6)
    assert int(found.point_recall.argmin()) == 5


@given(st.integers(0, 100), st.sampled_from([5, 12]))
def test_trustworthiness_agrees_with_scikit_learn(seed, k):
    from sklearn.manifold import trustworthiness

    x = np.random.default_rng(seed).normal(size=(60, 5))
    found = trust(x, x[:, :2], k)
    assert found.trustworthiness == pytest.approx(trustworthiness(x, x[:, :2], n_neighbors=k), abs=1e-9)
    assert found.continuity == pytest.approx(trustworthiness(x[:, :2], x, n_neighbors=k), abs=1e-9)


def test_blocks_of_rows_change_nothing(monkeypatch):
    x = np.random.default_rng(0).normal(size=(50, 5))
    whole = trust(x, x[:, :2], 7)
    monkeypatch.setattr("workbench.lenses.domains.neighbours._ROWS_AT_ONCE", 16)
    parts = trust(x, x[:, :2], 7)
    assert parts.point_trust == pytest.approx(whole.point_trust)
    assert parts.recall == pytest.approx(whole.recall)


def _plain_trust(high, low, among, k):
    """Point by point, from sorted lists."""
    found = []
    for i in range(len(high)):
        others = [j for j in among if j != i]
        far = sorted(others, key=lambda j: np.linalg.norm(high[i] - high[j]))
        near = sorted(others, key=lambda j: np.linalg.norm(low[i] - low[j]))
        m = len(others)
        worst = sum(max(m - j - k, 0) for j in range(k))
        false = sum(max(far.index(j) + 1 - k, 0) for j in near[:k])
        torn = sum(max(near.index(j) + 1 - k, 0) for j in far[:k])
        found.append((1 - false / worst, 1 - torn / worst, len(set(far[:k]) & set(near[:k])) / k))
    return np.array(found)


@given(st.integers(0, 50), st.integers(0, 1), st.sampled_from([3, 6]))
def test_trust_among_landmarks_agrees_with_sorted_lists(seed, all_of_them, k):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(40, 4))
    among = np.arange(40) if all_of_them else rng.permutation(40)[:22]
    plain = _plain_trust(x, x[:, :2], among.tolist(), k)
    found = trust(x, x[:, :2], k, among)
    assert found.point_trust == pytest.approx(plain[:, 0], abs=1e-6)
    assert found.continuity == pytest.approx(plain[:, 1].mean(), abs=1e-6)
    assert found.point_recall == pytest.approx(plain[:, 2])
    assert found.candidates == len(among)


def test_few_points_get_fewer_neighbours_or_no_answer():
    x = np.random.default_rng(0).normal(size=(9, 3))
    assert trust(x, x[:, :2], 15).k == 4
    assert np.isnan(trust(x[:4], x[:4, :2], 15).recall)


def test_mixing_of_separated_and_of_alternating_domains():
    apart = np.concatenate([np.arange(10.0), 100 + np.arange(10.0)])[:, None]
    domain = np.repeat([0, 1], 10)
    assert mixing(nearest(squared_distances(apart), 3), domain).mean() == 0
    # On a line with alternating domains both direct neighbours are of the other domain: 1 / (5 / 9) for 10 points.
    line = np.arange(10.0)[:, None]
    values = mixing(nearest(squared_distances(line), 2), np.arange(10) % 2)
    assert values[1:-1] == pytest.approx(1 / (5 / 9))


def test_random_domains_mix_ideally_whatever_their_sizes():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(900, 3))
    domain = rng.choice(3, 900, p=[0.7, 0.2, 0.1])
    values = mixing(nearest(squared_distances(x), 15), domain)
    for code in range(3):
        assert values[domain == code].mean() == pytest.approx(1, abs=0.06)


def test_mixing_within_classes_sees_what_global_mixing_hides():
    # Domain 1 puts class 0 where domain 0 has class 1 and the other way round.
    rng = np.random.default_rng(1)
    domain, target = np.repeat([0, 1], 200), np.tile([0, 1], 200)
    x = rng.normal(size=(400, 2)) + 20 * (domain ^ target)[:, None]
    square = squared_distances(x)
    assert mixing(nearest(square, 10), domain).mean() == pytest.approx(1, abs=0.1)
    members, neighbours = nearest_within(square, target, 5)
    assert mixing(neighbours, domain[members], target[members]).mean() == pytest.approx(0, abs=0.01)


def test_neighbours_within_a_group_are_of_that_group():
    rng = np.random.default_rng(2)
    group = np.concatenate([np.repeat([0, 1], 30), [2, 2], [-1] * 5])
    members, neighbours = nearest_within(squared_distances(rng.normal(size=(67, 3))), group, 4)
    assert set(group[members]) == {0, 1}  # group 2 is too small, -1 is no class
    assert (group[members][neighbours] == group[members][:, None]).all()
    assert not (neighbours == np.arange(len(members))[:, None]).any()


def test_the_null_of_mixing_centres_on_one_and_keeps_pools():
    rng = np.random.default_rng(3)
    x, pool = rng.normal(size=(300, 3)), rng.integers(0, 3, 300)
    domain = rng.integers(0, 2, 300)
    assert (np.sort(shuffled_within(domain, pool, rng)[pool == 1]) == np.sort(domain[pool == 1])).all()
    members, neighbours = nearest_within(squared_distances(x), pool, 5)
    observed, null = mean_mixing(neighbours, domain[members], pool[members], 2, 60, rng)
    assert observed.shape == (3,)
    assert null.mean(axis=0) == pytest.approx(np.ones(3), abs=0.03)


def test_a_pool_of_one_domain_has_no_mixing():
    values = mixing(nearest(squared_distances(np.arange(6.0)[:, None]), 2), np.zeros(6, dtype=np.int64))
    assert np.isnan(values).all()
