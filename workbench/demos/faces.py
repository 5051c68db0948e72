"""Drawn faces of many people under controlled variations: pose, occlusion, blur and group.

A person is a vector of traits (proportions of face, eyes, brows, nose, mouth, hair); a photograph of that person adds
what is no trait: a turn of the head, an expression, light, place and noise. Every number is known, so that a lens or a
method can be judged by what it should find. A group is a set of people whose traits vary about another mean, with
another tone, and who were photographed in another light; the groups carry names of the compass and stand for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from jaxtyping import Float, Float32, Int

from workbench.demos.data.changes import blur

#: Height and width of a picture, in pixels.
SIZE = 28
#: What a number of the trait vector shapes, in standard deviations of its group.
TRAITS = (
    "face width", "face height", "jaw", "hairline", "parting", "hair tone", "hair volume", "eye distance", "eye size",
    "eye height", "brow length", "brow weight", "brow tilt", "nose length", "nose width", "mouth width",
    "mouth weight", "mouth height", "beard",
)  # fmt: skip
#: Factor -> levels, the common one first.
LEVELS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "pose": ("frontal", "turned"),
        "occlusion": ("clear", "covered"),
        "blur": ("sharp", "blurred"),
        "group": ("north", "east", "south", "west"),
    }
)
BLUR_PIXELS, TURN_DEGREES = 1.2, (22.0, 38.0)


@dataclass(frozen=True)
class Group:
    """Tone of skin (0 black, 1 white), direction and strength of the light, and the mean of some traits."""

    skin: float
    light: tuple[float, float]
    exposure: float
    means: Mapping[str, float]


GROUPS: Mapping[str, Group] = MappingProxyType(
    {
        "north": Group(0.82, (0.0, 0.0), 1.0, {"face height": 0.8, "nose length": 0.8, "hair tone": 1.0}),
        "east": Group(0.66, (0.35, 0.0), 0.9, {"face width": 0.9, "eye size": -0.8, "brow weight": 0.8}),
        "south": Group(0.50, (0.0, 0.35), 1.15, {"mouth weight": 1.0, "nose width": 0.9, "hair tone": -1.0}),
        "west": Group(0.58, (-0.4, 0.15), 0.75, {"eye distance": 0.9, "jaw": 0.8, "hair volume": 0.8}),
    }
)


@dataclass(frozen=True)
class People:
    """Persons with their traits and the name of each one's group."""

    traits: Float[np.ndarray, "P K"]
    group: np.ndarray

    def __len__(self) -> int:
        return len(self.group)


@dataclass(frozen=True)
class Faces:
    """Grey pictures in [0, 1], whom each shows (index into the people), and the level [N] of every factor."""

    images: Float32[np.ndarray, "N 28 28"]
    person: Int[np.ndarray, " N"]
    levels: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.person)

    def take(self, index: np.ndarray) -> Faces:
        """The pictures at these positions, in this order."""
        return Faces(
            self.images[index], self.person[index], {name: level[index] for name, level in self.levels.items()}
        )

    def codes(self) -> Int[np.ndarray, "N V"]:
        """The position of every level in :data:`LEVELS`, a column a factor."""
        columns = [np.array([levels.index(level) for level in self.levels[name]]) for name, levels in LEVELS.items()]
        return np.stack(columns, axis=1)


def draw_people(groups: Sequence[str], rng: np.random.Generator) -> People:
    """One person for every name of a group."""
    traits = rng.normal(size=(len(groups), len(TRAITS)))
    for name, group in GROUPS.items():
        for trait, mean in group.means.items():
            traits[np.asarray(groups) == name, TRAITS.index(trait)] += mean
    return People(traits, np.asarray(groups))


