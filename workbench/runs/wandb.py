"""Weights & Biases run folders: the binary log of an offline run. (An exported history is a table of scalars.)

The log (``run-<id>.wandb``) is a sequence of blocks of 32 KiB with framed records, each a protobuf ``Record``:
history = 2 (items of key = 1 or nested_key = 2, and value_json = 16), config = 5, run = 17 (config = 4,
display_name = 8).
Written by and tested with wandb 0.31.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workbench.core import Problem, RunWriter
from workbench.runs.format import Format, Points, as_number
from workbench.runs.protobuf import Fields, fields

_MAGIC = b":W&B"
_HEADER, _BLOCK, _FRAME = 7, 32768, 7
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def recognises(path: Path) -> bool:
    return path.is_dir() and _log(path) is not None


def _log(path: Path) -> Path | None:
    return next(iter(sorted(path.glob("run-*.wandb"))), None)


def sources(path: Path) -> list[Path]:
    found = _log(path)
    return [found] if found else []


def read(path: Path, writer: RunWriter) -> list[Problem]:
    """Every logged number is a point under its (dotted) key at its step; the config and the run's name are kept."""
    (file,) = sources(path)
    problems: list[Problem] = []
    config: dict[str, Any] = {}
    points = Points(writer)
    for record in _records(file, problems):
        try:
            content = fields(record)
            for run in content.get(17, []):
                _take_run(fields(run), config, writer)
            for update in content.get(5, []):
                config |= _config(fields(update))
            for history in content.get(2, []):
                _take_history(fields(history), points, writer)
        except (ValueError, IndexError, KeyError, OverflowError, TypeError):
            problems.append(Problem(file, "a record could not be understood and was skipped"))
    points.write()
    writer.update(config=config)
    return problems


def _records(file: Path, problems: list[Problem]) -> Iterator[bytes]:
    """The records of the log, joined over blocks; stops with a problem where the framing is damaged."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        if not stream.read(_HEADER).startswith(_MAGIC):
            problems.append(Problem(file, "not a Weights & Biases log: its first bytes are wrong"))
            return
        position, parts = _HEADER, b""
        while position + _FRAME <= size:
            left = _BLOCK - position % _BLOCK
            if left < _FRAME:
                position += len(stream.read(left))
                continue
            checksum, length, kind = struct.unpack("<IHB", stream.read(_FRAME))
            chunk = stream.read(length)
            if len(chunk) < length:
                break
            if kind not in (_FULL, _FIRST, _MIDDLE, _LAST) or zlib.crc32(bytes([kind]) + chunk) != checksum:
                problems.append(Problem(file, f"reading stopped at byte {position}: the checksum is wrong"))
                return
            position += _FRAME + length
            parts = chunk if kind in (_FULL, _FIRST) else parts + chunk
            if kind in (_FULL, _LAST):
                yield parts
    if position < size:
        problems.append(Problem(file, "the last record is incomplete (still being written, or cut off)"))


def _take_run(run: Fields, config: dict[str, Any], writer: RunWriter) -> None:
    if 8 in run:
        writer.update(name=run[8][0].decode())
    for update in run.get(4, []):
        config |= _config(fields(update))


def _config(update: Fields) -> dict[str, Any]:
    found = {}
    for item in map(fields, update.get(1, [])):
        key = _key(item)
        if key and not key.startswith("_wandb"):
            found[key] = json.loads(item[16][0])
    return found


def _key(item: Fields) -> str:
    names = item.get(2) or item.get(1) or [b""]
    return ".".join(name.decode() for name in names)


def _take_history(history: Fields, points: Points, writer: RunWriter) -> None:
    values = {_key(item): item[16][0] for item in map(fields, history.get(1, [])) if 16 in item}
    step = fields(history[2][0]).get(1, [0])[0] if 2 in history else int(json.loads(values.get("_step", "0")))
    wall_time = as_number(json.loads(values.get("_timestamp", "0"))) or 0.0
    media = [key.removesuffix("._type") for key in values if key.endswith("._type")]
    for key, text in values.items():
        # The height of a picture or the rows of a table are no points.
        if key.startswith("_") or any(key.startswith(f"{name}.") for name in media):
            continue
        for name, number in _numbers(key, json.loads(text)):
            points.add(int(step), name, number, wall_time)
    for key in media:
        parts = {name[len(key) + 1 :]: json.loads(text) for name, text in values.items() if name.startswith(f"{key}.")}
        found = _histogram(parts)
        if found is not None:
            writer.write("histograms", {"step": int(step), "tag": key, "edges": [found[0]], "counts": [found[1]]})


def _numbers(key: str, value: Any) -> Iterator[tuple[str, float]]:
    """Numbers in a logged value; inside nested objects under dotted keys."""
    number = float("nan") if value == "NaN" else as_number(value)
    if number is not None:
        yield key, number
    elif isinstance(value, dict) and "_type" not in value:
        for name, inner in value.items():
            yield from _numbers(f"{key}.{name}", inner)


def _histogram(parts: dict[str, Any]) -> tuple[list[float], list[float]] | None:
    """Edges and counts of a logged ``wandb.Histogram``, from the members that the client writes one by one."""
    if parts["_type"] != "histogram":
        return None
    edges, counts = (
        [as_number(item) for item in items] if isinstance(items := parts.get(name), list) else []
        for name in ("bins", "values")
    )
    whole = [[item for item in items if item is not None] for items in (edges, counts)]
    return (whole[0], whole[1]) if whole == [edges, counts] and counts and len(edges) == len(counts) + 1 else None


FORMAT = Format("wandb", "Weights & Biases run", recognises, sources, read)
