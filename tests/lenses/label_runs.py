"""Small recorded runs of two datasets whose label lists agree or disagree as told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from workbench.core import Run, RunWriter

#: Concepts with their label in a coarse and a fine dataset: sidewalk lies in the coarse background, lane in its road.
COARSE = {"nothing": "background", "sidewalk": "background", "road": "road", "lane": "road", "car": "vehicle",
          "truck": "vehicle", "person": "person"}  # fmt: skip
FINE = {"nothing": "background", "sidewalk": "sidewalk", "road": "road", "lane": "lane", "car": "car",
        "truck": "truck", "person": "person"}  # fmt: skip


def write_scenes(
    path: Path,
    spaces: Mapping[str, Mapping[str, str]] | None = None,
    n: int = 40,
    accuracy: float = 0.93,
    seed: int = 0,
    own_heads: bool = True,
    step: int | None = None,
) -> Run:
    """Scenes of regions, one region a concept; every head names a region's pixels rightly in its own labels.

    About ``1 - accuracy`` of a region's pixels, differing from scene to scene, go to a random other label of the head.
    """
    spaces = spaces or {"coarse": COARSE, "fine": FINE}
    rng = np.random.default_rng(seed)
    datasets = [{"name": name, "labels": tuple(dict.fromkeys(space.values()))} for name, space in spaces.items()]
    more = {} if step is None else {"step": step}
    with RunWriter(path, datasets=datasets) as writer:
        for at, (dataset, space) in enumerate(spaces.items()):
            for sample in range(at * n, at * n + n):
                for region, (concept, label) in enumerate(space.items()):
                    if rng.random() < 0.25:
                        continue
                    pixels = float(rng.integers(20, 400))
                    place = {"dataset": dataset, "sample": sample, "region": region}
                    writer.label_counts(**place, label=label, weight=pixels, **({} if step is None else {"step": 0}))
                    for head, said in spaces.items():
                        if head == dataset and not own_heads:
                            continue
                        right = rng.beta(20 * accuracy, 20 * (1 - accuracy)) if accuracy < 1 else 1.0
                        wrong = rng.choice([name for name in dict.fromkeys(said.values()) if name != said[concept]])
                        names, weights = [said[concept], wrong], [pixels * right, pixels * (1 - right)]
                        writer.label_counts(**place, label=names, weight=weights, source=head, **more)
    return Run(path)


def write_items(path: Path, table: Sequence[Sequence[int]], **info: object) -> Run:
    """One item a sample: table[i][j] samples of dataset B with label b<j> that the head of A calls a<i>."""
    said, annotated = zip(
        *((f"a{i + 1}", f"b{j + 1}") for i, row in enumerate(table) for j, n in enumerate(row) for _ in range(n)),
        strict=True,
    )
    sample = np.arange(len(said))
    with RunWriter(path, **info) as writer:
        writer.label_counts(dataset="B", sample=sample, label=list(annotated))
        writer.label_counts(dataset="B", sample=sample, label=list(said), source="A")
    return Run(path)
