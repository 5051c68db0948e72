from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from workbench.demos.data import mnist, paint, png, pngs


@pytest.mark.parametrize("levels", [4, 16])
def test_a_thumbnail_is_the_picture_to_within_half_a_step(levels):
    image = mnist().images[7]
    shown = np.asarray(Image.open(BytesIO(png(image, levels)))) / 255
    assert np.abs(shown - image).max() <= 0.5 / (levels - 1) + 1 / 255


def test_coloured_pictures_stay_coloured():
    image = paint(mnist().images[:1], np.array([[1, 0.2, 0]], np.float32))[0]
    shown = np.asarray(Image.open(BytesIO(png(image)))) / 255
    assert np.abs(np.moveaxis(shown, -1, 0) - image).max() <= 0.5 / 15 + 1 / 255


def test_thumbnails_of_digits_are_small():
    assert np.mean([len(file) for file in pngs(mnist().images[::500])]) < 350
