"""CRC-32C (Castagnoli) of the rows of a byte matrix, as event files store it: rotated and shifted ("masked").

The checksum is linear over GF(2). A long row is therefore cut into pieces whose checksums are computed side by side and
then joined: a piece is moved past the bytes behind it by a linear map, which is found by running the same steps on the
32 unit vectors. That takes about 2 √L array operations for L bytes in place of L.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8, UInt32

#: Rows longer than this are cut into pieces, unless there are so many rows that it does not pay.
_LONG, _MANY = 256, 2000


def _byte_table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(0x82F63B78), table >> 1).astype(np.uint32)
    return table


_TABLE = _byte_table()


def masked_crc(matrix: UInt8[np.ndarray, "M L"]) -> UInt32[np.ndarray, " M"]:
    """Masked CRC-32C of every row of a byte matrix."""
    rows, length = matrix.shape
    start = np.full(rows, 0xFFFFFFFF, np.uint32)
    crc = ~(_joined(matrix) if length > _LONG and rows < _MANY else _advanced(start, matrix))
    return (((crc >> np.uint32(15)) | (crc << np.uint32(17))) + np.uint32(0xA282EAD8)).astype(np.uint32)


def _advanced(state: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The state of every row after its bytes."""
    for column in matrix.T:
        state = _TABLE[(state ^ column) & 0xFF] ^ (state >> 8)
    return state


def _joined(matrix: np.ndarray) -> np.ndarray:
    """As :func:`_advanced` from the start value, by pieces. Zeros in front of the bytes change nothing at state 0."""
    rows, length = matrix.shape
    piece = int(np.ceil(np.sqrt(length)))
    n_pieces = -(-length // piece)
    padded = np.zeros((rows, n_pieces * piece), np.uint8)
    padded[:, -length:] = matrix
    padded[:, -length : -length + 4] ^= 0xFF  # starting from all ones is starting from 0 with four bytes inverted
    units = np.uint32(1) << np.arange(32, dtype=np.uint32)
    stacked = np.concatenate([padded.reshape(rows * n_pieces, piece), np.zeros((32, piece), np.uint8)])
    state = _advanced(np.concatenate([np.zeros(rows * n_pieces, np.uint32), units]), stacked)
    pieces, moved = state[:-32].reshape(rows, n_pieces), _lookup(state[-32:])
    total = np.zeros(rows, np.uint32)
    for place in range(n_pieces):
        total = pieces[:, place] ^ np.bitwise_xor.reduce(
            [moved[byte, (total >> np.uint32(8 * byte)) & 0xFF] for byte in range(4)]
        )
    return total


def _lookup(images: np.ndarray) -> np.ndarray:
    """A linear map, given by the images of the 32 unit vectors, as a table [4, 256] by byte of its argument."""
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    chosen = np.where(bits[None].astype(bool), images.reshape(4, 1, 8), np.uint32(0))
    return np.bitwise_xor.reduce(chosen, axis=2).astype(np.uint32)
