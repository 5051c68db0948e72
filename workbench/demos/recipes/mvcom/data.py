"""The pictures of one seed: training with rare variations or wrong names, a clean meta set, pairs of new people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from workbench.demos.face_pairs import Pairs, draw_pairs
from workbench.demos.faces import LEVELS, Faces, draw_levels, draw_people, photograph

#: People of the training set by group, and the fewest and most pictures of one.
PEOPLE = {"north": 18, "east": 10, "south": 7, "west": 5}
PICTURES = (20, 60)
#: Shares of the rare level of each factor in training; the second where blurred faces are named at random.
RARE = {"pose": 0.08, "occlusion": 0.08, "blur": 0.08}
MISLABELLED = {"pose": 0.2, "occlusion": 0.2, "blur": 0.3}
META, PROBES = dict.fromkeys(RARE, 0.5), dict.fromkeys(RARE, 0.35)
#: The level whose training faces carry random names.
HARMFUL = ("blur", "blurred")
META_PER_GROUP = 40


@dataclass(frozen=True)
class Data:
    """Training faces with the names they carry (right or not), the meta set, and the pairs of the test."""

    train: Faces
    names: Int[np.ndarray, " N"]
    meta: Faces
    pairs: Pairs

    @property
    def n_people(self) -> int:
        return sum(PEOPLE.values())


def draw_data(seed: int, mislabelled: bool) -> Data:
    """The same seed gives the same people, numbers of pictures, meta set and test, mislabelled or not."""
    people_rng, train_rng, meta_rng, test_rng = np.random.default_rng(seed).spawn(4)
    people = draw_people(np.repeat(list(PEOPLE), list(PEOPLE.values())).tolist(), people_rng)
    n_pictures = people_rng.permutation(np.linspace(*PICTURES, len(people)).round().astype(int))
    person = np.repeat(np.arange(len(people)), n_pictures)
    levels = draw_levels(len(person), MISLABELLED if mislabelled else RARE, train_rng)
    train = photograph(people, person, levels, train_rng)
    names = person.copy()
    if mislabelled:
        factor, level = HARMFUL
        harmed = train.levels[factor] == level
        names[harmed] = train_rng.integers(len(people), size=int(harmed.sum()))
    shown = np.concatenate(
        [meta_rng.choice(np.flatnonzero(people.group == group), META_PER_GROUP) for group in LEVELS["group"]]
    )
    meta = photograph(people, shown, draw_levels(len(shown), META, meta_rng), meta_rng)
    return Data(train, names, meta, draw_pairs(25, n_probes=8, n_impostors=6, shares=PROBES, rng=test_rng))
