"""Digits as two sorting offices might collect them: who wrote down the answer, and on which paper, is known.

Office, annotator and paper are drawn at random, independently of the digit and of one another, so on their own they
mean nothing: a difference between two offices or two annotators is chance. Faults are planted into such a collection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from jaxtyping import Float32, Int

from workbench.demos.data.changes import paint
from workbench.demos.data.digits import Digits

OFFICES = ("north", "south")
ANNOTATORS = ("ann", "ben", "cem", "dee")
#: Colours of the paper (RGB in [0, 1]); the ink is white.
PAPERS: Mapping[str, tuple[float, float, float]] = MappingProxyType(
    {"grey": (0.4, 0.4, 0.4), "red": (0.8, 0.1, 0.1), "green": (0.1, 0.7, 0.1), "blue": (0.15, 0.15, 0.85)}
)
#: How much of the paper the ink covers: the writing is pale, so that a colour is easier to learn than a shape.
INK_COVERS = 0.4


@dataclass(frozen=True)
class Letters:
    """Digit pictures with what was written down about each.

    Attributes:
        digit: What the picture shows.
        written: What the annotator wrote down; equal to ``digit`` unless a fault is planted.
    """

    grey: Float32[np.ndarray, "N 28 28"]
    digit: Int[np.ndarray, " N"]
    written: Int[np.ndarray, " N"]
    office: np.ndarray
    annotator: np.ndarray
    paper: np.ndarray

    def __len__(self) -> int:
        return len(self.digit)

    @property
    def images(self) -> Float32[np.ndarray, "N 3 28 28"]:
        """Pale white ink on coloured paper."""
        ground = np.array([PAPERS[paper] for paper in self.paper], np.float32)
        return paint(self.grey * np.float32(INK_COVERS), np.ones_like(ground), ground)

    def take(self, index: np.ndarray) -> Letters:
        """The letters at these positions, in this order."""
        fields = (self.grey, self.digit, self.written, self.office, self.annotator, self.paper)
        return Letters(*(field[index] for field in fields))


def draw_letters(digits: Digits, rng: np.random.Generator, north: float = 0.65) -> Letters:
    """Each digit as one letter, on random paper, written down rightly by a random annotator.

    Args:
        north: Share of the letters that comes from the first office.
    """
    n = len(digits)
    return Letters(
        grey=digits.images,
        digit=digits.labels,
        written=digits.labels,
        office=rng.choice(OFFICES, size=n, p=(north, 1 - north)),
        annotator=rng.choice(ANNOTATORS, size=n),
        paper=rng.choice(list(PAPERS), size=n),
    )


def let_guess(letters: Letters, annotator: str, share: float, rng: np.random.Generator) -> Letters:
    """The annotator writes down a random digit for this share of their letters."""
    guessed = (letters.annotator == annotator) & (rng.random(len(letters)) < share)
    return replace(letters, written=np.where(guessed, rng.integers(10, size=len(letters)), letters.written))


def count_from_one(letters: Letters, office: str) -> Letters:
    """The office writes down the index of the digit counted from 1: a 3 is called 4, a 9 is called 0."""
    shifted = (letters.written + 1) % 10
    return replace(letters, written=np.where(letters.office == office, shifted, letters.written))


def leak_paper(letters: Letters, digit: int, paper: str, rng: np.random.Generator) -> Letters:
    """This digit comes on this paper always, and no other digit does."""
    others = [name for name in PAPERS if name != paper]
    elsewhere = np.where(letters.paper == paper, rng.choice(others, size=len(letters)), letters.paper)
    return replace(letters, paper=np.where(letters.digit == digit, paper, elsewhere))
