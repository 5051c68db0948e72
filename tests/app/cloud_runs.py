"""A run of more points than plotly moves smoothly."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from workbench.core import RunWriter


def write_many(path: Path, n: int = 6000) -> Path:
    """Two domains of ``n`` / 2 samples, apart along the first axis of the map; every even sample has a picture."""
    rng = np.random.default_rng(0)
    picture = BytesIO()
    Image.new("L", (8, 8), 90).save(picture, "PNG")
    domain, target = np.arange(n) // 2 % 2, np.arange(n) % 3
    with RunWriter(path, tasks=[{"name": "digit", "classes": ["a", "b", "c"]}], domains=["day", "night"]) as writer:
        writer.samples(
            {
                "sample": np.arange(n),
                "domain": np.where(domain == 0, "day", "night"),
                "split": np.full(n, "test"),
                "target_digit": target,
                "thumbnail": [picture.getvalue() if i % 2 == 0 else None for i in range(n)],
            }
        )
        values = rng.normal(size=(n, 6)) + 4.0 * domain[:, None]
        writer.embedding(0, "trunk", values.astype(np.float32), np.arange(n))
    return path
