"""Leave one digit domain out: plain training, plain dropout, RSC and GSNR dropout on the same batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from workbench.core import Domain, RunWriter, Task
from workbench.demos.data import Digits, pngs
from workbench.demos.data.domains import DOMAINS, digit_domains
from workbench.demos.masking import Masking
from workbench.demos.nets import Net, NetSpec, save_net
from workbench.demos.recipe import Job
from workbench.demos.recipes.gsnr_dropout import HELD_OUT, STEPS
from workbench.demos.recipes.gsnr_dropout.baselines import Drop, dropout, rsc
from workbench.demos.trainer import Training, as_pictures, fit, record_answers
from workbench.diagnostics.recorder import Recorder
from workbench.methods.gsnr_dropout import Config

TASK = "digit"
N_SOURCES = len(DOMAINS) - 1
PROBES = (0, 20, 50, 100, 200, STEPS)
#: The loss is a sum over the sources, so the learning rate is that of their mean over their number.
TRAINING = Training(probes=PROBES, lr=0.05 / N_SOURCES, batch=15 * N_SOURCES)
N_TEST, N_GSNR, N_ANSWERED = 120, 40, 40
#: Chosen on the tuning seeds, each from two to six settings, by the accuracy on the domain left out.
OFF = Config(ratio=0.0)
CONFIGS: Mapping[str, Config] = {
    "fixed": Config(ratio=0.05, until=STEPS // 4),
    "learned": Config(learned=True, inner_lr=TRAINING.lr, outer_lr=30.0),
}
DROPOUT, RSC_FEATURES, RSC_BATCH = 0.1, 0.1, 1 / 3

Batch = Mapping[str, tuple[Tensor, Tensor]]


def record(job: Job) -> None:
    rng = np.random.default_rng(job.seed)
    way, _, short = job.variant.name.partition("-without-")
    held_out = HELD_OUT[short]
    train, test = digit_domains(N_TEST, rng)
    sources = tuple(name for name in DOMAINS if name != held_out)
    net = Net(NetSpec({TASK: 10}, size=(14, 14), width=8, features=32, slope=0.1))
    config = CONFIGS.get(way, OFF)
    with job.recorder(
        model=net,
        tasks=[Task(TASK, classes=tuple("0123456789"))],
        domains=[Domain(name, held_out=name == held_out) for name in DOMAINS],
        datasets=["mnist", "uci"],
        config=TRAINING.describe(
            held_out=held_out, n_train=sum(len(train[name]) for name in sources), dropout=vars(config)
        ),
        method={"erm": "ERM", "dropout": "Dropout", "rsc": "RSC"}.get(way, f"GSNR dropout ({way})"),
    ) as rec:
        data = {name: tensors(train[name]) for name in sources}
        losses = Losses(net, drop_of(way, net, job.seed))
        masking: Masking[Batch] = Masking(rec, net, losses, sources, config, job.seed)
        answered = {name: test[name].take(np.arange(N_ANSWERED)) for name in DOMAINS}
        if not job.lean:
            record_samples(rec, answered)

        def probe(step: int) -> None:
            if not job.lean:
                record_fully(rec, step, net, answered, masking)

        fit(job, rec, net, TRAINING, lambda n: draw_batch(data, n, rng), masking.losses, probe, rule=masking.rule)
        unseen = joined([train[held_out], test[held_out]])  # none of it took part in training
        job.results(
            {
                "accuracy/unseen": accuracy(net, unseen),
                "accuracy/seen": float(np.mean([accuracy(net, test[name]) for name in sources])),
                "ratio": float(np.mean(list(masking.method.ratios.values()))) if masking.method.active else 0.0,
            }
        )
        if not job.lean:
            save_net(rec, job.variant.steps, net)


class Losses:
    """Domain -> cross-entropy of every sample in nats: of the net with given parameters, or with features dropped."""

    def __init__(self, net: Net, drop: Drop | None) -> None:
        self.net, self.drop = net, drop

    def __call__(
        self, parameters: Mapping[str, Tensor], batch: Batch, domains: Sequence[str]
    ) -> dict[str, Float[Tensor, " _"]]:
        images = torch.cat([batch[name][0] for name in domains])
        labels = torch.cat([batch[name][1] for name in domains])
        if self.drop is None:
            logits = functional_call(self.net, dict(parameters), (images,))[TASK]
        else:
            logits = self.net.heads[TASK](self.drop(self.net.trunk(images), labels))
        nats = cross_entropy(logits, labels, reduction="none")
        return dict(zip(domains, nats.split([len(batch[name][1]) for name in domains]), strict=True))


def drop_of(way: str, net: Net, seed: int) -> Drop | None:
    """What a baseline does to the features."""
    if way == "dropout":
        return dropout(DROPOUT, seed)
    return rsc(net.heads[TASK], RSC_FEATURES, RSC_BATCH) if way == "rsc" else None


def halved(digits: Digits) -> np.ndarray:
    """Means of 2 x 2 pixels: [N, 14, 14]."""
    n, height, width = digits.images.shape
    return digits.images.reshape(n, height // 2, 2, width // 2, 2).mean(axis=(2, 4))


def tensors(digits: Digits) -> tuple[Float[Tensor, "N 1 14 14"], Tensor]:
    return as_pictures(halved(digits)), torch.from_numpy(digits.labels)


def joined(parts: Sequence[Digits]) -> Digits:
    return Digits(np.concatenate([part.images for part in parts]), np.concatenate([part.labels for part in parts]))


def draw_batch(data: Batch, n: int, rng: np.random.Generator) -> Batch:
    """As many samples of every source, n in all."""
    batch = {}
    for name, (images, labels) in data.items():
        index = torch.from_numpy(rng.integers(len(labels), size=n // len(data)))
        batch[name] = images[index], labels[index]
    return batch


@torch.no_grad()
def accuracy(net: Net, digits: Digits) -> float:
    images, labels = tensors(digits)
    return float((net(images)[TASK].argmax(dim=1) == labels).double().mean())


def record_samples(rec: RunWriter, answered: Mapping[str, Digits]) -> None:
    everything = joined(list(answered.values()))
    domain = np.repeat(list(answered), [len(digits) for digits in answered.values()])
    rec.samples(
        {
            "sample": np.arange(len(everything)),
            "dataset": np.where(domain == "uci", "uci", "mnist"),
            "domain": domain,
            "split": "test",
            f"target_{TASK}": everything.labels,
            "thumbnail": pngs(halved(everything), levels=8),
        }
    )


def record_fully(rec: Recorder, step: int, net: Net, answered: Mapping[str, Digits], masking: Masking[Batch]) -> None:
    """Answers by domain, GSNR by domain (test digits, so that nothing is memorised), and the last mask."""
    everything = joined(list(answered.values()))
    domain = np.repeat(list(answered), [len(digits) for digits in answered.values()])
    record_answers(rec, step, net, tensors(everything)[0], {TASK: everything.labels}, domain)
    batches = [tensors(digits.take(np.arange(N_GSNR))) for digits in answered.values()]
    rec.gsnr(
        step, net, lambda x, y: cross_entropy(net(x)[TASK], y, reduction="none"), batches, domains=list(answered)
    )  # fmt: skip
    masking.record_mask(step, scored=list(masking.method.masks))
