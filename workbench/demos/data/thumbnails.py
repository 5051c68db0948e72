"""Small PNG files for the ``thumbnail`` column of the samples table."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO

import numpy as np


def png(image: np.ndarray, levels: int = 16) -> bytes:
    """A grey [H, W] or coloured [3, H, W] picture in [0, 1] as a PNG with ``levels`` steps of brightness a channel.

    Few levels keep thousands of thumbnails small; the eye does not miss the others at this size.
    """
    from PIL import Image

    steps = np.round(np.clip(image, 0, 1) * (levels - 1)) * (255 / (levels - 1))
    pixels = np.round(steps).astype(np.uint8)
    buffer = BytesIO()
    Image.fromarray(pixels if pixels.ndim == 2 else np.moveaxis(pixels, 0, -1)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def pngs(images: Iterable[np.ndarray], levels: int = 16) -> list[bytes]:
    """One PNG a picture."""
    return [png(image, levels) for image in images]
