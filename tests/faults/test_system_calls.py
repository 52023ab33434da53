# SPDX-License-Identifier: MIT
"""SIGKILL at every write, sync and send of one anchor, and a full or broken disk at each of them (F02, F08, F10).

strace does it to a process of one thread, whose calls come in one order. Ordinarily a few calls are taken out of all;
`MRV_FAULTS=all` takes every one, on every network.
"""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from anchoring import REFUSED, ForkServer
from faults.lives import KILLED, Life
from faults.worlds import World

ALL = os.environ.get("MRV_FAULTS") == "all"
STEPS = 1 if ALL else 37
"""Every how manyeth call is taken."""
DISK = ("write", "pwrite64", "fsync", "fdatasync", "ftruncate", "rename", "mkdir", "unlink")
NETWORK = ("connect", "sendto", "sendmsg")
COUNTINGS = 3
TRIES = 8
"""Lives for one fault: a process makes a call less where a node answered sooner, and then the fault has no place."""
NETWORKS = ("ethereum", "bitcoin", "ipfs") if ALL else ("ethereum",)
CALL = re.compile(r"^\d+ +(\w+)\(")


@pytest.fixture(scope="module")
def strace() -> str:
    """Path of strace; a missing one fails in continuous integration and skips elsewhere."""
    program = os.environ.get("MRV_STRACE") or shutil.which("strace")
    if program is None:
        message = "strace is not installed (Debian: apt-get install strace)"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return program


def tracing(strace: str, log: Path, calls: tuple[str, ...], *inject: str) -> list[str]:
    """Return the command of a tracer that writes down some calls, and spoils one of them."""
    return [strace, "-f", "-q", "-o", str(log), "-e", f"trace={','.join(calls)}", *inject]


def counted(log: Path) -> Counter[str]:
    return Counter(match[1] for line in log.read_text().splitlines() if (match := CALL.match(line)))


def is_injected(log: Path) -> bool:
    return "(INJECTED)" in log.read_text()


class Traced:
    """One anchor in two processes, of which one is traced: the one that sends, or the one that sees a block."""

    def __init__(self, world: World, server: ForkServer, folder: Path, phase: str) -> None:
        self._world, self._server, self._folder, self._phase = world, server, folder, phase
        self._number = 0

    def life(self) -> Life:
        """Return a new life up to where the traced process begins."""
        self._number += 1
        life = Life(self._world, self._server, self._folder / str(self._number))
        if self._phase == "looking":
            assert life.run(anchor=True) == 0
            self._world.mine()
        return life

    def run(self, life: Life, trace: list[str]) -> int:
        return life.run(anchor=self._phase == "sending", trace=trace, inline=True)

    def calls(self, strace: str, names: tuple[str, ...]) -> list[tuple[str, int]]:
        """Return the calls that every traced process makes, each with its number among those of its name."""
        always: Counter[str] | None = None
        for number in range(COUNTINGS):
            life, log = self.life(), self._folder / f"calls-{number}"
            assert self.run(life, tracing(strace, log, names)) == 0
            life.finish()
            always = counted(log) if always is None else always & counted(log)
        assert always is not None
        return [(name, number) for name, times in always.items() for number in range(1, times + 1)]


def until_fired(traced: Traced, spoil: Callable[[Life, Path], bool], log: Path, what: str) -> None:
    """Spoil one call of new lives until it has happened to one of them, and check that one."""
    for _ in range(TRIES):
        life = traced.life()
        fired = spoil(life, log)
        life.finish()
        if fired:
            break
    life.check(what, fired=int(fired), planned=1)


@pytest.fixture(params=["sending", "looking"])
def phase(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def cases(network: str, phase: str, request: pytest.FixtureRequest, server: ForkServer, folder: Path) -> Traced:
    if network == "ipfs" and phase == "looking":
        pytest.skip("what a store has is final")
    return Traced(request.getfixturevalue(f"{network}_world"), server, folder, phase)


@pytest.mark.parametrize("network", NETWORKS)
def test_killed_at_a_system_call(
    request: pytest.FixtureRequest,
    job_server: ForkServer,
    fast_folder: Path,
    strace: str,
    network: str,
    phase: str,
) -> None:
    traced = cases(network, phase, request, job_server, fast_folder)
    names = (*DISK, *NETWORK)
    calls = traced.calls(strace, names)
    assert len(calls) > 10
    assert {"pwrite64", "fdatasync", "sendto"} <= {name for name, _ in calls}
    for name, number in calls[::STEPS]:

        def kill(life: Life, log: Path, name: str = name, number: int = number) -> bool:
            code = traced.run(life, tracing(strace, log, names, "-e", f"inject={name}:signal=KILL:when={number}"))
            return code == KILLED

        until_fired(traced, kill, fast_folder / f"{name}-{number}", f"killed at a system call while {phase}")


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"] if ALL else ["ENOSPC"])
@pytest.mark.parametrize("network", NETWORKS)
def test_a_disk_that_fails_at_a_system_call(
    request: pytest.FixtureRequest,
    job_server: ForkServer,
    fast_folder: Path,
    strace: str,
    network: str,
    phase: str,
    error: str,
) -> None:
    traced = cases(network, phase, request, job_server, fast_folder)
    calls = traced.calls(strace, DISK)
    for name, number in calls[STEPS // 2 :: STEPS]:

        def fail(life: Life, log: Path, name: str = name, number: int = number) -> bool:
            code = traced.run(life, tracing(strace, log, DISK, "-e", f"inject={name}:error={error}:when={number}"))
            assert code in (0, REFUSED), f"{name} {number}"
            there = life.world.count(life.commitment.hex, life.since)
            row = life.row
            assert there == 0 or (row is not None and row.prepared is not None), "sent without being written down"
            return is_injected(log)

        until_fired(traced, fail, fast_folder / f"{name}-{number}", f"{error} at a system call while {phase}")
