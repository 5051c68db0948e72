"""Cockpit: a JSON log of quantities per iteration, ``{iteration: {quantity: value}}`` or the other way round.

Numbers become scalars; lists and arrays with one number a layer become ``<quantity>/<place>``; one-dimensional
histograms of all parameters are kept as such. Tested with data made by Cockpit 1.0.2.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workbench.core import Problem, RunFormatError, RunWriter
from workbench.runs.format import Format, as_number, as_step

_QUANTITIES = tuple(
    f'"{name}"'.encode()
    for name in (
        "Alpha", "CABS", "Distance", "EarlyStopping", "GradHist1d", "GradHist2d", "GradNorm", "HessMaxEV", "HessTrace",
        "InnerTest", "MeanGSNR", "NormTest", "OrthoTest", "TICDiag", "TICTrace", "UpdateSize",
    )
)  # fmt: skip
_MOST_PLACES = 200


def recognises(path: Path) -> bool:
    if not path.is_file() or path.suffix != ".json":
        return False
    with path.open("rb") as stream:
        head = stream.read(200_000)
    return head.lstrip().startswith(b"{") and any(name in head for name in _QUANTITIES)


def sources(path: Path) -> list[Path]:
    return [path]


def read(path: Path, writer: RunWriter) -> list[Problem]:
    """Fill the scalars and histograms.

    Raises:
        RunFormatError: not JSON, or no iterations in it.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except (ValueError, RecursionError) as error:
        raise RunFormatError(f"{path} is not valid JSON ({error}).") from None
    points = list(_points(content))
    if not points:
        raise RunFormatError(f"{path} holds no quantities by iteration: it is no Cockpit log.")
    numbers = [(step, tag, number) for step, quantity, value in points for tag, number in _numbers(quantity, value)]
    if numbers:
        step, tag, value = (list(column) for column in zip(*numbers, strict=True))
        writer.write("scalars", {"step": step, "tag": tag, "value": value, "wall_time": path.stat().st_mtime})
    for at, quantity, value in points:
        found = _histogram(value)
        if found is not None:
            writer.write("histograms", {"step": at, "tag": quantity, "edges": [found[0]], "counts": [found[1]]})
    return []


def _points(content: Any) -> Iterator[tuple[int, str, Any]]:
    for outer, inner in content.items() if isinstance(content, dict) else ():
        for key, value in inner.items() if isinstance(inner, dict) else ():
            iteration, quantity = (outer, key) if str(outer).isdigit() else (key, outer)
            if str(iteration).isdigit():
                yield as_step(int(iteration), 0), str(quantity), value


def _numbers(tag: str, value: Any) -> Iterator[tuple[str, float]]:
    number = as_number(value)
    found = _list(value)
    if number is not None:
        yield tag, number
    elif found is not None and len(found) <= _MOST_PLACES:
        for place, item in enumerate(found):
            yield f"{tag}/{place}", item


def _histogram(value: Any) -> tuple[list[float], list[float]] | None:
    """Edges and counts of a one-dimensional histogram of all parameters."""
    if not isinstance(value, dict) or "edges" not in value or "hist" not in value:
        return None
    edges, counts = _list(value["edges"]), _list(value["hist"])
    return (edges, counts) if edges and counts and len(edges) == len(counts) + 1 else None


def _list(value: Any) -> list[float] | None:
    """A flat list of numbers, also one that was an array; None for anything else."""
    items = value.get("__ndarray__") if isinstance(value, dict) else value
    numbers = [as_number(item) for item in items] if isinstance(items, list) else [None]
    return None if None in numbers else [number for number in numbers if number is not None]


FORMAT = Format("cockpit", "Cockpit log", recognises, sources, read)
