# SPDX-License-Identifier: MIT
"""`python -m benchmarks [SUITE ...] [--quick] [--json FILE]`."""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markup import escape

from benchmarks import machine, report
from benchmarks.bench import FULL, GIB, QUICK, Bench, Sizes
from benchmarks.peers import Peers
from benchmarks.rows import Row, number
from benchmarks.suites import SUITES, Suite

_FILE_WIDTH: Final = 150
"""Columns where the tables go to a file or a pipe."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the selected suites, one after another, and print a table for each."""
    options = _parser().parse_args(arguments)
    console = Console() if sys.stdout.isatty() else Console(width=_FILE_WIDTH)
    seed = options.seed if options.seed is not None else secrets.randbelow(2**32)
    facts = {**machine.describe(), "load average": _load(), "seed": str(seed)}
    for name, value in facts.items():
        console.print(f"{name + ':':<16} {escape(value)}", highlight=False)
    peers = Peers(lambda text: console.print(f"[dim]{escape(text)}[/dim]"), install=not options.no_install)
    done: dict[str, list[Row]] = {}
    sizes = QUICK if options.quick else FULL
    for name in options.suites or SUITES:
        done[name] = run_suite(SUITES[name], sizes, options.folder, peers, seed, console)
        report.show(console, f"{name}: {SUITES[name].title}", done[name], judged=not options.quick)
    used = ", ".join(f"{name} {version}" for name, version in peers.versions.items())
    console.print(f"others: cores that other programs used meanwhile; above {report.DISTURBED}, run that suite again")
    console.print(f"peers: {used or 'none'}", highlight=False)
    console.print(report.summary([row for rows in done.values() for row in rows], judged=not options.quick))
    if options.json:
        document = {**facts, "sizes": "quick" if options.quick else "full", "peers": peers.versions}
        report.write_json(options.json, document, done)
    return 0


def run_suite(suite: Suite, sizes: Sizes, folder: Path, peers: Peers, seed: int, console: Console) -> list[Row]:
    """Run one suite with a folder of its own, which is removed afterwards."""
    problem = _no_room(suite, sizes, folder)
    if problem:
        return [Row(suite.title, "x", problem=problem)]
    rows = []
    with tempfile.TemporaryDirectory(prefix="mrv-bench-", dir=folder) as temporary:
        load = machine.OtherLoad()
        for row in suite.rows(Bench(sizes, Path(temporary), peers, seed)):
            rows.append(replace(row, others=load.cores()))
            console.print(f"[dim]{escape(row.what)}: {escape(row.measured())}[/dim]", highlight=False)
            load = machine.OtherLoad()
    return rows


def _no_room(suite: Suite, sizes: Sizes, folder: Path) -> str:
    """Return why a suite cannot run here, or nothing."""
    free, available = shutil.disk_usage(folder).free, machine.available_memory()
    if free < suite.disk(sizes):
        return f"not run: needs {suite.disk(sizes) / GIB:.1f} GiB in {folder}, {free / GIB:.1f} are free"
    if available is not None and available < suite.memory(sizes):
        return f"not run: needs {suite.memory(sizes) / GIB:.1f} GiB of memory, {available / GIB:.1f} are available"
    return ""


def _load() -> str:
    return ", ".join(f"{load:.2f} in {minutes} min" for load, minutes in zip(os.getloadavg(), (1, 5, 15), strict=True))


def _suite_name(text: str) -> str:
    if text not in SUITES:
        raise argparse.ArgumentTypeError(f"no suite {text!r}; there are {', '.join(SUITES)}")
    return text


def _parser() -> argparse.ArgumentParser:
    suites = "\n".join(f"  {name:<16} {suite.title}" for name, suite in SUITES.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Speed and memory side by side with the peers, on the same input, in turn.",
        epilog=f"suites, all by default:\n{suites}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("suites", nargs="*", metavar="SUITE", type=_suite_name, help="what to measure")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it runs, decides nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured to a file")
    parser.add_argument("--seed", type=int, help="seed of the data; random by default, and printed")
    parser.add_argument("--no-install", action="store_true", help="compare only with peers that are installed")
    disk = max(suite.disk(FULL) for suite in SUITES.values()) / GIB
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(tempfile.gettempdir()),
        help=f"where the data is made and removed again, up to {number(disk)} GiB (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
