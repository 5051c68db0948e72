"""Source people in four groups, triplets of one group at a time, and pairs of new people of every group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from workbench.demos.face_pairs import Pairs, draw_pairs
from workbench.demos.faces import LEVELS, Faces, draw_levels, draw_people, photograph
from workbench.demos.trainer import as_pictures
from workbench.methods.cdt import Triplets

GROUPS = LEVELS["group"]
PEOPLE_PER_GROUP, PICTURES = 16, 16
#: Shares of the rare level of each factor, the same in training and test.
SHARES = {"pose": 0.3, "occlusion": 0.15, "blur": 0.15}


@dataclass(frozen=True)
class Data:
    """Training faces of all four groups, the group that stays unseen, and pairs of new people."""

    train: Faces
    unseen: str
    pairs: Pairs

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(group for group in GROUPS if group != self.unseen)

    @property
    def n_people(self) -> int:
        return PEOPLE_PER_GROUP * len(GROUPS)


def draw_data(seed: int) -> Data:
    """The unseen group changes with the seed, so that several seeds leave each one out."""
    train_rng, test_rng = np.random.default_rng(seed).spawn(2)
    people = draw_people(np.repeat(GROUPS, PEOPLE_PER_GROUP).tolist(), train_rng)
    person = np.repeat(np.arange(len(people)), PICTURES)
    train = photograph(people, person, draw_levels(len(person), SHARES, train_rng), train_rng)
    return Data(
        train, GROUPS[(seed + 3) % len(GROUPS)], draw_pairs(25, n_probes=8, n_impostors=8, shares=SHARES, rng=test_rng)
    )


class Sampler:
    """Draws triplets: B people of a group, two pictures of each in random order, and one of another person there."""

    def __init__(self, train: Faces, groups: Sequence[str], rng: np.random.Generator) -> None:
        self.pictures = as_pictures(train.images)
        self.person = train.person
        self.rng = rng
        self.rows = {group: _rows_of(train, group) for group in groups}

    def draw(self, n: int) -> Mapping[str, Triplets]:
        """``n`` triplets of every group; people are drawn without repetition as far as they go."""
        return {group: self._triplets(rows, n) for group, rows in self.rows.items()}

    def _triplets(self, rows: np.ndarray, n: int) -> Triplets:
        n_people, n_pictures = rows.shape
        people = np.concatenate([self.rng.permutation(n_people) for _ in range(-(-n // n_people))])[:n]
        others = (people + self.rng.integers(1, n_people, size=n)) % n_people
        anchor = self.rng.integers(n_pictures, size=n)
        positive = (anchor + self.rng.integers(1, n_pictures, size=n)) % n_pictures
        negative = self.rng.integers(n_pictures, size=n)
        index = np.concatenate([rows[people, anchor], rows[people, positive], rows[others, negative]])
        return Triplets(self.pictures[torch.from_numpy(index)], torch.from_numpy(self.person[index]))


def _rows_of(train: Faces, group: str) -> np.ndarray:
    """Positions of a group's pictures, [people, pictures]."""
    rows = np.flatnonzero(train.levels["group"] == group)
    return rows.reshape(len(np.unique(train.person[rows])), -1)
