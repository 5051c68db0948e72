"""Margins of every kind on the same faces, and what the bias lens needs to see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from workbench.core import Attribute, Task
from workbench.demos import face_pairs
from workbench.demos.face_nets import FaceNet
from workbench.demos.faces import LEVELS, Faces
from workbench.demos.recipe import Job
from workbench.demos.recipes.mvcom.data import HARMFUL, RARE, Data, draw_data
from workbench.demos.recipes.mvcom.guessed import guessed_levels
from workbench.demos.trainer import DECIMALS, Training, as_pictures, fit
from workbench.diagnostics.recorder import Recorder
from workbench.methods import mvcom
from workbench.methods.mvcom import Batch, Config, LevelOffsets, MvCoM, balanced_weights

IDENTITY = "identity"
TRAINING = Training(probes=(), lr=0.05)
#: Steps before the last at which the pairs are verified, and at which single training faces are recorded.
EARLY, EARLY_FACES, N_FACES = (0, 100, 250), (100,), 300
#: No look-ahead in this share of the steps: large margins on random features lead nowhere.
WARM_UP = 0.1
#: Offsets of the references that are set by hand; β of the variations' effective numbers, the better of 0.6 and 0.9.
HARMED_BY_HAND, RARE_BY_HAND, BETA = 0.5, 0.15, 0.6
#: One margin for all, the best of 0.1, 0.2 and 0.35 for it on the tuning seeds.
PLAIN = Config(margin=0.35, cap=0.0)


@dataclass(frozen=True)
class Setup:
    """What sets a variant apart.

    Attributes:
        weights: What balanced loss weights are computed from.
        meta_in_training: Whether the meta set is trained on.
        mislabelled: Whether blurred training faces carry random names.
        by_hand: Level -> the offset that it has throughout, where nothing is learned.
        guessed: Whether the variations of training faces are the soft answers of another net instead of labels.
    """

    config: Config = PLAIN
    weights: Literal["none", "people", "variations"] = "none"
    meta_in_training: bool = False
    mislabelled: bool = False
    by_hand: Mapping[str, float] = field(default_factory=dict)
    guessed: bool = False


#: Chosen on the tuning seeds; a wide cap is needed to push a margin below 0.
NARROW, WIDE = replace(PLAIN, cap=0.15), replace(PLAIN, cap=0.5)
SETUPS = {
    "mvcom": Setup(NARROW),
    "cosface": Setup(),
    "arcface": Setup(replace(PLAIN, margin=0.2, angular=True)),
    "softmax": Setup(replace(PLAIN, margin=0.0)),
    "class-balanced": Setup(weights="people"),
    "variation-balanced": Setup(weights="variations"),
    "meta-in-training": Setup(meta_in_training=True),
    "raised": Setup(by_hand={LEVELS[factor][1]: RARE_BY_HAND for factor in RARE}),
    "mislabelled-mvcom": Setup(WIDE, mislabelled=True),
    "mislabelled-mvcom-guessed": Setup(WIDE, mislabelled=True, guessed=True),
    "mislabelled-cosface": Setup(mislabelled=True),
    "mislabelled-lowered": Setup(mislabelled=True, by_hand={HARMFUL[1]: -HARMED_BY_HAND}),
    "mislabelled-raised": Setup(mislabelled=True, by_hand={HARMFUL[1]: HARMED_BY_HAND}),
    "mislabelled-meta-in-training": Setup(mislabelled=True, meta_in_training=True),
}
METHODS = {
    "mvcom": "MvCoM",
    "mislabelled-mvcom": "MvCoM",
    "mislabelled-mvcom-guessed": "MvCoM, variations guessed",
    "arcface": "ArcFace",
    "softmax": "normalised softmax",
}


def record(job: Job) -> None:
    setup = SETUPS[job.variant.name]
    data = draw_data(job.seed, setup.mislabelled)
    train, meta = batch_of(data.train, data.names), batch_of(data.meta, data.meta.person)
    if setup.meta_in_training:
        train = Batch(*(torch.cat(pair) for pair in zip(parts(train), parts(meta), strict=True)))
    if setup.guessed:
        train = replace(train, attributes=guessed_levels(train.inputs, job.seed))
    net, method = FaceNet(data.n_people), method_of(setup, train, data.n_people)
    weights = weights_of(setup, train)
    rng = np.random.default_rng(job.seed)
    training = replace(TRAINING, probes=face_pairs.probes_of(job, EARLY))
    planted = {"kind": "wrong names", "levels": dict([HARMFUL])} if setup.mislabelled else {}
    with job.recorder(
        tasks=[face_pairs.task(), Task(IDENTITY, classes=tuple(f"person {i}" for i in range(data.n_people)))],
        attributes=[Attribute(factor, levels=levels) for factor, levels in LEVELS.items()],
        config=training.describe(**asdict(setup), n_train=len(train.labels), planted=planted),
        method=METHODS.get(job.variant.name, "CosFace"),
    ) as rec:
        probe = Probe(job, rec, net, method, data, train, meta)
        probe.describe()

        def draw(n: int) -> Tensor:
            return torch.from_numpy(rng.integers(len(train.labels), size=n))

        def losses(index: Tensor) -> dict[str, Float[Tensor, " B"]]:
            batch = Batch(*(part[index] for part in parts(train)))
            step = job.ticks - 1
            if method.config.cap > 0 and step >= WARM_UP * job.variant.steps:
                probe.learned(step, method.learn(net, batch, meta, TRAINING.lr))
            return {IDENTITY: weights[index] * method.loss(net(batch.inputs), batch)}

        fit(job, rec, net, training, draw, losses, probe)
        job.results(probe.results())


def batch_of(faces: Faces, names: np.ndarray) -> Batch:
    return Batch(as_pictures(faces.images), torch.from_numpy(names), torch.from_numpy(faces.codes()))


def parts(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    return batch.inputs, batch.labels, batch.attributes


def method_of(setup: Setup, train: Batch, n_people: int) -> MvCoM:
    """The margins of a variant; with a cap of 0 they stay at the plain margin."""
    n_levels = [len(levels) for levels in LEVELS.values()]
    counts = torch.bincount(train.labels, minlength=n_people)
    method = MvCoM(train.attributes, n_levels, counts, setup.config)
    places = {level: (v, b) for v, levels in enumerate(LEVELS.values()) for b, level in enumerate(levels)}
    for level, offset in setup.by_hand.items():
        assert isinstance(method.predictor, LevelOffsets), "offsets are set by hand in tables alone"
        v, b = places[level]
        with torch.no_grad():
            method.predictor.tables[v][b] = offset
    return method


def weights_of(setup: Setup, train: Batch) -> Float[Tensor, " N"]:
    """The loss weight of every training face, mean 1."""
    if setup.weights == "none":
        return torch.ones(len(train.labels))
    if setup.weights == "people":
        return balanced_weights(torch.bincount(train.labels))[train.labels]
    cells, counts = train.attributes.unique(dim=0, return_inverse=True, return_counts=True)[1:]
    return balanced_weights(counts, BETA)[cells]


class Probe:
    """What is recorded of one training: pairs at every probe, single training faces at some, margins all along."""

    def __init__(
        self, job: Job, rec: Recorder, net: FaceNet, method: MvCoM, data: Data, train: Batch, meta: Batch
    ) -> None:
        self.job, self.rec, self.net, self.method, self.data = job, rec, net, method, data
        self.train, self.meta = train, meta
        self.similar = np.empty(0)

    def describe(self) -> None:
        """Describe pairs, training faces and meta set as samples."""
        if self.job.lean:
            return
        face_pairs.describe_pairs(self.rec, self.data.pairs, list(LEVELS), tasks=(face_pairs.TASK,))
        first = len(self.data.pairs.index)
        for split, faces, names in (
            ("train", self.data.train, self.data.names),
            ("meta", self.data.meta, self.data.meta.person),
        ):
            columns = {"sample": np.arange(first, first + len(faces)), "dataset": "drawn faces", "split": split}
            self.rec.samples(columns | {f"target_{IDENTITY}": names} | dict(faces.levels))
            first += len(faces)

    def __call__(self, step: int) -> None:
        """Verify the pairs; at some steps also look at single training faces."""
        self.similar = face_pairs.similarity(self.net.embedding, self.data.pairs)
        self.rec.scalars(step, face_pairs.results_of(self.similar, self.data.pairs))
        self.margins(step)
        if self.job.lean:
            return
        face_pairs.record_pairs(self.rec, step, self.similar, self.data.pairs)
        if step in (*EARLY_FACES, self.job.variant.steps):
            self.faces(step)

    def margins(self, step: int) -> None:
        """Log what every level adds to the margin."""
        offsets = zip(LEVELS.items(), self.method.offsets(), strict=True)
        self.rec.scalars(
            step,
            {
                f"margin/{factor}/{level}": value
                for (factor, names), values in offsets
                for level, value in zip(names, values.tolist(), strict=True)
            },
        )

    def learned(self, step: int, after: float) -> None:
        """Log a look ahead: margins, and what the virtual step gained on the meta set, in nats."""
        if step % TRAINING.log_every:
            return
        self.margins(step)
        with torch.no_grad():
            before = mvcom.meta_loss_at(self.net, {}, self.meta, self.method.config).item()
        self.rec.scalars(step, {"meta/loss": before, "meta/gain": before - after})

    def faces(self, step: int) -> None:
        """Record margin, hardness and agreement with the meta set of the first training faces in random order."""
        chosen = np.sort(np.random.default_rng(self.job.seed).permutation(len(self.data.train))[:N_FACES])
        batch = Batch(*(part[torch.from_numpy(chosen)] for part in parts(self.train)))
        m = self.method.margins(batch.labels, batch.attributes).detach()
        with torch.no_grad():
            cosine = self.net(batch.inputs)
        config = self.method.config
        self.rec.predictions(
            step,
            IDENTITY,
            sample=len(self.data.pairs.index) + chosen,
            prediction=cosine.argmax(dim=1).numpy(),
            confidence=_rounded(torch.softmax(config.scale * cosine, dim=1).amax(dim=1)),
            loss=_rounded(mvcom.loss_of(cosine, batch.labels, m, config)),
            margin=_rounded(m),
            hardness=_rounded(mvcom.hardness(cosine, batch.labels, m, config)),
            agreement=_rounded(mvcom.meta_agreement(self.net, batch, self.meta, m, config)),
        )

    def results(self) -> dict[str, float]:
        """The last rates, and by how much the offset of the harmful level lies below the lowest of other rare ones."""
        offsets = dict(zip(LEVELS, self.method.offsets(), strict=True))
        factor, _ = HARMFUL
        others: Sequence[str] = [name for name in LEVELS if name not in (factor, "group")]
        gap = min(offsets[name][1].item() for name in others) - offsets[factor][1].item()
        return face_pairs.results_of(self.similar, self.data.pairs) | {"offset/others minus blurred": gap}


def _rounded(values: Tensor) -> np.ndarray:
    return values.numpy().astype(np.float64).round(DECIMALS)
