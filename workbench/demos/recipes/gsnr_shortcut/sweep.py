"""Many nets side by side, one for every rule, ratio and repetition: where does masking more turn into collapse?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from workbench.core import Domain, Task
from workbench.demos.data.cues import SEEN, SOURCES, UNSEEN, cued_domains
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
from workbench.methods.gsnr_dropout import Config, GsnrDropout

Rule = Literal["random", "domains", "samples"]
RULES: tuple[Rule, ...] = ("random", "domains", "samples")
RATIOS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
REPETITIONS = 3


@dataclass(frozen=True)
class Setting:
    """The data of one repetition, the same for all of its nets."""

    sources: Batch
    targets: Batch
    rng: np.random.Generator

    @staticmethod
    def drawn(seed: int, repetition: int) -> Setting:
        rng = np.random.default_rng([seed, repetition])
        sources, targets = cued_domains(rng)
        return Setting(
            {name: tensors(cued) for name, cued in sources.items()},
            {name: tensors(cued) for name, cued in targets.items()},
            rng,
        )


class Learner:
    """One net with its rule and ratio, learning from the data of one repetition."""

    def __init__(self, config: Config, seed: int, repetition: int) -> None:
        torch.manual_seed(seed)
        self.repetition = repetition
        self.net = make_net()
        self.method = GsnrDropout(self.net, config, seed)
        self.optimizer = TRAINING.optimizer_for(self.net)

    def learn(self, batch: Batch) -> None:
        self.optimizer.zero_grad()
        losses = losses_with(self.net, self.method.parameters, batch, tuple(batch))
        self.method.backward(losses, lambda parameters, domains: losses_with(self.net, parameters, batch, domains))
        self.optimizer.step()


#: Rule -> learners [R ratios][repetitions]. Ratio 0 masks nothing, so that one learner serves all rules.
Learners = Mapping[str, Sequence[Sequence[Learner]]]


def make_learners(seed: int) -> Learners:
    def row(rule: Rule, ratio: float) -> list[Learner]:
        config = Config(ratio=ratio, score=rule)
        return [Learner(config, 1000 * seed + repetition, repetition) for repetition in range(REPETITIONS)]

    plain = row("random", 0.0)
    return {rule: [plain, *(row(rule, ratio) for ratio in RATIOS)] for rule in RULES}


def sweep(job: Job) -> None:
    """Train all nets in step; write the array ``ratio_cliff``, and the GSNR of one plainly trained net, at some steps.

    The array holds ``ratios`` [R] and, for every rule, ``seen/<rule>`` and ``unseen/<rule>`` [R, repetitions].
    """
    settings = [Setting.drawn(job.seed, repetition) for repetition in range(REPETITIONS)]
    learners = make_learners(job.seed)
    plain = learners["random"][0]
    every = dict.fromkeys(learner for rows in learners.values() for row in rows for learner in row)
    with job.recorder(
        tasks=[Task("digit", classes=tuple("0123456789"))],
        domains=[*(Domain(name) for name in SOURCES), Domain(SEEN, held_out=True), Domain(UNSEEN, held_out=True)],
        datasets=["uci"],
        config=TRAINING.describe(rules=RULES, ratios=RATIOS, repetitions=REPETITIONS),
        method="GSNR dropout (ratio sweep)",
    ) as rec:

        def probe(step: int) -> None:
            rec.array("ratio_cliff", step, accuracies(learners, settings))
            if not job.lean:
                net = plain[0].net
                batches = list(settings[0].sources.values())
                rec.gsnr(step, net, lambda x, y: per_sample_loss(net, x, y), batches, domains=list(SOURCES))

        for step in range(job.variant.steps):
            if step in FULL:
                probe(step)
            job.tick()
            batches = [draw_batch(setting.sources, TRAINING.batch, setting.rng) for setting in settings]
            for learner in every:
                learner.learn(batches[learner.repetition])
        probe(job.variant.steps)
        job.results({"accuracy/unseen": float(np.mean([measured(one, settings, UNSEEN) for one in plain]))})


def accuracies(learners: Learners, settings: Sequence[Setting]) -> dict[str, np.ndarray]:
    found = {"ratios": np.array([0.0, *RATIOS])}
    for rule, rows in learners.items():
        for where, target in (("seen", SEEN), ("unseen", UNSEEN)):
            found[f"{where}/{rule}"] = np.array([[measured(one, settings, target) for one in row] for row in rows])
    return found


def measured(learner: Learner, settings: Sequence[Setting], target: str) -> float:
    """Accuracy of the whole net, nothing masked."""
    return accuracy(learner.net, settings[learner.repetition].targets[target])
