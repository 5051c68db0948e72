"""The fault library's recordings: three tasks on digits from two sorting offices, with one planted cause a case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy

from workbench.core import Attribute, RunWriter, Task
from workbench.demos.data import mnist, pngs
from workbench.demos.data.letters import (
    ANNOTATORS,
    OFFICES,
    PAPERS,
    Letters,
    count_from_one,
    draw_letters,
    leak_paper,
    let_guess,
)
from workbench.demos.faults import FAULTS, Fault
from workbench.demos.nets import Net, NetSpec, save_net
from workbench.demos.recipe import Job
from workbench.demos.trainer import Training, as_pictures, batches_of, fit, record_answers
from workbench.diagnostics.recorder import Recorder

DIGITS = tuple("0123456789")
TASKS = (
    Task("digit", classes=DIGITS),
    Task("parity", classes=("even", "odd")),
    Task("large", classes=("below 5", "5 and above")),
)
ATTRIBUTES = {"office": OFFICES, "annotator": ANNOTATORS, "paper": PAPERS}
MODULES = ("conv1", "conv2", "conv3", "embed")
LAYERS = ("trunk.conv3", "trunk.embed")
TRAINING = Training(probes=(0, 10, 40, 80, 140, 220, 300), lr=0.02)
#: Steps at which embeddings are recorded, a subset of the probes.
EMBEDDED = (0, 140, 300)
N_TEST, N_PICTURED, N_EMBEDDED, N_PROBE, N_BATCHES, N_GSNR = 1000, 150, 340, 2048, 8, 96


def record(job: Job) -> None:
    fault = FAULTS[job.variant.name]
    rng = np.random.default_rng(job.seed)
    train, test = (draw_letters(part, rng) for part in mnist().split(N_TEST, rng))
    train, test = planted_in_labels(fault, train, rng), planted_in_labels(fault, test, rng)
    if fault.leaked_paper is not None:
        train = leak_paper(train, *fault.leaked_paper, rng)
    training = replace(TRAINING, lr=TRAINING.lr * fault.lr_factor)
    net = Net(NetSpec({task.name: len(task.classes) for task in TASKS}, channels=3, width=8, features=24, slope=0.1))
    if fault.copied_task is not None:
        copy, original = fault.copied_task
        net.heads[copy].load_state_dict(net.heads[original].state_dict())
    with job.recorder(
        model=net,
        tasks=TASKS,
        domains=OFFICES,
        attributes=[Attribute(name, levels=tuple(levels)) for name, levels in ATTRIBUTES.items()],
        config=training.describe(n_train=len(train), planted=fault.planted()),
        method="sum of losses",
    ) as rec:
        record_samples(rec, test, fault)
        probed = train.take(np.arange(N_PROBE))

        def probe(step: int) -> None:
            targets = targets_of(test, fault)
            rec.update(summary=record_answers(rec, step, net, as_pictures(test.images), targets))
            rec.task_gradients(step, losses_of(net, probed, fault), net.trunk, n_batches=N_BATCHES, modules=MODULES)
            record_gsnr(rec, step, net, test, fault)
            if step in EMBEDDED:
                ids = np.arange(N_EMBEDDED)
                rec.embeddings(step, net, as_pictures(test.images[ids]), sample=ids, layers=LAYERS)

        def draw(n: int) -> Letters:
            return train.take(rng.integers(len(train), size=n))

        fit(job, rec, net, training, draw, lambda letters: losses_of(net, letters, fault), probe)
        save_net(rec, job.variant.steps, net)


def planted_in_labels(fault: Fault, letters: Letters, rng: np.random.Generator) -> Letters:
    """What the annotators of this case wrote down."""
    for annotator, share in fault.guessing_annotator.items():
        letters = let_guess(letters, annotator, share, rng)
    return count_from_one(letters, fault.shifted_office) if fault.shifted_office else letters


def targets_of(letters: Letters, fault: Fault) -> dict[str, np.ndarray]:
    targets = {"digit": letters.written, "parity": letters.written % 2, "large": (letters.written >= 5).astype(int)}
    if fault.copied_task is not None:
        copy, original = fault.copied_task
        targets[copy] = targets[original]
    return targets


def losses_of(net: Net, letters: Letters, fault: Fault) -> dict[str, Float[Tensor, " B"]]:
    targets = {task: torch.from_numpy(values) for task, values in targets_of(letters, fault).items()}
    return scaled_losses(net, as_pictures(letters.images), targets, fault)


def scaled_losses(
    net: Net, images: Float[Tensor, "B C H W"], targets: Mapping[str, Tensor], fault: Fault
) -> dict[str, Float[Tensor, " B"]]:
    """Cross-entropy per task and sample in nats, times the case's factor."""
    return {
        task: fault.loss_scale.get(task, 1.0) * cross_entropy(logits, targets[task], reduction="none")
        for task, logits in net(images).items()
    }


def record_samples(rec: RunWriter, test: Letters, fault: Fault) -> None:
    """Describe the test letters; the first ones have thumbnails."""
    thumbnails = pngs(test.images[:N_PICTURED], levels=6)
    rec.samples(
        {
            "sample": np.arange(len(test)),
            "domain": test.office,
            "office": test.office,
            "split": "test",
            "annotator": test.annotator,
            "paper": test.paper,
            "thumbnail": thumbnails + [None] * (len(test) - N_PICTURED),
        }
        | {f"target_{task}": values for task, values in targets_of(test, fault).items()}
    )


def record_gsnr(rec: Recorder, step: int, net: Net, test: Letters, fault: Fault) -> None:
    """GSNR of the sum of losses per office and over both."""

    def total(images: Tensor, targets: Mapping[str, Tensor]) -> Float[Tensor, " B"]:
        return torch.stack(list(scaled_losses(net, images, targets, fault).values())).sum(0)

    batches, names = [], []
    for office in OFFICES:
        some = test.take(np.flatnonzero(test.office == office)[:N_GSNR])
        parts = list(batches_of(as_pictures(some.images), targets_of(some, fault), size=32))
        batches += parts
        names += [office] * len(parts)
    rec.gsnr(step, net, total, batches, domains=names)
