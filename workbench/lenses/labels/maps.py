"""A few pictures with what is true of each pixel in every label list, and what the net said.

Read from the last record of the array ``label_maps``: ``sample`` [N], and by label list ``truth/<list>`` and
``said/<list>`` [N, H, W], indices into the list's labels. The pictures are the samples' thumbnails.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Int, Integer

from workbench.core import Run

ARRAY = "label_maps"


@dataclass(frozen=True)
class Maps:
    """N pictures with their label maps.

    Attributes:
        names: All labels, in the order in which the maps count them.
        pictures: PNG files; None where a sample has none.
        titles: Where each picture comes from.
        truth, said: Label list -> indices into ``names``; -1 where an index names no label.
    """

    step: int
    names: tuple[str, ...]
    samples: Int[np.ndarray, " N"]
    pictures: tuple[bytes | None, ...]
    titles: tuple[str, ...]
    truth: Mapping[str, Int[np.ndarray, "N H W"]]
    said: Mapping[str, Int[np.ndarray, "N H W"]]

    @property
    def lists(self) -> tuple[str, ...]:
        return tuple(self.said)


def read_maps(run: Run, spaces: Mapping[str, Sequence[str]]) -> Maps | None:
    """None where no label maps were recorded, or of no list that is known."""
    steps = run.array_steps(ARRAY)
    arrays = run.array(ARRAY, steps[-1]) if steps else {}
    lists = [name for name in spaces if {f"truth/{name}", f"said/{name}"} <= set(arrays)]
    if not lists or "sample" not in arrays:
        return None
    names = tuple(dict.fromkeys(label for labels in spaces.values() for label in labels))
    samples = arrays["sample"].astype(np.int64)
    pictures, titles = _pictures(run, samples)
    truth, said = (
        {name: _renamed(arrays[f"{kind}/{name}"], spaces[name], names) for name in lists} for kind in ("truth", "said")
    )
    return Maps(steps[-1], names, samples, pictures, titles, truth, said)


def _renamed(
    found: Integer[np.ndarray, "N H W"], labels: Sequence[str], names: Sequence[str]
) -> Int[np.ndarray, "N H W"]:
    place = np.array([*(names.index(label) for label in labels), -1], dtype=np.int64)
    index = found.astype(np.int64)
    return place[np.where((index >= 0) & (index < len(labels)), index, len(labels))]


def _pictures(run: Run, samples: Int[np.ndarray, " N"]) -> tuple[tuple[bytes | None, ...], tuple[str, ...]]:
    columns = run.columns("samples")
    chosen = [name for name in ("domain", "thumbnail") if name in columns]
    known: dict[int, pd.Series] = {}
    if chosen:
        found = run.query(f"SELECT sample, {', '.join(chosen)} FROM samples")
        known = {int(row["sample"]): row for _, row in found[found["sample"].isin(samples)].iterrows()}
    pictures, titles = [], []
    for sample in samples.tolist():
        row = known.get(sample, pd.Series(dtype=object))
        picture = row.get("thumbnail")
        pictures.append(bytes(picture) if isinstance(picture, (bytes, bytearray)) else None)
        titles.append(f"{row.get('domain') or 'sample'} {sample}")
    return tuple(pictures), tuple(titles)
