# SPDX-License-Identifier: MIT
"""What every suite is given: sizes, a folder for data, the peers; and the two ways to make a row."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blake3 import blake3

from benchmarks.peers import Peers
from benchmarks.race import Measure, race
from benchmarks.rows import Goal, Row, Unavailable

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB
_BLOCK: Final = 64 * MIB


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much work each suite does.

    Attributes:
        file_bytes: Size of the one large file.
        array_bytes: Size of the array and tensor.
        files: Files in the folder.
        small_file_bytes: Size of each of them.
        leaves: Leaves of the log tree.
        anchors: Anchors made one by one as one round.
        calls: Appends and proofs timed together as one round.
        epoch_s: Seconds that an epoch of the training lasts at least.
        load_s: Seconds that a registry is under load.
        kills: How often its worker is killed meanwhile.
        records: Records in one batch of a registry.
        many: Rounds of races that are short or close.
        few: Rounds of races against a peer that takes many seconds.
    """

    file_bytes: int
    array_bytes: int
    files: int
    small_file_bytes: int
    leaves: int
    anchors: int
    calls: int
    epoch_s: float
    load_s: float
    kills: int
    records: int
    many: int
    few: int


FULL: Final = Sizes(4 * GIB, 2 * GIB, 20_000, 64 * KIB, 1_000_000, 200, 10_000, 5.0, 60.0, 50, 10_000, many=11, few=3)
QUICK: Final = Sizes(256 * MIB, 128 * MIB, 2_000, 64 * KIB, 50_000, 20, 1_000, 0.5, 5.0, 5, 500, many=5, few=2)


class Bench:
    """One run of the benchmarks.

    Args:
        sizes: How much work.
        folder: Empty folder for the data of one suite.
        peers: The programs to compare with.
        seed: Seed of all data.
    """

    def __init__(self, sizes: Sizes, folder: Path, peers: Peers, seed: int) -> None:
        self.sizes = sizes
        self.folder = folder
        self.peers = peers
        self.seed = seed

    def compare(
        self,
        what: str,
        ours: Measure,
        peer: AbstractContextManager[Measure],
        goal: Goal | None,
        *,
        rounds: int,
        size: int | None = None,
        count: int | None = None,
    ) -> Row:
        """Race against a peer and return how many times faster ours is.

        Args:
            what: Title of the row.
            ours: Our candidate.
            peer: Gets the peer ready, gives its measure, and clears up after it.
            goal: For the ratio.
            rounds: Rounds after the warm-up.
            size: Bytes that a round works on, for the details.
            count: Items that a round works on, for the details.
        """
        try:
            with peer as theirs:
                result = race(ours, theirs, rounds)
        except Unavailable as reason:
            return Row(what, "x", goal=goal, problem=str(reason))
        return Row(what, "x", result.ratios(), goal, result.details(size, count))

    def measure(self, what: str, unit: str, goal: Goal | None, values: Callable[[], tuple[list[float], str]]) -> Row:
        """Return a row of plain values; `values` gives them together with the details."""
        try:
            found, details = values()
        except Unavailable as reason:
            return Row(what, unit, goal=goal, problem=str(reason))
        return Row(what, unit, tuple(found), goal, details)

    def write_file(self, path: Path, size: int) -> Path:
        """Write a file of random bytes that depend on the seed and the file's name."""
        stream = blake3(f"{self.seed} {path.name}".encode())
        with path.open("wb") as file:
            for start in range(0, size, _BLOCK):
                file.write(stream.digest(min(_BLOCK, size - start), seek=start))
            os.fsync(file.fileno())  # or the system would go on writing it while the first rounds are measured
        return path


def require_equal(what: str, ours: object, theirs: object) -> None:
    """Stop where two candidates of a race do not compute the same.

    Raises:
        RuntimeError: they differ, so their times mean nothing.
    """
    if ours != theirs:
        raise RuntimeError(f"{what}: ours is {ours}, the peer's {theirs}")
