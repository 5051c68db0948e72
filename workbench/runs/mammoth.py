"""Mammoth (continual learning): logs.pyd, one line a run, each a Python dict of constants.

Lines are parsed as literals, never evaluated. ``accmean_task<t>`` becomes the scalar ``accmean`` at step t, and
``accuracy_<i>_task<t>`` the scalar ``accuracy/task <i>`` at step t: the accuracy on task i after learning task t.
Written from the published file layout; not tested with files made by Mammoth itself.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from workbench.core import Problem, RunWriter
from workbench.runs.format import Format, as_number, as_step

_MEAN = re.compile(r"accmean_task(\d+)$")
_ONE = re.compile(r"accuracy_(\d+)_task(\d+)$")
#: A longer line is not parsed.
_MOST_BYTES = 2_000_000


def recognises(path: Path) -> bool:
    if not path.is_file() or path.suffix != ".pyd":
        return False
    with path.open("rb") as stream:
        head = stream.read(1_000_000)
    return head.lstrip().startswith(b"{") and b"accmean_task" in head


def sources(path: Path) -> list[Path]:
    return [path]


def members(path: Path) -> Mapping[str, Format]:
    """A format for every line: a file collects the runs of one method on one dataset."""
    return {
        line.name: Format(f"mammoth/{line.name}", FORMAT.name, recognises, sources, partial(_read_line, line))
        for line in _looked_through(path)[0]
    }


def read(path: Path, writer: RunWriter) -> list[Problem]:
    """Read the first run of the file."""
    lines, problems = _looked_through(path)
    return _read_line(lines[0], path, writer) if lines else list(problems)


@dataclass(frozen=True)
class _Line:
    """Where a run begins in the file, and its name."""

    number: int
    position: int
    name: str


def _read_line(line: _Line, path: Path, writer: RunWriter) -> list[Problem]:
    config: dict[str, Any] = {}
    columns: dict[str, list[Any]] = {"step": [], "tag": [], "value": []}
    with path.open("rb") as stream:
        stream.seek(line.position)
        logged = _dict(stream.readline(_MOST_BYTES)) or {}
    for key, item in logged.items():
        value = as_number(item)
        mean, one = _MEAN.match(str(key)), _ONE.match(str(key))
        if value is None or not (mean or one):
            config[str(key)] = item
            continue
        columns["step"].append(as_step(int((mean[1] if mean else one[2])[:17]), 0))  # type: ignore[index]
        columns["tag"].append("accmean" if mean else f"accuracy/task {one[1]}")  # type: ignore[index]
        columns["value"].append(value)
    writer.write("scalars", {**columns, "wall_time": path.stat().st_mtime})
    seed = config.get("seed")
    writer.update(config=config, method=str(config.get("model", "")) or None, seed=seed if type(seed) is int else None)
    return list(_looked_through(path)[1])


def _looked_through(path: Path) -> tuple[tuple[_Line, ...], tuple[Problem, ...]]:
    """The lines that are runs, and what is wrong with others."""
    stat = path.stat()
    return _lines(path, (stat.st_size, stat.st_mtime_ns))


@lru_cache(maxsize=8)
def _lines(path: Path, stamp: tuple[int, int]) -> tuple[tuple[_Line, ...], tuple[Problem, ...]]:
    """As :func:`_looked_through`; ``stamp`` tells states of the file apart, so that each is parsed once."""
    found, problems = [], []
    number = position = 0
    with path.open("rb") as stream:
        while raw := stream.readline(_MOST_BYTES):
            number += 1
            if raw.strip():
                logged = _dict(raw)
                if logged is not None:
                    found.append(_Line(number, position, f"{logged.get('model', 'run')}-{number}"))
                else:
                    problems.append(Problem(path, f"line {number} is not a dict of constants and was skipped"))
            position += len(raw)
    return tuple(found), tuple(problems)


def _dict(raw: bytes) -> dict[Any, Any] | None:
    try:
        logged = ast.literal_eval(raw.decode("utf-8", "replace").strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    return logged if isinstance(logged, dict) else None


FORMAT = Format("mammoth", "Mammoth log", recognises, sources, read, members)
