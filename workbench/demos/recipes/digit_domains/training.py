"""Leave one domain out: train on five of six digit domains by plain risk minimisation (ERM), look at the sixth."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy

from workbench.core import Domain, RunWriter, Task
from workbench.demos.data import Digits, pngs
from workbench.demos.data.domains import DOMAINS, digit_domains
from workbench.demos.nets import Net, NetSpec, save_net
from workbench.demos.recipe import Job
from workbench.demos.trainer import Training, as_pictures, batches_of, fit, record_answers
from workbench.diagnostics.recorder import Recorder

TASK = "digit"
#: Variant -> the domain that takes no part in training.
HELD_OUT = {f"without-{name}": name for name in ("photographs", "inverted", "uci")}
LAYERS = ("trunk.conv1", "trunk.conv3", "trunk.embed")
TRAINING = Training(probes=(0, 50, 150, 300, 500), batch=75)
MODULES = ("conv1", "conv2", "conv3", "embed")
N_TEST, N_GSNR, N_PROBE, N_BATCHES = 120, 60, 192, 6


def record(job: Job) -> None:
    rng = np.random.default_rng(job.seed)
    held_out = HELD_OUT[job.variant.name]
    train, test = digit_domains(N_TEST, rng)
    sources = [name for name in DOMAINS if name != held_out]
    net = Net(NetSpec({TASK: 10}, features=32))
    with job.recorder(
        model=net,
        tasks=[Task(TASK, classes=tuple("0123456789"))],
        domains=[Domain(name, held_out=name == held_out) for name in DOMAINS],
        datasets=["mnist", "uci"],
        config=TRAINING.describe(held_out=held_out, n_train=sum(len(train[name]) for name in sources)),
        method="ERM",
    ) as rec:
        record_samples(rec, test)
        everything, some = _joined(test), {name: _drawn(digits, N_GSNR, rng) for name, digits in test.items()}
        probed = {name: _drawn(train[name], N_PROBE, rng) for name in sources}

        def draw(n: int) -> Digits:
            return _joined({name: _drawn(train[name], n // len(sources), rng) for name in sources})

        def probe(step: int) -> None:
            answer(rec, step, net, test, held_out)
            ids = np.arange(len(everything))
            rec.embeddings(step, net, as_pictures(everything.images), sample=ids, layers=LAYERS)
            record_gsnr(rec, step, net, some)
            # Each source plays a task: do the domains pull the trunk in one direction?
            losses = {name: loss_of(net, digits) for name, digits in probed.items()}
            rec.task_gradients(step, losses, net.trunk, n_batches=N_BATCHES, modules=MODULES)

        fit(job, rec, net, TRAINING, draw, lambda digits: {TASK: loss_of(net, digits)}, probe)
        save_net(rec, job.variant.steps, net)


def loss_of(net: Net, digits: Digits) -> Float[Tensor, " B"]:
    return cross_entropy(net(as_pictures(digits.images))[TASK], torch.from_numpy(digits.labels), reduction="none")


def record_samples(rec: RunWriter, test: Mapping[str, Digits]) -> None:
    everything = _joined(test)
    domain = np.repeat(list(test), [len(digits) for digits in test.values()])
    rec.samples(
        {
            "sample": np.arange(len(everything)),
            "dataset": np.where(domain == "uci", "uci", "mnist"),
            "domain": domain,
            "split": "test",
            f"target_{TASK}": everything.labels,
            "thumbnail": pngs(everything.images),
        }
    )


def answer(rec: RunWriter, step: int, net: Net, test: Mapping[str, Digits], held_out: str) -> None:
    """Record the answers on every domain's test digits, accuracy per domain, and a summary."""
    everything = _joined(test)
    domain = np.repeat(list(test), [len(digits) for digits in test.values()])
    accuracy = record_answers(rec, step, net, as_pictures(everything.images), {TASK: everything.labels}, domain)
    unseen = accuracy[f"accuracy/{TASK}/{held_out}"]
    seen = [accuracy[f"accuracy/{TASK}/{name}"] for name in test if name != held_out]
    rec.update(summary={"accuracy/seen domains": float(np.mean(seen)), "accuracy/held-out domain": unseen})


def record_gsnr(rec: Recorder, step: int, net: Net, some: Mapping[str, Digits]) -> None:
    """GSNR of all test digits together and of each domain alone: test digits, so that nothing is memorised."""

    def loss(images: Tensor, targets: Mapping[str, Tensor]) -> Float[Tensor, " B"]:
        return cross_entropy(net(images)[TASK], targets[TASK], reduction="none")

    batches, names = [], []
    for name, digits in some.items():
        parts = list(batches_of(as_pictures(digits.images), {TASK: digits.labels}, size=20))
        batches += parts
        names += [name] * len(parts)
    rec.gsnr(step, net, loss, batches, domains=names, detail=True)


def _joined(parts: Mapping[str, Digits]) -> Digits:
    return Digits(
        np.concatenate([part.images for part in parts.values()]),
        np.concatenate([part.labels for part in parts.values()]),
    )


def _drawn(digits: Digits, n: int, rng: np.random.Generator) -> Digits:
    return digits.take(rng.integers(len(digits), size=n))
