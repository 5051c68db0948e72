"""One segmentation net, two datasets whose label spaces disagree, six ways to share a classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial

import numpy as np

from workbench.core import Attribute, Dataset, Domain, Task
from workbench.demos.recipe import Job
from workbench.demos.scenes import SPACES, STYLES, Scenes, draw_scenes
from workbench.demos.scenes_record import (
    THINGS,
    record_embeddings,
    record_gradients,
    record_losses,
    record_maps,
    record_predicted_labels,
    record_rows,
    record_samples,
    record_scores,
    record_truth,
)
from workbench.demos.scenes_study import Study
from workbench.demos.trainer import Training, fit
from workbench.diagnostics.recorder import Recorder

N_TRAIN, N_TEST, N_PICTURED, N_PROBE, N_BATCHES = 150, 120, 40, 64, 8
#: Test scenes of each domain whose label maps are kept at the end.
N_MAPPED = 2
#: Steps with all records; row cosines are recorded at every probe.
FULL = (0, 100, 200, 400, 800, 1200)
TRAINING = Training(probes=tuple(range(0, 1201, 50)), lr=3e-3, batch=8, optimizer="Adam")
#: The first and last step of the looks at row cosines that the claims average.
EARLY = (50, 250)
#: The step at which a relational run takes its statistics and switches its loss.
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
    "oracle-relations": "class-relational binary cross-entropy with the relations that hold",
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
        config=TRAINING.describe(
            outputs=study.net.outputs.names,
            switch=SWITCH,
            planted={"relations": study.true_relations},
            **asdict(study.uniseg.config),
        ),
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
        vehicles = {("boulevard", name, "vehicle") for name in ("car", "truck")}
        results = study.relation_results() | {"relations/car and truck": len(study.found & vehicles) / len(vehicles)}
        job.results(summary(study.means) | results | {"private rows": study.private_rows})


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
    if step == FULL[-1]:
        record_maps(rec, step, study.net, shown, N_MAPPED)


def lean_probe(rec: Recorder, study: Study, step: int) -> None:
    """What the claims need, and what the training needs: the early row cosines, and the relations at the switch."""
    if step <= EARLY[1]:
        look_at_rows(rec, study, step, arrays=False)
    if step == SWITCH and study.relational:
        record_relations(rec, study, step, arrays=False)


def look_at_rows(rec: Recorder, study: Study, step: int, *, arrays: bool) -> None:
    """Record how the datasets pull at every row, and keep the early mean over the rows of private labels."""
    probed = np.tile(np.arange(N_PROBE), (len(SPACES), 1))
    cosines = record_rows(rec, step, study.net, study.losses(probed), arrays=arrays)
    if EARLY[0] <= step <= EARLY[1]:
        shared = set.intersection(*(set(names) for names in study.net.outputs.label_sets.values()))
        study.private.append(float(np.mean([value for name, value in cosines.items() if name not in shared])))


def record_relations(rec: Recorder, study: Study, step: int, *, arrays: bool = True) -> None:
    """Record the mean cosines S; at the switch, a relational run takes its relations."""
    found = study.statistics()
    datasets = study.uniseg.datasets
    if arrays:
        rec.array("mean_cosines", step, {name: s.numpy() for name, s in zip(datasets, found, strict=True)})
    if step == SWITCH and study.relational:
        named = study.relate(found)
        if arrays:
            targets = zip(datasets, study.uniseg.targets, strict=True)
            rec.array("targets", step, {name: t.numpy() for name, t in targets})
        rec.update(notes=(f"Relations in use from step {step}: {named}.",))


def summary(means: Mapping[str, float]) -> dict[str, float]:
    """Mean IoU with each dataset's own labels, with the other's, and on the unseen domain."""
    own = [f"mIoU/{space.dataset}/{space.dataset}" for space in SPACES]
    trained = [space.dataset for space in SPACES]
    other = [name for name in means if name.split("/")[1] in trained and name not in own]
    unseen = [name for name in means if name.split("/")[1] not in trained]
    groups = {"mIoU/own labels": own, "mIoU/other labels": other, "mIoU/unseen domain": unseen}
    return {title: float(np.mean([means[name] for name in names])) for title, names in groups.items()}
