# SPDX-License-Identifier: MIT
"""What measuring a training costs it: the time to begin and to end, and the share of a core at a reading a second."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from statistics import median
from typing import Final

from benchmarks.bench import Bench
from benchmarks.rows import Goal, Row, Unavailable, number, seconds
from benchmarks.worker import Worker

_READINGS: Final = 4
"""Readings for each second that an epoch of a training lasts: enough of them at any size."""
_SETTLE_S: Final = 3.0
"""Time in which the hardware is found."""


def rows(bench: Bench) -> Iterator[Row]:
    """Measure trainings that do nothing, ours and CodeCarbon's in turn, each in a process of its own."""
    if find_spec("codecarbon") is None:
        yield Row("MRVTracker", "ms", problem="not measured: pip install 'mrv-provenance[carbon]'")
        return
    try:
        found = [_round(bench, number) for number in range(bench.sizes.few)]
    except Unavailable as reason:
        yield Row("MRVTracker", "ms", problem=str(reason))
        return
    for part, what, goal in (("start", "MRVTracker.start()", Goal("<", 50)), ("stop", "MRVTracker.stop()", None)):
        ours, theirs = ([each[who][part] for each in found] for who in ("ours", "theirs"))
        details = f"CodeCarbon {seconds(median(theirs))}"
        yield Row(f"{what}, the first of a process", "ms", tuple(1000 * each for each in ours), goal, details)
    ours, theirs = ([100 * each[who]["cores"] for each in found] for who in ("ours", "theirs"))
    details = f"CodeCarbon {number(median(theirs))} %"
    yield Row("a reading a second, of a core", "%", tuple(ours), Goal("<", 0.2), details)


def _round(bench: Bench, number: int) -> dict[str, dict[str, float]]:
    settle, length = min(_SETTLE_S, 10 * bench.sizes.epoch_s), _READINGS * bench.sizes.epoch_s
    with Worker("measuring", folder=bench.folder) as worker:
        ours = worker.call("ours", bench.folder / f"mrv-{number}", settle, length).value
    with Worker("measuring", folder=bench.folder) as worker:
        theirs = worker.call("theirs", settle, length).value
    return {"ours": ours, "theirs": theirs}
