# SPDX-License-Identifier: MIT
"""Two candidates in turn: A, B, A, B, ... A slow moment of the machine then slows both, and ratios survive it."""

from __future__ import annotations

import gc
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final, TypeAlias

from benchmarks.rows import seconds

Measure: TypeAlias = Callable[[], float]
"""Does the work once and returns the seconds it took; what it prepares before is not counted."""

_GIGABYTE: Final = 1e9


@dataclass(frozen=True, slots=True)
class Race:
    """Seconds of every round."""

    ours: tuple[float, ...]
    peer: tuple[float, ...]

    def ratios(self) -> tuple[float, ...]:
        """Return for each round how many times faster ours was."""
        return tuple(theirs / mine for mine, theirs in zip(self.ours, self.peer, strict=True))

    def details(self, size: int | None = None, count: int | None = None) -> str:
        """Return both medians as text, with bytes a second for `size` bytes, or the time for one of `count` items."""
        return " against ".join(_figure(median(times), size, count) for times in (self.ours, self.peer))


def race(ours: Measure, peer: Measure, rounds: int) -> Race:
    """Let both run once to warm up, then `rounds` times in turn."""
    ours()
    peer()
    pairs = [(ours(), peer()) for _ in range(rounds)]
    mine, theirs = zip(*pairs, strict=True)
    return Race(mine, theirs)


def timed(function: Callable[[], object]) -> float:
    """Return the seconds that a call in this process takes, garbage collected before."""
    gc.collect()
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def command(
    arguments: Sequence[str | Path], folder: Path | None = None, env: Mapping[str, str] | None = None
) -> Measure:
    """Return the measure of a whole process, from its start to its end."""

    def measure() -> float:
        start = time.perf_counter()
        subprocess.run(arguments, cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, check=True)
        return time.perf_counter() - start

    return measure


def _figure(time_s: float, size: int | None, count: int | None) -> str:
    if size is not None:
        return f"{seconds(time_s)} ({size / time_s / _GIGABYTE:.2f} GB/s)"
    return seconds(time_s / count) if count is not None else seconds(time_s)
