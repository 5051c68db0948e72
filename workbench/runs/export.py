"""Take a run's data elsewhere: tables as CSV or Parquet, scalars as a TensorBoard event file."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from workbench.core import ConfigError, Run
from workbench.core.files import write_atomically, write_content_atomically
from workbench.runs.crc import masked_crc

FORMATS = ("csv", "parquet", "tensorboard")


def export(run: Run, out: Path, kind: str, tables: Iterable[str] = ()) -> list[Path]:
    """Write tables of a run below ``out``; return the files.

    Args:
        kind: ``csv`` (without thumbnails), ``parquet``, or ``tensorboard`` (scalars only).
        tables: Which tables; all that were recorded when empty.

    Raises:
        ConfigError: an unknown kind.
        MissingTable: a table was asked for that the run lacks.
    """
    if kind not in FORMATS:
        raise ConfigError(f"Cannot export to '{kind}'. Known: {', '.join(FORMATS)}.")
    out.mkdir(parents=True, exist_ok=True)
    if kind == "tensorboard":
        return [_event_file(run, out)]
    return [_table_file(run, name, out / f"{name}.{kind}") for name in (tuple(tables) or run.tables)]


def _table_file(run: Run, name: str, path: Path) -> Path:
    frame = run.table(name)
    if path.suffix == ".parquet":
        write_atomically(path, lambda temporary: frame.to_parquet(temporary, index=False))
    else:
        plain = frame.drop(columns="thumbnail", errors="ignore")
        write_atomically(path, lambda temporary: plain.to_csv(temporary, index=False))
    return path


def _event_file(run: Run, out: Path) -> Path:
    frame = run.table("scalars", ["step", "tag", "value", "wall_time"])
    start = float(frame["wall_time"].min())
    path = out / f"events.out.tfevents.{int(start)}.workbench"
    rows = zip(*(frame[name].tolist() for name in ("step", "tag", "value", "wall_time")), strict=True)
    events = [_version(start), *(_scalar(step, str(tag), value, time) for step, tag, value, time in rows)]
    write_content_atomically(path, _records(events))
    return path


def _records(events: list[bytes]) -> bytes:
    """Events framed with their lengths and checksums; checksums of events of one length are computed together."""
    sizes = np.array([len(event) for event in events])
    checksums = np.zeros(len(events), "<u4")
    heads = {}
    for size in np.unique(sizes).tolist():
        places = np.flatnonzero(sizes == size)
        joined = b"".join(events[place] for place in places)
        checksums[places] = masked_crc(np.frombuffer(joined, np.uint8).reshape(len(places), size))
        length = struct.pack("<Q", size)
        heads[size] = length + masked_crc(np.frombuffer(length, np.uint8)[None]).astype("<u4").tobytes()
    framed = zip(events, checksums.tolist(), strict=True)
    return b"".join(heads[len(event)] + event + struct.pack("<I", checksum) for event, checksum in framed)


def _version(wall_time: float) -> bytes:
    return b"\x09" + struct.pack("<d", wall_time) + _field(3, b"brain.Event:2")


def _scalar(step: int, tag: str, value: float, wall_time: float) -> bytes:
    content = _field(1, tag.encode()) + b"\x15" + struct.pack("<f", np.float32(value))
    head = b"\x09" + struct.pack("<d", wall_time) + b"\x10" + _varint(step & (1 << 64) - 1)
    return head + _field(5, _field(1, content))


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)
