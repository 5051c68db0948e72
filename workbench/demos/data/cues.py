"""Small digits with a cue beside them that gives the label away, most of the time: a shortcut that breaks elsewhere.

An input is the 64 pixels of a UCI digit and a cue of ten numbers, all 0 but one. In the source domains the cue names
the digit nearly always; in the target domain it names a digit drawn by lot nine times out of ten.

As a control, the same digits without any cue, where the target is turned further than any source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType

import numpy as np
from jaxtyping import Float32, Int

from workbench.demos.data.changes import rotate

#: Height and width of a digit, in pixels; classes; the value of the cue where it is not 0.
SIZE, CLASSES, STRENGTH = 8, 10, 1.5
#: Groups of neighbouring inputs, in their order.
INPUT_GROUPS: Mapping[str, int] = MappingProxyType({"pixels": SIZE * SIZE, "cue": CLASSES})


@dataclass(frozen=True)
class Source:
    """A domain: by how many degrees its digits are turned, and with which chance the cue is right for sure.

    Without a reliability there is no cue: all its numbers are 0.
    """

    degrees: float
    reliability: float | None
    n: int


#: The training domains.
SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        "upright": Source(0, 0.95, 450),
        "turned by 15 degrees": Source(15, 0.90, 450),
        "turned by 30 degrees": Source(30, 0.85, 300),
    }
)
#: Other digits, upright; the cue works as in the first source, or hardly ever.
SEEN, UNSEEN = "upright, new digits", "broken cue"
TARGETS: Mapping[str, Source] = MappingProxyType({SEEN: Source(0, 0.95, 597), UNSEEN: Source(0, 0.10, 597)})
#: The control: the same sources without a cue; other digits, upright or turned beyond every source.
TURNED = "turned by 55 degrees"
CUELESS_SOURCES: Mapping[str, Source] = MappingProxyType(
    {name: replace(source, reliability=None) for name, source in SOURCES.items()}
)
CUELESS_TARGETS: Mapping[str, Source] = MappingProxyType({SEEN: Source(0, None, 597), TURNED: Source(55, None, 597)})


@dataclass(frozen=True)
class Cued:
    """Inputs (pixels, then cue) with the digit each shows."""

    inputs: Float32[np.ndarray, "N 74"]
    labels: Int[np.ndarray, " N"]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def pictures(self) -> Float32[np.ndarray, "N 8 8"]:
        """The digits without their cues."""
        return self.inputs[:, : SIZE * SIZE].reshape(-1, SIZE, SIZE)


def cued_domains(
    rng: np.random.Generator, sources_of: Mapping[str, Source] = SOURCES, targets_of: Mapping[str, Source] = TARGETS
) -> tuple[dict[str, Cued], dict[str, Cued]]:
    """Source and target domains. Sources hold different digits; both targets the same ones, which no source holds."""
    images, labels = _digits()
    order = rng.permutation(len(labels))
    sources, start = {}, 0
    for name, source in sources_of.items():
        index = order[start : start + source.n]
        sources[name] = cued(rotate(images[index], source.degrees), labels[index], source.reliability, rng)
        start += source.n
    rest = order[start:]
    targets = {
        name: cued(rotate(images[rest], spec.degrees), labels[rest], spec.reliability, rng)
        for name, spec in targets_of.items()
    }
    return sources, targets


def cued(
    images: Float32[np.ndarray, "N 8 8"],
    labels: Int[np.ndarray, " N"],
    reliability: float | None,
    rng: np.random.Generator,
) -> Cued:
    """Digits with a cue that equals the label with that chance, and is drawn from all ten classes otherwise."""
    if reliability is None:
        return Cued(np.pad(images.reshape(len(labels), -1), ((0, 0), (0, CLASSES))), labels)
    lot = rng.integers(CLASSES, size=len(labels))
    shown = np.where(rng.random(len(labels)) < reliability, labels, lot)
    cue = STRENGTH * np.eye(CLASSES, dtype=np.float32)[shown]
    return Cued(np.concatenate([images.reshape(len(labels), -1), cue], axis=1), labels)


@cache
def _digits() -> tuple[Float32[np.ndarray, "N 8 8"], Int[np.ndarray, " N"]]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images, labels = (digits.images / 16).astype(np.float32), digits.target.astype(np.int64)
    images.flags.writeable = False
    return images, labels
