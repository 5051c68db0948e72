"""TensorBoard event files: scalars, hyper-parameters and text; several files make one run.

Histograms, images and other plugins' tensors are counted and named, not drawn: they answer none of the lenses'
questions.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from workbench.core import Problem, RunWriter
from workbench.runs import tfevents
from workbench.runs.format import Format
from workbench.runs.hyperparameters import read_yaml
from workbench.runs.protobuf import Fields, fields

MARK = ".tfevents."
#: Field of a summary value that is not a scalar -> what it is.
_PLAIN_KINDS = {4: "image", 5: "histogram", 6: "audio"}


def recognises(path: Path) -> bool:
    if path.is_file():
        return MARK in path.name
    return path.is_dir() and any(MARK in item.name for item in path.iterdir())


def event_files(path: Path) -> list[Path]:
    """The event files of a folder, in the order of their time stamps; or the file itself."""
    if path.is_file():
        return [path]
    return sorted(item for item in path.iterdir() if MARK in item.name and item.is_file())


def sources(path: Path) -> list[Path]:
    beside = (path if path.is_dir() else path.parent) / "hparams.yaml"
    return event_files(path) + ([beside] if beside.is_file() else [])


def read(path: Path, writer: RunWriter) -> list[Problem]:
    problems: list[Problem] = []
    config: dict[str, Any] = {}
    notes: list[str] = []
    for file in event_files(path):
        events = tfevents.parse(file.read_bytes())
        problems += [Problem(file, reason) for reason in events.problems]
        points = events.scalars
        columns = {"step": points.step, "tag": points.tag, "value": points.value, "wall_time": points.wall_time}
        writer.write("scalars", columns)
        others: Counter[str] = Counter()
        for value in events.values:
            kind = _take(value, config, notes)
            if kind:
                others[kind] += 1
        notes += [f"{file.name}: {n} {kind} summaries are not shown." for kind, n in sorted(others.items())]
    hparams = (path if path.is_dir() else path.parent) / "hparams.yaml"
    if hparams.is_file():
        found, more = read_yaml(hparams)
        config = found | config
        problems += more
    writer.update(config=config, notes=tuple(notes))
    return problems


def _take(value: tfevents.Value, config: dict[str, Any], notes: list[str]) -> str | None:
    """Put hyper-parameters and text where they belong; the kind of any other summary."""
    plugin = tfevents.plugin(value.fields)
    try:
        if plugin == "hparams":
            config |= _hyperparameters(value.fields)
            return None
        if plugin == "text" and 8 in value.fields:
            array = tfevents.tensor(value.fields[8][0])
            for item in array if isinstance(array, list) else []:
                notes.append(f"{value.tag.removesuffix('/text_summary')}: {item.decode('utf-8', 'replace')[:2000]}")
            return None
    except (ValueError, IndexError, UnicodeDecodeError):
        return f"damaged {plugin}"
    plain = next((name for number, name in _PLAIN_KINDS.items() if number in value.fields), "")
    return plain or plugin or "other"


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


FORMAT = Format("tensorboard", "TensorBoard event files", recognises, sources, read)
