"""Hugging Face Transformers: the log history in trainer_state.json, beside the model or in its checkpoint-* folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from workbench.core import Problem, RunFormatError, RunWriter
from workbench.runs.format import Format, Points, as_number, as_step
from workbench.runs.json_stream import members

FILE = "trainer_state.json"


def recognises(path: Path) -> bool:
    return _file(path) is not None


def _file(path: Path) -> Path | None:
    """The state itself, the one in the folder, or that of the last checkpoint-* folder: it holds the whole history."""
    if path.is_file():
        return path if path.name == FILE else None
    if (path / FILE).is_file():
        return path / FILE
    inner = [file for file in path.glob(f"checkpoint-*/{FILE}") if file.parent.name.rpartition("-")[2].isdigit()]
    return max(inner, key=lambda file: int(file.parent.name.rpartition("-")[2]), default=None)


def sources(path: Path) -> list[Path]:
    file = _file(path)
    return [file] if file is not None else []


def read(path: Path, writer: RunWriter) -> list[Problem]:
    """Every number of every entry of ``log_history`` is a point at the entry's step; the other fields are config.

    Raises:
        RunFormatError: not JSON, or without a log history.
    """
    (file,) = sources(path)
    points, wall_time = Points(writer), file.stat().st_mtime
    config: dict[str, Any] = {}
    n_odd, found = 0, False
    try:
        for key, inner, value in members(file):
            if key != "log_history":
                _keep(config, key, inner, value)
                continue
            found |= isinstance(inner, int) or value == []
            if isinstance(inner, int):
                n_odd += not _take_entry(value, inner, points, wall_time)
    except ValueError as error:
        raise RunFormatError(
            f"{file} is not valid JSON ({error}); it may have been cut off while it was saved."
        ) from None
    if not found:
        raise RunFormatError(f"{file} has no 'log_history': it was not written by the Transformers Trainer.")
    points.write()
    writer.update(config=config)
    return [Problem(file, f"{n_odd} entries of log_history are not objects and were skipped")] if n_odd else []


def _take_entry(entry: Any, position: int, points: Points, wall_time: float) -> bool:
    """The numbers of one entry of the history; False when it is no object."""
    if not isinstance(entry, dict):
        return False
    step = as_step(entry.get("step"), position)
    for name, item in entry.items():
        number = as_number(item)
        if name != "step" and number is not None:
            points.add(step, name, number, wall_time)
    return True


def _keep(config: dict[str, Any], key: str, inner: str | int | None, value: Any) -> None:
    """Put a member back where it was in the file."""
    if inner is None:
        config[key] = value
    elif isinstance(inner, int):
        config.setdefault(key, []).append(value)
    else:
        config.setdefault(key, {})[inner] = value


FORMAT = Format("transformers", "Transformers trainer state", recognises, sources, read)
