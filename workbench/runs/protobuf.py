"""The wire format of protobuf messages, read without a schema: enough for logs whose field numbers are known."""

from __future__ import annotations

from typing import Any

Fields = dict[int, list[Any]]


def fields(message: bytes) -> Fields:
    """The fields of a protobuf message by number: ints for varints, bytes for everything else.

    Raises:
        ValueError: not a protobuf message.
    """
    found: Fields = {}
    position = 0
    while position < len(message):
        key, position = varint(message, position)
        kind = key & 7
        item: Any
        if kind == 0:
            item, position = varint(message, position)
        else:
            if kind == 2:
                size, position = varint(message, position)
            else:
                size = {1: 8, 5: 4}.get(kind, -1)
            if size < 0 or position + size > len(message):
                raise ValueError("not a protobuf message")
            item, position = message[position : position + size], position + size
        found.setdefault(key >> 3, []).append(item)
    return found


def varint(message: bytes, position: int) -> tuple[int, int]:
    """The number at a position, and the position after it. Raises IndexError at the end of the message."""
    number = shift = 0
    while True:
        byte = message[position]
        number |= (byte & 0x7F) << shift
        position += 1
        if byte < 128:
            return number, position
        shift += 7
        if shift > 63:
            raise ValueError("a varint is too long")
