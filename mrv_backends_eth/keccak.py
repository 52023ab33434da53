# SPDX-License-Identifier: MIT
"""Keccak-256, the hash of everything in Ethereum: by pycryptodome where it is installed, else in plain Python.

The plain one is what lets a receipt be examined without any library of this driver. It takes a third of a
millisecond for every 136 bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_RATE: Final = 136
_MASK: Final = (1 << 64) - 1
_ROUNDS: Final = 24


def _keccak_of_pycryptodome() -> Callable[[bytes], bytes] | None:
    try:
        from Crypto.Hash import keccak
    except ImportError:
        return None
    return lambda data: bytes(keccak.new(digest_bits=256, data=data).digest())


def keccak256(data: bytes) -> bytes:
    """Return the Keccak-256 digest, which is not SHA3-256: FIPS 202 pads differently."""
    return _fast(data) if _fast is not None else keccak256_in_python(data)


def keccak256_in_python(data: bytes) -> bytes:
    """Return the same digest without any library (the Keccak reference, version 3.0)."""
    padded = bytearray(data) + b"\x01" + bytes(_RATE - 1 - len(data) % _RATE)
    padded[-1] |= 0x80
    lanes = [0] * 25
    for start in range(0, len(padded), _RATE):
        for lane in range(_RATE // 8):
            lanes[lane] ^= int.from_bytes(padded[start + 8 * lane : start + 8 * lane + 8], "little")
        lanes = _permute(lanes)
    return b"".join(lane.to_bytes(8, "little") for lane in lanes[:4])


def _constants() -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the round constants, from the linear feedback shift register, and the rotations, by lane x + 5y."""
    rounds, register = [], 1
    for _ in range(_ROUNDS):
        constant = 0
        for power in range(7):
            constant |= (register & 1) << (1 << power) - 1
            register = register << 1 ^ (0x171 if register & 0x80 else 0)
        rounds.append(constant)
    rotations, x, y = [0] * 25, 1, 0
    for step in range(24):
        rotations[x + 5 * y] = (step + 1) * (step + 2) // 2 % 64
        x, y = y, (2 * x + 3 * y) % 5
    return tuple(rounds), tuple(rotations)


def _permute(lanes: list[int]) -> list[int]:
    for constant in _ROUND_CONSTANTS:
        columns = [lanes[x] ^ lanes[x + 5] ^ lanes[x + 10] ^ lanes[x + 15] ^ lanes[x + 20] for x in range(5)]
        parity = [columns[x - 1] ^ _rotate(columns[(x + 1) % 5], 1) for x in range(5)]
        moved = [0] * 25
        for x in range(5):
            for y in range(5):
                moved[y + 5 * ((2 * x + 3 * y) % 5)] = _rotate(lanes[x + 5 * y] ^ parity[x], _ROTATIONS[x + 5 * y])
        lanes = [
            moved[row + x] ^ (~moved[row + (x + 1) % 5] & moved[row + (x + 2) % 5])
            for row in range(0, 25, 5)
            for x in range(5)
        ]
        lanes[0] ^= constant
    return lanes


def _rotate(lane: int, by: int) -> int:
    return (lane << by | lane >> 64 - by) & _MASK


_ROUND_CONSTANTS, _ROTATIONS = _constants()
_fast: Final = _keccak_of_pycryptodome()
