"""One segmentation net, three datasets whose label spaces disagree, six ways to share a classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial

import numpy as np

from workbench.core import Attribute, Dataset, Domain, Task
from workbench.demos.recipe import Job
from workbench.demos.scenes import ALL_STYLES, THREE_SPACES, Scenes, draw_scenes
from workbench.demos.scenes_record import THINGS, record_gradients, record_samples, record_scores
from workbench.demos.scenes_study import Study
from workbench.demos.trainer import Training, fit
from workbench.diagnostics.recorder import Recorder

N_TRAIN, N_TEST, N_PICTURED, N_PROBE, N_BATCHES, BATCH = 150, 120, 20, 48, 6, 6
LR = 3e-3
#: Test scenes come from seeds that no training scene uses.
TEST_SEED = 1_000_000


def record(job: Job) -> None:
    trained = [draw_scenes(space.dataset, N_TRAIN, job.seed) for space in THREE_SPACES]
    shown = [draw_scenes(domain, N_TEST, TEST_SEED + job.seed) for domain in ALL_STYLES]
    study = Study(job.variant.name, trained, THREE_SPACES)
    switch, last = 2 * job.variant.steps // 3, job.variant.steps
    training = Training(
        probes=tuple(sorted({0, last // 8, last // 4, last // 2, switch, last})), lr=LR, batch=BATCH, optimizer="Adam"
    )
    with job.recorder(
        tasks=[Task(space.dataset, "segmentation", space.labels) for space in THREE_SPACES],
        datasets=[Dataset(space.dataset, space.labels) for space in THREE_SPACES],
        domains=[Domain(domain, held_out=domain not in study.uniseg.datasets) for domain in ALL_STYLES],
        attributes=[Attribute("main_thing", levels=(*THINGS, "none"))],
        config=training.describe(
            outputs=study.net.outputs.names,
            switch=switch,
            planted={"relations": study.true_relations},
            **asdict(study.uniseg.config),
        ),
        method="uniseg" if study.relational else job.variant.name,
    ) as rec:
        if not job.lean:
            record_samples(rec, shown, trained, N_PICTURED)
        draw = partial(study.draw, np.random.default_rng(job.seed))
        fit(job, rec, study.net, training, draw, study.losses, partial(probe, job, rec, study, shown, switch))
        job.results(summary(study.means) | study.relation_results())


def probe(job: Job, rec: Recorder, study: Study, shown: Sequence[Scenes], switch: int, step: int) -> None:
    """Take the relations at the switch; record gradients when the job is not lean, and scores at the end."""
    if step == switch and study.relational:
        rec.update(notes=(f"Relations in use from step {step}: {study.relate(study.statistics())}.",))
    if not job.lean:
        losses = study.losses(np.tile(np.arange(N_PROBE), (len(THREE_SPACES), 1)))
        record_gradients(rec, step, study.net, losses, N_BATCHES)
    if step == job.variant.steps:
        study.means = record_scores(rec, step, study.net, shown, THREE_SPACES)


def summary(means: Mapping[str, float]) -> dict[str, float]:
    """Mean IoU with each dataset's own labels, with the others', and on the unseen domain in all lists."""
    trained = {space.dataset for space in THREE_SPACES}
    groups: dict[str, list[float]] = {"mIoU/own labels": [], "mIoU/other labels": [], "mIoU/unseen domain": []}
    for tag, value in means.items():
        _, images, space = tag.split("/")
        group = "own labels" if images == space else "other labels" if images in trained else "unseen domain"
        groups[f"mIoU/{group}"].append(value)
    return {name: float(np.mean(values)) for name, values in groups.items()}
