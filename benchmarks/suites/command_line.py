# SPDX-License-Identifier: MIT
"""Whole processes of the command `mrv`: how long until it answers."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.bench import Bench
from benchmarks.peers import OTS
from benchmarks.race import Measure, command, race
from benchmarks.rows import Goal, Row, seconds
from benchmarks.worker import Worker

_PROGRAMS = Path(sys.executable).parent


def rows(bench: Bench) -> Iterator[Row]:
    """Measure the help text, and the verification of a complete run on three embedded networks."""
    rounds = bench.sizes.many
    env = {name: value for name, value in os.environ.items() if not name.startswith("MRV_")}
    mrv = _PROGRAMS / "mrv"
    ours = command([mrv, "--help"], bench.folder, env)
    yield bench.compare("mrv --help, against ots --help", ours, _ots(bench), Goal(">", 1), rounds=rounds)
    with Worker("small_run", folder=bench.folder) as worker:
        run = worker.call("run", bench.folder / "artifacts", bench.seed).value
    verify = command([mrv, "verify", run], bench.folder, env)
    result = race(verify, command([sys.executable, "-c", "pass"]), rounds)
    slower = median(mine / theirs for mine, theirs in zip(result.ours, result.peer, strict=True))
    details = f"{slower:.0f} times 'python -c pass', which takes {seconds(median(result.peer))}"
    yield Row("mrv verify of a run on three embedded networks", "s", result.ours, Goal("<", 0.5), details)


@contextmanager
def _ots(bench: Bench) -> Iterator[Measure]:
    yield command([bench.peers.programs(OTS) / "ots", "--help"], bench.folder)
