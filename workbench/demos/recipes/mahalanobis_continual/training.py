"""Learn the digits two at a time in three domains; after every task, look at all so far in all domains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from workbench.core import Attribute, Domain, RunWriter, Task
from workbench.core.continual import average_accuracy, forgetting
from workbench.demos.data import pngs
from workbench.demos.data.streams import DOMAINS, UNSEEN
from workbench.demos.recipe import Job
from workbench.demos.recipes.mahalanobis_continual.study import (
    N_CLASSES,
    N_TASKS,
    SCOPES,
    WIDTH,
    Setting,
    Study,
    shown_digits,
)
from workbench.demos.recipes.mahalanobis_continual.sweep import sweep
from workbench.demos.trainer import DECIMALS
from workbench.diagnostics.recorder import Recorder
from workbench.methods.mahalanobis_continual import Config, MahalanobisHead

#: What each variant does. Settings come from the tuning seeds, each variant with the same number of trials.
SETTINGS: Mapping[str, Setting] = MappingProxyType(
    {
        "fine-tuning": Setting("linear", exemplars=0),
        "replay": Setting("linear"),
        "balanced": Setting("linear", balanced=50),
        "lwf": Setting("linear", Config(distil=3, decay=1), lr=5e-4),
        "ewc": Setting("linear", ewc=10, lr=5e-4),
        "linear-average": Setting("linear", Config(distil=3)),
        "euclidean": Setting("euclidean", Config(distil=3)),
        "metric-replay": Setting("mahalanobis", Config(rank=WIDTH, distil=0), lr=5e-4),
        "metric-lwf": Setting("mahalanobis", Config(rank=WIDTH, distil=1, decay=1), lr=5e-4, metric_lr=0.1),
        "metric-average": Setting("mahalanobis", Config(rank=WIDTH, distil=1), metric_lr=0.1),
    }
)
METHODS: Mapping[str, str] = MappingProxyType(
    {
        "fine-tuning": "fine-tuning",
        "replay": "replay",
        "balanced": "replay and a balanced end of every task",
        "lwf": "replay and distillation from the previous model (LwF)",
        "ewc": "replay and elastic weight consolidation (EWC)",
        "linear-average": "replay and distillation from a moving average",
        "euclidean": "Euclidean prototypes, distillation from a moving average",
        "metric-replay": "Mahalanobis metrics and replay",
        "metric-lwf": "Mahalanobis metrics, distillation from the previous model",
        "metric-average": "mahalanobis_continual",
    }
)
#: The model that trains and its moving average answer as two tasks.
MODEL, AVERAGE = "digit", "digit_average"
TAGS = {MODEL: "accuracy", AVERAGE: "accuracy of the average"}
#: The layer whose embeddings the classes measure.
LAYER = "backbone"
N_SHOWN, ENLARGED, LOG_EVERY = 80, 3, 10


def record(job: Job) -> None:
    if job.variant.name == "decay-sweep":
        sweep(job, SETTINGS["metric-average"], MODEL, TAGS[MODEL])
        return
    setting = SETTINGS[job.variant.name]
    study = Study(setting, job.seed)
    stages = [f"task {i + 1}: {a} and {b}" for i, (a, b) in enumerate(study.digits)]
    digits = tuple(str(digit) for digit in range(N_CLASSES))
    with job.recorder(
        model=study.net,
        tasks=[Task(name, classes=digits) for name in (MODEL, AVERAGE)],
        domains=[Domain(name, held_out=name in UNSEEN) for name in DOMAINS],
        datasets=["uci", "mnist"],
        attributes=[Attribute("stream_stage", "ordered", tuple(stages))],
        config={"steps_per_task": job.variant.steps // N_TASKS, **asdict(setting)},
        method=METHODS[job.variant.name],
    ) as rec:
        if not job.lean:
            record_samples(rec, study, stages)
        matrices = {model: np.full((N_TASKS, len(DOMAINS), N_TASKS), np.nan) for model in TAGS}
        for task in range(N_TASKS):
            learn(job, rec, study)
            for model, matrix in matrices.items():
                matrix[task] = look(job, rec, study, model)
            if not job.lean:
                record_geometry(rec, job.ticks, study)
        results = {model: measures(matrix) for model, matrix in matrices.items()}
        job.results(
            results[MODEL]
            | {f"average/{name}": value for name, value in results[AVERAGE].items()}
            | {f"gain of the average/{name}": results[AVERAGE][name] - value for name, value in results[MODEL].items()}
        )


def learn(job: Job, rec: RunWriter, study: Study) -> None:
    """One task."""
    study.begin_task(job.gradients)
    for _ in range(job.variant.steps // N_TASKS):
        step = job.ticks
        job.tick()
        losses = study.step()
        if step % LOG_EVERY == 0:
            rec.scalars(step, {f"loss/{name}": value for name, value in losses.items()})
            rec.scalars(step, {"teacher/distance": study.learner.teacher.distance(study.net)} | longest_metric(study))
    study.end_task()


def longest_metric(study: Study) -> dict[str, float]:
    """max over classes of ‖L_c‖₂: scores are quadratic in it, and it must not run away."""
    head = study.net.head
    if not isinstance(head, MahalanobisHead):
        return {}
    return {"metric/largest length": float(torch.linalg.matrix_norm(head.factors.detach(), ord=2).max())}


def look(job: Job, rec: RunWriter, study: Study, model: str) -> Float[np.ndarray, "G T"]:
    """Accuracy per domain and task, NaN where not learned yet; recorded, with the answers unless the job is lean."""
    answers = study.answers(averaged=model == AVERAGE)
    accuracy = study.accuracy(answers)
    accuracy[:, study.task + 1 :] = np.nan
    rec.scalars(
        job.ticks,
        {
            f"{TAGS[model]}/task {u + 1}/{name}": accuracy[d, u]
            for d, name in enumerate(DOMAINS)
            for u in range(study.task + 1)
        },
    )
    if not job.lean:
        record_answers(rec, job.ticks, study, model, answers)
    return accuracy


def record_answers(rec: RunWriter, step: int, study: Study, model: str, answers: Float[Tensor, "N C"]) -> None:
    """What is said of the recorded test pictures; the loss is NaN where the digit was not met yet."""
    index = shown_digits(study, len(study.test))
    shares = answers[index].log_softmax(dim=1)
    met, truth = study.order[: shares.shape[1]], study.test_labels[index]
    loss = -shares[np.arange(len(index)), np.minimum(truth, len(met) - 1)].numpy().astype(np.float64)
    rec.predictions(
        step,
        model,
        sample=np.arange(len(index)),
        prediction=met[shares.argmax(dim=1).numpy()],
        confidence=shares.amax(dim=1).exp().numpy().astype(np.float64).round(DECIMALS),
        loss=np.where(truth < len(met), loss, np.nan).round(DECIMALS),
    )


def measures(accuracy: Float[np.ndarray, "T G T"]) -> dict[str, float]:
    """Average accuracy and forgetting in the seen domains, in the unseen ones and in each of them; and the gap."""
    found = {}
    for scope, names in SCOPES.items():
        # What is not learned yet is never read, so any number may stand there.
        matrix = np.nan_to_num(accuracy[:, [DOMAINS.index(name) for name in names]].mean(axis=1))
        found[f"accuracy/{scope}"] = float(average_accuracy(matrix))
        found[f"forgetting/{scope}"] = float(forgetting(matrix))
    return found | {"gap": found["accuracy/seen"] - found["accuracy/unseen"]}


def record_samples(rec: RunWriter, study: Study, stages: list[str]) -> None:
    """The recorded test pictures; those that are embedded too have a thumbnail."""
    index = shown_digits(study, len(study.test))
    shown = study.test.take(index)
    large = shown.images.repeat(ENLARGED, axis=1).repeat(ENLARGED, axis=2)
    domain = np.array(DOMAINS)[shown.domains]
    rec.samples(
        {
            "sample": np.arange(len(index)),
            "dataset": np.where(domain == "mnist", "mnist", "uci"),
            "domain": domain,
            "split": "test",
            "stream_stage": np.array(stages)[study.test_labels[index] // 2],
            f"target_{MODEL}": shown.labels,
            f"target_{AVERAGE}": shown.labels,
            "thumbnail": [
                png if pictured else None
                for png, pictured in zip(pngs(large), np.isin(index, shown_digits(study, N_SHOWN)), strict=True)
            ],
        }
    )


def record_geometry(rec: Recorder, step: int, study: Study) -> None:
    """Embeddings of the pictured test digits, and what the classes met so far measure them by."""
    pictured = shown_digits(study, N_SHOWN)
    sample = np.searchsorted(shown_digits(study, len(study.test)), pictured)
    rec.embeddings(step, study.net, study.test_images[pictured], sample=sample, layers=[LAYER])
    head = study.net.head
    if isinstance(head, MahalanobisHead):
        arrays = {"factors": head.factors.detach().numpy().astype(np.float16)}
        rec.array(f"class_metrics.{LAYER}", step, arrays | {"classes": study.order[: study.net.n_classes]})
