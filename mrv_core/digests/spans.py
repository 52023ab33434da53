# SPDX-License-Identifier: MIT
"""Hashing many small files, here or in a child process.

A span is a list of (folder, names): folders as lists of names below one root folder, opened one by one without
following links. The module is also the program of the child: run by its path with a bare interpreter, it imports
nothing of this project. It reads one span a line and answers one line.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

Span: TypeAlias = "Sequence[tuple[Sequence[str], Sequence[str]]]"

FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_BUFFER: Final = 1024 * 1024
LARGE: Final = 32 * 1024 * 1024
"""Files from this size on are left out: the caller hashes them with all cores."""

CHANGED: Final = 0
"""Stands for an error number where a file changed while it was read."""


class SpanError(Exception):
    """A file of a span cannot be hashed.

    Args:
        path: Names from the root folder down to the file.
        number: Error number of the operating system, or `CHANGED`.
    """

    def __init__(self, path: Sequence[str], number: int) -> None:
        super().__init__(path, number)
        self.path = tuple(path)
        self.number = number


class SpanHasher:
    """Hashes spans one after another with one buffer.

    Args:
        root: Descriptor of the root folder.
        algorithm: One of the names that `mrv_core.hashing.HashFactory` knows.
    """

    def __init__(self, root: int, algorithm: str) -> None:
        self._root = root
        self._create = _hash_function(algorithm)
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)

    def digests(self, span: Span) -> tuple[list[bytes | None], int]:
        """Return the digest of every file in order, None for a large one, and the bytes read.

        Raises:
            SpanError: a file cannot be read or changed.
        """
        found: list[bytes | None] = []
        total = 0
        for folder, names in span:
            descriptor = open_folder(self._root, folder)
            try:
                for name in names:
                    digest, size = self._file(descriptor, folder, name)
                    found.append(digest)
                    total += size
            finally:
                os.close(descriptor)
        return found, total

    def _file(self, folder: int, path: Sequence[str], name: str) -> tuple[bytes | None, int]:
        try:
            descriptor = os.open(name, _FILE_FLAGS, dir_fd=folder)
            try:
                return self._read(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise SpanError((*path, name), error.errno or CHANGED) from error

    def _read(self, descriptor: int) -> tuple[bytes | None, int]:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise OSError(CHANGED, "not a regular file any more")
        if before.st_size >= LARGE:
            return None, 0
        # A file of reported size 0 is read too: those of /proc have content all the same.
        total = os.readv(descriptor, [self._buffer])
        hasher = self._create(self._view[:total])
        while total < before.st_size and (count := os.readv(descriptor, [self._buffer])):
            hasher.update(self._view[:count])
            total += count
        after = os.fstat(descriptor)
        if total != before.st_size or (before.st_size, before.st_mtime_ns, before.st_ctime_ns) != (
            after.st_size,
            after.st_mtime_ns,
            after.st_ctime_ns,
        ):
            raise OSError(CHANGED, "changed")
        return hasher.digest(), total


def _hash_function(algorithm: str) -> Callable[[memoryview], Any]:
    # Importing HashFactory instead would double the time that a child takes to start.
    if algorithm == "blake3":
        from blake3 import blake3

        return blake3
    if algorithm == "blake2b-256":
        return partial(hashlib.blake2b, digest_size=32)
    return partial(hashlib.new, algorithm.replace("-", "_"))


def open_folder(root: int, names: Sequence[str]) -> int:
    """Open a folder below a root folder, name by name, so that no link on the way is followed.

    Raises:
        SpanError: there is no such folder any more, or it cannot be read.
    """
    descriptor = os.dup(root)
    for depth, name in enumerate(names, 1):
        parent = descriptor
        try:
            descriptor = os.open(name, FOLDER_FLAGS, dir_fd=parent)
        except OSError as error:
            raise SpanError(names[:depth], error.errno or CHANGED) from error
        finally:
            os.close(parent)
    return descriptor


def answer(hasher: SpanHasher, line: bytes) -> bytes:
    """Return the child's answer to one line."""
    try:
        digests, total = hasher.digests(json.loads(line))
    except SpanError as problem:
        return json.dumps({"path": problem.path, "number": problem.number}).encode() + b"\n"
    texts = [digest and digest.hex() for digest in digests]
    return json.dumps({"digests": texts, "bytes": total}).encode() + b"\n"


def main(root: str, algorithm: str, folder_of_blake3: str) -> None:
    """Answer spans until the input ends."""
    sys.path.append(folder_of_blake3)
    hasher = SpanHasher(int(root), algorithm)
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(answer(hasher, line))
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
