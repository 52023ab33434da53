# SPDX-License-Identifier: MIT
"""The suites, by the names they are selected with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from benchmarks.bench import GIB, MIB, Bench, Sizes
from benchmarks.rows import Row
from benchmarks.suites import (
    anchoring,
    command_line,
    hashing_array,
    hashing_file,
    hashing_folder,
    measuring,
    merkle,
    registry_load,
    tracking,
)

_BASE: Final = GIB // 2


@dataclass(frozen=True, slots=True)
class Suite:
    """A group of rows that share their data.

    Attributes:
        title: What it measures.
        rows: Measures, and yields each row when it is done.
        disk: Bytes of disk that its data take.
        memory: Bytes of memory it takes, the page cache for its data included.
    """

    title: str
    rows: Callable[[Bench], Iterator[Row]]
    disk: Callable[[Sizes], int]
    memory: Callable[[Sizes], int]


SUITES: Final[dict[str, Suite]] = {
    "hashing-file": Suite(
        "One large file, in the page cache",
        hashing_file.rows,
        disk=lambda sizes: sizes.file_bytes,
        memory=lambda sizes: sizes.file_bytes + _BASE,
    ),
    "hashing-array": Suite(
        "Arrays and tensors in memory",
        hashing_array.rows,
        disk=lambda sizes: 0,
        memory=lambda sizes: 2 * sizes.array_bytes + _BASE,
    ),
    "hashing-folder": Suite(
        "A folder of many small files, in the page cache",
        hashing_folder.rows,
        disk=lambda sizes: 2 * sizes.files * sizes.small_file_bytes,
        memory=lambda sizes: 2 * sizes.files * sizes.small_file_bytes + _BASE,
    ),
    "merkle": Suite("Log tree (RFC 9162)", merkle.rows, disk=lambda sizes: 0, memory=lambda sizes: 1000 * sizes.leaves),
    "tracking": Suite(
        "ProvenanceTracker inside a PyTorch training", tracking.rows, lambda sizes: 10 * MIB, lambda sizes: _BASE
    ),
    "measuring": Suite("MRVTracker beside CodeCarbon", measuring.rows, lambda sizes: 10 * MIB, lambda sizes: _BASE),
    "anchoring": Suite(
        "Anchors on a real Ethereum node", anchoring.rows, lambda sizes: 100 * MIB, lambda sizes: 1000 * sizes.leaves
    ),
    "registry-load": Suite(
        "A registry under load, in processes of its own", registry_load.rows, lambda sizes: GIB, lambda sizes: GIB
    ),
    "command-line": Suite(
        "The command mrv, as whole processes", command_line.rows, lambda sizes: 10 * MIB, lambda sizes: _BASE
    ),
}
