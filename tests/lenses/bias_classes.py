"""Recorded runs whose predictions hold several classes each, with what was predicted and what is true."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from workbench.core import Run, RunWriter
from workbench.core.outcomes import of_labels, of_maps

TAGS, REGIONS = ("cat", "dog", "rain"), ("road", "car", "sky")


def labels(n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """side [N], said [N, 3], true [N, 3], logits [N, 3]: side "right" misses the label "dog" in half of all cases."""
    rng = np.random.default_rng(seed)
    side = rng.choice(["left", "right"], n)
    true = (rng.random((n, 3)) < [0.5, 0.4, 0.1]).astype(int)
    wrong = np.full((n, 3), 0.1)
    wrong[(side == "right") & (true[:, 1] == 1), 1] = 0.5
    said = np.where(rng.random((n, 3)) < wrong, 1 - true, true)
    logits = np.where(said == 1, 1, -1) * rng.uniform(0.2, 4, (n, 3))
    return side, said, true, logits


def write_labels(path: Path, n: int = 400, seed: int = 0) -> Run:
    side, said, true, logits = labels(n, seed)
    with RunWriter(path, tasks=[{"name": "tags", "kind": "multilabel", "classes": TAGS}], attributes=["side"]) as rec:
        rec.samples({"sample": np.arange(n), "side": side})
        for step, given in ((0, true[::-1]), (9, said)):
            counts = of_labels(given, true)
            rec.predictions(step, "tags", sample=np.arange(n), loss=counts["fp"].sum(axis=1), logits=logits, **counts)
    return Run(path)


def maps(n: int = 120, seed: int = 0, size: int = 8) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """light [N], said [N, size, size], true: at night a fifth of the pixels of cars is called road, by day 5 %.

    Every tenth picture holds no car, and pictures differ in how hard they are.
    """
    rng = np.random.default_rng(seed)
    light = rng.choice(["day", "night"], n)
    true = np.zeros((n, size, size), dtype=int)
    true[:, : size // 2] = 2
    true[np.arange(n) % 10 > 0, size // 2 : size - 1, 1:4] = 1
    hard = rng.uniform(0.5, 1.5, (n, 1, 1))
    missed = (true == 1) & (rng.random(true.shape) < hard * np.where(light == "night", 0.2, 0.05)[:, None, None])
    blurred = rng.random(true.shape) < 0.02
    return light, np.where(missed, 0, np.where(blurred, 2, true)), true


def write_maps(path: Path, n: int = 120, seed: int = 0) -> Run:
    light, said, true = maps(n, seed)
    tasks = [{"name": "seg", "kind": "segmentation", "classes": REGIONS}]
    with RunWriter(path, tasks=tasks, attributes=["light"]) as rec:
        rec.samples({"sample": np.arange(n), "light": light})
        rec.predictions(5, "seg", sample=np.arange(n), loss=(said != true).mean(axis=(1, 2)), **of_maps(said, true, 3))
    return Run(path)
