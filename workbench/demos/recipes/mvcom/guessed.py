"""Variations that nobody labelled: a small net that was trained on other, annotated people says how likely each is."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from workbench.demos.face_nets import GREY_MEAN, GREY_SPREAD
from workbench.demos.faces import LEVELS, Faces, draw_levels, draw_people, photograph
from workbench.demos.trainer import as_pictures

#: Annotated people of every group, pictures of each, and the share of the rare levels among them.
PEOPLE_PER_GROUP, PICTURES, SHARE = 20, 15, 0.5
STEPS, BATCH, LR = 200, 64, 3e-3


class LevelNet(nn.Module):
    """Pictures [B, 1, 28, 28] to one score a level, factor by factor, [B, L]."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 12, 5, stride=2, padding=2), nn.ReLU(),
            nn.Conv2d(12, 24, 3, stride=2, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(24 * 49, sum(map(len, LEVELS.values()))),
        )  # fmt: skip

    def forward(self, pictures: Float[Tensor, "B 1 X Y"]) -> list[Float[Tensor, "B n"]]:
        scores: Tensor = self.layers((pictures - GREY_MEAN) / GREY_SPREAD)
        return list(scores.split([len(levels) for levels in LEVELS.values()], dim=1))


def annotated_faces(seed: int) -> Faces:
    """Faces of people that occur nowhere else, every level of every factor well represented."""
    rng = np.random.default_rng((seed, 1))
    people = draw_people(np.repeat(LEVELS["group"], PEOPLE_PER_GROUP).tolist(), rng)
    person = np.repeat(np.arange(len(people)), PICTURES)
    shares = dict.fromkeys((name for name in LEVELS if name != "group"), SHARE)
    return photograph(people, person, draw_levels(len(person), shares, rng), rng)


def guessed_levels(pictures: Float[Tensor, "N 1 X Y"], seed: int) -> Float[Tensor, "N L"]:
    """Probabilities of all levels of these faces. Leaves the random state of torch as it was."""
    annotated = annotated_faces(seed)
    known, levels = as_pictures(annotated.images), torch.from_numpy(annotated.codes())
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = LevelNet()
    optimizer = torch.optim.Adam(net.parameters(), lr=LR)
    for _ in range(STEPS):
        index = torch.from_numpy(rng.integers(len(levels), size=BATCH))
        found = zip(net(known[index]), levels[index].T, strict=True)
        optimizer.zero_grad()
        torch.stack([F.cross_entropy(scores, level) for scores, level in found]).sum().backward()
        optimizer.step()
    with torch.no_grad():
        return torch.cat([scores.softmax(dim=1) for scores in net(pictures)], dim=1)
