# SPDX-License-Identifier: MIT
"""One large file against b3sum, hashlib and model-signing; and the memory it takes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from benchmarks.bench import GIB, MIB, Bench, require_equal
from benchmarks.peers import MODEL_SIGNING
from benchmarks.race import Measure, command
from benchmarks.rows import Goal, Row
from benchmarks.worker import Worker, extra_memory


def rows(bench: Bench) -> Iterator[Row]:
    """Measure one large file."""
    size, sizes = bench.sizes.file_bytes, bench.sizes
    path = bench.write_file(bench.folder / "model.bin", size)
    title = f"file of {size / GIB:g} GiB"
    yield _memory(bench, title, path)
    with Worker("files") as files:
        ours = files.measure("ours", path)
        blake3 = files.call("ours", path).value
        sha256 = files.call("sha256", path).value
        yield bench.compare(
            f"{title}, against b3sum", ours, _b3sum(bench, path, blake3), Goal("≥", 0.95), rounds=sizes.many, size=size
        )
        yield bench.compare(
            f"{title}, against hashlib.sha256",
            ours,
            nullcontext(files.measure("sha256", path)),
            Goal("≥", 5),
            rounds=sizes.few,
            size=size,
        )
        yield bench.compare(
            f"{title}, against model-signing's default hashing",
            ours,
            _model_signing(bench, path, sha256),
            Goal("≥", 4),
            rounds=sizes.few,
            size=size,
        )


def _memory(bench: Bench, title: str, path: Path) -> Row:
    def values() -> tuple[list[float], str]:
        # A small file first, so that what is imported and allocated only once does not count; and a fresh process,
        # because one that has hashed a large file may still hold the memory for the next.
        small = bench.write_file(bench.folder / "small.bin", MIB)
        with Worker("files") as fresh:
            fresh.call("ours", small)
            with extra_memory(fresh.pid) as extra:
                fresh.call("ours", path)
        return [extra[0] / MIB], "anonymous memory, sampled every millisecond"

    return bench.measure(f"{title}, extra memory", "MiB", Goal("<", 64), values)


@contextmanager
def _b3sum(bench: Bench, path: Path, expected: str) -> Iterator[Measure]:
    program = bench.peers.b3sum()
    answer = subprocess.run([program, path], capture_output=True, text=True, check=True).stdout
    require_equal("BLAKE3 of the file", expected, answer.partition(" ")[0])
    yield command([program, path])


@contextmanager
def _model_signing(bench: Bench, path: Path, expected: str) -> Iterator[Measure]:
    with Worker("model_signing_hash", bench.peers.programs(MODEL_SIGNING) / "python") as worker:
        require_equal("SHA-256 of the file", expected, worker.call("file", path).value)
        yield worker.measure("file", path)
