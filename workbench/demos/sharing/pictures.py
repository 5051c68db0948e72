"""The pictures on which tasks meet: real digits, plain or changed, 14 x 14 pixels, with what is known about each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from jaxtyping import Float32

from workbench.demos.data.changes import blend, blur, invert, rotate
from workbench.demos.data.digits import Digits, mnist, uci
from workbench.demos.data.photographs import patches

#: Height and width in pixels, half of a digit's 28.
SIDE = 14
#: Largest displacement of a moved digit in pixels of the full picture; its ink then still lies inside.
REACH = 4

Facts = dict[str, np.ndarray]


@dataclass(frozen=True)
class Pictures:
    """Flattened grey pictures in [0, 1] and facts about each, e.g. which digit it shows."""

    images: Float32[np.ndarray, "N D"]
    facts: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.images)


def draw(source: str, digits: Digits, rng: np.random.Generator) -> Pictures:
    """One picture a digit, changed as ``source`` (a key of :data:`SOURCES`) says."""
    images, facts = SOURCES[source](digits, rng)
    shape = _shape_of(digits.images)
    return Pictures(_halved(images), {"digit": digits.labels} | shape | facts)


def origin_of(source: str) -> str:
    """The set of digits that a source is made of: mnist or uci."""
    return "uci" if source == "uci" else "mnist"


def origin(name: str) -> Digits:
    """The set of that name."""
    return uci() if name == "uci" else mnist()


def _plain(digits: Digits, rng: np.random.Generator) -> tuple[np.ndarray, Facts]:
    return digits.images, {}


def _changed(change: Callable[[np.ndarray], np.ndarray]) -> Callable[..., tuple[np.ndarray, Facts]]:
    return lambda digits, rng: (change(digits.images), {})


def _photographs(digits: Digits, rng: np.random.Generator) -> tuple[np.ndarray, Facts]:
    return blend(digits.images, patches(len(digits), rng)), {}


def _moved(digits: Digits, rng: np.random.Generator) -> tuple[np.ndarray, Facts]:
    """Every digit shifted by up to REACH pixels each way."""
    right, down = rng.integers(-REACH, REACH + 1, size=(2, len(digits)))
    return _shifted(digits.images, right, down), {"right": right, "down": down}


def _turned(digits: Digits, rng: np.random.Generator) -> tuple[np.ndarray, Facts]:
    """Every digit turned by 0 to 3 quarters."""
    quarter = rng.integers(4, size=len(digits))
    turned = np.stack([np.rot90(image, k) for image, k in zip(digits.images, quarter, strict=True)])
    return turned, {"quarter": quarter}


def _two(digits: Digits, rng: np.random.Generator) -> tuple[np.ndarray, Facts]:
    """Two overlapping digits: the digit itself to the left, another one of the same part to the right."""
    other = digits.take(rng.permutation(len(digits)))
    apart, still = np.full(len(digits), REACH), np.zeros(len(digits), dtype=int)
    both = np.maximum(_shifted(digits.images, -apart, still), _shifted(other.images, apart, still))
    return both, {"second": other.labels}


#: Source -> how its pictures are made.
SOURCES: Mapping[str, Callable[[Digits, np.random.Generator], tuple[np.ndarray, Facts]]] = MappingProxyType(
    {
        "plain": _plain,
        "uci": _plain,
        "inverted": _changed(invert),
        "blurred": _changed(lambda images: blur(images, 1.5)),
        "tilted": _changed(lambda images: rotate(images, 40)),
        "upside-down": _changed(lambda images: images[:, ::-1, ::-1]),
        "mirrored": _changed(lambda images: images[:, :, ::-1]),
        "photographs": _photographs,
        "moved": _moved,
        "turned": _turned,
        "two": _two,
    }
)


def _shifted(images: np.ndarray, right: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Each picture moved by its own number of pixels; what comes in is 0."""
    side = images.shape[1]
    padded = np.pad(images, ((0, 0), (REACH, REACH), (REACH, REACH)))
    rows = REACH - down[:, None] + np.arange(side)  # [N, H]
    columns = REACH - right[:, None] + np.arange(side)  # [N, W]
    return padded[np.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None, :]]


def _shape_of(images: np.ndarray) -> Facts:
    """Ink, slant, width, height and thickness of the unchanged digits, by moments of their ink."""
    from scipy.ndimage import grey_erosion

    axis = np.arange(images.shape[1]) - (images.shape[1] - 1) / 2
    mass = images.sum(axis=(1, 2))
    x = np.einsum("nij,j->n", images, axis) / mass
    y = np.einsum("nij,i->n", images, axis) / mass
    xx = np.einsum("nij,j->n", images, axis**2) / mass - x**2
    yy = np.einsum("nij,i->n", images, axis**2) / mass - y**2
    xy = np.einsum("nij,i,j->n", images, axis, axis) / mass - x * y
    kept = grey_erosion(images, size=(1, 3, 3)).sum(axis=(1, 2))
    return {"ink": mass, "slant": xy / yy, "width": np.sqrt(xx), "height": np.sqrt(yy), "thickness": kept / mass}


def _halved(images: np.ndarray) -> Float32[np.ndarray, "N D"]:
    """Means of 2 x 2 pixels, flattened."""
    n = len(images)
    return images.reshape(n, SIDE, 2, SIDE, 2).mean(axis=(2, 4)).reshape(n, SIDE * SIDE).astype(np.float32)