def draw_levels(n: int, shares: Mapping[str, float], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The rare level of pose, occlusion and blur with these probabilities, each drawn on its own."""
    return {name: np.where(rng.random(n) < share, LEVELS[name][1], LEVELS[name][0]) for name, share in shares.items()}


def photograph(
    people: People, person: Int[np.ndarray, " N"], levels: Mapping[str, np.ndarray], rng: np.random.Generator
) -> Faces:
    """A picture of each of these persons under the given levels of pose, occlusion and blur."""
    group = people.group[person]
    turned = levels["pose"] == "turned"
    side = rng.choice([-1.0, 1.0], size=len(person))
    yaw = np.radians(
        np.where(turned, side * rng.uniform(*TURN_DEGREES, size=len(person)), rng.normal(0, 4, len(person)))
    )
    images = _drawn(people.traits[person], group, yaw, rng)
    images = _lit(images, group, rng)
    covered = levels["occlusion"] == "covered"
    images[covered] = _covered(images[covered], rng)
    blurred = levels["blur"] == "blurred"
    images[blurred] = blur(images[blurred], BLUR_PIXELS)
    images = np.clip(images + rng.normal(0, 0.03, images.shape), 0, 1).astype(np.float32)
    return Faces(images, person, {name: levels[name] for name in ("pose", "occlusion", "blur")} | {"group": group})


class _Head:
    """N heads on their canvases: where a point of the face lands when the head is turned, and what is painted there."""

    def __init__(self, n: int, yaw: np.ndarray, shift: Float[np.ndarray, "N 2"], ground: np.ndarray) -> None:
        axis = np.linspace(-1, 1, SIZE)
        self.x = axis[None, None, :] - shift[:, 0, None, None]
        self.y = axis[None, :, None] - shift[:, 1, None, None]
        self.yaw = yaw
        self.canvas = np.broadcast_to(ground[:, None, None], (n, SIZE, SIZE)).copy()

    def place(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Screen position of a point ``u`` right of the axis, on a cylinder of radius 0.75, and its shortening."""
        angle = np.arcsin(np.clip(u / 0.75, -0.99, 0.99)) + self.yaw
        return 0.75 * np.sin(angle), np.cos(angle).clip(0.15)

    def spot(
        self, u: np.ndarray, v: np.ndarray, width: np.ndarray, height: np.ndarray, tilt: np.ndarray | float = 0.0
    ) -> np.ndarray:
        """Coverage [N, H, W] of an ellipse at (u, v) on the face; ``tilt`` lifts its outer end."""
        centre, shortening = self.place(u)
        dx = (self.x - _wide(centre)) / _wide(width * shortening)
        dy = (self.y - _wide(v) + _wide(np.broadcast_to(tilt, u.shape)) * (self.x - _wide(centre))) / _wide(height)
        return _edge(np.hypot(dx, dy), np.minimum(width, height))

    def paint(self, coverage: np.ndarray, tone: np.ndarray) -> None:
        self.canvas += coverage * (_wide(tone) - self.canvas)


def _wide(values: np.ndarray) -> np.ndarray:
    return np.asarray(values)[:, None, None]


def _edge(distance: np.ndarray, size: np.ndarray) -> np.ndarray:
    """1 inside a shape, 0 outside, a soft rim about a pixel wide; ``distance`` is 1 on the rim."""
    return np.clip(0.5 - (distance - 1) * _wide(size) * SIZE / 2.6, 0, 1)


def _drawn(
    traits: Float[np.ndarray, "N K"], group: np.ndarray, yaw: np.ndarray, rng: np.random.Generator
) -> Float[np.ndarray, "N 28 28"]:
    """Heads by their traits, with a random expression, place and ground."""
    n = len(traits)
    t = dict(zip(TRAITS, np.clip(traits, -2.5, 2.5).T, strict=True))
    smile, wink = rng.normal(0, 0.25, n), rng.uniform(0.75, 1.15, n)
    head = _Head(n, yaw, rng.normal(0, 0.035, (n, 2)), rng.uniform(0.05, 0.35, n))
    skin = np.array([GROUPS[name].skin for name in group])
    hair = np.clip(0.3 + 0.13 * t["hair tone"], 0.02, 0.75)
    width, height = 0.56 + 0.045 * t["face width"], 0.74 + 0.05 * t["face height"]
    zero = np.zeros(n)
    head.paint(head.spot(zero, zero - 0.12, width * (1.16 + 0.05 * t["hair volume"]), height * 1.08), hair)
    narrowing = _wide(0.25 + 0.12 * t["jaw"]) * np.clip(head.y, 0, None)
    face = _edge(np.hypot(head.x / (_wide(width) * (1 - narrowing)), head.y / _wide(height)), width)
    head.paint(face, skin)
    line = _wide(-0.42 + 0.07 * t["hairline"]) + _wide(0.12 * t["parting"]) * head.x
    head.paint(face * np.clip(0.5 + (line - head.y) * SIZE / 2.6, 0, 1), hair)
    beard = 0.45 * np.clip(t["beard"] - 0.3, 0, 1)
    head.canvas += face * np.clip((head.y - 0.28) * 8, 0, 1) * _wide(beard) * (_wide(hair) - head.canvas)
    _features(head, t, skin, hair, smile, wink)
    return head.canvas


def _features(
    head: _Head, t: Mapping[str, np.ndarray], skin: np.ndarray, hair: np.ndarray, smile: np.ndarray, wink: np.ndarray
) -> None:
    """Eyes, brows, nose and mouth."""
    apart, eye_line = 0.25 + 0.025 * t["eye distance"], -0.1 + 0.03 * t["eye height"]
    eye = 0.105 + 0.014 * t["eye size"]
    for side in (-1.0, 1.0):
        head.paint(head.spot(side * apart, eye_line, eye, 0.62 * eye * wink), np.full_like(skin, 0.92))
        head.paint(head.spot(side * apart, eye_line, 0.5 * eye, 0.55 * eye * wink), np.full_like(skin, 0.05))
        brow = head.spot(
            side * apart, eye_line - 0.17, 0.145 + 0.022 * t["brow length"], 0.04 + 0.012 * t["brow weight"],
            side * 0.18 * t["brow tilt"],
        )  # fmt: skip
        head.paint(brow, 0.7 * hair)
    zero, nose = np.zeros_like(skin), 0.15 + 0.025 * t["nose length"]
    head.paint(head.spot(zero, eye_line + 0.1 + nose, 0.06 + 0.012 * t["nose width"], nose), 0.8 * skin)
    wide, line = 0.2 + 0.028 * t["mouth width"] + 0.03 * smile, 0.46 + 0.03 * t["mouth height"]
    bent = np.where(np.abs(head.x) < 0.4, _wide(0.5 * smile) * head.x**2, 0)
    dy = (head.y - _wide(line) + bent) / _wide(0.05 + 0.013 * t["mouth weight"])
    centre, shortening = head.place(zero)
    dx = (head.x - _wide(centre)) / _wide(wide * shortening)
    head.paint(_edge(np.hypot(dx, dy), np.full_like(skin, 0.06)), 0.5 * skin)


def _lit(images: np.ndarray, group: np.ndarray, rng: np.random.Generator) -> Float32[np.ndarray, "N 28 28"]:
    """Light from the group's side, and each photograph's own."""
    n, axis = len(images), np.linspace(-1, 1, SIZE)
    usual = np.array([GROUPS[name].light for name in group])
    light = usual + rng.normal(0, 0.12, (n, 2))
    exposure = np.array([GROUPS[name].exposure for name in group]) * rng.lognormal(0, 0.08, n)
    slope = 1 + _wide(light[:, 0]) * axis[None, None, :] + _wide(light[:, 1]) * axis[None, :, None]
    return np.clip(images * slope * _wide(exposure), 0, 1).astype(np.float32)


def _covered(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A plain block over the eyes, the mouth, or the outer part of one half of each face."""
    blocks = ((9, 14, 5, 23), (18, 25, 7, 21), (5, 25, 3, 10), (5, 25, 18, 25))
    covered = images.copy()
    for i, which in enumerate(rng.integers(len(blocks), size=len(images))):
        top, bottom, left, right = blocks[which]
        covered[i, top:bottom, left:right] = rng.uniform(0.1, 0.9)
    return covered
