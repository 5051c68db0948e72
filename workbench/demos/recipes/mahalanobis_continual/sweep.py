"""The method with teachers of different memory, several trainings of each: what does γ trade for what?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace

import numpy as np
import torch
from jaxtyping import Float

from workbench.core import Domain, RunWriter, Task
from workbench.demos.data.streams import DOMAINS, SEEN, UNSEEN
from workbench.demos.recipe import Job
from workbench.demos.recipes.mahalanobis_continual.study import N_CLASSES, N_TASKS, Setting, Study

DECAYS = (0.0, 0.9, 0.97, 0.99, 0.997, 0.999, 1.0)
REPETITIONS = 5
SETTING_NAME = "γ, the weight of the past in the teacher"
#: Read by the domains lens.
ARRAY = "stability_sweep"
_SCOPES: Mapping[str, tuple[str, ...]] = {"seen": SEEN, "unseen": UNSEEN}


def sweep(job: Job, setting: Setting, task: str, tag: str) -> None:
    """Train ``setting`` with every decay; the accuracies of the first training with its own decay are logged, too.

    Args:
        task: Name of what answers.
        tag: How the names of logged accuracies begin.
    """
    per_task = max(1, job.variant.steps // (N_TASKS * len(DECAYS) * REPETITIONS))
    with job.recorder(
        tasks=[Task(task, classes=tuple(str(digit) for digit in range(N_CLASSES)))],
        domains=[Domain(name, held_out=name in UNSEEN) for name in DOMAINS],
        datasets=["uci", "mnist"],
        config={"steps_per_task": per_task, "sweep": SETTING_NAME, "repetitions": REPETITIONS, **asdict(setting)},
        method="mahalanobis_continual",
    ) as rec:
        found = {
            f"{kind}/{scope}": np.full((len(DECAYS), REPETITIONS), np.nan)
            for kind in ("old", "new")
            for scope in _SCOPES
        }
        for i, decay in enumerate(DECAYS):
            config = replace(setting.config, decay=decay)
            for repetition in range(REPETITIONS):
                seed = 1000 * job.seed + repetition
                accuracy = learned(job, replace(setting, config=config), seed, per_task)
                for name, value in both_sides(accuracy).items():
                    found[name][i, repetition] = value
                if decay == setting.config.decay and repetition == 0:
                    log_accuracy(rec, accuracy, per_task, tag)
        rec.array(ARRAY, N_TASKS * per_task, {"values": np.array(DECAYS), **found})
        best = found["old/seen"].mean(axis=1)
        job.results({"best decay": DECAYS[int(best.argmax())], "accuracy/earlier tasks": float(best.max())})


def learned(job: Job, setting: Setting, seed: int, per_task: int) -> Float[np.ndarray, "T G T"]:
    """Accuracy after every task, per domain and task, of one training."""
    torch.manual_seed(seed)
    study = Study(setting, seed)
    accuracy = []
    for _ in range(N_TASKS):
        study.begin_task()
        for _ in range(per_task):
            job.tick()
            study.step()
        study.end_task()
        accuracy.append(study.accuracy(study.answers(averaged=False)))
    return np.stack(accuracy)


def log_accuracy(rec: RunWriter, accuracy: Float[np.ndarray, "T G T"], per_task: int, tag: str) -> None:
    """Log the accuracy on every task so far after each task."""
    for t, matrix in enumerate(accuracy):
        known = {(d, u): float(matrix[d, u]) for d in range(len(DOMAINS)) for u in range(t + 1)}
        rec.scalars((t + 1) * per_task, {f"{tag}/task {u + 1}/{DOMAINS[d]}": value for (d, u), value in known.items()})


def both_sides(accuracy: Float[np.ndarray, "T G T"]) -> dict[str, float]:
    """``old``: on all tasks but the last, in the end; ``new``: on each task just after it was learned."""
    sides = {}
    for scope, names in _SCOPES.items():
        matrix = accuracy[:, [DOMAINS.index(name) for name in names]].mean(axis=1)
        sides[f"old/{scope}"] = float(matrix[-1, :-1].mean())
        sides[f"new/{scope}"] = float(np.diagonal(matrix).mean())
    return sides
