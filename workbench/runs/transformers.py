"""Hugging Face Transformers: the log history in trainer_state.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from workbench.core import Problem, RunFormatError, RunWriter
from workbench.runs.format import Format, as_number, as_step

FILE = "trainer_state.json"


def recognises(path: Path) -> bool:
    return (path / FILE).is_file() if path.is_dir() else path.name == FILE


def _file(path: Path) -> Path:
    return path / FILE if path.is_dir() else path


def sources(path: Path) -> list[Path]:
    return [_file(path)]


def read(path: Path, writer: RunWriter) -> list[Problem]:
    """Every number of every entry of ``log_history`` is a point at the entry's step; the other fields are config.

    Raises:
        RunFormatError: not JSON, or without a log history.
    """
    file = _file(path)
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
