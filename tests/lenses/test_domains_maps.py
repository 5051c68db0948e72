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


def test_every_point_of_a_large_map_is_judged_against_landmarks(monkeypatch):
    features = np.random.default_rng(2).normal(size=(400, 5))
    whole = maps.pca_layout(_points(features)).trust
    monkeypatch.setattr(maps, "MAX_JUDGED", 100)
    monkeypatch.setattr(maps, "LANDMARKS", 200)
    layout = maps.pca_layout(_points(features))
    assert layout.trust.candidates == 200
    assert len(layout.trust.point_trust) == 400
    assert abs(layout.trust.trustworthiness - whole.trustworthiness) < 0.1
    assert np.corrcoef(layout.trust.point_trust, whole.point_trust)[0, 1] > 0.5
    assert layout.doubtful.max() < 400


def test_the_point_that_the_map_folds_back_is_found_among_many(monkeypatch):
    # Points on a line of which the map puts every tenth at the wrong end.
    monkeypatch.setattr(maps, "MAX_JUDGED", 100)
    monkeypatch.setattr(maps, "LANDMARKS", 300)
    line = np.random.default_rng(3).permutation(np.linspace(0, 1, 1000))
    lying = np.arange(1000) % 10 == 0
    shown = np.where(lying, (line + 0.5) % 1, line)
    layout = maps.judged_layout("umap", _points(line[:, None]), np.stack([shown, np.zeros(1000)], axis=1))
    assert lying[layout.doubtful].mean() > 0.95
    assert len(layout.doubtful) > 80


def test_balanced_subsamples_take_what_small_groups_have():
    group = np.repeat([0, 1, 2], [100, 100, 10])
    rows = balanced(group, 90, np.random.default_rng(0).permutation(210))
    assert np.bincount(group[rows]).tolist() == [40, 40, 10]
    assert balanced(group, 500, np.arange(210)).tolist() == list(range(210))
