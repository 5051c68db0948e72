"""Episodes over groups of faces, with and without the cross-domain term and the look-ahead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from workbench.core import Attribute, Domain, RunWriter, Task
from workbench.demos import face_pairs
from workbench.demos.face_nets import TripletFaceNet
from workbench.demos.face_pairs import results_of, similarity
from workbench.demos.faces import LEVELS, Faces
from workbench.demos.recipe import Job
from workbench.demos.recipes.cdt import ROUNDS
from workbench.demos.recipes.cdt.data import GROUPS, Data, Sampler, draw_data
from workbench.demos.trainer import Training, as_pictures, fit
from workbench.diagnostics.recorder import Recorder
from workbench.methods.cdt import Config, Triplets, episode, metric_logs, supervised_loss

IDENTITY = "identity"
#: ``batch`` counts the triplets of every group in a step.
TRAINING = Training(probes=(), lr=4e-3, batch=24, optimizer="Adam")
#: Steps before the last at which the pairs are verified.
EARLY = (0, 80)
#: Triplets of all groups together in a step of ``one-group``.
ONE_GROUP_TRIPLETS = 36
FACTORS = tuple(LEVELS)
LAYERS = ("map", "embed")
_BASE = Config(scale=16.0, margin=0.2, metric="none", alpha=0.0)
SETUPS = {
    "cdt": replace(_BASE, metric="cross", alpha=1e-2),
    "cosface": replace(_BASE, triplet=False),
    "softmax": replace(_BASE, triplet=False, margin=0.0),
    "triplet": _BASE,
    "local-triplet": replace(_BASE, metric="identity"),
    "cdt-without-look-ahead": replace(_BASE, metric="cross"),
    "turned-metrics": replace(_BASE, metric="turned"),
    "mldg": replace(_BASE, alpha=1e-2),
}
METHODS = {"cdt": "CDT", "cosface": "CosFace", "softmax": "normalised softmax", "mldg": "MLDG"}


def record(job: Job) -> None:
    data = draw_data(job.seed)
    if job.variant.name == "one-group":
        record_one_group(job, data)
        return
    setup = SETUPS[job.variant.name]
    net = TripletFaceNet(data.n_people)
    rng = np.random.default_rng(job.seed)
    sampler = Sampler(data.train, data.sources, rng)
    turns = torch.Generator().manual_seed(job.seed)
    last: dict[str, float] = {}
    training = replace(TRAINING, probes=face_pairs.probes_of(job, EARLY))
    with job.recorder(
        tasks=[face_pairs.task(), Task(IDENTITY, classes=tuple(f"person {i}" for i in range(100)))],
        domains=[Domain(group, held_out=group == data.unseen) for group in GROUPS],
        attributes=[Attribute(factor, levels=LEVELS[factor]) for factor in FACTORS],
        config=training.describe(**asdict(setup), n_train=len(data.train), unseen=data.unseen),
        method=METHODS.get(job.variant.name, job.variant.name.replace("-", " ")),
    ) as rec:
        if not job.lean:
            face_pairs.describe_pairs(rec, data.pairs, FACTORS, domains=True)
            describe_probes(rec, data)

        def losses(triplets: Mapping[str, Triplets]) -> dict[str, Float[Tensor, " _"]]:
            done = episode(net, triplets, str(rng.choice(data.sources)), setup, turns)
            step = job.ticks - 1
            if step % TRAINING.log_every < len(data.sources):
                rec.scalars(step, done.logs)
            if step % TRAINING.log_every == 0 and not job.lean:
                rec.scalars(step, metric_logs(net, triplets))
            return {"episode": done.loss[None]}

        def probe(step: int) -> None:
            similar = similarity(net.embedding, data.pairs)
            last.update(results(similar, data))
            rec.scalars(step, last | {"feature norm": feature_norm(net, data.pairs.probes)})
            if not job.lean:
                face_pairs.record_pairs(rec, step, similar, data.pairs)
                record_embeddings(rec, step, net, data)

        fit(job, rec, net, training, sampler.draw, losses, probe)
        job.results(last)


def results(similar: Float[np.ndarray, "N E"], data: Data) -> dict[str, float]:
    """Rates and rank-1 within the unseen group, and the mean of each over the seen groups."""
    unseen = results_of(similar, data.pairs.within(data.unseen))
    seen = [results_of(similar, data.pairs.within(group)) for group in data.sources]
    names = ("tar/far 0.01", "tar/far 0.1", "rank-1")
    return {f"unseen/{name}": unseen[name] for name in names} | {
        f"seen/{name}": float(np.mean([found[name] for found in seen])) for name in names
    }


def feature_norm(net: TripletFaceNet, faces: Faces) -> float:
    """Mean length of the feature vectors over places and pictures; the cross-domain term grows as its fourth power."""
    with torch.no_grad():
        return net.feature_map(as_pictures(faces.images)).norm(dim=1).mean().item()


def embedded(data: Data) -> tuple[Faces, np.ndarray]:
    """Every second probe, a picture of someone never trained on, and sample ids that follow those of the pairs."""
    first, index = len(data.pairs.index), np.arange(0, len(data.pairs.probes), 2)
    return data.pairs.probes.take(index), first + np.arange(len(index))


def describe_probes(rec: RunWriter, data: Data) -> None:
    """Describe the embedded pictures as samples of their own."""
    probes, sample = embedded(data)
    rec.samples(
        {
            "sample": sample,
            "dataset": "drawn faces",
            "domain": probes.levels["group"],
            "split": "probes",
            f"target_{IDENTITY}": probes.person,
        }
        | {factor: probes.levels[factor] for factor in FACTORS}
    )


def record_embeddings(rec: Recorder, step: int, net: TripletFaceNet, data: Data) -> None:
    """Record what the layers make of the embedded pictures."""
    probes, sample = embedded(data)
    rec.embeddings(step, net, as_pictures(probes.images), sample=sample, layers=LAYERS)


def record_one_group(job: Job, data: Data) -> None:
    """One net a group and one for all, each its own task on the same pairs, with the same number of triplets a step."""
    steps = job.variant.steps // ROUNDS
    tasks = [f"trained on {name}" for name in (*GROUPS, "all")]
    rank: dict[tuple[str, str], float] = {}
    with job.recorder(
        tasks=[face_pairs.task(task) for task in tasks],
        domains=GROUPS,
        attributes=[Attribute(factor, levels=LEVELS[factor]) for factor in FACTORS],
        config=TRAINING.describe(**asdict(SETUPS["triplet"]), n_train=len(data.train)),
        method="triplet",
    ) as rec:
        if not job.lean:
            face_pairs.describe_pairs(rec, data.pairs, FACTORS, tasks, domains=True)
        for task, groups in zip(tasks, (*((group,) for group in GROUPS), GROUPS), strict=True):
            net = train_on(job, data, groups, steps)
            similar = similarity(net.embedding, data.pairs)
            if not job.lean:
                face_pairs.record_pairs(rec, steps, similar, data.pairs, task)
            for group in GROUPS:
                rank[task, group] = results_of(similar, data.pairs.within(group))["rank-1"]
        rec.scalars(steps, {f"rank-1/{task}/{group}": value for (task, group), value in rank.items()})
        alone = dict(zip(tasks, GROUPS, strict=False))
        others = [rank[task, group] for task, own in alone.items() for group in GROUPS if group != own]
        together = np.mean([rank[tasks[-1], group] for group in GROUPS])
        job.results({"one group/all minus others": float(together - np.mean(others))})


def train_on(job: Job, data: Data, groups: tuple[str, ...], steps: int) -> TripletFaceNet:
    """A net trained by the triplet baseline's loss, without episodes, on equally many triplets a step."""
    net = TripletFaceNet(data.n_people)
    sampler = Sampler(data.train, groups, np.random.default_rng(job.seed))
    optimizer = TRAINING.optimizer_for(net)
    each = ONE_GROUP_TRIPLETS // len(groups)
    for _ in range(steps):
        job.tick()
        terms = [
            supervised_loss(net(batch.inputs), batch.labels, SETUPS["triplet"]) for batch in sampler.draw(each).values()
        ]
        optimizer.zero_grad()
        torch.stack(terms).mean().backward()
        optimizer.step()
    return net
