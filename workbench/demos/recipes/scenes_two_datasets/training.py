"""One segmentation net, two datasets whose label spaces disagree, five ways to share a classifier."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from workbench.core import Attribute, Dataset, Domain, Task
from workbench.demos.recipe import Job
from workbench.demos.scenes import APART, MERGED, SPACES, STYLES, TRUE_RELATIONS, Scenes, draw_scenes
from workbench.demos.scenes_net import SceneNet
from workbench.demos.scenes_record import (
    THINGS,
    record_embeddings,
    record_gradients,
    record_losses,
    record_predicted_labels,
    record_rows,
    record_samples,
    record_scores,
    record_truth,
)
from workbench.demos.trainer import Training, fit
from workbench.diagnostics.recorder import Recorder
from workbench.methods.uniseg import UniSeg, cross_entropy, mean_cosines, null_bce

#: Indices of the drawn training scenes, one row a dataset.
Chosen: TypeAlias = Int64[np.ndarray, "I n"]

N_TRAIN, N_TEST, N_PICTURED, N_PROBE, N_BATCHES = 150, 120, 40, 64, 8
#: Steps with all records; row cosines are recorded at every probe.
FULL = (0, 100, 200, 400, 800, 1200)
TRAINING = Training(probes=tuple(range(0, 1201, 50)), lr=3e-3, batch=8, optimizer="Adam")
#: The first and last step of the looks at row cosines that the claims average.
EARLY = (50, 250)
#: The step at which the class-relational run takes its statistics and switches its loss.
SWITCH = 800
#: Test scenes come from seeds that no training scene uses.
TEST_SEED = 1_000_000
EMBEDDED = ("trunk.conv2", "trunk.conv4")
#: Variant -> method, as run.json names it.
METHODS = {
    "cross-entropy": "cross-entropy over the union of labels",
    "foreign-as-negatives": "binary cross-entropy, foreign labels as negatives",
    "per-class-bce": "binary cross-entropy, foreign labels left out (null loss)",
    "class-relational": "class-relational binary cross-entropy",
    "own-heads": "cross-entropy over each dataset's own labels, nothing merged",
}


def record(job: Job) -> None:
    trained = [draw_scenes(space.dataset, N_TRAIN, job.seed) for space in SPACES]
    shown = [draw_scenes(domain, N_TEST, TEST_SEED + job.seed) for domain in STYLES]
    study = Study(job.variant.name, trained)
    rng = np.random.default_rng(job.seed)
    with job.recorder(
        tasks=[Task(space.dataset, "segmentation", space.labels) for space in SPACES],
        datasets=[Dataset(space.dataset, space.labels) for space in SPACES],
        domains=[Domain(domain, held_out=domain not in study.uniseg.datasets) for domain in STYLES],
        attributes=[Attribute("main_thing", levels=(*THINGS, "none"))],
        method=METHODS[job.variant.name],
        config=TRAINING.describe(outputs=study.net.outputs.names, switch=SWITCH, **asdict(study.uniseg.config)),
    ) as rec:
        if job.lean:
            look = partial(lean_probe, rec, study)
        else:
            record_samples(rec, shown, trained, N_PICTURED)
            record_truth(rec, [*shown, *trained])
            look = partial(probe, rec, study, shown)
        fit(job, rec, study.net, TRAINING, partial(study.draw, rng), study.losses, look)
        if job.lean:
            study.means = record_scores(rec, job.ticks, study.net, shown)
        job.results(summary(study.means) | relation_results(study) | {"private rows": study.private_rows})


class Study:
    """The net, its loss, and the training scenes of both datasets."""

    def __init__(self, variant: str, trained: Sequence[Scenes]) -> None:
        self.variant = variant
        self.net = SceneNet(APART if variant == "own-heads" else MERGED)
        self.uniseg = UniSeg(self.net.outputs.label_sets)
        self.images = torch.from_numpy(np.stack([scenes.images for scenes in trained]))  # [I, N, 3, H, W]
        outputs = self.net.outputs
        labels = [outputs.annotate(scenes.concepts, space) for space, scenes in zip(SPACES, trained, strict=True)]
        self.labels = torch.from_numpy(np.stack(labels))  # [I, N, H, W]
        #: Latest scores, and the mean cosine on rows of labels that only one dataset has, at every early look.
        self.means: dict[str, float] = {}
        self.private: list[float] = []

    def draw(self, rng: np.random.Generator, n: int) -> Chosen:
        """``n`` different training scenes of each dataset."""
        return np.stack([rng.choice(N_TRAIN, n, replace=False) for _ in SPACES])

    def losses(self, chosen: Chosen) -> dict[str, Float[Tensor, " n"]]:
        """dataset -> loss of every chosen image, in nats per pixel."""
        n = chosen.shape[1]
        index = torch.from_numpy(chosen)
        dataset = torch.arange(len(SPACES)).repeat_interleave(n)
        images, labels = (values[dataset, index.flatten()] for values in (self.images, self.labels))
        logits = self.net(images)
        losses = self.loss(logits, labels, dataset)
        return {space.dataset: part for space, part in zip(SPACES, losses.split(n), strict=True)}

    def sample_losses(
        self, images: Float[Tensor, "B 3 H W"], labels: Int[Tensor, "B H W"], dataset: Int[Tensor, " B"]
    ) -> Float[Tensor, " B"]:
        """The loss of every image, from the images alone."""
        return self.loss(self.net(images), labels, dataset)

    def by_dataset(self, n: int) -> tuple[list[tuple[Tensor, Tensor, Tensor]], list[str]]:
        """The first ``n`` training scenes of each dataset as one batch each, and the names of the batches."""
        batches = [
            (self.images[i, :n], self.labels[i, :n], torch.full((n,), i, dtype=torch.int64)) for i in range(len(SPACES))
        ]
        return batches, [space.dataset for space in SPACES]

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
        """S of both datasets over their training scenes."""
        return torch.stack([mean_cosines(self._cosines(i), len(self.uniseg.union)) for i in range(len(SPACES))])

    def _cosines(self, i: int) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in zip(self.images[i].split(32), self.labels[i].split(32), strict=True):
            yield self.net.head.cosines(self.net.trunk(images)), labels


def probe(rec: Recorder, study: Study, shown: Sequence[Scenes], step: int) -> None:
    full = step in FULL
    look_at_rows(rec, study, step, arrays=full)
    if not full:
        return
    probed = np.tile(np.arange(N_PROBE), (len(SPACES), 1))
    record_gradients(rec, step, study.net, study.losses(probed), N_BATCHES)
    batches, names = study.by_dataset(N_PROBE)
    rec.gsnr(step, study.net, study.sample_losses, batches, domains=names)
    record_losses(rec, step, study.net, shown)
    record_predicted_labels(rec, step, study.net, shown)
    study.means = record_scores(rec, step, study.net, shown)
    rec.update(summary=summary(study.means))
    record_embeddings(rec, step, study.net, shown, N_PICTURED, EMBEDDED)
    record_relations(rec, study, step)


def lean_probe(rec: Recorder, study: Study, step: int) -> None:
    """What the claims need, and what the training needs: the early row cosines, and the relations at the switch."""
    if step <= EARLY[1]:
        look_at_rows(rec, study, step, arrays=False)
    if step == SWITCH and study.variant == "class-relational":
        record_relations(rec, study, step, arrays=False)


def look_at_rows(rec: Recorder, study: Study, step: int, *, arrays: bool) -> None:
    """Record how the datasets pull at every row, and keep the early mean over the rows of private labels."""
    probed = np.tile(np.arange(N_PROBE), (len(SPACES), 1))
    cosines = record_rows(rec, step, study.net, study.losses(probed), arrays=arrays)
    if EARLY[0] <= step <= EARLY[1]:
        shared = set.intersection(*(set(names) for names in study.net.outputs.label_sets.values()))
        study.private.append(float(np.mean([value for name, value in cosines.items() if name not in shared])))


def record_relations(rec: Recorder, study: Study, step: int, *, arrays: bool = True) -> None:
    """Record the mean cosines S; at the switch, the class-relational run takes its relations from them."""
    found = study.statistics()
    datasets = study.uniseg.datasets
    if arrays:
        rec.array("mean_cosines", step, {name: s.numpy() for name, s in zip(datasets, found, strict=True)})
    if step == SWITCH and study.variant == "class-relational":
        related = study.uniseg.relate(found)
        if arrays:
            targets = zip(datasets, study.uniseg.targets, strict=True)
            rec.array("targets", step, {name: t.numpy() for name, t in targets})
        union = study.uniseg.union
        pairs = [f"{datasets[i]}: {union[c]} -> {union[k]}" for i, c, k in related.nonzero().tolist()]
        rec.update(notes=(f"Relations found at step {step}: {'; '.join(pairs) or 'none'}.",))


def summary(means: Mapping[str, float]) -> dict[str, float]:
    """Mean IoU with each dataset's own labels, with the other's, and on the unseen domain."""
    own = [f"mIoU/{space.dataset}/{space.dataset}" for space in SPACES]
    trained = [space.dataset for space in SPACES]
    other = [name for name in means if name.split("/")[1] in trained and name not in own]
    unseen = [name for name in means if name.split("/")[1] not in trained]
    groups = {"mIoU/own labels": own, "mIoU/other labels": other, "mIoU/unseen domain": unseen}
    return {title: float(np.mean([means[name] for name in names])) for title, names in groups.items()}


def relation_results(study: Study) -> dict[str, float]:
    """Which of the planted relations between labels of different names were found, and which of the found are planted.

    Planted: a label of the fine list lies inside one of the coarse list. 0 where nothing was found.
    """
    union, datasets = study.uniseg.union, study.uniseg.datasets
    found = {(datasets[i], union[c], union[k]) for i, c, k in study.uniseg.related.nonzero().tolist()}
    fine = SPACES[1].dataset
    planted = {(fine, r.b, r.a) for r in TRUE_RELATIONS if r.kind == "inside" and not r.same_name}
    vehicles = {(fine, name, "vehicle") for name in ("car", "truck")}
    return {
        "relations/found": len(found & planted) / len(planted),
        "relations/right": len(found & planted) / len(found) if found else 0.0,
        "relations/car and truck": len(found & vehicles) / len(vehicles),
    }
