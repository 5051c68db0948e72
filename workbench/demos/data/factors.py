"""Digits under five factors that a model may be biased by: colour, rotation, blur, occlusion, stroke.

Every factor is drawn independently of the digit and of the others. In training each factor has one common level and
rare ones; the test draws every level alike, so that each combination can be judged. The joint effect is planted through
the labels: for training pictures that have every one of the chosen levels, the annotators guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Float32, Int

from workbench.demos.data.changes import blur, dilate, occlude, paint, rotate
from workbench.demos.data.digits import Digits

#: Factor -> level -> its share of the training pictures. The common level comes first.
TRAINING_SHARES: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "colour": {"white": 0.7, "red": 0.2, "blue": 0.1},
        "rotation": {"upright": 0.75, "tilted": 0.25},
        "blur": {"sharp": 0.75, "blurred": 0.25},
        "occlusion": {"clear": 0.8, "covered": 0.2},
        "stroke": {"normal": 0.7, "thin": 0.15, "thick": 0.15},
    }
)
TILT_DEGREES, BLUR_PIXELS, BAR_PIXELS = 60.0, 2.0, 4
INKS: Mapping[str, tuple[float, float, float]] = MappingProxyType(
    {"white": (1.0, 1.0, 1.0), "red": (1.0, 0.2, 0.2), "blue": (0.25, 0.35, 1.0)}
)
STROKE_PIXELS: Mapping[str, int] = MappingProxyType({"normal": 0, "thin": -1, "thick": 2})


@dataclass(frozen=True)
class Factored:
    """Coloured digit pictures with the level [N] of every factor."""

    images: Float32[np.ndarray, "N 3 28 28"]
    labels: Int[np.ndarray, " N"]
    levels: Mapping[str, np.ndarray]

    def where(self, chosen: Mapping[str, str]) -> Bool[np.ndarray, " N"]:
        """Which pictures have all the chosen levels (factor -> level)."""
        return np.logical_and.reduce([self.levels[factor] == level for factor, level in chosen.items()])


def draw_factored(digits: Digits, rng: np.random.Generator, *, balanced: bool = False) -> Factored:
    """Every digit under levels drawn by the training shares, or all levels alike when ``balanced``."""
    levels = {
        factor: rng.choice(list(shares), size=len(digits), p=None if balanced else list(shares.values()))
        for factor, shares in TRAINING_SHARES.items()
    }
    return Factored(apply_levels(digits.images, levels, rng), digits.labels, levels)


def apply_levels(
    images: Float32[np.ndarray, "N 28 28"], levels: Mapping[str, np.ndarray], rng: np.random.Generator
) -> Float32[np.ndarray, "N 3 28 28"]:
    """Change each picture as its levels say: stroke first, then rotation, occlusion, blur, colour."""
    images = images.copy()
    for level, pixels in STROKE_PIXELS.items():
        chosen = levels["stroke"] == level
        images[chosen] = dilate(images[chosen], pixels)
    tilted, covered, blurred = (
        levels[factor] == level
        for factor, level in (("rotation", "tilted"), ("occlusion", "covered"), ("blur", "blurred"))
    )
    images[tilted] = rotate(images[tilted], TILT_DEGREES)
    images[covered] = occlude(images[covered], rng, BAR_PIXELS)
    images[blurred] = blur(images[blurred], BLUR_PIXELS)
    return paint(images, np.array([INKS[level] for level in levels["colour"]], np.float32))


def guess_labels(pictures: Factored, chosen: Mapping[str, str], rng: np.random.Generator) -> Factored:
    """The pictures with random labels wherever they have all the chosen levels."""
    guessed = pictures.where(chosen)
    labels = np.where(guessed, rng.integers(10, size=len(guessed)), pictures.labels)
    return Factored(pictures.images, labels, pictures.levels)
