# SPDX-License-Identifier: MIT
"""Feeding content to a hash as fast as the machine allows, and the byte frames that go in front of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

from blake3 import blake3

from mrv_core.hashing import Digest, Hasher, HashFactory, length_prefixed
from mrv_core.progress import SILENT, Task

Buffer: TypeAlias = "bytes | bytearray | memoryview"

THREADS_FROM: Final = 4 * 1024 * 1024
"""Bytes from which BLAKE3 on all cores is faster than on one; below, starting threads costs more than it saves."""
PIECE: Final = 64 * 1024 * 1024
"""Bytes between two reports of progress. A power of two, so that BLAKE3 keeps its widest subtrees."""


class ContentHasher:
    """Hashes the bytes of one leaf.

    Args:
        algorithm: One of `HashFactory.algorithms()`.
        size: Bytes that will follow, roughly: decides how many threads are worth while.
        task: Is told how many bytes are done.
    """

    __slots__ = ("_algorithm", "_fed", "_hasher", "_task")

    def __init__(self, algorithm: str, size: int, task: Task = SILENT) -> None:
        self._algorithm = algorithm
        self._hasher = _new_hasher(algorithm, size)
        self._task = task
        self._fed = 0

    def update(self, data: Buffer) -> None:
        """Feed bytes. The buffer is read in place and must be contiguous."""
        size = len(data)
        if size <= PIECE:
            self._feed(data, size)
            return
        view = memoryview(data)
        start = 0
        while start < size:
            # Ending on a multiple of PIECE of the whole stream keeps BLAKE3's subtrees aligned behind a header.
            end = min(size, start + PIECE - self._fed % PIECE)
            self._feed(view[start:end], end - start)
            start = end

    def _feed(self, data: Buffer, size: int) -> None:
        self._hasher.update(data)
        self._fed += size
        self._task.advance(size)

    def digest(self) -> Digest:
        """Return the digest of everything fed."""
        return Digest(self._algorithm, self._hasher.digest())


def _new_hasher(algorithm: str, size: int) -> Hasher:
    if algorithm == "blake3" and size >= THREADS_FROM:
        return blake3(max_threads=blake3.AUTO)
    return HashFactory.create(algorithm)


def u64(number: int) -> bytes:
    """Return an unsigned 64-bit big-endian integer."""
    return number.to_bytes(8, "big")


def array_header(dtype: str, shape: Sequence[int]) -> bytes:
    """Return what stands before the elements of an array: dtype name, number of dimensions, dimensions."""
    return length_prefixed(dtype.encode()) + u64(len(shape)) + b"".join(map(u64, shape))
