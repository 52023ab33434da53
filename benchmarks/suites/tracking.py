# SPDX-License-Identifier: MIT
"""What `track_epoch` adds to an epoch of a small training."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from statistics import median

from benchmarks.bench import Bench
from benchmarks.rows import Goal, Row, Unavailable, seconds
from benchmarks.worker import Worker


def rows(bench: Bench) -> Iterator[Row]:
    """Measure a training of a few epochs."""
    what = f"track_epoch, part of an epoch of at least {bench.sizes.epoch_s:g} s"
    yield bench.measure(what, "%", Goal("<", 1), lambda: _shares(bench))


def _shares(bench: Bench) -> tuple[list[float], str]:
    if find_spec("torch") is None:
        raise Unavailable("not measured: pip install torch")
    with Worker("training", folder=bench.folder) as worker:
        parameters = worker.call("prepare", bench.folder / "artifacts", bench.seed, bench.sizes.epoch_s).value
        epochs = [worker.call("epoch", number).value for number in range(bench.sizes.few)]
    tracking, training = (median(epoch[part] for epoch in epochs) for part in ("tracking", "training"))
    details = f"{seconds(tracking)} of {seconds(training)}; CNN of {parameters:,} parameters, weights hashed"
    return [100 * epoch["tracking"] / (epoch["tracking"] + epoch["training"]) for epoch in epochs], details
