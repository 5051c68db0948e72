from __future__ import annotations

import numpy as np
import pytest

from workbench.demos.data import blend, blur, dilate, invert, mnist, occlude, paint, rotate

IMAGES = mnist().images[::250]


def dot(row, column):
    image = np.zeros((1, 5, 5), np.float32)
    image[0, row, column] = 1
    return image


def test_rotation_is_anticlockwise_about_the_centre():
    assert np.allclose(rotate(dot(0, 2), 90), dot(2, 0), atol=1e-6)  # from the top to the left


def test_rotating_back_and_forth_by_a_right_angle_changes_nothing():
    assert np.allclose(rotate(rotate(IMAGES, 90), -90), IMAGES, atol=1e-5)


def test_blur_keeps_the_ink_and_lowers_the_peak():
    spread = blur(np.pad(dot(2, 2), ((0, 0), (20, 20), (20, 20))), 1.5)
    assert spread.sum() == pytest.approx(1, abs=1e-5)
    assert spread.max() == pytest.approx(1 / (2 * np.pi * 1.5**2), rel=0.02)


def test_inverting_twice_changes_nothing():
    assert np.allclose(invert(invert(IMAGES)), IMAGES, atol=1e-6)


def test_thicker_strokes_hold_the_strokes_and_thinner_ones_are_held_by_them():
    assert (dilate(IMAGES, 1) >= IMAGES).all()
    assert (dilate(IMAGES, -1) <= IMAGES).all()
    assert dilate(dot(2, 2), 2).sum() == 9
    assert dilate(IMAGES, 0) is IMAGES


def test_an_occluding_bar_is_dark_over_its_whole_height():
    white = np.ones((50, 28, 28), np.float32)
    covered = occlude(white, np.random.default_rng(0), width=6)
    assert (covered.sum(axis=(1, 2)) == 28 * 22).all()
    columns = np.flatnonzero((covered == 0).all(axis=1).any(axis=0))
    assert columns.min() >= 7
    assert columns.max() < 21


def test_blended_strokes_stay_visible_on_bright_and_dark_ground():
    for ground in (0.0, 1.0):
        over = blend(IMAGES, np.full_like(IMAGES, ground))
        assert np.allclose(np.abs(over - ground), IMAGES)


def test_paint_colours_ink_and_ground():
    red, green = (np.array([colour], np.float32) for colour in ((1, 0, 0), (0, 1, 0)))
    painted = paint(dot(2, 2), red, green)
    assert painted.shape == (1, 3, 5, 5)
    assert painted[0, :, 2, 2].tolist() == [1, 0, 0]
    assert painted[0, :, 0, 0].tolist() == [0, 1, 0]
    assert paint(dot(2, 2), red)[0, :, 0, 0].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "change",
    [lambda x: rotate(x, 33), lambda x: blur(x, 2), invert, lambda x: dilate(x, 2), lambda x: blend(x, x[::-1])],
)
def test_every_change_stays_in_range_and_single_precision(change):
    changed = change(IMAGES)
    assert changed.dtype == np.float32
    assert changed.shape == IMAGES.shape
    assert 0 <= changed.min() <= changed.max() <= 1
