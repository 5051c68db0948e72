"""Small recorded runs with known biases, for the tests of the bias lens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from workbench.core import Run, RunWriter

LEVELS = {"blur": ("none", "strong"), "rotation": ("0", "45", "90"), "ink": ("black", "red")}


def planted(blur: np.ndarray, rotation: np.ndarray, ink: np.ndarray) -> np.ndarray:
    """Probability of a right answer: blur costs 10 points, 90 degrees 12, both together 25 more; ink costs nothing."""
    return (
        0.95 - 0.10 * (blur == "strong") - 0.12 * (rotation == "90") - 0.25 * ((blur == "strong") & (rotation == "90"))
    )


def write_run(
    path: Path,
    n: int = 3000,
    seed: int = 0,
    probability: float | None = None,
    steps: Sequence[int] = (100, 200),
    n_classes: int = 10,
) -> Run:
    """A run of one task 'digit' with the attributes of LEVELS; with ``probability`` all groups are treated alike."""
    rng = np.random.default_rng(seed)
    chosen = {name: rng.choice(levels, n) for name, levels in LEVELS.items()}
    target = rng.integers(0, n_classes, n)
    right = planted(**chosen) if probability is None else np.full(n, probability)
    attributes = [{"name": name, "kind": "categorical", "levels": levels} for name, levels in LEVELS.items()]
    tasks = [{"name": "digit", "classes": tuple(f"digit {i}" for i in range(n_classes))}]
    with RunWriter(path, tasks=tasks, attributes=attributes) as writer:
        writer.samples({"sample": np.arange(n), "split": "test", "target_digit": target} | chosen)
        for i, step in enumerate(steps):
            share = right if i == len(steps) - 1 else np.full(n, 0.5)
            wrong = (target + rng.integers(1, n_classes, n)) % n_classes
            prediction = np.where(rng.random(n) < share, target, wrong)
            confidence = rng.uniform(0.5, 1.0, n)
            writer.predictions(
                step,
                "digit",
                sample=np.arange(n),
                prediction=prediction,
                confidence=confidence,
                loss=-np.log(confidence),
            )
    return Run(path)


def write_table(
    path: Path,
    columns: Mapping[str, object],
    target: Sequence[object],
    prediction: Sequence[object],
    **info: object,
) -> Run:
    """A run of one step from plain columns: attributes, targets and predictions of the task 'digit'."""
    n = len(target)
    loss = columns.get("loss", np.nan)
    confidence = columns.get("confidence", np.nan)
    described = {name: value for name, value in columns.items() if name not in ("loss", "confidence")}
    with RunWriter(path, tasks=info.pop("tasks", ["digit"]), **info) as writer:
        writer.samples({"sample": np.arange(n), "target_digit": target} | described)
        writer.predictions(1, "digit", sample=np.arange(n), prediction=prediction, loss=loss, confidence=confidence)
    return Run(path)
