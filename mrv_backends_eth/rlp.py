# SPDX-License-Identifier: MIT
"""RLP, Ethereum's serialisation (Yellow Paper, appendix B): a strict decoder, and its inverse.

Strict means one encoding for each item: lengths and single bytes in their shortest form, nothing left over.
Anything else would let two different byte strings stand for one header, proof node or receipt.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from mrv_core.errors import VerificationError

Item: TypeAlias = "bytes | list[Item]"

MAX_DEPTH: Final = 8
"""Deepest nesting read. A transaction receipt needs four levels, a transaction with an access list four."""

_SHORT = 55
_STRING, _LONG_STRING, _LIST, _LONG_LIST = 0x80, 0xB7, 0xC0, 0xF7


def decode(data: bytes) -> Item:
    """Decode exactly one item.

    Raises:
        VerificationError: truncated, not in shortest form, nested deeper than `MAX_DEPTH`, or followed by more bytes.
    """
    item, end = _item(data, 0, len(data), 0)
    if end != len(data):
        raise VerificationError(f"RLP item is followed by {len(data) - end} more bytes")
    return item


def decode_list(data: bytes, *, what: str, length: int | None = None) -> list[Item]:
    """Decode a list, of `length` items where it is given.

    Raises:
        VerificationError: as `decode` and `as_list` do.
    """
    return as_list(decode(data), what=what, length=length)


def as_list(item: Item, *, what: str, length: int | None = None) -> list[Item]:
    """Return a decoded item as a list, of `length` items where it is given.

    Raises:
        VerificationError: it is not such a list.
    """
    if not isinstance(item, list) or (length is not None and len(item) != length):
        raise VerificationError(f"{what} is not an RLP list" + (f" of {length}" if length is not None else ""))
    return item


def as_bytes(item: Item, *, what: str, size: int | None = None) -> bytes:
    """Return a decoded item as bytes, `size` of them where it is given.

    Raises:
        VerificationError: it is a list, or has another size.
    """
    if not isinstance(item, bytes) or (size is not None and len(item) != size):
        raise VerificationError(f"{what} is not a string" + (f" of {size} bytes" if size is not None else ""))
    return item


def as_int(item: Item, *, what: str) -> int:
    """Return a decoded item as an unsigned big-endian integer without leading zeros, at most 32 bytes.

    Raises:
        VerificationError: it is not one.
    """
    data = as_bytes(item, what=what)
    if len(data) > 32 or data[:1] == b"\0":
        raise VerificationError(f"{what} is not an integer")
    return int.from_bytes(data, "big")


def encode(item: Item) -> bytes:
    """Encode an item; `decode` gives it back."""
    if isinstance(item, list):
        content = b"".join(map(encode, item))
        return _prefix(len(content), _LIST) + content
    if len(item) == 1 and item[0] < _STRING:
        return item
    return _prefix(len(item), _STRING) + item


def encode_int(value: int) -> bytes:
    """Encode an unsigned integer."""
    return encode(int_bytes(value))


def int_bytes(value: int) -> bytes:
    """Return an unsigned integer as an item: big-endian, without leading zeros, nothing for zero."""
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def _prefix(size: int, offset: int) -> bytes:
    if size <= _SHORT:
        return bytes([offset + size])
    width = int_bytes(size)
    return bytes([offset + _SHORT + len(width)]) + width


def _item(data: bytes, start: int, stop: int, depth: int) -> tuple[Item, int]:
    first, begin, end = _span(data, start, stop)
    if first < _LIST:
        return data[begin:end], end
    if depth == MAX_DEPTH:
        raise VerificationError(f"RLP is nested deeper than {MAX_DEPTH} lists")
    items: list[Item] = []
    while begin < end:
        item, begin = _item(data, begin, end, depth + 1)
        items.append(item)
    return items, end


def _span(data: bytes, start: int, stop: int) -> tuple[int, int, int]:
    """Return the first byte of the item at `start` and where its content begins and ends."""
    if start >= stop:
        raise VerificationError("RLP ends where an item should begin")
    first = data[start]
    if first < _STRING:
        return first, start, start + 1
    begin, size = _content(data, start, stop, first)
    if size > stop - begin:
        raise VerificationError("RLP item reaches beyond its container")
    if first == _STRING + 1 and data[begin] < _STRING:
        raise VerificationError("RLP writes a single byte with a length")
    return first, begin, begin + size


def _content(data: bytes, start: int, stop: int, first: int) -> tuple[int, int]:
    offset = _STRING if first < _LIST else _LIST
    if first - offset <= _SHORT:
        return start + 1, first - offset
    width = first - (_LONG_STRING if first < _LIST else _LONG_LIST)
    begin = start + 1 + width
    if begin > stop or data[start + 1] == 0:
        raise VerificationError("RLP length is cut off or has leading zeros")
    size = int.from_bytes(data[start + 1 : begin], "big")
    if size <= _SHORT:
        raise VerificationError("RLP length is not in its shortest form")
    return begin, size
