"""Cockpit: a JSON log of quantities per iteration, ``{iteration: {quantity: value}}`` or the other way round.

Numbers become scalars; lists with one number a layer become ``<quantity>/<place>``; histograms are left out.
Written from the published file layout; not tested with files made by Cockpit itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workbench.core import Problem, RunFormatError, RunWriter
from workbench.runs.format import Format, as_number

_QUANTITIES = (b'"GradNorm"', b'"MeanGSNR"', b'"InnerTest"', b'"NormTest"', b'"OrthoTest"', b'"UpdateSize"', b'"CABS"')
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
    """Fill the scalars.

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
    step, tag, value = (list(column) for column in zip(*points, strict=True))
    writer.write("scalars", {"step": step, "tag": tag, "value": value, "wall_time": path.stat().st_mtime})
    return []


def _points(content: Any) -> Iterator[tuple[int, str, float]]:
    for outer, inner in content.items() if isinstance(content, dict) else ():
        for key, value in inner.items() if isinstance(inner, dict) else ():
            iteration, quantity = (outer, key) if str(outer).isdigit() else (key, outer)
            if str(iteration).isdigit():
                yield from _numbers(int(iteration), str(quantity), value)


def _numbers(step: int, tag: str, value: Any) -> Iterator[tuple[int, str, float]]:
    number = as_number(value)
    if number is not None:
        yield step, tag, number
    elif isinstance(value, list) and len(value) <= _MOST_PLACES and all(as_number(item) is not None for item in value):
        for place, item in enumerate(value):
            yield step, f"{tag}/{place}", float(item)


FORMAT = Format("cockpit", "Cockpit log", recognises, sources, read)
