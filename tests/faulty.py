# SPDX-License-Identifier: MIT
"""A server that answers honestly, or with one of the faults of `fault_modes`, alone or in front of a real node.

What is honest is a function: `echo`, which answers JSON-RPC calls with themselves, or `forward_to(url)`, which asks
a real node. A plan says which request meets which fault. The server counts the faults that fired, so that a test can
show that its fault really happened.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Self
from urllib.parse import urlsplit

from fault_modes import MODES, RESET_AT_ONCE, Case, Do, Mode, Reply, Request

Answer = Callable[[Request], Reply]
Plan = Callable[[Request], str | Mode | None]


def echo(request: Request) -> Reply:
    """Answer each JSON-RPC call with its method and parameters, and anything else with a fixed text."""
    if not request.body.startswith((b"{", b"[")):
        return Reply(200, (("Content-Type", "text/plain"),), b"hello, " * 100)
    document = json.loads(request.body)
    answers = [_echoed(call) for call in (document if isinstance(document, list) else [document])]
    return Reply.json(answers if isinstance(document, list) else answers[0])


def _echoed(call: dict[str, Any]) -> dict[str, Any]:
    result = {"method": call["method"], "params": call["params"]}
    return {"jsonrpc": "2.0", "id": call["id"], "result": result}


def forward_to(url: str) -> Answer:
    """Return a function that asks a real server and returns its answer."""
    parts = urlsplit(url)
    assert parts.scheme == "http"

    def forward(request: Request) -> Reply:
        upstream = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        try:
            headers = {name: value for name, value in request.headers.items() if name not in ("host", "connection")}
            upstream.request(request.method, request.target, request.body or None, headers)
            answer = upstream.getresponse()
            kept = tuple(item for item in answer.getheaders() if item[0].lower() not in _HOP_BY_HOP)
            return Reply(answer.status, kept, answer.read())
        finally:
            upstream.close()

    return forward


_HOP_BY_HOP = ("connection", "content-length", "keep-alive", "transfer-encoding", "trailer", "upgrade")


def honest(_: Request) -> None:
    """Plan no fault."""


def always(mode: str | Mode) -> Plan:
    """Plan the same fault for every request."""
    return lambda _: mode


def on_call(number: int, mode: str, *, method: str | None = None) -> Plan:
    """Plan a fault for one call only.

    Args:
        number: Which of the calls, counted from 0.
        mode: The fault.
        method: Count calls of this method only, as `Request.call` names it.
    """
    left = [number]
    lock = threading.Lock()

    def plan(request: Request) -> str | None:
        if method is not None and request.call != method:
            return None
        with lock:
            left[0] -= 1
            return mode if left[0] == -1 else None

    return plan


def at_random(probability: float, modes: Sequence[str], seed: int) -> Plan:
    """Plan one of several faults for each request with a probability."""
    source, lock = random.Random(seed), threading.Lock()  # noqa: S311

    def plan(_: Request) -> str | None:
        with lock:
            return source.choice(modes) if source.random() < probability else None

    return plan


class FaultServer:
    """An HTTP/1.1 server on loopback, a thread a connection.

    Args:
        answer: What an honest server would say.
        plan: Which request meets which fault; can be replaced while the server runs.
        host: Loopback address or name to listen on.
        tls: Speak TLS with this context.
        greeting: Name of a fault that every connection meets as soon as it is accepted.
        elsewhere: Where redirects point to.
        pause_s: Length of a pause between dripping bytes.

    Attributes:
        fired: How often each fault happened.
        planned: How often each fault was begun.
        requests: Every request that was read.
        delivered: Every request that was answered honestly, whatever became of the answer.
        connections: How many connections were accepted.
        defects: Errors of the server itself, which no test expects.
    """

    def __init__(
        self,
        answer: Answer = echo,
        plan: Plan = honest,
        *,
        host: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
        greeting: str | None = None,
        elsewhere: str = "http://127.0.0.1:9/",
        pause_s: float = 0.2,
    ) -> None:
        self._answer_honestly = answer
        self.plan = plan
        self.elsewhere = elsewhere
        self.greeting = greeting
        self.fired: Counter[str] = Counter()
        self.planned: Counter[str] = Counter()
        self.requests: list[Request] = []
        self.delivered: list[Request] = []
        self.connections = 0
        self.defects: list[BaseException] = []
        self._tls = tls
        self._pause_s = pause_s
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._open: set[socket.socket] = set()
        self._closed = threading.Condition(self._lock)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family, backlog=64)
        self.port: int = self._listener.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        self.url = f"{'https' if tls else 'http'}://{shown}:{self.port}"
        self._accepting = threading.Thread(target=self._accept, name="fault-server", daemon=True)

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()
        self.drop_connections()
        assert self.defects == []

    def drop_connections(self) -> None:
        """Close every open connection, as a server that restarts does."""
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def wait_until_all_are_closed(self) -> None:
        """Wait until no connection is open any more; the clients' sides then know it."""
        with self._closed:
            assert self._closed.wait_for(lambda: not self._open, timeout=60)

    def calls(self) -> list[str]:
        """Return what was called, in order: JSON-RPC methods, or HTTP methods and paths."""
        return [request.call for request in self.requests]

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        try:
            with self._secured(accepted) as connection, connection.makefile("rb") as stream:
                if self.greeting is not None:
                    self._perform(connection, self.greeting, Request("", "", {}, b""))
                    return
                while (request := Request.read(stream)) is not None:
                    if not self._answer(connection, request):
                        return
        except OSError:
            pass  # the client went away
        except BaseException as error:  # reported when the server ends
            self.defects.append(error)
        finally:
            accepted.close()
            with self._closed:
                self._open.discard(accepted)
                self._closed.notify_all()

    def _secured(self, accepted: socket.socket) -> socket.socket:
        if self._tls is None:
            return accepted.dup()
        return self._tls.wrap_socket(accepted.dup(), server_side=True)

    def _answer(self, connection: socket.socket, request: Request) -> bool:
        """Answer one request and tell whether the connection stays open."""
        with self._lock:
            self.requests.append(request)
        fault = self.plan(request)
        if fault is not None:
            return self._perform(connection, fault, request)
        connection.sendall(self._honest(request).encode())
        return True

    def _honest(self, request: Request) -> Reply:
        with self._lock:
            self.delivered.append(request)
        return self._answer_honestly(request)

    def _perform(self, connection: socket.socket, planned: str | Mode, request: Request) -> bool:
        """Do what a fault does and tell whether the connection stays open; it fires when the first thing is done."""
        name, steps = (planned, MODES[planned]) if isinstance(planned, str) else (planned.__name__, planned)
        with self._lock:
            self.planned[name] += 1
        for number, step in enumerate(steps(Case(request, lambda: self._honest(request), self.elsewhere))):
            with self._lock:
                self.fired[name] += number == 0
            if isinstance(step, bytes):
                connection.sendall(step)
            if isinstance(step, Do) and not self._do(connection, step):
                return False
        return True

    def _do(self, connection: socket.socket, step: Do) -> bool:
        if step is Do.PAUSE:
            return not self._stopped.wait(self._pause_s)
        if step is Do.READ:
            return bool(connection.recv(1000))
        if step is Do.HANG:
            while connection.recv(4096):
                pass
        elif step is Do.RESET:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_ONCE)
        return False
