"""Hugging Face Transformers: the log history in trainer_state.json, beside the model or in its checkpoint-* folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from workbench.core import Problem, RunFormatError, RunWriter
from workbench.runs.format import Format, as_number, as_step

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
    try:
        state = json.loads(file.read_text(encoding="utf-8", errors="replace"))
    except ValueError as error:
        raise RunFormatError(
            f"{file} is not valid JSON ({error}); it may have been cut off while it was saved."
        ) from None
    history = state.get("log_history") if isinstance(state, dict) else None
    if not isinstance(history, list):
        raise RunFormatError(f"{file} has no 'log_history': it was not written by the Transformers Trainer.")
    step, tag, value = [], [], []
    n_odd = 0
    for position, entry in enumerate(history):
        if not isinstance(entry, dict):
            n_odd += 1
            continue
        at = as_step(entry.get("step"), position)
        for name, item in entry.items():
            number = as_number(item)
            if name != "step" and number is not None:
                step.append(at)
                tag.append(name)
                value.append(number)
    writer.write("scalars", {"step": step, "tag": tag, "value": value, "wall_time": file.stat().st_mtime})
    config: dict[str, Any] = {key: entry for key, entry in state.items() if key != "log_history"}
    writer.update(config=config)
    return [Problem(file, f"{n_odd} entries of log_history are not objects and were skipped")] if n_odd else []


FORMAT = Format("transformers", "Transformers trainer state", recognises, sources, read)
