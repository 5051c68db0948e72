"""Cockpit: a JSON log of quantities per iteration, ``{iteration: {quantity: value}}`` or the other way round.

Numbers become scalars; lists and arrays with one number a layer become ``<quantity>/<place>``; one-dimensional
histograms of all parameters are kept as such. Tested with data made by Cockpit 1.0.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workbench.core import Problem, RunFormatError, RunWriter
from workbench.runs.format import Format, Points, as_number, as_step
from workbench.runs.json_stream import members

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
    points, wall_time = Points(writer), path.stat().st_mtime
    found = False
    try:
        for outer, inner, value in members(path):
            iteration, quantity = (outer, inner) if outer.isdecimal() else (inner, outer)
            if isinstance(inner, str) and str(iteration).isdecimal():
                found = True
                _take(as_step(int(str(iteration)), 0), str(quantity), value, points, writer, wall_time)
    except ValueError as error:
        raise RunFormatError(f"{path} is not valid JSON ({error}).") from None
    if not found:
        raise RunFormatError(f"{path} holds no quantities by iteration: it is no Cockpit log.")
    points.write()
    return []


def _take(step: int, quantity: str, value: Any, points: Points, writer: RunWriter, wall_time: float) -> None:
    for tag, number in _numbers(quantity, value):
        points.add(step, tag, number, wall_time)
    found = _histogram(value)
    if found is not None:
        writer.write("histograms", {"step": step, "tag": quantity, "edges": [found[0]], "counts": [found[1]]})


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
