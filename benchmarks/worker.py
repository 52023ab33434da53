# SPDX-License-Identifier: MIT
"""A process that does what it is asked and says how long it took: a peer's own environment, or clean memory."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from benchmarks.race import Measure
from benchmarks.rows import Unavailable

_SCRIPTS: Final = Path(__file__).parent / "workers"
_SAMPLE_S: Final = 0.001


@dataclass(frozen=True, slots=True)
class Reply:
    """What a worker answered: the seconds it took, and the result."""

    seconds: float
    value: Any


class Worker:
    """Runs one of the scripts in `workers/`.

    Args:
        script: Name of the script without `.py`.
        python: The interpreter; by default this one.
        folder: Its working folder.
    """

    def __init__(self, script: str, python: Path | None = None, folder: Path | None = None) -> None:
        self._name = script
        self._process = subprocess.Popen(
            [python or sys.executable, _SCRIPTS / f"{script}.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=folder,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if exception[0] is not None:
            self._process.kill()
        with self._process:
            pass

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def call(self, action: str, *arguments: Any) -> Reply:
        """Ask for an action and wait for its end.

        Raises:
            RuntimeError: the worker ended; it told why on stderr.
        """
        reply = ""
        if self._process.stdin is not None and self._process.stdout is not None:
            try:
                print(json.dumps([action, *arguments], default=str), file=self._process.stdin, flush=True)
                reply = self._process.stdout.readline()
            except BrokenPipeError:
                pass
        if not reply:
            raise RuntimeError(f"worker {self._name} ended with status {self._process.wait()} at {action!r}")
        return Reply(**json.loads(reply))

    def measure(self, action: str, *arguments: Any) -> Measure:
        """Return the measure of an action: the seconds that the worker itself counted."""
        return lambda: self.call(action, *arguments).seconds


@contextmanager
def extra_memory(process_id: int) -> Iterator[list[int]]:
    """Watch a process while the block runs, and put the bytes it took more than before, at most, into the list.

    Counted is anonymous memory, what the process itself filled: pages of mapped files belong to the page cache.

    Raises:
        Unavailable: the system does not say.
    """
    before = anonymous_memory(process_id)
    samples = [before]
    finished = threading.Event()

    def watch() -> None:
        while not finished.wait(_SAMPLE_S):
            samples.append(anonymous_memory(process_id))

    thread = threading.Thread(target=watch)
    thread.start()
    result: list[int] = []
    try:
        yield result
    finally:
        finished.set()
        thread.join()
    result.append(max(samples) - before)


def anonymous_memory(process_id: int) -> int:
    """Return the bytes of anonymous memory that a process holds.

    Raises:
        Unavailable: the system does not say.
    """
    try:
        lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
    except OSError:
        raise Unavailable("not measured: needs Linux, where a process's anonymous memory can be read") from None
    # A process that has ended has no such line.
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), 0)
