"""Two digits in one picture, after the Multi-MNIST of Sabour et al. 2017, arXiv:1710.09829 (the spacing is ours)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int

from workbench.demos.data.digits import SIZE, Digits

#: Pixels between the left edges of the two digits. Digits fill 20 of 28 columns, so at 8 their boxes share 12.
APART = 8
#: Height and width of a picture of two digits.
PAIR_SIZE = (SIZE, SIZE + APART)


@dataclass(frozen=True)
class Pairs:
    """Pictures of two overlapping digits.

    Attributes:
        overlap: Share of the ink that both digits cover, in [0, 1].
    """

    images: Float32[np.ndarray, "N H W"]
    left: Int[np.ndarray, " N"]
    right: Int[np.ndarray, " N"]
    overlap: Float32[np.ndarray, " N"]

    @property
    def same_parity(self) -> Int[np.ndarray, " N"]:
        """1 where both digits are even or both are odd."""
        return 1 - (self.left + self.right) % 2


def draw_pairs(digits: Digits, n: int, rng: np.random.Generator) -> Pairs:
    """Two digits at a time, independently and with replacement; where they overlap, the brighter ink shows."""
    left, right = (digits.take(rng.integers(len(digits), size=n)) for _ in range(2))
    on_left = np.pad(left.images, ((0, 0), (0, 0), (0, APART)))
    on_right = np.pad(right.images, ((0, 0), (0, 0), (APART, 0)))
    both = np.minimum(on_left, on_right).sum(axis=(1, 2))
    images = np.maximum(on_left, on_right)
    return Pairs(images, left.labels, right.labels, both / images.sum(axis=(1, 2)))
