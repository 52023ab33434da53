# SPDX-License-Identifier: MIT
"""A folder of many small files against b3sum on all cores, model-signing and DVC."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blake3 import blake3

from benchmarks.bench import KIB, Bench, require_equal
from benchmarks.machine import cores
from benchmarks.peers import DVC, MODEL_SIGNING
from benchmarks.race import Measure, command
from benchmarks.rows import Goal, Row
from benchmarks.worker import Worker

_FILES_A_SUBFOLDER = 500


def rows(bench: Bench) -> Iterator[Row]:
    """Measure one folder of many small files."""
    sizes = bench.sizes
    folder = _make(bench)
    size = sizes.files * sizes.small_file_bytes
    title = f"{sizes.files} files of {sizes.small_file_bytes // KIB} KiB"
    with Worker("files") as files:
        ours = files.measure("folder", folder)
        pipeline = f"xargs -P{cores()} -n500 b3sum --num-threads 1"
        yield bench.compare(
            f"{title}, against {pipeline}", ours, _b3sum(bench, folder), Goal("≥", 1.2), rounds=sizes.many, size=size
        )
        yield bench.compare(
            f"{title}, against model-signing's default hashing",
            ours,
            _model_signing(bench, folder),
            Goal("≥", 8),
            rounds=sizes.many,
            size=size,
        )
        yield bench.compare(
            f"{title}, against dvc add", ours, _dvc(bench, folder), Goal("≥", 20), rounds=sizes.few, size=size
        )


def _make(bench: Bench) -> Path:
    folder = bench.folder / "data"
    stream = blake3(str(bench.seed).encode())
    size = bench.sizes.small_file_bytes
    for index in range(bench.sizes.files):
        subfolder = folder / f"{index // _FILES_A_SUBFOLDER:04d}"
        if index % _FILES_A_SUBFOLDER == 0:
            subfolder.mkdir(parents=True)
        (subfolder / f"{index:06d}.bin").write_bytes(stream.digest(size, seek=index * size))
    os.sync()  # or the system would go on writing them while the first rounds are measured
    return folder


@contextmanager
def _b3sum(bench: Bench, folder: Path) -> Iterator[Measure]:
    """The names stand in a file already: listing the folder is not counted for this peer, but for ours it is."""
    program = bench.peers.b3sum()
    names = bench.folder / "names.txt"
    names.write_text("".join(f"{path}\n" for path in sorted(folder.glob("*/*.bin"))))
    pipeline: list[str | Path] = ["xargs", "-a", names, f"-P{cores()}", "-n500", program, "--num-threads", "1"]
    lines = subprocess.run(pipeline, capture_output=True, check=True).stdout.splitlines()
    require_equal("number of files", bench.sizes.files, len(lines))
    yield command(pipeline)


@contextmanager
def _model_signing(bench: Bench, folder: Path) -> Iterator[Measure]:
    with Worker("model_signing_hash", bench.peers.programs(MODEL_SIGNING) / "python") as worker:
        require_equal("number of files", bench.sizes.files, worker.call("folder", folder).value)
        yield worker.measure("folder", folder)


@contextmanager
def _dvc(bench: Bench, folder: Path) -> Iterator[Measure]:
    """Every round in a new repository, because the second `dvc add` of the same files trusts a cache of file times."""
    program = bench.peers.programs(DVC) / "dvc"

    def measure() -> float:
        with tempfile.TemporaryDirectory(dir=bench.folder) as temporary:
            home = Path(temporary)
            repository, site = home / "repository", home / "site"
            repository.mkdir()
            env = {**os.environ, "HOME": str(home), "DVC_SITE_CACHE_DIR": str(site), "DVC_NO_ANALYTICS": "1"}
            subprocess.run([program, "init", "--no-scm", "--quiet"], cwd=repository, env=env, check=True)
            data = shutil.move(folder, repository / "data")
            try:
                return command([program, "add", "--quiet", "data"], repository, env)()
            finally:
                shutil.move(data, folder)
                os.sync()  # what DVC copied into its cache

    yield measure
