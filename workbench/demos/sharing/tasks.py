"""What is asked about the pictures: classifications and regressions, with the share of wrong answers to learn from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from jaxtyping import Float32, Int

from workbench.core import ConfigError
from workbench.demos.sharing.pictures import SOURCES, Pictures

Fact = Callable[[Mapping[str, np.ndarray]], np.ndarray]


@dataclass(frozen=True)
class Target:
    """A question: ``classes`` answers, or a number (0), and how the facts about a picture answer it."""

    classes: int
    answer: Fact


def _among(*digits: int) -> Target:
    return Target(2, lambda facts: np.isin(facts["digit"], digits).astype(np.int64))


def _number(fact: str, sign: int = 1) -> Target:
    return Target(0, lambda facts: sign * facts[fact].astype(np.float64))


def _renamed(*names: int) -> Target:
    return Target(10, lambda facts: np.array(names)[facts["digit"]])


#: Question -> target. Regressions are standardised over the training pictures.
TARGETS: Mapping[str, Target] = MappingProxyType(
    {
        "digit": Target(10, lambda facts: facts["digit"]),
        "second digit": Target(10, lambda facts: facts["second"]),
        # Every class bears another's name.
        "digit, all renamed": _renamed(3, 7, 5, 8, 0, 9, 1, 4, 6, 2),
        # Four of the ten classes bear another's name.
        "digit, some renamed": _renamed(0, 7, 2, 5, 4, 3, 6, 1, 8, 9),
        "parity": _among(1, 3, 5, 7, 9),
        "evenness": _among(0, 2, 4, 6, 8),
        "large": _among(5, 6, 7, 8, 9),
        "prime": _among(2, 3, 5, 7),
        "loop": _among(0, 6, 8, 9),
        "straight": _among(1, 4, 7),
        "bottom heavy": _among(2, 4, 6, 8),
        "half one": _among(0, 3, 4, 8, 9),
        "half two": _among(0, 1, 5, 8, 6),
        "remainder of 3": Target(3, lambda facts: facts["digit"] % 3),
        "quarter": Target(4, lambda facts: facts["quarter"]),
        "place": Target(3, lambda facts: np.digitize(facts["right"], (-1, 2))),
        "right": _number("right"),
        "down": _number("down"),
        "value": _number("digit"),
        "minus value": _number("digit", -1),
        "ink": _number("ink"),
        "minus ink": _number("ink", -1),
        "slant": _number("slant"),
        "minus slant": _number("slant", -1),
        "width": _number("width"),
        "height": _number("height"),
        "thickness": _number("thickness"),
        "minus thickness": _number("thickness", -1),
    }
)


@dataclass(frozen=True)
class TaskSpec:
    """One task of a problem.

    Attributes:
        target: Key of :data:`TARGETS`.
        source: Key of :data:`~workbench.demos.sharing.pictures.SOURCES`.
        n: Number of training pictures.
        scale: Factor on its loss.
        noise: Share of the training answers that are drawn at random (classes), or the standard deviation of the noise
            added to them (numbers, in their own standard deviations).
        head: Tasks that name the same head share it; a task without one has its own.
    """

    target: str
    source: str = "plain"
    n: int = 400
    scale: float = 1.0
    noise: float = 0.0
    head: str = ""

    def __post_init__(self) -> None:
        if self.target not in TARGETS or self.source not in SOURCES:
            raise ConfigError(f"There is no target '{self.target}' on source '{self.source}'.")

    @property
    def classes(self) -> int:
        return TARGETS[self.target].classes


Answers = Int[np.ndarray, " N"] | Float32[np.ndarray, " N"]


def answers(spec: TaskSpec, train: Pictures, kept: list[Pictures], rng: np.random.Generator) -> list[Answers]:
    """Answers to the training pictures, with the task's noise, and true ones to each of the kept parts."""
    target = TARGETS[spec.target]
    given, *true = (target.answer(part.facts) for part in (train, *kept))
    if target.classes:
        guessed = rng.random(len(given)) < spec.noise
        return [np.where(guessed, rng.integers(target.classes, size=len(given)), given), *true]
    centre, width = given.mean(), given.std()
    noise = spec.noise * rng.normal(size=len(given))
    standard = [(values - centre) / width for values in (given, *true)]
    return [values.astype(np.float32) for values in (standard[0] + noise, *standard[1:])]
