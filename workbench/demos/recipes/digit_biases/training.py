"""Digits under five factors, trained on a skewed mix in which two factors together went wrong."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy

from workbench.core import Attribute, RunWriter, Task
from workbench.demos.data import mnist, pngs
from workbench.demos.data.factors import TRAINING_SHARES, Factored, draw_factored, guess_labels
from workbench.demos.nets import Net, NetSpec, save_net
from workbench.demos.recipe import Job
from workbench.demos.trainer import Training, as_pictures, batches_of, fit, record_answers
from workbench.diagnostics.recorder import Recorder

TASK = "digit"
#: The levels that hurt together: the annotators guessed the digits of such training pictures.
JOINT = {"rotation": "tilted", "blur": "blurred"}
TRAINING = Training(probes=(0, 100, 200, 400, 700))
#: Steps at which embeddings are recorded, a subset of the probes.
EMBEDDED = (0, 200, 700)
LAYERS = ("trunk.conv3", "trunk.embed")
#: Every training digit is drawn under this many sets of levels, every test digit under the second number.
TRAIN_DRAWS, TEST_DRAWS = 2, 3
N_TEST_DIGITS, N_PICTURED, N_GSNR = 1000, 900, 192


def record(job: Job) -> None:
    rng = np.random.default_rng(job.seed)
    train_digits, test_digits = mnist().split(N_TEST_DIGITS, rng)
    train = draw_factored(train_digits.take(np.tile(np.arange(len(train_digits)), TRAIN_DRAWS)), rng)
    train = guess_labels(train, JOINT, rng)
    test = draw_factored(test_digits.take(np.tile(np.arange(N_TEST_DIGITS), TEST_DRAWS)), rng, balanced=True)
    net = Net(NetSpec({TASK: 10}, channels=3, width=12))
    planted = {"kind": "joint effect", "levels": JOINT, "how": "labels of such training pictures are random"}
    shares = {factor: dict(levels) for factor, levels in TRAINING_SHARES.items()}
    with job.recorder(
        tasks=[Task(TASK, classes=tuple("0123456789"))],
        attributes=[Attribute(factor, levels=tuple(levels)) for factor, levels in TRAINING_SHARES.items()],
        config=TRAINING.describe(n_train=len(train.labels), training_shares=shares, planted=planted),
        method="ERM",
    ) as rec:
        record_samples(rec, test)

        def draw(n: int) -> tuple[Tensor, Tensor]:
            index = rng.integers(len(train.labels), size=n)
            return as_pictures(train.images[index]), torch.from_numpy(train.labels[index])

        def probe(step: int) -> None:
            rec.update(summary=record_answers(rec, step, net, as_pictures(test.images), {TASK: test.labels}))
            if step in EMBEDDED:
                ids = np.arange(N_PICTURED)
                rec.embeddings(step, net, as_pictures(test.images[ids]), sample=ids, layers=LAYERS)
                record_gsnr(rec, step, net, test)

        fit(job, rec, net, TRAINING, draw, lambda batch: {TASK: loss_of(net, *batch)}, probe)
        save_net(rec, job.variant.steps, net)


def loss_of(net: Net, images: Float[Tensor, "B C H W"], labels: Tensor) -> Float[Tensor, " B"]:
    return cross_entropy(net(images)[TASK], labels, reduction="none")


def record_samples(rec: RunWriter, test: Factored) -> None:
    """Describe the test pictures with all their levels; the first ones have thumbnails."""
    thumbnails = pngs(test.images[:N_PICTURED], levels=6)
    rec.samples(
        {
            "sample": np.arange(len(test.labels)),
            "dataset": "mnist",
            "split": "test",
            f"target_{TASK}": test.labels,
            "thumbnail": thumbnails + [None] * (len(test.labels) - N_PICTURED),
        }
        | dict(test.levels)
    )


def record_gsnr(rec: Recorder, step: int, net: Net, test: Factored) -> None:
    """GSNR over upright and tilted pictures as two domains, and over both."""
    batches, names = [], []
    for level in ("upright", "tilted"):
        chosen = np.flatnonzero(test.levels["rotation"] == level)[:N_GSNR]
        parts = list(batches_of(as_pictures(test.images[chosen]), {TASK: test.labels[chosen]}, size=32))
        batches += [(images, targets[TASK]) for images, targets in parts]
        names += [level] * len(parts)
    rec.gsnr(step, net, lambda images, labels: loss_of(net, images, labels), batches, domains=names)
