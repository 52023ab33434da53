# SPDX-License-Identifier: MIT
"""RIPEMD-160 (Dobbertin, Bosselaers, Preneel 1996), which OpenSSL 3 no longer offers everywhere.

Early proofs of OpenTimestamps went through it. It is here to read them, not to trust it: with 160 bits, two contents
of one digest cost 2^80 hashes.
"""

from __future__ import annotations

from typing import Final

_MASK: Final = 0xFFFF_FFFF
_START: Final = (0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476, 0xC3D2_E1F0)
_LEFT_CONSTANTS: Final = (0x0000_0000, 0x5A82_7999, 0x6ED9_EBA1, 0x8F1B_BCDC, 0xA953_FD4E)
_RIGHT_CONSTANTS: Final = (0x50A2_8BE6, 0x5C4D_D124, 0x6D70_3EF3, 0x7A6D_76E9, 0x0000_0000)
_RHO: Final = (7, 4, 13, 1, 10, 6, 15, 3, 12, 0, 9, 5, 2, 14, 11, 8)
_PI: Final = tuple((9 * i + 5) % 16 for i in range(16))
_SHIFTS: Final = (
    (11, 14, 15, 12, 5, 8, 7, 9, 11, 13, 14, 15, 6, 7, 9, 8),
    (12, 13, 11, 15, 6, 9, 9, 7, 12, 15, 11, 13, 7, 8, 7, 7),
    (13, 15, 14, 11, 7, 7, 6, 8, 13, 14, 13, 12, 5, 5, 6, 9),
    (14, 11, 12, 14, 8, 6, 5, 5, 15, 12, 15, 14, 9, 9, 8, 6),
    (15, 12, 13, 13, 9, 5, 8, 6, 14, 11, 12, 11, 8, 6, 5, 5),
)
"""Rotation of each message word in each round."""


def _orders() -> tuple[tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]:
    """Return the order of the message words in the five rounds of the left and of the right line."""
    left, right = [tuple(range(16))], [_PI]
    for _ in range(4):
        left.append(tuple(_RHO[word] for word in left[-1]))
        right.append(tuple(_RHO[word] for word in right[-1]))
    return tuple(left), tuple(right)


_LEFT_ORDER, _RIGHT_ORDER = _orders()


def ripemd160(data: bytes) -> bytes:
    """Return the 20-byte digest."""
    padded = data + b"\x80" + bytes(-(len(data) + 9) % 64) + (8 * len(data)).to_bytes(8, "little")
    state: tuple[int, ...] = _START
    for start in range(0, len(padded), 64):
        block = padded[start : start + 64]
        state = _compress(state, [int.from_bytes(block[i : i + 4], "little") for i in range(0, 64, 4)])
    return b"".join(word.to_bytes(4, "little") for word in state)


def _compress(state: tuple[int, ...], words: list[int]) -> tuple[int, ...]:
    left = _line(state, words, _LEFT_ORDER, _LEFT_CONSTANTS, range(5))
    right = _line(state, words, _RIGHT_ORDER, _RIGHT_CONSTANTS, range(4, -1, -1))
    return tuple((state[(i + 1) % 5] + left[(i + 2) % 5] + right[(i + 3) % 5]) & _MASK for i in range(5))


def _line(
    state: tuple[int, ...],
    words: list[int],
    order: tuple[tuple[int, ...], ...],
    constants: tuple[int, ...],
    functions: range,
) -> tuple[int, ...]:
    a, b, c, d, e = state
    for number, function in enumerate(functions):
        for word in order[number]:
            mixed = a + _mix(function, b, c, d) + words[word] + constants[number]
            a, e, d, c, b = e, d, _rotate(c, 10), b, (_rotate(mixed & _MASK, _SHIFTS[number][word]) + e) & _MASK
    return a, b, c, d, e


def _mix(function: int, x: int, y: int, z: int) -> int:
    if function == 0:
        return x ^ y ^ z
    if function == 1:
        return (x & y) | (~x & z & _MASK)
    if function == 2:
        return (x | (~y & _MASK)) ^ z
    return (x & z) | (y & ~z & _MASK) if function == 3 else x ^ (y | (~z & _MASK))


def _rotate(value: int, count: int) -> int:
    return ((value << count) | (value >> (32 - count))) & _MASK
