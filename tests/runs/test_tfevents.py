"""The event-file parser: equal to TensorBoard's own reader, and never surprised by damage."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.runs import tfevents


def _varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while number >= 128:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _crc(data: bytes) -> bytes:
    """Masked CRC-32C, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + _crc(length) + data + _crc(data)


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _scalar(step: int, tag: str, value: float, wall_time: float = 1.5) -> bytes:
    item = _field(1, tag.encode()) + b"\x15" + struct.pack("<f", value)
    at = b"\x10" + _varint(step) if step else b""
    return b"\x09" + struct.pack("<d", wall_time) + at + _field(5, _field(1, item))


points = st.lists(
    st.tuples(st.integers(0, 2**40), st.text(min_size=0, max_size=40), st.floats(width=32, allow_nan=False)),
    max_size=30,
)


@given(points)
def test_every_point_comes_back_in_order(rows):
    events = tfevents.parse(b"".join(_record(_scalar(*row)) for row in rows))
    assert events.problems == []
    assert events.scalars.step.tolist() == [row[0] for row in rows]
    assert events.scalars.tag.tolist() == [row[1] for row in rows]
    assert events.scalars.value.tolist() == [row[2] for row in rows]


@given(points.filter(bool), st.data())
def test_a_cut_file_gives_the_records_before_the_cut(rows, data):
    records = [_record(_scalar(*row)) for row in rows]
    whole = b"".join(records)
    cut = data.draw(st.integers(0, len(whole) - 1))
    ends = np.cumsum([len(record) for record in records])
    events = tfevents.parse(whole[:cut])
    assert len(events.scalars.step) == int((ends <= cut).sum())
    assert bool(events.problems) == (cut not in (0, *ends))


@given(points.filter(bool), st.data())
def test_a_flipped_byte_never_raises_and_loses_at_most_what_follows(rows, data):
    whole = bytearray(b"".join(_record(_scalar(*row)) for row in rows))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    events = tfevents.parse(bytes(whole))
    assert len(events.scalars.step) < len(rows)
    assert events.problems


@given(st.binary(max_size=300))
def test_random_bytes_never_raise(data):
    tfevents.parse(data)
    tfevents.parse(_record(data))


def test_ten_thousand_tags_are_decoded_by_the_column():
    rows = [(step, f"layer.{step:05d}/norm", float(step)) for step in range(1, 10_001)]
    events = tfevents.parse(b"".join(_record(_scalar(*row)) for row in rows))
    assert events.scalars.tag.tolist() == [row[1] for row in rows]


def test_negative_steps_and_missing_steps():
    events = tfevents.parse(_record(_scalar(-3, "a", 1.0)) + _record(_scalar(0, "a", 2.0)))
    assert events.scalars.step.tolist() == [-3, 0]


def test_tensorboards_own_reader_agrees(tmp_path):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="needs tensorboard"
    )
    writer_module = pytest.importorskip("torch.utils.tensorboard")
    with writer_module.SummaryWriter(str(tmp_path)) as writer:
        for step in range(300):
            writer.add_scalar("loss/train", 1 / (step + 1), step * 1000)
            if step % 7 == 0:
                writer.add_scalar("accuracy", step / 300, step)
            if step % 100 == 0:
                writer.add_scalar("new_style", step, step, new_style=True)
                writer.add_histogram("weights", np.arange(10.0), step)
    file = next(tmp_path.iterdir())
    events = tfevents.parse(file.read_bytes())
    theirs = accumulator.EventAccumulator(str(tmp_path), size_guidance={"scalars": 0, "tensors": 0})
    theirs.Reload()
    for tag in ("loss/train", "accuracy"):
        ours = events.scalars.value[events.scalars.tag == tag]
        assert ours.tolist() == [event.value for event in theirs.Scalars(tag)]
        assert events.scalars.step[events.scalars.tag == tag].tolist() == [event.step for event in theirs.Scalars(tag)]
    assert events.scalars.value[events.scalars.tag == "new_style"].tolist() == [0, 100, 200]
    assert [value.tag for value in events.values] == ["weights"] * 3


@given(points, st.integers(1, 200), st.integers(0, 40))
def test_pieces_of_any_size_say_the_same_as_the_whole(rows, size, cut):
    data = b"".join(_record(_scalar(step, tag, value)) for step, tag, value in rows)
    data = data[: max(0, len(data) - cut)]
    whole = tfevents.parse(data)
    found = list(tfevents.pieces(io.BytesIO(data), size))
    for name in tfevents.COLUMNS:
        joined = [item for events in found for item in getattr(events.scalars, name).tolist()]
        assert joined == getattr(whole.scalars, name).tolist()
    assert [problem for events in found for problem in events.problems] == whole.problems
