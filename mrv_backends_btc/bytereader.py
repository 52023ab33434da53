# SPDX-License-Identifier: MIT
"""Reads the bytes of Bitcoin's serialisation, within limits and in their one written form."""

from __future__ import annotations

from hashlib import sha256

from mrv_core.errors import FormatError


class ByteReader:
    """Reads a byte string from its beginning to its end.

    Args:
        data: All of it.
        what: Its name, for messages.
    """

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._what = what
        self._place = 0

    @property
    def place(self) -> int:
        """Number of bytes read so far."""
        return self._place

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes.

        Raises:
            FormatError: there are not so many.
        """
        if count > len(self._data) - self._place:
            raise FormatError(f"{self._what}: ends after {len(self._data)} bytes, in the middle of something")
        self._place += count
        return self._data[self._place - count : self._place]

    def integer(self, size: int) -> int:
        """Return an unsigned little-endian integer of `size` bytes.

        Raises:
            FormatError: too few bytes are left.
        """
        return int.from_bytes(self.take(size), "little")

    def compact_size(self, most: int) -> int:
        """Return a CompactSize integer, which must be in its shortest form.

        Args:
            most: Largest value that makes sense here.

        Raises:
            FormatError: too few bytes, not the shortest form, or larger than `most`.
        """
        first = self.integer(1)
        width, least = {0xFD: (2, 0xFD), 0xFE: (4, 0x1_0000), 0xFF: (8, 0x1_0000_0000)}.get(first, (0, 0))
        value = self.integer(width) if width else first
        if value < least:
            raise FormatError(f"{self._what}: a length at byte {self._place} is not written in its shortest form")
        if value > most:
            raise FormatError(f"{self._what}: a length of {value} at byte {self._place}, where {most} is the most")
        return value

    def counted(self, most: int) -> bytes:
        """Return bytes that stand behind their CompactSize length.

        Raises:
            FormatError: malformed, or longer than `most`.
        """
        return self.take(self.compact_size(most))

    def end(self) -> None:
        """Check that everything was read.

        Raises:
            FormatError: there are bytes left.
        """
        if self._place != len(self._data):
            raise FormatError(f"{self._what}: {len(self._data) - self._place} bytes too many")


def double_sha256(data: bytes) -> bytes:
    """Return SHA-256 of SHA-256, in internal byte order."""
    return sha256(sha256(data).digest()).digest()


def displayed(value: bytes) -> str:
    """Write a hash in internal byte order as explorers and nodes show it: reversed, in hexadecimal."""
    return value[::-1].hex()
