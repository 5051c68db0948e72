"""Mammoth (continual learning): logs.pyd, one line a run, each a Python dict of constants.

Lines are parsed as literals, never evaluated. ``accmean_task<t>`` becomes the scalar ``accmean`` at step t, and
``accuracy_<i>_task<t>`` the scalar ``accuracy/task <i>`` at step t: the accuracy on task i after learning task t.
Written from the published file layout; not tested with files made by Mammoth itself.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from workbench.core import Problem, RunWriter
from workbench.runs.format import Format, as_number

_MEAN = re.compile(r"accmean_task(\d+)$")
_ONE = re.compile(r"accuracy_(\d+)_task(\d+)$")
_MOST_BYTES = 10_000_000


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
    runs, _ = _lines(path)
    names = {number: f"{logged.get('model', 'run')}-{number}" for number, logged in runs.items()}
    return {
        name: Format(f"mammoth/{name}", FORMAT.name, recognises, sources, partial(_read_line, number))
        for number, name in names.items()
    }


def read(path: Path, writer: RunWriter) -> list[Problem]:
    """Read the first run of the file."""
    runs, problems = _lines(path)
    return _read_line(next(iter(runs)), path, writer) if runs else problems


def _read_line(number: int, path: Path, writer: RunWriter) -> list[Problem]:
    runs, problems = _lines(path)
    config: dict[str, Any] = {}
    columns: dict[str, list[Any]] = {"step": [], "tag": [], "value": []}
    for key, item in runs[number].items():
        value = as_number(item)
        mean, one = _MEAN.match(str(key)), _ONE.match(str(key))
        if value is None or not (mean or one):
            config[str(key)] = item
            continue
        columns["step"].append(int(mean[1] if mean else one[2]))  # type: ignore[index]
        columns["tag"].append("accmean" if mean else f"accuracy/task {one[1]}")  # type: ignore[index]
        columns["value"].append(value)
    writer.write("scalars", {**columns, "wall_time": path.stat().st_mtime})
    seed = config.get("seed")
    writer.update(config=config, method=str(config.get("model", "")) or None, seed=seed if type(seed) is int else None)
    return problems


def _lines(path: Path) -> tuple[dict[int, dict[Any, Any]], list[Problem]]:
    found: dict[int, dict[Any, Any]] = {}
    problems = []
    with path.open("rb") as stream:
        lines = stream.read(_MOST_BYTES).decode("utf-8", "replace").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            logged = ast.literal_eval(line.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            logged = None
        if isinstance(logged, dict):
            found[number] = logged
        else:
            problems.append(Problem(path, f"line {number} is not a dict of constants and was skipped"))
    return found, problems


FORMAT = Format("mammoth", "Mammoth log", recognises, sources, read, members)
