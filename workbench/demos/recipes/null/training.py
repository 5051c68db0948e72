"""A run in which nothing is different: two identical tasks, domains and label spaces, and attributes drawn at random.

Both tasks are "which digit", read by one head, on letters of two offices that differ in name only. Their gradients are
two samples of one and the same gradient.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from workbench.core import Attribute, Dataset, RunWriter, Task
from workbench.core.schema import TRUTH
from workbench.demos.data import mnist, pngs
from workbench.demos.data.letters import ANNOTATORS, OFFICES, PAPERS, Letters, draw_letters
from workbench.demos.nets import Net, NetSpec, save_net
from workbench.demos.recipe import Job
from workbench.demos.trainer import Training, as_pictures, batches_of, fit, record_answers
from workbench.diagnostics import predictions
from workbench.diagnostics.recorder import Recorder

DIGITS = tuple("0123456789")
HEAD = "digit"
MODULES = ("conv1", "conv2", "conv3", "embed")
LAYERS = ("trunk.conv3", "trunk.embed")
TRAINING = Training(probes=(0, 20, 40, 70, 100, 150, 200, 300), lr=0.02)
#: Steps at which embeddings are recorded, a subset of the probes.
EMBEDDED = (0, 100, 300)
N_TEST, N_PICTURED, N_EMBEDDED, N_PROBE, N_BATCHES, N_GSNR = 1000, 120, 240, 768, 6, 96


class EachOffice(nn.Module):
    """The one head's answer under the name of every office."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Float[Tensor, "B C H W"]) -> dict[str, Tensor]:
        return dict.fromkeys(OFFICES, self.net(images)[HEAD])


def record(job: Job) -> None:
    rng = np.random.default_rng(job.seed)
    train, test = (draw_letters(part, rng, north=0.5) for part in mnist().split(N_TEST, rng))
    by_office = {office: train.take(np.flatnonzero(train.office == office)) for office in OFFICES}
    probed = {office: letters.take(np.arange(N_PROBE)) for office, letters in by_office.items()}
    net = Net(NetSpec({HEAD: len(DIGITS)}, channels=3, width=8, features=24, slope=0.1))
    with job.recorder(
        model=net,
        tasks=[Task(office, classes=DIGITS) for office in OFFICES],
        domains=OFFICES,
        datasets=[Dataset(office, DIGITS) for office in OFFICES],
        attributes=[Attribute("annotator", levels=ANNOTATORS), Attribute("paper", levels=tuple(PAPERS))],
        config=TRAINING.describe(n_train=len(train), planted={"kind": "nothing"}),
        method="sum of losses",
    ) as rec:
        record_samples(rec, test)

        def probe(step: int) -> None:
            targets = dict.fromkeys(OFFICES, test.written)
            rec.update(summary=record_answers(rec, step, EachOffice(net), as_pictures(test.images), targets))
            rec.task_gradients(step, losses_of(net, probed), net.trunk, n_batches=N_BATCHES, modules=MODULES)
            record_gsnr(rec, step, net, test)
            if step in EMBEDDED:
                ids = np.arange(N_EMBEDDED)
                rec.embeddings(step, net, as_pictures(test.images[ids]), sample=ids, layers=LAYERS)

        def draw(n: int) -> dict[str, Letters]:
            return {
                office: letters.take(rng.integers(len(letters), size=n // 2)) for office, letters in by_office.items()
            }

        fit(job, rec, net, TRAINING, draw, lambda letters: losses_of(net, letters), probe)
        record_labels(rec, job.variant.steps, net, test)
        save_net(rec, job.variant.steps, net)


def losses_of(net: Net, letters: dict[str, Letters]) -> dict[str, Float[Tensor, " _"]]:
    """Cross-entropy in nats of every office's letters."""
    return {
        office: loss_of(net, as_pictures(part.images), torch.from_numpy(part.written))
        for office, part in letters.items()
    }


def loss_of(net: Net, images: Float[Tensor, "B C H W"], labels: Tensor) -> Float[Tensor, " B"]:
    return cross_entropy(net(images)[HEAD], labels, reduction="none")


def record_samples(rec: RunWriter, test: Letters) -> None:
    thumbnails = pngs(test.images[:N_PICTURED], levels=6)
    rec.samples(
        {
            "sample": np.arange(len(test)),
            "dataset": test.office,
            "domain": test.office,
            "split": "test",
            "annotator": test.annotator,
            "paper": test.paper,
            "thumbnail": thumbnails + [None] * (len(test) - N_PICTURED),
        }
        | {f"target_{office}": test.written for office in OFFICES}
    )


def record_labels(rec: RunWriter, step: int, net: Net, test: Letters) -> None:
    """What was written on every letter, and what the head says to it in the name of either office."""
    said = predictions.collect(EachOffice(net), batches_of(as_pictures(test.images), {}))
    answers = {TRUTH: test.written} | {office: said[office].prediction for office in OFFICES}
    for office in OFFICES:
        ids = np.flatnonzero(test.office == office)
        for source, labels in answers.items():
            names = np.array(DIGITS)[labels[ids]]
            rec.label_counts(dataset=office, sample=ids, label=names, source=source, step=step)


def record_gsnr(rec: Recorder, step: int, net: Net, test: Letters) -> None:
    """GSNR per office and over both."""
    batches, names = [], []
    for office in OFFICES:
        some = test.take(np.flatnonzero(test.office == office)[:N_GSNR])
        parts = list(batches_of(as_pictures(some.images), {HEAD: some.written}, size=32))
        batches += [(images, targets[HEAD]) for images, targets in parts]
        names += [office] * len(parts)
    rec.gsnr(step, net, lambda images, labels: loss_of(net, images, labels), batches, domains=names)
