"""Changes of grey pictures [N, H, W] in [0, 1] that make domains and bias factors."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

Grey = Float32[np.ndarray, "N H W"]


def rotate(images: Grey, degrees: float) -> Grey:
    """Turn every picture anticlockwise about its centre; what turns in is 0."""
    from scipy.ndimage import rotate as turn

    return np.clip(turn(images, degrees, axes=(2, 1), reshape=False, order=1), 0, 1).astype(np.float32)


def blur(images: Grey, sigma: float) -> Grey:
    """Gaussian blur with a standard deviation in pixels."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(images, (0, sigma, sigma)).astype(np.float32)


def invert(images: Grey) -> Grey:
    """Dark ink on bright ground."""
    return 1 - images


def dilate(images: Grey, pixels: int) -> Grey:
    """Thicken strokes by this many pixels; a negative number thins them."""
    from scipy.ndimage import grey_dilation, grey_erosion

    if pixels == 0:
        return images
    size = (1, 1 + abs(pixels), 1 + abs(pixels))
    return (grey_dilation if pixels > 0 else grey_erosion)(images, size=size).astype(np.float32)


def occlude(images: Grey, rng: np.random.Generator, width: int = 6) -> Grey:
    """Lay an upright bar of ground (0) over each picture, at a random place in its middle half."""
    n, _, size = images.shape
    left = rng.integers(size // 4, 3 * size // 4 - width + 1, size=n)
    columns = np.arange(size)
    covered = (columns >= left[:, None]) & (columns < left[:, None] + width)  # [N, W]
    return np.where(covered[:, None, :], np.float32(0), images)


def blend(images: Grey, ground: Grey) -> Grey:
    """Ink over a photograph by the absolute difference, so that strokes stay visible on any ground.

    Source: the construction of MNIST-M, Ganin & Lempitsky 2015, arXiv:1409.7495, section 4.
    """
    return np.abs(images - ground).astype(np.float32)


def paint(
    images: Grey, ink: Float32[np.ndarray, "N 3"], ground: Float32[np.ndarray, "N 3"] | None = None
) -> Float32[np.ndarray, "N 3 H W"]:
    """Coloured ink on black, or on the given ground colours (RGB in [0, 1])."""
    covered = images[:, None]
    painted = ink[:, :, None, None] * covered
    return painted if ground is None else painted + ground[:, :, None, None] * (1 - covered)
