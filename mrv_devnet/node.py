# SPDX-License-Identifier: MIT
"""What the three nodes have in common: a folder, a process, ports, a log, and an end."""

from __future__ import annotations

import contextlib
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final, Self

from mrv_core.errors import BackendError, BackendUnavailableError
from mrv_core.files import make_folder
from mrv_devnet.ports import free_ports, is_free
from mrv_devnet.process import Process, read_record, spawn, write_record
from mrv_devnet.programs import Program, Say, say_on_stderr

_START_TIMEOUT_S: Final = 120.0
_STOP_TIMEOUT_S: Final = 30.0
_POLL_S: Final = 0.05
_TRIES: Final = 5
"""Starts with new ports, where other programs take the ports between our choosing and the node's using them."""
_PORT_WAIT_S: Final = 5.0
_LAST_LINES: Final = 5
_LOG_TAIL_BYTES: Final = 8192


class Node(ABC):
    """A node in a folder. Stopped and started again it has its old state and ports.

    Args:
        folder: Folder of its own, made where it is missing; everything the node writes is in it.
        options: More arguments for its command line.
        detached: Whether it lives on when this process ends. Otherwise it ends with it, however that ends.
        ports: Ports by purpose, in place of free ones.
        say: Told what is installed, before it is.

    Attributes:
        timeout_s: Seconds that a request may take.
    """

    name: ClassVar[str]
    port_names: ClassVar[tuple[str, ...]] = ("rpc",)
    timeout_s: float = 30.0

    def __init__(
        self,
        folder: Path,
        *,
        options: Sequence[str] = (),
        detached: bool = False,
        ports: Mapping[str, int] | None = None,
        say: Say = say_on_stderr,
    ) -> None:
        self.folder = Path(folder).absolute()
        self._options = tuple(options)
        self._detached = detached
        self._say = say
        self._process: Process | None = None
        self._ports: dict[str, int] = {}
        self._fixed = dict(ports or {})
        self._recall()

    @property
    def log(self) -> Path:
        """The file with everything the node printed."""
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process is not None and self._process.is_running() else None

    def port(self, purpose: str = "rpc") -> int:
        """Return a port of the node, known from its first start on."""
        known = {**self._ports, **self._fixed}
        if purpose not in known:
            raise BackendUnavailableError(f"{self.name} was never started in {self.folder}", hint="start it first")
        return known[purpose]

    @property
    def url(self) -> str:
        """Address of its RPC, without credentials."""
        return f"http://127.0.0.1:{self.port()}"

    def is_running(self) -> bool:
        """Tell whether its process runs."""
        return self.pid is not None

    def find_program(self) -> Program:
        """Find or install its program.

        Raises:
            ConfigurationError: it is not there and cannot be installed.
            BackendUnavailableError: installing it failed.
        """
        return self._program()

    def start(self) -> Self:
        """Start it, unless it runs, and wait until it answers requests.

        Raises:
            ConfigurationError: its program is not there and cannot be installed.
            BackendUnavailableError: it ended, or does not answer; its last log lines are in the message.
        """
        if self.is_running():
            return self
        program = self._program()
        make_folder(self.folder)
        for _ in range(_TRIES):
            new_ports = self._choose_ports()
            self._before_start(program)
            offset = self.log.stat().st_size if self.log.exists() else 0
            self._process = spawn(
                self._command(program), self.log, environment=self._environment(), detached=self._detached
            )
            write_record(self._record, self._process, ports=self._ports)
            problem = self._wait_until_ready(offset)
            if problem is None:
                return self
            self._end_failed()
            if not (new_ports and any(not is_free(self.port(name)) for name in self.port_names)):
                break
            self._ports = {}
        raise BackendUnavailableError(f"{self.name} {problem}", hint=f"the whole log is {self.log}")

    def stop(self) -> None:
        """Ask it to end and wait until it has; nothing happens where it does not run."""
        if self._process is not None:
            self._process.end(_STOP_TIMEOUT_S)
        self._process = None

    def kill(self) -> None:
        """End it the hard way: it gets no chance to write anything."""
        if self._process is not None:
            self._process.kill()
        self._process = None

    def send(self, number: signal.Signals) -> None:
        """Send its process a signal, for instance to hold it with SIGSTOP."""
        if self._process is not None:
            self._process.send(number)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @abstractmethod
    def rpc(self, method: str, *params: Any) -> Any:
        """Make a call and return its result.

        Raises:
            RpcError: the node refused.
            BackendUnavailableError: it cannot be reached.
        """

    @abstractmethod
    def ask(self) -> str:
        """Ask it for its state, and return that in a few words; raises what `rpc` raises."""

    @abstractmethod
    def _program(self) -> Program: ...

    @abstractmethod
    def _command(self, program: Program) -> list[str]: ...

    def _before_start(self, program: Program) -> None:
        """Write what it reads when it starts."""
        return

    def _environment(self) -> Mapping[str, str]:
        return {}

    def _is_ready(self, log: str) -> bool:
        """Tell whether it answers and it is this node that answers, given what it printed since its start."""
        self.ask()
        return True

    def _choose_ports(self) -> bool:
        """Settle the ports; tell whether they were chosen freely, so that others could be."""
        if self._ports or self._fixed:
            self._ports = {**self._ports, **self._fixed}
            missing = [name for name in self.port_names if name not in self._ports]
            self._ports.update(zip(missing, free_ports(len(missing)), strict=True))
            for name in self.port_names:
                self._wait_for_port(self._ports[name])
            return False
        self._ports = dict(zip(self.port_names, free_ports(len(self.port_names)), strict=True))
        return True

    def _wait_for_port(self, port: int) -> None:
        """Give a connection that happens to use the port a moment to end."""
        deadline = time.monotonic() + _PORT_WAIT_S
        while not is_free(port):
            if time.monotonic() > deadline:
                raise BackendUnavailableError(
                    f"port {port}, which {self.name} needs, is used by another program",
                    hint=f"see which one with 'lsof -i :{port}' and stop it",
                )
            time.sleep(_POLL_S)

    def _wait_until_ready(self, offset: int) -> str | None:
        """Wait for the first answer; return what went wrong, with the last log lines, or None."""
        assert self._process is not None  # noqa: S101 - just set by the caller
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline:
            # In this order: an answer counts only if our process was alive after it.
            ready = False
            with contextlib.suppress(BackendError):
                ready = self._is_ready(self._log_since(offset))
            if not self._process.is_running():
                return f"ended while starting: {self._last_lines(offset)}"
            if ready:
                return None
            time.sleep(_POLL_S)
        return f"does not answer after {_START_TIMEOUT_S:.0f} s: {self._last_lines(offset)}"

    def _end_failed(self) -> None:
        assert self._process is not None  # noqa: S101 - just set by the caller
        self._process.end(_STOP_TIMEOUT_S)
        self._process = None

    def _log_since(self, offset: int) -> str:
        try:
            with self.log.open("rb") as file:
                file.seek(max(offset, file.seek(0, 2) - _LOG_TAIL_BYTES))
                return file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def _last_lines(self, offset: int) -> str:
        lines = [line.strip() for line in self._log_since(offset).splitlines() if line.strip()]
        return " / ".join(lines[-_LAST_LINES:]) or "it printed nothing"

    @property
    def _record(self) -> Path:
        return self.folder / f"{self.name}.node.json"

    def _recall(self) -> None:
        self._process, record = read_record(self._record)
        try:
            self._ports = {name: int(record["ports"][name]) for name in self.port_names}
        except (ValueError, KeyError, TypeError):
            self._ports = {}  # never started, or another version wrote it; the next start replaces it
