# SPDX-License-Identifier: MIT
"""The bytes behind a descriptor, block by block, by the fastest way that is safe.

Mapping a large file is fastest, but a mapped file that is truncated ends the process with SIGBUS. So a file is
mapped only under a read lease (fcntl(2), "Leases"): the kernel grants one when nobody has the file open for
writing, and holds back whoever comes to change it until the lease is given up, which happens at the end of a window.
Without a lease (another owner, a writer, a network file system) the file is read, the next block ahead.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import signal
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from concurrent.futures import Future

LARGE: Final = 32 * 1024 * 1024
"""Bytes from which mapping, or a thread that reads ahead, is worth its start; and the size of a window."""
BLOCK: Final = 4 * 1024 * 1024
"""Bytes one thread reads at a time: stays in the cache until it is hashed."""


def blocks(descriptor: int, start: int, end: int) -> Generator[memoryview, None, None]:
    """Yield the bytes from `start` to `end`, or to the end of the file if that comes first.

    A block is valid until the next one is asked for.
    """
    if end - start < LARGE:
        yield from _read(descriptor, start, end)
        return
    with _read_lease(descriptor) as leased:
        while start < end and leased and _is_lease_held(descriptor):
            with _window(descriptor, start, end) as block:
                yield block
                start += len(block)
    yield from _read_ahead(descriptor, start, end)


def _read(descriptor: int, start: int, end: int) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(min(BLOCK, end - start)))
    while start < end and (count := os.preadv(descriptor, [buffer[: end - start]], start)):
        yield buffer[:count]
        start += count


@contextmanager
def _read_lease(descriptor: int) -> Iterator[bool]:
    """Hold a read lease while the block runs, if the system grants one."""
    try:
        # The signal sent when somebody wants to change the file; this one is ignored unless asked for.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except (OSError, AttributeError):  # refused, or not Linux
        yield False
        return
    try:
        yield True
    finally:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)


def _is_lease_held(descriptor: int) -> bool:
    return fcntl.fcntl(descriptor, fcntl.F_GETLEASE) == fcntl.F_RDLCK


@contextmanager
def _window(descriptor: int, start: int, end: int) -> Iterator[memoryview]:
    """Map up to `LARGE` bytes, from a page boundary."""
    skip = start % mmap.ALLOCATIONGRANULARITY
    length = min(LARGE, skip + end - start)
    window = mmap.mmap(descriptor, length, prot=mmap.PROT_READ, offset=start - skip)
    with window, memoryview(window) as view, view[skip:] as block:
        yield block


def _read_ahead(descriptor: int, start: int, end: int) -> Iterator[memoryview]:
    """Read each block while the caller works on the one before."""
    from concurrent.futures import ThreadPoolExecutor

    readers = max(1, min(4, available_cpus() // 2))
    offsets = range(start, end, readers * BLOCK)
    buffers = [memoryview(bytearray(readers * BLOCK)) for _ in range(2)]

    def begin(turn: int) -> list[Future[int]]:
        first = offsets[turn]
        buffer = buffers[turn % 2][: end - first]
        starts = range(0, len(buffer), BLOCK)
        return [pool.submit(_fill, descriptor, buffer[at : at + BLOCK], first + at) for at in starts]

    with ThreadPoolExecutor(readers) as pool:
        ahead = begin(0) if offsets else []
        for turn in range(len(offsets)):
            ready = sum(part.result() for part in ahead)
            if turn + 1 < len(offsets):
                ahead = begin(turn + 1)
            yield buffers[turn % 2][:ready]


def _fill(descriptor: int, buffer: memoryview, start: int) -> int:
    """Read until the buffer is full or the file ends, and return how many bytes there were."""
    filled = 0
    while filled < len(buffer) and (count := os.preadv(descriptor, [buffer[filled:]], start + filled)):
        filled += count
    return filled


def available_cpus() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
