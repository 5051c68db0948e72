"""A stream of tasks: the UCI digits, 8 x 8 pixels, two new classes at a time, in three domains and two unseen ones.

The unseen domains differ in kind: one is the same handwriting changed by us, the other is MNIST, written by other
people and scanned otherwise, and shrunk to the same size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float32, Int

from workbench.demos.data.changes import blur, rotate
from workbench.demos.data.digits import mnist

SIDE = 8
#: The domains that training sees, and those that it does not.
SEEN = ("clean", "turned left", "blurred")
UNSEEN = ("turned right", "mnist")
DOMAINS = (*SEEN, *UNSEEN)
LEFT_DEGREES, RIGHT_DEGREES, BLUR_PIXELS, NOISE = 20.0, -25.0, 0.6, 0.2


@dataclass(frozen=True)
class Small:
    """Grey pictures with their digit and the position of their domain in :data:`DOMAINS`."""

    images: Float32[np.ndarray, "N 8 8"]
    labels: Int[np.ndarray, " N"]
    domains: Int[np.ndarray, " N"]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: np.ndarray) -> Small:
        """The examples at these positions, or where this is true."""
        return Small(self.images[index], self.labels[index], self.domains[index])


def small_digits(n_train: int, rng: np.random.Generator) -> tuple[Small, Small]:
    """Training pictures in the seen domains, and test pictures in all domains; no digit is in both.

    Every one of the ``n_train`` training digits is shown in each seen domain, every other UCI digit is tested in each
    domain, and as many of MNIST.
    """
    images, labels = _uci()
    order = rng.permutation(len(labels))
    train, test = order[:n_train], order[n_train:]
    other_images, other_labels = _mnist()
    others = rng.permutation(len(other_labels))[: len(test)]
    shown = [_in_domain(name, images[train], rng) for name in SEEN]
    tested = [_in_domain(name, images[test], rng) for name in DOMAINS if name != "mnist"]
    return (
        Small(np.concatenate(shown), np.tile(labels[train], len(SEEN)), np.arange(len(SEEN)).repeat(len(train))),
        Small(
            np.concatenate([*tested, other_images[others]]),
            np.concatenate([*[labels[test]] * len(tested), other_labels[others]]),
            np.arange(len(DOMAINS)).repeat(len(test)),
        ),
    )


def _in_domain(name: str, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if name == "turned left":
        return rotate(images, LEFT_DEGREES)
    if name == "blurred":
        return blur(images, BLUR_PIXELS)
    if name == "turned right":
        noisy = rotate(images, RIGHT_DEGREES) + rng.normal(0, NOISE, images.shape)
        return np.clip(noisy, 0, 1).astype(np.float32)
    return images


@cache
def _uci() -> tuple[np.ndarray, np.ndarray]:
    """The 1,797 UCI digits at their own size."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return (digits.images / 16).astype(np.float32), digits.target.astype(np.int64)


@cache
def _mnist() -> tuple[np.ndarray, np.ndarray]:
    """The 5,000 MNIST digits shrunk to 8 x 8."""
    return shrink(mnist().images), mnist().labels


def shrink(images: Float32[np.ndarray, "N 28 28"]) -> Float32[np.ndarray, "N 8 8"]:
    """The mean over each of 8 x 8 equal squares of the middle 20 x 20 pixels, the box in which MNIST digits sit."""
    box = images[:, 4:24, 4:24]
    fine = box.repeat(2, axis=1).repeat(2, axis=2)  # 40 x 40: squares of 2.5 pixels have whole sides of 5
    return fine.reshape(len(images), SIDE, 5, SIDE, 5).mean(axis=(2, 4))
