"""Small synthetic runs with a planted domain shift, written through RunWriter."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from workbench.core import Run, RunWriter

LAYERS = ("stem", "trunk")
STEPS = (0, 100)


def write_run(
    path: Path,
    *,
    shifts: dict[str, float],
    held_out: tuple[str, ...] = (),
    harm: dict[str, float] | None = None,
    n: int = 120,
    width: int = 16,
    n_classes: int = 4,
    layers: tuple[str, ...] = LAYERS,
    steps: tuple[int, ...] = STEPS,
    predictions: bool = True,
    confidences: bool = True,
    seed: int = 0,
) -> Run:
    """Gaussian classes around fixed centres; domain d is translated by ``shifts[d]`` along one random direction, in the
    last layer at half length. ``harm[d]`` is the share of wrong predictions (0.05 elsewhere)."""
    rng = np.random.default_rng(seed)
    domains = list(shifts)
    domain = np.repeat(domains, n)
    target = np.tile(np.arange(n * len(domains)) % n_classes, 1)
    ids = np.arange(len(domain)) + 1000
    centres = rng.normal(size=(n_classes, width)) * 2
    directions = {name: _unit(rng.normal(size=width)) for name in domains}
    with RunWriter(
        path,
        name="synthetic",
        tasks=[{"name": "digit", "classes": [f"class {i}" for i in range(n_classes)]}],
        domains=[{"name": name, "held_out": name in held_out} for name in domains],
        attributes=[{"name": "size", "kind": "continuous"}, {"name": "ink", "levels": ["light", "dark"]}],
    ) as rec:
        rec.samples(
            {
                "sample": ids,
                "domain": domain,
                "split": "test",
                "target_digit": target,
                "size": rng.random(len(ids)),
                "ink": rng.choice(["light", "dark"], len(ids)),
            }
        )
        for step in steps:
            for depth, layer in enumerate(layers):
                values = centres[target] + rng.normal(size=(len(ids), width))
                scale = 0.5 if depth == len(layers) - 1 else 1.0
                values += np.stack([directions[d] * shifts[d] * scale for d in domain])
                rec.embedding(step, layer, values.astype(np.float32), ids)
            if predictions:
                wrong = rng.random(len(ids)) < np.array([(harm or {}).get(d, 0.05) for d in domain])
                guess = np.where(wrong, (target + 1) % n_classes, target)
                sure = rng.uniform(0.4, 1, len(ids)) if confidences else None
                rec.predictions(step, "digit", sample=ids, prediction=guess, confidence=sure)
    return Run(path)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
