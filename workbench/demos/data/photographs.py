"""Patches of photographs and textures that ship inside scikit-image."""

from __future__ import annotations

from functools import cache
from importlib import import_module

import numpy as np
from jaxtyping import Float32

#: Names in ``skimage.data`` of pictures inside the package.
PHOTOGRAPHS = ("astronaut", "brick", "camera", "chelsea", "coffee", "coins", "grass", "gravel")


@cache
def photographs() -> tuple[np.ndarray, ...]:
    """The photographs in grey [H, W], halved in size so that a small patch shows something."""
    data = import_module("skimage.data")
    grey = []
    for name in PHOTOGRAPHS:
        picture = getattr(data, name)().astype(np.float32) / 255.0
        picture = picture[..., :3] @ np.array([0.2125, 0.7154, 0.0721], np.float32) if picture.ndim == 3 else picture
        height, width = (side // 2 * 2 for side in picture.shape)
        halved = picture[:height, :width].reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))
        halved.flags.writeable = False
        grey.append(halved)
    return tuple(grey)


def patches(n: int, rng: np.random.Generator, size: int = 28) -> Float32[np.ndarray, "N S S"]:
    """Square grey patches at random places of random photographs."""
    pictures = photographs()
    out = np.empty((n, size, size), np.float32)
    for i, which in enumerate(rng.integers(len(pictures), size=n)):
        picture = pictures[which]
        top = rng.integers(picture.shape[0] - size + 1)
        left = rng.integers(picture.shape[1] - size + 1)
        out[i] = picture[top : top + size, left : left + size]
    return out
