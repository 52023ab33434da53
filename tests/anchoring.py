# SPDX-License-Identifier: MIT
"""Managers on in-memory networks, and a server that forks processes for tests to kill.

Run as a program it is that server: a line of JSON jobs in, their exit codes out. Forking from a process that has
imported everything costs milliseconds where a new interpreter costs hundreds, so that every combination can be tried.
With modules of plugins as arguments its jobs use those drivers as well, on whatever real nodes they are given.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import mrv_core.anchoring as anchoring_module
import mrv_core.manager as manager_module
import mrv_core.pipeline as pipeline_module
from mrv_core.config import load_config
from mrv_core.errors import MrvError
from mrv_core.fsck import Finding, check_journal
from mrv_core.hashing import Digest, HashFactory
from mrv_core.journal import Journal
from mrv_core.manager import BlockchainManager
from mrv_core.models import NO_METADATA
from mrv_core.registry import Registry
from mrv_core.tasks import Worker
from mrv_core.testing import plugin
from mrv_core.testing.memory import MemoryChain

REFUSED = 9
"""Exit code of a job that ended with an error of ours."""
UNSOUND = 8
"""Exit code of a check of the journal that found something that is not as it says."""
_PR_SET_PTRACER, _ANY = 0x59616D61, -1  # prctl(2)


def commitment_of(name: str) -> Digest:
    return HashFactory.digest(name.encode(), "sha256")


def memory_registry() -> Registry:
    registry = Registry()
    registry.add_plugin(plugin, "memory")
    for name in sys.argv[1:] if __name__ == "__main__" else ():
        registry.add_plugin(import_module(name), name)
    return registry


def make_manager(base_dir: Path, networks: Mapping[str, Mapping[str, Any]], **options: Any) -> BlockchainManager:
    """Return a manager of networks in memory; their settings follow their names."""
    registry = options.pop("registry", None) or memory_registry()
    section = {name: {"driver": "memory", **settings} for name, settings in networks.items()}
    config = load_config({"blockchain": section}, registry=registry, environment={})
    return BlockchainManager(config, base_dir=base_dir, registry=registry, **options)


def chain_of(base_dir: Path, network: str) -> MemoryChain:
    """Return the network itself, to count and mine without asking what is tested."""
    return MemoryChain(base_dir / "networks" / network, network)


class FakeTime:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.sleeps: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now


class ForkServer:
    """Runs jobs in processes of their own; see `perform` for what a job is."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, *jobs: Mapping[str, Any]) -> list[int]:
        """Start all jobs at the same moment, and return their exit codes; negative is the signal that killed one."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(jobs) + "\n")
        self._process.stdin.flush()
        codes: list[int] = json.loads(self._process.stdout.readline())
        return codes


@contextmanager
def fork_server(*plugins: str, preload: Sequence[str] = ()) -> Iterator[ForkServer]:
    """Start a server.

    Args:
        plugins: Modules that announce drivers, besides that of the in-memory network.
        preload: Further modules that its jobs need and that take long to import.
    """
    command = [sys.executable, __file__, *plugins]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "MRV_PRELOAD": " ".join(preload)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield ForkServer(process)


def perform(job: Mapping[str, Any]) -> None:
    """Do one job: `base`, `networks`, and what is to be done, or nothing to flush.

    To be done: the names to `anchor` one by one, or `many` to anchor in groups, or to `enqueue`; or `fsck`.

    Options:
        failpoint: Arms one.
        dies_after: How many failpoints the process comes by, of any name, before it is killed.
        full_from: Failpoint from which on the process can write nothing more; empty for the beginning.
        passed: File to which the process adds the failpoints that it comes by.
        inline: Whether it does everything in one thread, so that its system calls have one order.
        trace: Arguments for an strace that is attached to it.
        hasty: Whether it waits not at all between attempts.
    """
    os.environ["MRV_FAILPOINT"] = job.get("failpoint", "")
    if "dies_after" in job:
        left = itertools.count(job["dies_after"], -1)
        _at_failpoints(lambda name: os.kill(os.getpid(), signal.SIGKILL) if next(left) <= 0 else None)
    if "full_from" in job:
        _at_failpoints(lambda name: _fill_disk() if name == job["full_from"] else None)
        manager_module.failpoint("")
    if "passed" in job:
        passed = open(job["passed"], "a")
        _at_failpoints(lambda name: print(name, file=passed, flush=True))
    if job.get("inline"):
        Worker.start = Worker.run  # type: ignore[method-assign]
    base, networks = Path(job["base"]), job["networks"]
    if "enqueue" in job:
        for name in job["enqueue"]:
            for network in networks:
                Journal(base).enqueue(commitment_of(name), network, NO_METADATA)
        return
    with make_manager(base, networks, sleep=_do_not_sleep if job.get("hasty") else time.sleep) as manager:
        if "fsck" in job:
            _check(manager, rebuilding=job["fsck"] == "rebuild")
            return
        for name in job.get("anchor", ()):
            manager.anchor(commitment_of(name), {"name": name})
        if "many" in job:
            manager.anchor_many([commitment_of(name) for name in job["many"]])
        elif "anchor" not in job:
            manager.flush()


def _do_not_sleep(seconds: float) -> None:
    """The nodes of tests have nothing to recover from."""


def _check(manager: BlockchainManager, *, rebuilding: bool) -> None:
    report = check_journal(manager, rebuilding=rebuilding)
    if report.file is not Finding.OK or any(row.finding is not Finding.OK for row in report.rows):
        print(report.to_bytes().decode(), file=sys.stderr)
        sys.exit(UNSOUND)


def _at_failpoints(act: Callable[[str], None]) -> None:
    for module in (manager_module, anchoring_module, pipeline_module):
        module.failpoint = act


def _fill_disk() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _start(job: Mapping[str, Any], go: tuple[int, int]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        os.close(go[1])
        if "trace" in job:
            ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _ANY, 0, 0, 0)  # strace is not a parent of this process
        os.read(go[0], 1)  # returns at once for all jobs, when the parent closes the other end
        perform(job)
        code = 0
    except MrvError:
        code = REFUSED
    except SystemExit as error:
        code = int(error.code or 0)
    except BaseException:
        traceback.print_exc()
        code = 1
    os._exit(code)


def _attach(job: Mapping[str, Any], pid: int) -> subprocess.Popen[bytes] | None:
    """Start the strace that a job asks for, and wait until it holds the process."""
    if "trace" not in job:
        return None
    tracer = subprocess.Popen([*job["trace"], "-p", str(pid)], stderr=subprocess.DEVNULL)
    while "TracerPid:\t0\n" in Path(f"/proc/{pid}/status").read_text():
        if tracer.poll() is not None:
            raise RuntimeError(f"{job['trace'][0]} ended with {tracer.returncode}; may this user trace processes?")
        time.sleep(0.001)
    return tracer


def _serve(lines: Iterator[str]) -> None:
    for line in lines:
        jobs: Sequence[Mapping[str, Any]] = json.loads(line)
        go = os.pipe()
        pids = [_start(job, go) for job in jobs]
        tracers = [_attach(job, pid) for job, pid in zip(jobs, pids, strict=True)]
        for end in go:
            os.close(end)
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        for tracer in tracers:
            if tracer is not None:
                tracer.wait()
        print(json.dumps(codes), flush=True)


if __name__ == "__main__":
    limit = sys.getrecursionlimit()
    for module in [*sys.argv[1:], *os.environ.get("MRV_PRELOAD", "").split()]:
        import_module(module)
    sys.setrecursionlimit(limit)  # py_ecc raises it
    _serve(iter(sys.stdin.readline, ""))
