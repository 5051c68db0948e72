"""CRC-32C equals its published check value and a bit-by-bit twin, for short rows and for long ones cut into pieces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.runs.crc import masked_crc


def _bit_by_bit(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def test_the_published_check_value():
    # CRC-32C of "123456789" is E3069283.
    crc = 0xE3069283
    expected = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert int(masked_crc(np.frombuffer(b"123456789", np.uint8)[None])[0]) == expected


@pytest.mark.parametrize("length", [0, 1, 3, 4, 255, 256, 257, 258, 289, 1000, 5041, 10_007])
def test_rows_of_any_length_equal_the_twin(length):
    matrix = np.random.default_rng(length).integers(0, 256, (2, length), dtype=np.uint8)
    assert masked_crc(matrix).tolist() == [_bit_by_bit(row.tobytes()) for row in matrix]


@given(st.binary(min_size=257, max_size=400), st.integers(0, 3000), st.integers(1, 255))
def test_a_changed_byte_changes_the_checksum(data, place, flip):
    changed = bytearray(data)
    changed[place % len(data)] ^= flip
    found = masked_crc(np.frombuffer(bytes(data) + bytes(changed), np.uint8).reshape(2, -1))
    assert found[0] != found[1]
    assert found[0] == _bit_by_bit(data)
