# SPDX-License-Identifier: MIT
"""Processes known by their id and the moment they started, so that a reused id is never mistaken for one of ours."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from mrv_core.errors import BackendUnavailableError
from mrv_core.files import read_limited, write_atomic

_LEASH: Final = Path(__file__).with_name("leash.py")
_POLL_S: Final = 0.02
_RECORD_MAX_BYTES: Final = 4096
_ENDED: Final = ("Z", "X")
"""States of /proc/PID/stat: a zombie, which nobody has waited for yet, and a dead process."""

# A leashed process ends with the thread that started it, so that thread must be one that lives as long as we do.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mrv-devnet-starter")


def started_at(pid: int) -> str | None:
    """Return when a process started, in a form only good for comparing; None where no such process runs."""
    if sys.platform != "linux":
        return _started_at_by_ps(pid)
    try:
        # The name in parentheses may hold spaces and parentheses itself; proc(5): state is field 3, start time 22.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    return None if fields[0] in _ENDED else f"{boot}:{fields[19]}"


def _started_at_by_ps(pid: int) -> str | None:
    command = ["ps", "-o", "state=,lstart=", "-p", str(pid)]
    words = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()  # noqa: S603
    return " ".join(words[1:]) if words and words[0][0] not in _ENDED else None


class Process:
    """A process that was started here or by an earlier command.

    Args:
        pid: Its process id.
        started: What `started_at` said when it was ours.
        child: Set where it is a child of this process, which then has to wait for it.
    """

    def __init__(self, pid: int, started: str, child: subprocess.Popen[bytes] | None = None) -> None:
        self.pid = pid
        self.started = started
        self._child = child

    def is_running(self) -> bool:
        """Tell whether it still runs; another process with the same id does not count."""
        if self._child is not None:  # waited for by this, so that no zombie is left
            return self._child.poll() is None
        return started_at(self.pid) == self.started

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self.is_running():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return

    def wait(self, timeout_s: float) -> bool:
        """Wait until it has ended; tell whether it has."""
        deadline = time.monotonic() + timeout_s
        while self.is_running():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        return True

    def end(self, timeout_s: float) -> None:
        """Ask it to end, and end it where it does not within the time."""
        self.send(signal.SIGTERM)
        if not self.wait(timeout_s):
            self.kill()

    def kill(self) -> None:
        """End it at once."""
        self.send(signal.SIGKILL)
        if not self.wait(10):
            raise BackendUnavailableError(f"process {self.pid} does not end", hint="see what it waits for with 'ps'")


def spawn(
    command: Sequence[str], log: Path, *, environment: Mapping[str, str] | None = None, detached: bool = False
) -> Process:
    """Start a program in the folder of its log file, to which everything it prints is appended.

    Args:
        command: Absolute path of the program, and its arguments.
        log: File made with mode 0600.
        environment: Variables in addition to those of this process.
        detached: Whether it lives on when this process ends. Otherwise it ends with it, however that ends.

    Raises:
        BackendUnavailableError: it ended at once.
    """
    return _starter.submit(_spawn, command, log, environment or {}, detached).result()


def _spawn(command: Sequence[str], log: Path, extra: Mapping[str, str], detached: bool) -> Process:
    owner = "detached" if detached else str(os.getpid())
    leashed = [sys.executable, "-I", "-S", str(_LEASH), str(log), owner, *command]
    environment = {**os.environ, **extra}
    if detached:
        answer = subprocess.run(  # noqa: S603 - our own launcher
            leashed, env=environment, cwd=log.parent, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True
        )
        pid, child = int(answer.stdout), None
    else:
        child = subprocess.Popen(  # noqa: S603 - our own launcher
            leashed, env=environment, cwd=log.parent, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        pid = child.pid
    started = started_at(pid)
    if started is None:
        if child is not None:
            child.wait()
        raise BackendUnavailableError(f"{command[0]} ended at once", hint=f"see {log}")
    return Process(pid, started, child)


def write_record(path: Path, process: Process, **more: Any) -> None:
    """Write down a process, and what else is to be known about it, for whoever opens its folder next."""
    write_atomic(path, json.dumps({"pid": process.pid, "started": process.started, **more}).encode())


def read_record(path: Path) -> tuple[Process | None, dict[str, Any]]:
    """Read what `write_record` wrote.

    Returns:
        The process, if that very process still runs, and everything that was written down; of a file that is missing
        or damaged, nothing.
    """
    if not path.exists():
        return None, {}
    try:
        record = json.loads(read_limited(path, _RECORD_MAX_BYTES, follow=False))
        process = Process(int(record["pid"]), str(record["started"]))
    except (ValueError, KeyError, TypeError):
        return None, {}
    return process if process.is_running() else None, record
