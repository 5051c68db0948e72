"""TensorBoard event files: scalars, histograms, pictures, text and hyper-parameters; several files make one run.

What other plugins wrote is counted and named in the run's notes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from workbench.core import Problem, RunWriter
from workbench.runs import tfevents, vectors
from workbench.runs.format import Format
from workbench.runs.hyperparameters import read_yaml
from workbench.runs.protobuf import Fields, fields
from workbench.runs.summaries import Summaries

MARK = ".tfevents."
#: Pieces of a file whose points make one part of a table.
_PIECES = 4
#: The name of a folder with hyper-parameters; how deep other runs may lie inside a run.
_SESSION, _DEPTH = re.compile(r"\d{9,}\.\d+"), 3


def recognises(path: Path) -> bool:
    if path.is_file():
        return MARK in path.name
    return path.is_dir() and any(MARK in item.name for item in path.iterdir())


def event_files(path: Path) -> list[Path]:
    """The event files of a folder, in the order of their time stamps, with those of its sessions; or the file itself.

    PyTorch's writer puts hyper-parameters into a folder of their own, which has the time for its name: a session.
    """
    if path.is_file():
        return [path]
    folders = [path, *(item for item in sorted(path.iterdir()) if item.is_dir() and _SESSION.fullmatch(item.name))]
    return [item for folder in folders for item in sorted(folder.iterdir()) if MARK in item.name and item.is_file()]


def inner(path: Path) -> list[Path]:
    """Folders inside a run that are runs of their own: of other writers, and embeddings for the projector."""
    if path.is_file():
        return []
    folders = [
        item for item in sorted(path.rglob("*")) if len(item.relative_to(path).parts) <= _DEPTH and item.is_dir()
    ]
    chosen = [item for item in folders if not any(map(_SESSION.fullmatch, item.relative_to(path).parts))]
    return [item for item in chosen if recognises(item) or vectors.recognises(item)]


def sources(path: Path) -> list[Path]:
    beside = (path if path.is_dir() else path.parent) / "hparams.yaml"
    return event_files(path) + ([beside] if beside.is_file() else [])


def read(path: Path, writer: RunWriter) -> list[Problem]:
    problems: list[Problem] = []
    config: dict[str, Any] = {}
    summaries = Summaries(writer)
    for file in event_files(path):
        with file.open("rb") as stream:
            for number, events in enumerate(tfevents.pieces(stream), start=1):
                problems += [Problem(file, reason) for reason in events.problems]
                points = events.scalars
                writer.write("scalars", {name: getattr(points, name) for name in tfevents.COLUMNS})
                summaries.take([value for value in events.values if not _take_hyperparameters(value, config)])
                if number % _PIECES == 0:
                    writer.flush()
    hparams = (path if path.is_dir() else path.parent) / "hparams.yaml"
    if hparams.is_file():
        found, more = read_yaml(hparams)
        config |= found  # it keeps lists and nested values, which the event file holds as text
        problems += more
    writer.update(config=config, notes=tuple(summaries.finish()))
    return problems


def _take_hyperparameters(value: tfevents.Value, config: dict[str, Any]) -> bool:
    """Put hyper-parameters into the configuration; whether the value was about them."""
    try:
        if tfevents.plugin(value.fields) != "hparams":
            return False
        config |= _hyperparameters(value.fields)
    except (ValueError, IndexError, KeyError, UnicodeDecodeError):
        return False
    return True


def _hyperparameters(content: Fields) -> dict[str, Any]:
    """SessionStartInfo of the hparams plugin: field 2 of the plugin data, a map from names to protobuf Values."""
    metadata = fields(content[9][0])
    data = fields(fields(metadata[1][0]).get(2, [b""])[0])
    found = {}
    for start in data.get(3, []):
        for pair in fields(start).get(1, []):
            item = fields(pair)
            value = fields(item[2][0]) if 2 in item else {}
            found[item[1][0].decode("utf-8", "replace")] = _protobuf_value(value)
    return found


def _protobuf_value(value: Fields) -> Any:
    if 2 in value:
        return float(np.frombuffer(value[2][0], "<f8")[0])
    if 3 in value:
        return value[3][0].decode("utf-8", "replace")
    if 4 in value:
        return bool(value[4][0])
    return None


FORMAT = Format("tensorboard", "TensorBoard event files", recognises, sources, read, inner=inner)
