"""One segmentation net trained on several datasets of road scenes, with one of six ways to share its classifier."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations, product
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor

from workbench.demos.scenes import SPACES, LabelSpace, Scenes, apart, merged
from workbench.demos.scenes_net import SceneNet
from workbench.methods.uniseg import UniSeg, cross_entropy, mean_cosines, null_bce

#: Indices of the drawn training scenes, one row a dataset.
Chosen: TypeAlias = Int64[np.ndarray, "I n"]


class Study:
    """The net, its loss, and the training scenes of all datasets.

    Args:
        variant: One of ``cross-entropy``, ``own-heads``, ``foreign-as-negatives``, ``per-class-bce``,
            ``class-relational``, ``oracle-relations``.
        trained: The training scenes of each dataset, equally many.
    """

    def __init__(self, variant: str, trained: Sequence[Scenes], spaces: Sequence[LabelSpace] = SPACES) -> None:
        self.variant, self.spaces = variant, tuple(spaces)
        self.net = SceneNet(apart(spaces) if variant == "own-heads" else merged(spaces))
        self.uniseg = UniSeg(self.net.outputs.label_sets)
        self.images = torch.from_numpy(np.stack([scenes.images for scenes in trained]))  # [I, N, 3, H, W]
        outputs = self.net.outputs
        labels = [outputs.annotate(scenes.concepts, space) for space, scenes in zip(spaces, trained, strict=True)]
        self.labels = torch.from_numpy(np.stack(labels))  # [I, N, H, W]
        #: Latest scores, and the mean cosine on rows of private labels at every early look.
        self.means: dict[str, float] = {}
        self.private: list[float] = []

    def draw(self, rng: np.random.Generator, n: int) -> Chosen:
        """``n`` different training scenes of each dataset."""
        return np.stack([rng.choice(self.images.shape[1], n, replace=False) for _ in self.spaces])

    def losses(self, chosen: Chosen) -> dict[str, Float[Tensor, " n"]]:
        """dataset -> loss of every chosen image, in nats per pixel."""
        n = chosen.shape[1]
        index = torch.from_numpy(chosen)
        dataset = torch.arange(len(self.spaces)).repeat_interleave(n)
        images, labels = (values[dataset, index.flatten()] for values in (self.images, self.labels))
        logits = self.net(images)
        losses = self.loss(logits, labels, dataset)
        return {space.dataset: part for space, part in zip(self.spaces, losses.split(n), strict=True)}

    def sample_losses(
        self, images: Float[Tensor, "B 3 H W"], labels: Int[Tensor, "B H W"], dataset: Int[Tensor, " B"]
    ) -> Float[Tensor, " B"]:
        """The loss of every image, from the images alone."""
        return self.loss(self.net(images), labels, dataset)

    def by_dataset(self, n: int) -> tuple[list[tuple[Tensor, Tensor, Tensor]], list[str]]:
        """The first ``n`` training scenes of each dataset as one batch each, and the names of the batches."""
        batches = [
            (self.images[i, :n], self.labels[i, :n], torch.full((n,), i, dtype=torch.int64))
            for i in range(len(self.spaces))
        ]
        return batches, [space.dataset for space in self.spaces]

    def loss(
        self, logits: Float[Tensor, "B K H W"], labels: Int[Tensor, "B H W"], dataset: Int[Tensor, " B"]
    ) -> Float[Tensor, " B"]:
        if self.variant == "cross-entropy":
            return cross_entropy(logits, labels)
        if self.variant == "own-heads":
            own = self.uniseg.annotated[dataset][:, :, None, None]
            return cross_entropy(logits.masked_fill(~own, -torch.inf), labels)
        if self.variant == "foreign-as-negatives":
            return null_bce(logits, labels, dataset, torch.ones_like(self.uniseg.annotated))
        return self.uniseg.loss(logits, labels, dataset)

    @property
    def private_rows(self) -> float:
        """Mean cosine on rows of private labels over the early looks; NaN when the training was too short for one."""
        return float(np.mean(self.private)) if self.private else float("nan")

    @torch.no_grad()
    def statistics(self) -> Float[Tensor, "I K K"]:
        """S of each dataset over its training scenes."""
        return torch.stack([mean_cosines(self._cosines(i), len(self.uniseg.union)) for i in range(len(self.spaces))])

    def _cosines(self, i: int) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in zip(self.images[i].split(32), self.labels[i].split(32), strict=True):
            yield self.net.head.cosines(self.net.trunk(images)), labels

    @property
    def relational(self) -> bool:
        """Whether the second stage of the training uses relations between labels."""
        return self.variant in ("class-relational", "oracle-relations")

    def relate(self, statistics: Float[Tensor, "I K K"]) -> str:
        """Begin the second stage with the relations that S supports, or with those that hold; returns them in words."""
        if self.variant == "oracle-relations":
            related = torch.zeros_like(self.uniseg.related)
            for dataset, c, k in self.true_relations:
                related[self.uniseg.datasets.index(dataset), *map(self.uniseg.union.index, (c, k))] = True
            self.uniseg.use(related)
        else:
            self.uniseg.relate(statistics)
        return "; ".join(f"{dataset}: {c} -> {k}" for dataset, c, k in self._named(self.uniseg.related)) or "none"

    @property
    def found(self) -> set[tuple[str, str, str]]:
        """The relations in use: (dataset, annotated label, related label)."""
        return set(self._named(self.uniseg.related))

    @property
    def true_relations(self) -> tuple[tuple[str, str, str], ...]:
        """The relations that hold between labels of different names: all that c stands for, another dataset calls k."""
        return tuple(
            dict.fromkeys(
                (mine.dataset, c, k)
                for mine, other in permutations(self.spaces, 2)
                for c, k in product(mine.labels, other.labels)
                if c != k and mine.concepts(c) <= other.concepts(k)
            )
        )

    def relation_results(self) -> dict[str, float]:
        """Which of the relations that hold are in use, and which of those in use hold; 0 where none is in use."""
        right = len(self.found & set(self.true_relations))
        found = {"relations/found": right / len(self.true_relations)}
        return found | {"relations/right": right / len(self.found) if self.found else 0.0}

    def _named(self, related: Bool[Tensor, "I K K"]) -> list[tuple[str, str, str]]:
        datasets, union = self.uniseg.datasets, self.uniseg.union
        return [(datasets[i], union[c], union[k]) for i, c, k in related.nonzero().tolist()]
