# SPDX-License-Identifier: MIT
"""Managers on in-memory networks, and a server that forks processes for tests to kill.

Run as a program it is that server: a line of JSON jobs in, their exit codes out. Forking from a process that has
imported everything costs milliseconds where a new interpreter costs hundreds, so that every combination can be tried.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mrv_core.manager as manager_module
from mrv_core.config import load_config
from mrv_core.errors import MrvError
from mrv_core.hashing import Digest, HashFactory
from mrv_core.journal import Journal
from mrv_core.manager import BlockchainManager
from mrv_core.models import NO_METADATA
from mrv_core.registry import Registry
from mrv_core.testing import plugin
from mrv_core.testing.memory import MemoryChain

REFUSED = 9
"""Exit code of a job that ended with an error of ours."""


def commitment_of(name: str) -> Digest:
    return HashFactory.digest(name.encode(), "sha256")


def memory_registry() -> Registry:
    registry = Registry()
    registry.add_plugin(plugin, "memory")
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
def fork_server() -> Iterator[ForkServer]:
    command = [sys.executable, __file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield ForkServer(process)


def perform(job: Mapping[str, Any]) -> None:
    """Do one job: `base`, `networks`, and the names to `anchor` or `enqueue`, or neither to flush.

    `failpoint` arms one. `full_from` is the failpoint from which on the process can write nothing more, or an empty
    text for the beginning.
    """
    os.environ["MRV_FAILPOINT"] = job.get("failpoint", "")
    if "full_from" in job:
        manager_module.failpoint = lambda name: _fill_disk() if name == job["full_from"] else None
        manager_module.failpoint("")
    base, networks = Path(job["base"]), job["networks"]
    if "enqueue" in job:
        for name in job["enqueue"]:
            for network in networks:
                Journal(base).enqueue(commitment_of(name), network, NO_METADATA)
        return
    with make_manager(base, networks) as manager:
        for name in job.get("anchor", ()):
            manager.anchor(commitment_of(name), {"name": name})
        if "anchor" not in job:
            manager.flush()


def _fill_disk() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _start(job: Mapping[str, Any], go: tuple[int, int]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        os.close(go[1])
        os.read(go[0], 1)  # returns at once for all jobs, when the parent closes the other end
        perform(job)
        code = 0
    except MrvError:
        code = REFUSED
    except BaseException:
        traceback.print_exc()
        code = 1
    os._exit(code)


def _serve(lines: Iterator[str]) -> None:
    for line in lines:
        jobs: Sequence[Mapping[str, Any]] = json.loads(line)
        go = os.pipe()
        pids = [_start(job, go) for job in jobs]
        for end in go:
            os.close(end)
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        print(json.dumps(codes), flush=True)


if __name__ == "__main__":
    _serve(iter(sys.stdin.readline, ""))
