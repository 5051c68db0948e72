"""What TensorBoard keeps beside scalars: histograms, pictures and text, as rows of a run's tables.

Plain summaries of the PyTorch and older TensorFlow writers (``image`` = 4, ``histo`` = 5 of a summary value), and
tensors of the plugins ``histograms``, ``images`` and ``text``. Pictures are kept as the bytes they came in.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from workbench.core import RunWriter
from workbench.runs import tfevents
from workbench.runs.protobuf import fields

#: Steps of one tag whose pictures are kept, evenly spread; pictures of one step; bytes of one picture.
MOST_STEPS, MOST_PLACES, MOST_BYTES = 20, 4, 4_000_000
#: Characters of a text that are kept.
MOST_CHARACTERS = 20_000
_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8")


@dataclass
class Pictures:
    """The pictures of one tag, thinned to every n-th step as more of them come."""

    kept: dict[int, list[bytes]] = field(default_factory=dict)
    every: int = 1
    seen: int = 0

    def add(self, step: int, pictures: list[bytes]) -> None:
        if self.seen % self.every == 0:
            self.kept[step] = pictures
            if len(self.kept) > 2 * MOST_STEPS:
                self.kept = {key: self.kept[key] for key in list(self.kept)[::2]}
                self.every *= 2
        self.seen += 1


@dataclass
class Summaries:
    """Collects the histograms, pictures and texts of a run while its files are read."""

    writer: RunWriter
    pictures: dict[str, Pictures] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)

    def take(self, values: list[tfevents.Value]) -> None:
        """Put each value where it belongs; what has no place is counted by its kind."""
        histograms: list[tuple[Any, ...]] = []
        texts: list[tuple[Any, ...]] = []
        for value in values:
            kind = ""
            try:
                kind = kind_of(value)
                if kind == "histograms":
                    histograms.append((value.step, value.tag, *histogram(value)))
                elif kind == "images":
                    self._picture(value)
                elif kind == "text":
                    tag = value.tag.removesuffix("/text_summary")
                    texts += [(value.step, tag, text[:MOST_CHARACTERS]) for text in _texts(value)]
                else:
                    self.left_out[kind or "other"] += 1
            except (ValueError, IndexError, KeyError, TypeError):
                self.left_out[f"damaged {kind}".strip()] += 1
        _write(self.writer, "histograms", ("step", "tag", "edges", "counts"), histograms)
        _write(self.writer, "texts", ("step", "tag", "text"), texts)

    def finish(self) -> list[str]:
        """Write the pictures; one sentence for each kind of summary that was left out."""
        rows = [
            (step, tag, place, picture)
            for tag, found in self.pictures.items()
            for step, pictures in found.kept.items()
            for place, picture in enumerate(pictures)
        ]
        _write(self.writer, "images", ("step", "tag", "place", "image"), rows)
        thinned = sum(found.seen - len(found.kept) for found in self.pictures.values())
        notes = [f"{thinned} steps of pictures were left out: every n-th one is kept."] if thinned else []
        return notes + [f"{n} {kind} summaries are not shown." for kind, n in sorted(self.left_out.items())]

    def _picture(self, value: tfevents.Value) -> None:
        found = _images(value)
        kept = [item for item in found[:MOST_PLACES] if len(item) <= MOST_BYTES and item.startswith(_SIGNATURES)]
        if kept:
            self.pictures.setdefault(value.tag, Pictures()).add(value.step, kept)
        else:
            self.left_out["unreadable or too large image"] += 1


def kind_of(value: tfevents.Value) -> str:
    """``histograms``, ``images`` or ``text``; another plugin's name, or nothing."""
    plain = {4: "images", 5: "histograms", 6: "audio"}
    number = next((number for number in plain if number in value.fields), None)
    return plain[number] if number is not None else tfevents.plugin(value.fields)


def histogram(value: tfevents.Value) -> tuple[list[float], list[float]]:
    """Edges [B+1] and counts [B] of a histogram, without empty bins at its ends.

    Raises:
        ValueError: edges and counts do not match or are no numbers.
    """
    if 5 in value.fields:
        proto = fields(value.fields[5][0])
        smallest, largest = (float(np.frombuffer(proto[key][0], "<f8")[0]) if key in proto else 0.0 for key in (1, 2))
        right, counts = (np.frombuffer(b"".join(proto.get(key, [])), "<f8") for key in (6, 7))
        # The outer bins reach to infinity; the smallest and largest number bound what is in them.
        edges = np.clip(np.r_[smallest, right], smallest, largest)
    else:
        table = tfevents.tensor(value.fields[8][0])
        if not isinstance(table, np.ndarray) or table.ndim != 2 or table.shape[1] != 3:
            raise ValueError("not a histogram")
        edges, counts = np.r_[table[:1, 0], table[:, 1]], table[:, 2]
    filled = np.flatnonzero(counts)
    if len(edges) != len(counts) + 1 or not np.isfinite(edges).all() or not len(filled):
        raise ValueError("not a histogram")
    first, last = filled[0], filled[-1] + 1
    return edges[first : last + 1].tolist(), counts[first:last].astype(float).tolist()


def _images(value: tfevents.Value) -> list[bytes]:
    if 4 in value.fields:
        return [bytes(item) for item in fields(value.fields[4][0]).get(4, [])]
    found = tfevents.tensor(value.fields[8][0])
    return found[2:] if isinstance(found, list) else []  # the first two are width and height


def _texts(value: tfevents.Value) -> list[str]:
    found = tfevents.tensor(value.fields[8][0])
    return [item.decode("utf-8", "replace") for item in found] if isinstance(found, list) else []


def _write(writer: RunWriter, table: str, names: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    if rows:
        columns = zip(*rows, strict=True)
        writer.write(table, {name: list(column) for name, column in zip(names, columns, strict=True)})
