import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core import ConfigError
from workbench.lenses.domains.aligned import aligned_layouts, aligned_pca, procrustes, shared_slices
from workbench.lenses.domains.map_jobs import find_map
from workbench.lenses.domains.points import Points


def _points(features: np.ndarray, sample: np.ndarray, step: int) -> Points:
    n = len(sample)
    return Points("trunk", step, sample, features, 1.0, np.zeros(n, dtype=np.int64), np.full(n, -1))


@given(st.floats(0, 6.28), st.booleans())
def test_procrustes_undoes_any_rotation_and_reflection(angle, mirrored):
    x = np.random.default_rng(0).normal(size=(30, 2))
    x -= x.mean(axis=0)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turn = turn @ np.diag([1.0, -1.0]) if mirrored else turn
    assert x @ turn @ procrustes(x @ turn, x) == pytest.approx(x, abs=1e-9)


def test_a_network_that_only_turns_and_grows_does_not_move_on_the_screen():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(80, 6)) * np.array([5, 3, 1, 0.5, 0.2, 0.1])
    slices = [
        _points(scale * x @ np.linalg.qr(rng.normal(size=(6, 6)))[0], np.arange(80), step)
        for step, scale in enumerate((1.0, 4.0, 0.5))
    ]
    first, *later = aligned_pca(slices)
    for layout in later:
        assert layout.xy == pytest.approx(first.xy, abs=1e-8)


def test_only_shared_samples_are_drawn_each_on_its_own_row():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(40, 3))
    order = rng.permutation(40)
    shared = shared_slices([_points(x, np.arange(40), 0), _points(x[order][:30], order[:30], 1)])
    assert (shared[0].sample == shared[1].sample).all()
    assert (shared[0].features == shared[1].features).all()
    assert len(shared[0].sample) == 30


def test_pca_stands_in_until_the_aligned_umap_is_there(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE_DIR", str(tmp_path))
    x = np.random.default_rng(3).normal(size=(20, 3))
    slices = [_points(x, np.arange(20), step) for step in (0, 1)]
    assert {layout.method for layout in aligned_layouts(slices, "umap")} == {"pca"}
    folder = find_map(shared_slices(slices)).folder
    folder.mkdir(parents=True)
    with (folder / "result.npz").open("wb") as file:
        np.savez(file, slice_0=x[:, :2], slice_1=x[:, 1:])
    found = aligned_layouts(slices, "umap")
    assert {layout.method for layout in found} == {"umap"}
    assert found[1].xy == pytest.approx(x[:, 1:])
    with pytest.raises(ConfigError, match="Methods"):
        aligned_layouts(slices, "tsne")
