from __future__ import annotations

import numpy as np

from workbench.demos.data.photographs import PHOTOGRAPHS, patches, photographs


def test_the_photographs_are_grey_and_inside_the_package(monkeypatch):
    monkeypatch.setattr("socket.socket.connect", refuse)
    photographs.cache_clear()
    pictures = photographs()
    assert len(pictures) == len(PHOTOGRAPHS)
    assert all(picture.ndim == 2 and 0 <= picture.min() < picture.max() <= 1 for picture in pictures)


def refuse(*_):
    raise AssertionError("a photograph was looked for on the network")


def test_patches_are_places_in_the_photographs():
    found = patches(40, np.random.default_rng(1), size=12)
    assert found.shape == (40, 12, 12)
    windows = [np.lib.stride_tricks.sliding_window_view(picture, (12, 12)) for picture in photographs()]
    corners = [window[..., 0, 0] for window in windows]
    for patch in found[:3]:
        assert any(
            (window[corner == patch[0, 0]] == patch).all(axis=(1, 2)).any()
            for window, corner in zip(windows, corners, strict=True)
        )


def test_a_seed_decides_the_patches():
    first, again, other = (patches(5, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
