import numpy as np

from workbench.lenses.domains import maps
from workbench.lenses.domains.points import Points, balanced


def _points(features: np.ndarray) -> Points:
    n = len(features)
    return Points("trunk", 0, np.arange(n), features, 1.0, np.zeros(n, dtype=np.int64), np.full(n, -1))


def test_a_flat_cloud_is_mapped_without_loss():
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(10, 10)))[0][:2]
    layout = maps.pca_layout(_points(rng.normal(size=(200, 2)) @ np.diag([3.0, 1.0]) @ turn))
    assert layout.trust.trustworthiness > 0.999
    assert layout.trust.recall > 0.999
    assert abs(sum(layout.share) - 1) < 1e-9
    assert layout.reliable
    assert len(layout.doubtful) == 0


def test_noise_in_many_dimensions_is_flagged():
    layout = maps.pca_layout(_points(np.random.default_rng(1).normal(size=(300, 40))))
    assert not layout.reliable
    assert 20 <= len(layout.doubtful) <= 40  # the worst tenth


def test_one_column_still_gives_two_coordinates():
    assert maps.pca_layout(_points(np.arange(30.0)[:, None])).xy.shape == (30, 2)


def test_large_maps_are_judged_on_a_sample(monkeypatch):
    monkeypatch.setattr(maps, "MAX_JUDGED", 100)
    layout = maps.pca_layout(_points(np.random.default_rng(2).normal(size=(400, 5))))
    assert len(layout.judged) == 100
    assert set(layout.doubtful) <= set(layout.judged)


def test_balanced_subsamples_take_what_small_groups_have():
    group = np.repeat([0, 1, 2], [100, 100, 10])
    rows = balanced(group, 90, np.random.default_rng(0).permutation(210))
    assert np.bincount(group[rows]).tolist() == [40, 40, 10]
    assert balanced(group, 500, np.arange(210)).tolist() == list(range(210))
