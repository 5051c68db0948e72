"""Digits with a cue: a small net trained with masks on its weights, and tested where the cue is broken."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from workbench.core import Domain, RunWriter, Task
from workbench.demos.data.cues import (
    CUELESS_SOURCES,
    CUELESS_TARGETS,
    INPUT_GROUPS,
    SEEN,
    SIZE,
    SOURCES,
    TARGETS,
    Cued,
    cued_domains,
)
from workbench.demos.data.thumbnails import pngs
from workbench.demos.masking import Masking
from workbench.demos.recipe import Job
from workbench.demos.recipes.gsnr_shortcut.setting import (
    FULL,
    TRAINING,
    Batch,
    accuracy,
    draw_batch,
    losses_with,
    make_net,
    per_sample_loss,
    tensors,
)
from workbench.demos.recipes.gsnr_shortcut.sweep import sweep
from workbench.demos.trainer import fit
from workbench.diagnostics import gsnr
from workbench.diagnostics.recorder import Recorder
from workbench.methods.gsnr_dropout import Config, hard_mask

TASK = "digit"
#: Variant -> settings; outer_lr was chosen on the tuning seeds, the ratios are the specification's.
CONFIGS: Mapping[str, Config] = {
    "erm": Config(ratio=0.0),
    "random": Config(score="random"),
    "domains": Config(),
    "domains-gradient": Config(site="gradient"),
    "early": Config(ratio=0.1, until=50),
    "learned": Config(learned=True, inner_lr=TRAINING.lr, outer_lr=300.0),
    "lowest": Config(drop="lowest"),
    "samples": Config(score="samples"),
    "size": Config(score="size"),
    "steps": Config(score="steps"),
}
#: How the names of variants begin whose digits have no cue, and are tested turned.
TURNED = "turned-"
#: The shortcut is looked for in this share of the first layer's weights; early and late in training.
TOP_SHARE, EARLY, LATE = 0.1, 20, 150
FIRST = "first.weight"
N_PICTURED = 120
#: Steps at which predictions are recorded.
ANSWERED = (20, 500)


def record(job: Job) -> None:
    if job.variant.name == "ratio-sweep":
        sweep(job)
        return
    rng = np.random.default_rng(job.seed)
    cueless = job.variant.name.startswith(TURNED)
    worlds = (CUELESS_SOURCES, CUELESS_TARGETS) if cueless else (SOURCES, TARGETS)
    sources, targets = cued_domains(rng, *worlds)
    net, config = make_net(), CONFIGS[job.variant.name.removeprefix(TURNED)]
    batches = {name: tensors(cued) for name, cued in sources.items()}
    with job.recorder(
        tasks=[Task(TASK, classes=tuple("0123456789"))],
        domains=[*(Domain(name) for name in sources), *(Domain(name, held_out=True) for name in targets)],
        datasets=["uci"],
        config=TRAINING.describe(
            n_train=sum(map(len, sources.values())),
            input_groups=dict(INPUT_GROUPS),
            input_shape=[SIZE, SIZE],
            top_share=TOP_SHARE,
            dropout=vars(config),
        ),
        method="ERM" if config.ratio == 0 else f"GSNR dropout ({job.variant.name})",
    ) as rec:
        masking: Masking[Batch] = Masking(
            rec, net, lambda p, batch, domains: losses_with(net, p, batch, domains), tuple(SOURCES), config, job.seed
        )
        shares: dict[int, float] = {}
        if not job.lean:
            record_samples(rec, targets)

        def probe(step: int) -> None:
            if not cueless:
                shares[step] = record_cue_share(rec, step, net, batches)
            if not job.lean and step in FULL:
                record_fully(rec, step, net, batches, targets, masking)

        fit(
            job, rec, net, TRAINING, lambda n: draw_batch(batches, n, rng), masking.losses, probe, rule=masking.rule
        )  # fmt: skip
        unseen = next(name for name in targets if name != SEEN)
        found = {
            "accuracy/unseen": accuracy(net, tensors(targets[unseen])),
            "accuracy/seen": accuracy(net, tensors(targets[SEEN])),
            "ratio": float(np.mean(list(masking.method.ratios.values()))),
        }
        job.results(found | ({} if cueless else largest_shares(shares)))
        if not job.lean:
            rec.checkpoint_model(job.variant.steps, net)


def base_share() -> float:
    """The cue's share of all first-layer weights."""
    return INPUT_GROUPS["cue"] / sum(INPUT_GROUPS.values())


def largest_shares(shares: Mapping[int, float]) -> dict[str, float]:
    """The cue's largest share of the highest GSNR, early and late in training, in multiples of its share of weights."""
    late = min(LATE, max(shares))  # a training that is cut short has only what it reached
    times = {step: share / base_share() for step, share in shares.items()}
    return {
        "cue share early": max(value for step, value in times.items() if step <= EARLY),
        "cue share late": max(value for step, value in times.items() if step >= late),
    }


def record_cue_share(rec: RunWriter, step: int, net: nn.Module, batches: Batch) -> float:
    """Which inputs the first-layer weights with the highest GSNR between samples read: ``top gsnr/<group>``.

    Returns:
        The cue's share.
    """
    first = {FIRST: net.get_parameter(FIRST)}
    moments = gsnr.measure(net, lambda x, y: per_sample_loss(net, x, y), list(batches.values()), parameters=first)
    top = ~hard_mask(torch.from_numpy(moments.gsnr(FIRST, corrected=False)), TOP_SHARE)
    columns = top.sum(dim=0).double().split(list(INPUT_GROUPS.values()))
    shares = {name: float(part.sum() / top.sum()) for name, part in zip(INPUT_GROUPS, columns, strict=True)}
    rec.scalars(step, {f"top gsnr/{name}": share for name, share in shares.items()})
    return shares["cue"]


def record_samples(rec: RunWriter, targets: Mapping[str, Cued]) -> None:
    first = 0
    for name, cued in targets.items():
        rec.samples(
            {
                "sample": first + np.arange(len(cued)),
                "dataset": "uci",
                "domain": name,
                "split": "test",
                f"target_{TASK}": cued.labels,
                "thumbnail": [*pngs(cued.pictures[:N_PICTURED]), *[None] * (len(cued) - N_PICTURED)],
            }
        )
        first += len(cued)


def record_fully(
    rec: Recorder, step: int, net: nn.Module, sources: Batch, targets: Mapping[str, Cued], masking: Masking[Batch]
) -> None:
    """GSNR by domain, the last mask, accuracy on the sources with and without it, and predictions on the targets."""
    rec.gsnr(
        step, net, lambda x, y: per_sample_loss(net, x, y), list(sources.values()), domains=list(sources), detail=True
    )
    masking.record_mask(step, scored=[FIRST])
    whole, masked = masking.with_and_without(lambda: float(np.mean([accuracy(net, data) for data in sources.values()])))
    rec.scalars(step, {"accuracy/sources, whole net": whole})
    if masked is not None:
        rec.scalars(step, {"accuracy/sources, masked net": masked})
    ids = np.arange(sum(map(len, targets.values())))
    if step in ANSWERED:
        rec.predict(step, net, [tensors(cued) for cued in targets.values()], ids, task=TASK)
