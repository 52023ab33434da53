# SPDX-License-Identifier: MIT
"""DAG-CBOR, as far as this project writes it: text, bytes, non-negative integers, lists, maps with text keys, links.

One value has one encoding (IPLD specification, "DAG-CBOR", section "Strictness"): heads in their shortest form,
definite lengths, map keys sorted by length and then by bytes, no tag but 42. What is not in that encoding is refused,
because its CID would be one of several for the same value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from mrv_backends_ipfs.cid import Cid
from mrv_core.errors import FormatError

Value: TypeAlias = "int | bytes | str | Cid | list[Value] | dict[str, Value]"

_LINK_TAG: Final = 42
_MAX_DEPTH: Final = 8
"""Deepest nesting read; blocks of this project have three levels."""
_FREE_ITEMS: Final = 1024
_BYTES_AN_ITEM: Final = 16
"""Beyond the free ones, an item for so many bytes: honest blocks hold hashes and links, and an item of one byte costs
a hundred times its size."""
_UNSIGNED, _BYTES, _TEXT, _LIST, _MAP, _TAG = 0, 2, 3, 4, 5, 6  # major types (RFC 8949, section 3.1)


def encode(value: Value) -> bytes:
    """Encode a value.

    Raises:
        FormatError: text with a lone surrogate, an integer that is negative or beyond 2^64-1, or another type.
    """
    match value:
        case str():
            data = _utf8(value)
            return _head(_TEXT, len(data)) + data
        case bytes():
            return _head(_BYTES, len(value)) + value
        case Cid():
            return _head(_TAG, _LINK_TAG) + encode(b"\x00" + value.to_bytes())  # 0x00 is the identity multibase
        case list():
            return _head(_LIST, len(value)) + b"".join(map(encode, value))
        case dict():
            return _head(_MAP, len(value)) + _entries(value)
        case int() if type(value) is int and 0 <= value < 1 << 64:
            return _head(_UNSIGNED, value)
    raise FormatError(f"a {type(value).__name__} cannot stand in a block here")


def decode(block: bytes) -> Value:
    """Decode a block.

    Raises:
        FormatError: anything but the one encoding of a value that `encode` takes.
    """
    reader = _Reader(block)
    try:
        value = reader.value(0)
    except (IndexError, UnicodeDecodeError):
        raise FormatError("a block is cut off, or holds text that is not UTF-8") from None
    if encode(value) != block:  # also what stands behind the value, keys out of order or twice, heads that are too long
        raise FormatError("a block is not in the one encoding that DAG-CBOR allows")
    return value


def _entries(value: Mapping[str, Value]) -> bytes:
    keys = sorted((_utf8(key) for key in value), key=lambda key: (len(key), key))
    return b"".join(_head(_TEXT, len(key)) + key + encode(value[key.decode()]) for key in keys)


def _utf8(text: object) -> bytes:
    if not isinstance(text, str):
        raise FormatError("a key in a block must be text")
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise FormatError("text with a lone surrogate cannot stand in a block") from None


def _head(major: int, value: int) -> bytes:
    """Encode a major type and its argument in the shortest form (RFC 8949, section 4.2.1)."""
    if value < 24:
        return bytes((major << 5 | value,))
    size = next(size for size in (1, 2, 4, 8) if value < 1 << 8 * size)
    return bytes((major << 5 | 23 + size.bit_length(),)) + value.to_bytes(size, "big")


class _Reader:
    """Reads heads and what belongs to them; that they were the shortest is checked at the end, by encoding again."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._items = _FREE_ITEMS + len(data) // _BYTES_AN_ITEM

    def value(self, depth: int) -> Value:
        self._items -= 1
        if depth > _MAX_DEPTH or self._items < 0:
            raise FormatError(f"a block is nested deeper than {_MAX_DEPTH} levels, or has too many items")
        major, argument = self._head()
        match major:
            case 0:  # _UNSIGNED
                return argument
            case 2:  # _BYTES
                return self._take(argument)
            case 3:  # _TEXT
                return self._take(argument).decode("utf-8")
            case 4:  # _LIST
                return [self.value(depth + 1) for _ in range(self._counted(argument))]
            case 5:  # _MAP
                return {self._key(): self.value(depth + 1) for _ in range(self._counted(argument))}
            case 6 if argument == _LINK_TAG:  # _TAG
                return self._link()
        raise FormatError(f"a block holds a CBOR item of type {major} with {argument}, which has no place here")

    def _key(self) -> str:
        return self._of_type(_TEXT, "a key in a block is not text").decode("utf-8")

    def _link(self) -> Cid:
        data = self._of_type(_BYTES, "a link in a block is not bytes")
        if data[:1] != b"\x00":
            raise FormatError("a link in a block is not a binary CID")
        return Cid.from_bytes(data[1:])

    def _of_type(self, expected: int, otherwise: str) -> bytes:
        major, size = self._head()
        if major != expected:
            raise FormatError(otherwise)
        return self._take(size)

    def _head(self) -> tuple[int, int]:
        first = self._data[self._at]
        self._at += 1
        major, low = first >> 5, first & 31
        if low < 24:
            return major, low
        if low > 27:
            raise FormatError("a block holds an item of indefinite length")
        return major, int.from_bytes(self._take(1 << low - 24), "big")

    def _counted(self, count: int) -> int:
        """Return a number of items, each of which takes a byte at least, so that no claim makes a long loop."""
        if count > len(self._data) - self._at:
            raise IndexError
        return count

    def _take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            raise IndexError
        data, self._at = self._data[self._at : end], end
        return data
