"""The byte format of TensorBoard event files, without TensorFlow.

A file is a sequence of records: length (uint64), CRC of the length, data, CRC of the data (masked CRC-32C, all little
endian). The data is a protobuf message ``Event``: wall_time = 1 (double), step = 2 (varint), summary = 5, which repeats
``Value``: tag = 1, simple_value = 2 (float), image = 4, histo = 5, tensor = 8, metadata = 9.

A training writes the same few layouts over and over, so records are decoded by the column: all records of one length
and one layout become one byte matrix. Whatever has another layout goes through a general decoder, one by one.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BufferedIOBase
from typing import Any

import numpy as np

from workbench.runs.crc import masked_crc
from workbench.runs.protobuf import Fields, fields, varint

#: Bytes that are decoded at a time, and bytes of the matrices they are decoded in.
PIECE = 2_000_000
_BLOCK = 250_000
#: Bytes of a record that is copied by itself.
_LONG = 1000


@dataclass
class Scalars:
    """Scalar points in the order of the file; columns of equal length."""

    step: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    tag: np.ndarray = field(default_factory=lambda: np.empty(0, object))
    value: np.ndarray = field(default_factory=lambda: np.empty(0))
    wall_time: np.ndarray = field(default_factory=lambda: np.empty(0))


#: The columns of Scalars, in the order of its fields.
COLUMNS = ("step", "tag", "value", "wall_time")


@dataclass(frozen=True)
class Value:
    """One summary value that is not a plain scalar of the common layout: its raw protobuf fields."""

    step: int
    wall_time: float
    tag: str
    fields: Fields


@dataclass
class Events:
    """What one event file holds."""

    scalars: Scalars
    values: list[Value]
    problems: list[str]


def parse(data: bytes) -> Events:
    """Decode a whole event file. Damaged records are skipped and described in ``problems``; never raises."""
    starts, lengths, end, problem = _frame(data)
    problems = [] if problem is None else [problem]
    if problem is None and end < len(data):
        problems.append(_incomplete(end))
    return _decode(data, starts, lengths, problems)


def pieces(stream: BufferedIOBase, size: int = PIECE) -> Iterator[Events]:
    """Decode an event file piece by piece, as :func:`parse` does, in memory that does not grow with the file.

    Args:
        stream: The opened file; read from where it stands to its end.
        size: Bytes of a piece; a longer record makes its piece as long as itself.
    """
    data, base = b"", 0
    while True:
        more = stream.read(size)
        data += more
        starts, lengths, end, problem = _frame(data, base)
        if not more and problem is None and end < len(data):
            problem = _incomplete(base + end)
        if len(starts) or problem is not None:
            yield _decode(data, starts, lengths, [] if problem is None else [problem])
        if not more or problem is not None:
            return
        data, base = data[end:], base + end


def _rows(buffer: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
    """The byte matrix of records of one length. Long records are copied one by one: indices would be 8 times as big."""
    if length > _LONG:
        return np.stack([buffer[start : start + length] for start in starts])
    return buffer[starts[:, None] + np.arange(length)[None, :]]


def _incomplete(position: int) -> str:
    return f"the last record, at byte {position}, is incomplete (still being written, or cut off)"


def _decode(data: bytes, starts: np.ndarray, lengths: np.ndarray, problems: list[str]) -> Events:
    """Decode framed records."""
    buffer = np.frombuffer(data, np.uint8)
    n_records = len(starts)
    # One row a record, filled where a record has the common layout: no copies are made of what is decoded.
    table = Scalars(*(np.zeros(n_records, kind) for kind in (np.int64, object, np.float64, np.float64)))
    filled = np.zeros(n_records, bool)
    general: list[int] = []
    n_bad = 0
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        for block in np.array_split(rows, max(1, len(rows) * int(length) // _BLOCK)):
            matrix = _rows(buffer, starts[block], int(length))
            stored = np.ascontiguousarray(buffer[starts[block, None] + length + np.arange(4)[None, :]]).view("<u4")[
                :, 0
            ]
            good = masked_crc(matrix) == stored
            n_bad += int((~good).sum())
            left = _decode_columns(matrix[good], block[good], table, filled)
            general.extend(left.tolist())
    if n_bad:
        problems.append(f"{n_bad} record(s) skipped: their checksum is wrong")
    points, values = _decode_general(data, starts, lengths, sorted(general), problems)
    return Events(_merged(table, filled, points), values, problems)


def _frame(data: bytes, base: int = 0) -> tuple[np.ndarray, np.ndarray, int, str | None]:
    """Start and length of every whole record, and where they end; a problem where a length cannot be trusted.

    ``base`` is where the data begins in its file, for messages.
    """
    starts, lengths = array("q"), array("q")
    position, size = 0, len(data)
    unpack = struct.Struct("<QI").unpack_from
    checked: dict[int, int] = {}
    problem = None
    while position + 12 <= size:
        length, crc = unpack(data, position)
        if length not in checked:
            checked[length] = int(masked_crc(np.frombuffer(data, np.uint8, 8, position)[None])[0])
        if checked[length] != crc:
            problem = f"reading stopped at byte {base + position}: the length of a record is damaged"
            break
        if position + 16 + length > size:
            break
        starts.append(position + 12)
        lengths.append(length)
        position += 16 + length
    return np.frombuffer(starts, np.int64), np.frombuffer(lengths, np.int64), position, problem


def _decode_columns(matrix: np.ndarray, index: np.ndarray, table: Scalars, filled: np.ndarray) -> np.ndarray:
    """Decode the rows of the common layout into ``table``; returns the indices of the others.

    Common: 09 wall_time(8) [10 step] 2a len 0a len 0a len tag 15 value(4), to the last byte.
    """
    left = []
    length = matrix.shape[1]
    pending = np.arange(len(matrix))
    while len(pending):
        first = matrix[pending[0]]
        layout = _layout(first.tobytes())
        if layout is None:
            signature = matrix[pending, 9:12] if length >= 12 else matrix[pending]
            alike = (signature == signature[0]).all(axis=1)
            left.append(index[pending[alike]])
            pending = pending[~alike]
            continue
        step_end, tag_start, tag_end = layout
        fixed = np.r_[0, 9 : min(10, step_end), step_end:tag_start, tag_end]
        alike = (matrix[np.ix_(pending, fixed)] == first[fixed]).all(axis=1)
        varint = matrix[pending, 10:step_end]
        if varint.shape[1]:
            alike &= (varint[:, :-1] >= 128).all(axis=1) & (varint[:, -1] < 128)
        rows = matrix[pending[alike]]
        place = index[pending[alike]]
        found = _columns(rows, step_end, tag_start, tag_end)
        for name in COLUMNS:
            getattr(table, name)[place] = getattr(found, name)
        filled[place] = True
        pending = pending[~alike]
    return np.concatenate(left) if left else np.empty(0, np.int64)


def _layout(record: bytes) -> tuple[int, int, int] | None:
    """(end of the step, start and end of the tag) when a record has the common layout."""
    length = len(record)
    if length < 12 or record[0] != 0x09:
        return None
    position = 9
    if record[position] == 0x10:
        position += 1
        while position < length and record[position] >= 128:
            position += 1
        position += 1
    step_end = position
    for key in (0x2A, 0x0A, 0x0A):
        if position + 2 > length or record[position] != key or record[position + 1] >= 128:
            return None
        position += 2
    tag_length = record[position - 1]
    tag_end = position + tag_length
    consistent = record[step_end + 1] == length - step_end - 2 and record[step_end + 3] == length - step_end - 4
    if not consistent or tag_end + 5 != length or record[tag_end] != 0x15:
        return None
    return step_end, position, tag_end


def _columns(rows: np.ndarray, step_end: int, tag_start: int, tag_end: int) -> Scalars:
    step = np.zeros(len(rows), np.uint64)
    for place, column in enumerate(range(10, step_end)):
        step |= (rows[:, column] & np.uint8(0x7F)).astype(np.uint64) << np.uint64(7 * place)
    if tag_end > tag_start:
        raw = np.ascontiguousarray(rows[:, tag_start:tag_end]).view(f"V{tag_end - tag_start}")[:, 0]
        distinct, which = np.unique(raw, return_inverse=True)
        names = np.array([item.tobytes().decode("utf-8", "replace") for item in distinct], dtype=object)
    else:
        names, which = np.array([""], dtype=object), np.zeros(len(rows), np.int64)
    value = np.ascontiguousarray(rows[:, tag_end + 1 : tag_end + 5]).view("<f4")[:, 0].astype(np.float64)
    wall_time = np.ascontiguousarray(rows[:, 1:9]).view("<f8")[:, 0].astype(np.float64)
    return Scalars(step.view(np.int64), names[which], value, wall_time)


#: A scalar that was decoded one by one: record, step, tag, value, wall time.
_Point = tuple[int, int, str, float, float]


def _merged(table: Scalars, filled: np.ndarray, points: list[_Point]) -> Scalars:
    """The filled rows of the table and the single points, in the order of the file."""
    if not points:
        return table if filled.all() else Scalars(*(getattr(table, name)[filled] for name in COLUMNS))
    record, *columns = zip(*points, strict=True)
    order = np.argsort(np.concatenate([np.flatnonzero(filled), np.array(record)]), kind="stable")
    merged = []
    for name, column in zip(COLUMNS, columns, strict=True):
        whole = getattr(table, name)
        merged.append(np.concatenate([whole[filled], np.array(column, whole.dtype)])[order])
    return Scalars(*merged)


def _decode_general(
    data: bytes, starts: np.ndarray, lengths: np.ndarray, records: list[int], problems: list[str]
) -> tuple[list[_Point], list[Value]]:
    points: list[_Point] = []
    values: list[Value] = []
    n_bad = 0
    for record in records:
        start = int(starts[record])
        try:
            for value in _values(data[start : start + int(lengths[record])]):
                number = scalar(value.fields)
                if number is None:
                    values.append(value)
                else:
                    points.append((record, value.step, value.tag, number, value.wall_time))
        except (ValueError, IndexError, struct.error, OverflowError):
            n_bad += 1
    if n_bad:
        problems.append(f"{n_bad} record(s) skipped: they are not events")
    return points, values


def _values(record: bytes) -> Iterator[Value]:
    """The summary values of one event."""
    event = fields(record)
    wall_time = struct.unpack("<d", event[1][0])[0] if 1 in event else 0.0
    step = event[2][0] if 2 in event else 0
    step = step - (1 << 64) if step >= 1 << 63 else step
    for summary in event.get(5, []):
        for item in fields(summary).get(1, []):
            content = fields(item)
            tag = content[1][0].decode("utf-8", "replace") if 1 in content else ""
            yield Value(int(step), wall_time, tag, content)


#: TensorProto dtype -> (numpy dtype of tensor_content, field of the typed list, is that list varint-coded)
_DTYPES = {1: ("<f4", 5, False), 2: ("<f8", 6, False), 3: ("<i4", 7, True), 9: ("<i8", 10, True), 10: ("?", 11, True)}


def tensor(message: bytes) -> np.ndarray | list[bytes]:
    """A TensorProto as an array, or as a list of byte strings for a string tensor.

    Raises:
        ValueError: a dtype or form that is not supported, or contents that do not fit the shape.
    """
    proto = fields(message)
    dtype = proto.get(1, [0])[0]
    if dtype == 7:
        return [bytes(item) for item in proto.get(8, [])]
    if dtype not in _DTYPES:
        raise ValueError(f"a tensor of type {dtype} is not supported")
    shape = [fields(dim).get(1, [0])[0] for dim in fields(proto[2][0]).get(2, [])] if 2 in proto else []
    numpy_dtype, number, coded = _DTYPES[dtype]
    if 4 in proto and proto[4][0]:
        flat = np.frombuffer(proto[4][0], numpy_dtype)
    elif coded:
        flat = np.array(_packed_varints(proto.get(number, [])), dtype=numpy_dtype)
    else:
        flat = np.frombuffer(b"".join(proto.get(number, [])), numpy_dtype)
    size = int(np.prod(shape)) if shape else 1
    if flat.size == 1 and size > 1:
        flat = np.repeat(flat, size) if size <= 1_000_000 else flat
    return flat.reshape(shape) if shape else flat[:1].reshape(())


def _packed_varints(items: list[Any]) -> list[int]:
    numbers: list[int] = []
    for item in items:
        if isinstance(item, int):
            numbers.append(item)
            continue
        position = 0
        while position < len(item):
            number, position = varint(item, position)
            numbers.append(number)
    return [number - (1 << 64) if number >= 1 << 63 else number for number in numbers]


def plugin(content: Fields) -> str:
    """Name of the plugin a value was written for; empty for plain summaries."""
    if 9 not in content:
        return ""
    metadata = fields(content[9][0])
    data = fields(metadata[1][0]) if 1 in metadata else {}
    return bytes(data[1][0]).decode("utf-8", "replace") if 1 in data else ""


def scalar(content: Fields) -> float | None:
    """The number of a scalar value, whether stored plainly or as a tensor of the scalars plugin; None for others."""
    if 2 in content:
        return float(struct.unpack("<f", content[2][0])[0])
    if 8 in content and plugin(content) in ("scalars", ""):
        array = tensor(content[8][0])
        if isinstance(array, np.ndarray) and array.size == 1:
            return float(array.reshape(-1)[0])
    return None
