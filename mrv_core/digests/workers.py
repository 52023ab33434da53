# SPDX-License-Identifier: MIT
"""Spans of files hashed on all cores.

Threads alone stop at about two thirds of the speed for small files, because of the interpreter lock, so for many
files all workers but one are child processes. They are fresh interpreters, never forks: this process may have
threads (of NumPy, torch, web3) that a fork would freeze halfway. A child that dies is replaced by this process.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Final, Self, TypeAlias

import blake3

from mrv_core.digests import spans
from mrv_core.digests.blocks import available_cpus
from mrv_core.digests.spans import Span, SpanError, SpanHasher

_logger = logging.getLogger(__name__)

CHILDREN_FROM: Final = 2000
"""Files from which starting child processes is worth it: one takes about 15 ms."""
MAX_WORKERS: Final = 16

_FOLDER_OF_BLAKE3: Final = str(Path(blake3.__file__).parent.parent)

_Result: TypeAlias = "tuple[int, list[bytes | None], int]"
Deliver: TypeAlias = Callable[[int, "list[bytes | None]", int], None]


def hash_spans(root: int, work: Sequence[Span], algorithm: str, deliver: Deliver) -> None:
    """Hash spans with as many workers as there are cores.

    Args:
        root: Descriptor of the root folder.
        work: The spans.
        algorithm: Hash algorithm.
        deliver: Called once a span, in this thread, with its index, its digests and its bytes.

    Raises:
        SpanError: a file cannot be read or changed.
    """
    workers = max(1, min(MAX_WORKERS, available_cpus(), len(work)))
    files = sum(len(names) for span in work for _, names in span)
    _Pool(root, work, algorithm, deliver).run(workers, children=files >= CHILDREN_FROM and _can_start_python())


def _can_start_python() -> bool:
    """Whether `sys.executable` is an interpreter, and not a frozen program or a server with Python inside."""
    return Path(sys.executable or "").name.startswith("python") and not hasattr(sys, "frozen")


class _Pool:
    """Workers that take spans from one queue; the results are delivered from the thread that calls `run`."""

    def __init__(self, root: int, work: Sequence[Span], algorithm: str, deliver: Deliver) -> None:
        self._root = root
        self._algorithm = algorithm
        self._deliver = deliver
        self._queue: Iterator[tuple[int, Span]] = iter(enumerate(work))
        self._lock = threading.Lock()
        self._done: SimpleQueue[_Result] = SimpleQueue()
        self._errors: list[BaseException] = []

    def run(self, workers: int, *, children: bool) -> None:
        """Hash all spans, this thread being one of the workers."""
        target = self._with_child if children else self._here
        threads = [threading.Thread(target=self._guarded, args=(target,)) for _ in range(workers - 1)]
        for thread in threads:
            thread.start()
        self._guarded(self._here_and_deliver)
        for thread in threads:
            thread.join()
        if self._errors:
            raise self._errors[0]
        self._deliver_done()

    def _take(self) -> Iterator[tuple[int, Span]]:
        while True:
            with self._lock:
                item = next(self._queue, None)
            if item is None:
                return
            yield item

    def _guarded(self, target: Callable[[], None]) -> None:
        try:
            target()
        except BaseException as error:  # an interrupt too: the other workers have to stop first
            with self._lock:
                self._errors.append(error)
                self._queue = iter(())

    def _here_and_deliver(self) -> None:
        hasher = self._hasher()
        for index, span in self._take():
            self._deliver(index, *hasher.digests(span))
            # Between two spans and by this thread, because a thread of its own would hold the interpreter lock
            # just when this one comes back from reading a file.
            self._deliver_done()

    def _deliver_done(self) -> None:
        while not self._done.empty():
            self._deliver(*self._done.get())

    def _here(self) -> None:
        hasher = self._hasher()
        for index, span in self._take():
            self._done.put((index, *hasher.digests(span)))

    def _hasher(self) -> SpanHasher:
        return SpanHasher(self._root, self._algorithm)

    def _with_child(self) -> None:
        waiting: deque[tuple[int, Span]] = deque()
        try:
            with _Child(self._root, self._algorithm) as child:
                for item in self._take():
                    waiting.append(item)
                    child.send(item[1])
                    # One span ahead, so that the child never waits for this process.
                    if len(waiting) > 1:
                        self._receive(child, waiting)
                while waiting:
                    self._receive(child, waiting)
        except OSError as error:
            _logger.warning("a hashing process ended (%s); its files are hashed in this process instead", error)
            hasher = self._hasher()
            for index, span in waiting:
                self._done.put((index, *hasher.digests(span)))
            self._here()

    def _receive(self, child: _Child, waiting: deque[tuple[int, Span]]) -> None:
        answer = child.receive()
        index, _ = waiting.popleft()
        self._done.put((index, *answer))


class _Child:
    """A child process that hashes spans; broken pipes and missing answers are OSError."""

    def __init__(self, root: int, algorithm: str) -> None:
        import subprocess  # takes longer to import than a small folder to hash

        self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and our own program
            # Isolated and without `site`: starts twice as fast, and nothing of the user's runs in it.
            [sys.executable, "-I", "-S", str(spans.__file__), str(root), algorithm, _FOLDER_OF_BLAKE3],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=[root],
            process_group=0,  # an interrupt at the terminal is for this process; the child ends when its input does
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if exception[0] is not None:
            self._process.kill()
        # What was not sent yet cannot be sent any more.
        with suppress(OSError), self._process:
            pass

    def send(self, span: Span) -> None:
        """Hand over a span without waiting for its answer."""
        stream = self._process.stdin
        if stream is not None:
            stream.write(json.dumps(span).encode() + b"\n")
            stream.flush()

    def receive(self) -> tuple[list[bytes | None], int]:
        """Wait for the answer to the oldest span.

        Raises:
            SpanError: a file of the span cannot be read or changed.
            OSError: the child is gone.
        """
        stream = self._process.stdout
        line = stream.readline() if stream is not None else b""
        if not line.endswith(b"\n"):
            raise OSError(f"exit status {self._process.wait()}")
        answer = json.loads(line)
        if "path" in answer:
            raise SpanError(answer["path"], answer["number"])
        return [digest and bytes.fromhex(digest) for digest in answer["digests"]], answer["bytes"]
