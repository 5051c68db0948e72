"""Verification by pairs of drawn faces: people who were never trained on, enrolled once, probed under all variations.

A pair is an enrolled picture (frontal, clear, sharp) and a probe of the same group. Genuine pairs show one person,
impostor pairs two. The samples of a run are the pairs, genuine ones first: their split is ``test``, so that the
accuracy that the bias lens shows is the true accept rate; that of impostor pairs is ``test impostors``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from workbench.core import RunWriter, Task
from workbench.core.verification import rank_one, threshold_at, true_accept_rate
from workbench.demos.data import pngs
from workbench.demos.faces import LEVELS, Faces, draw_levels, draw_people, photograph
from workbench.demos.recipe import Job
from workbench.demos.trainer import DECIMALS, as_pictures

TASK = "same person"
#: The splits of genuine and of impostor pairs.
SPLITS = ("test", "test impostors")
#: The false accept rates of the results; acceptance in the predictions is decided at the first.
RATES = (0.01, 0.1)
#: Every how many-th pair has a thumbnail: the enrolled picture and the probe side by side.
PICTURED = 40

Embed = Callable[[Float[Tensor, "B 1 X Y"]], Float[Tensor, "B D"]]


@dataclass(frozen=True)
class Pairs:
    """E enrolled pictures, one a person, N probes of them, and M pairs of (probe, enrolled) positions."""

    enrolled: Faces
    probes: Faces
    index: Int[np.ndarray, "M 2"]

    @property
    def genuine(self) -> Bool[np.ndarray, " M"]:
        probe, enrolled = self.index.T
        return self.probes.person[probe] == self.enrolled.person[enrolled]

    def within(self, group: str) -> Pairs:
        """The pairs of one group, with the positions of all pictures kept."""
        return Pairs(self.enrolled, self.probes, self.index[self.levels("group") == group])

    def levels(self, factor: str) -> np.ndarray:
        """The level of each pair, [M]: that of its probe."""
        return self.probes.levels[factor][self.index[:, 0]]


def draw_pairs(
    per_group: int, n_probes: int, n_impostors: int, shares: Mapping[str, float], rng: np.random.Generator
) -> Pairs:
    """New people of every group.

    Args:
        n_probes: Probes a person.
        n_impostors: Other people of the group that each probe is held against.
        shares: Of the rare level of pose, occlusion and blur among the probes.
    """
    people = draw_people(np.repeat(LEVELS["group"], per_group).tolist(), rng)
    everyone = np.arange(len(people))
    enrolled = photograph(people, everyone, draw_levels(len(people), dict.fromkeys(shares, 0.0), rng), rng)
    person = np.repeat(everyone, n_probes)
    probes = photograph(people, person, draw_levels(len(person), shares, rng), rng)
    order = np.argsort(rng.random((len(person), per_group - 1)), axis=1)[:, :n_impostors]
    place, first = person % per_group, person - person % per_group
    others = first[:, None] + order + (order >= place[:, None])  # skips the person itself
    genuine = np.stack([np.arange(len(person)), person], axis=1)
    impostors = np.stack([np.repeat(np.arange(len(person)), n_impostors), others.ravel()], axis=1)
    return Pairs(enrolled, probes, np.concatenate([genuine, impostors]))


def similarity(embed: Embed, pairs: Pairs) -> Float[np.ndarray, "N E"]:
    """Cosine of every probe with every enrolled picture; each picture is embedded together with its mirror image.

    Source of the mirror: Faraki et al. 2021, section 4 (features of both are concatenated).
    """
    probes, enrolled = (_with_mirror(embed, faces) for faces in (pairs.probes, pairs.enrolled))
    return (probes @ enrolled.T).astype(np.float64)


def _with_mirror(embed: Embed, faces: Faces) -> np.ndarray:
    pictures = as_pictures(faces.images)
    with torch.no_grad():
        both = torch.cat([embed(pictures), embed(pictures.flip(-1))], dim=1)
    return torch.nn.functional.normalize(both, dim=1).numpy()


def results_of(similar: Float[np.ndarray, "N E"], pairs: Pairs) -> dict[str, float]:
    """TAR at each of :data:`RATES` over all pairs, TAR at the first for every level at the common threshold, rank-1.

    ``tar/worst`` is the smallest of the levels' rates; ``tar/<level>`` and the other rates lie in [0, 1]. Only levels
    that occur are named; rank-1 searches the enrolled pictures of the pairs' groups.
    """
    scores = similar[tuple(pairs.index.T)]
    genuine = pairs.genuine
    found = {f"tar/far {far:g}": true_accept_rate(scores, genuine, far) for far in RATES}
    accepted = scores[genuine] > threshold_at(scores[~genuine], RATES[0])
    levels = {
        f"tar/{level}": float(accepted[chosen].mean())
        for factor, names in LEVELS.items()
        for level in names
        if (chosen := pairs.levels(factor)[genuine] == level).any()
    }
    probe, enrolled = (np.unique(column) for column in pairs.index.T)
    rank = rank_one(similar[np.ix_(probe, enrolled)], pairs.probes.person[probe], pairs.enrolled.person[enrolled])
    return found | {"rank-1": rank, "tar/worst": min(levels.values())} | levels


def probes_of(job: Job, early: Sequence[int]) -> tuple[int, ...]:
    """When a net is verified: at the end, and at earlier steps unless the job is lean."""
    steps = job.variant.steps
    return (*(step for step in early if step < steps and not job.lean), steps)


def task(name: str = TASK) -> Task:
    """The task of the pairs: are both pictures of one person?"""
    return Task(name, classes=("different", "same"))


def describe_pairs(
    rec: RunWriter, pairs: Pairs, factors: Sequence[str], tasks: Sequence[str] = (TASK,), domains: bool = False
) -> None:
    """Describe the pairs as samples 0..M-1, with the levels of these factors; the group as domain when asked for."""
    genuine = pairs.genuine
    shown = np.arange(0, len(genuine), PICTURED)
    probe, enrolled = pairs.index[shown].T
    side_by_side = np.concatenate([pairs.enrolled.images[enrolled], pairs.probes.images[probe]], axis=2)
    thumbnails = np.full(len(genuine), None, dtype=object)
    thumbnails[shown] = pngs(side_by_side, levels=6)
    rec.samples(
        {
            "sample": np.arange(len(genuine)),
            "dataset": "drawn faces",
            "domain": pairs.levels("group") if domains else "",
            "split": np.where(genuine, *SPLITS),
            "thumbnail": thumbnails.tolist(),
        }
        | {f"target_{name}": genuine.astype(np.int64) for name in tasks}
        | {factor: pairs.levels(factor) for factor in factors}
    )


def record_pairs(rec: RunWriter, step: int, similar: Float[np.ndarray, "N E"], pairs: Pairs, name: str = TASK) -> None:
    """Record each pair's score and whether it is accepted at the first of :data:`RATES`, as the task ``name``."""
    scores = similar[tuple(pairs.index.T)]
    accepted = scores > threshold_at(scores[~pairs.genuine], RATES[0])
    rec.predictions(
        step, name, sample=np.arange(len(scores)), prediction=accepted.astype(np.int64), score=scores.round(DECIMALS)
    )
