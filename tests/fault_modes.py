# SPDX-License-Identifier: MIT
"""What a server can do wrong, by name: a mode yields the bytes it sends and the things it does, in order.

A mode that sends part of an honest answer, or sends something else after it has got one, asks for that answer with
`case.honest()`: in front of a real node, that is when the request is forwarded.
"""

from __future__ import annotations

import gzip
import itertools
import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, BinaryIO


class Do(Enum):
    """What a server does besides sending bytes."""

    FIN = "close the connection"
    RESET = "reset the connection"
    HANG = "do nothing until the client goes away"
    PAUSE = "wait a little"
    READ = "read a little"


@dataclass(frozen=True)
class Request:
    """A request as a server read it; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @classmethod
    def read(cls, stream: BinaryIO) -> Request | None:
        """Read a request; None where the client has closed the connection instead, or speaks no HTTP."""
        line = stream.readline()
        if not line.endswith(b" HTTP/1.1\r\n"):
            return None
        method, target, _ = line.decode("latin-1").split(" ")
        headers = {}
        while (line := stream.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        return cls(method, target, headers, stream.read(int(headers.get("content-length", "0"))))

    @property
    def call(self) -> str:
        """The JSON-RPC method, the methods of a batch joined by commas, else HTTP method and path."""
        if not self.body.startswith((b"{", b"[{")):
            return f"{self.method} {self.target.partition('?')[0]}"
        document = json.loads(self.body)
        return ",".join(call["method"] for call in (document if isinstance(document, list) else [document]))


@dataclass(frozen=True)
class Reply:
    """An answer that is to be sent; the length is added where it is."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @classmethod
    def json(cls, document: Any, status: int = 200) -> Reply:
        return cls(status, (("Content-Type", "application/json"),), json.dumps(document).encode())

    def head(self, *more: str, length: int | None = None) -> bytes:
        """Return status line and headers; `length` is a lie about the body's."""
        lines = [f"HTTP/1.1 {self.status} Said so", *(f"{name}: {value}" for name, value in self.headers), *more]
        return "\r\n".join([*lines, f"Content-Length: {len(self.body) if length is None else length}", "", ""]).encode()

    def encode(self) -> bytes:
        return self.head() + self.body


@dataclass(frozen=True)
class Case:
    """What a mode gets: the request, the way to an honest answer to it, and where redirects point to."""

    request: Request
    honest: Callable[[], Reply]
    elsewhere: str


Steps = Iterator[bytes | Do]
Mode = Callable[[Case], Steps]
MODES: dict[str, Mode] = {}
"""Every fault by its name."""
NEVER_ENDING = ("silence", "headers-then-silence", "drip", "forward-then-silence")
"""Faults that only a deadline ends."""
FOR_A_GREETING = ("reset-while-reading", "refuse-while-reading")
"""Faults that begin before the whole request is there, so that no request can be planned to meet them."""
JSON_RPC_MODES: list[str] = []
"""Faults that change a JSON-RPC answer, so that there must be one."""


def timeouts(name: str) -> list[float]:
    """Return timeouts to try in turn, until the fault fires.

    A fault that only a deadline ends gets a short one first, which a busy machine may pass before it sends anything.
    """
    return [0.3, 1.5, 6.0] if name in NEVER_ENDING else [50.0]


def mode(function: Mode) -> Mode:
    """Register a mode under its function's name, with dashes."""
    MODES[function.__name__.replace("_", "-")] = function
    return function


def _fixed(name: str, *steps: bytes | Do) -> None:
    """Register a mode that neither looks at the request nor forwards it."""
    MODES[name] = lambda _: iter(steps)


def _refusing(status: int, *headers: tuple[str, str]) -> bytes:
    return Reply(status, (("Content-Type", "text/plain"), *headers), b"so it is").encode()


HTML = b"<!DOCTYPE html><html><body>Please log in to the hotel's network</body></html>"
_TYPE = (("Content-Type", "application/json"),)

# --- the connection ----------------------------------------------------------------------------------------------

_fixed("silence", Do.HANG)
_fixed("reset", Do.RESET)
_fixed("fin", Do.FIN)
_fixed("reset-while-reading", Do.READ, Do.RESET)
_fixed("refuse-while-reading", Do.READ, _refusing(413), Do.FIN)


@mode
def headers_then_silence(case: Case) -> Steps:
    yield case.honest().head()
    yield Do.HANG


@mode
def drip(case: Case) -> Steps:
    for byte in case.honest().encode():
        yield bytes([byte])
        yield Do.PAUSE


@mode
def drip_endlessly(case: Case) -> Steps:
    yield case.honest().head(length=10**9)
    while True:
        yield b" "
        yield Do.PAUSE


@mode
def reset_mid_body(case: Case) -> Steps:
    yield _half(case.honest())
    yield Do.RESET


@mode
def fin_mid_body(case: Case) -> Steps:
    yield _half(case.honest())
    yield Do.FIN


@mode
def short_body(case: Case) -> Steps:
    reply = case.honest()
    yield reply.head(length=len(reply.body) + 10) + reply.body
    yield Do.FIN


@mode
def close_while_idle(case: Case) -> Steps:
    yield case.honest().encode()
    yield Do.FIN


def _half(reply: Reply) -> bytes:
    return reply.head() + reply.body[: len(reply.body) // 2]


# --- refused by HTTP ---------------------------------------------------------------------------------------------

for _status in (400, 401, 403, 404, 500, 502, 503):
    _fixed(f"status-{_status}", _refusing(_status))
_fixed("status-429", _refusing(429, ("Retry-After", "7")))


def _redirect(status: int) -> Mode:
    def steps(case: Case) -> Steps:
        yield Reply(status, (("Location", case.elsewhere),), b"there").encode()

    return steps


for _status in (301, 302, 307, 308):
    MODES[f"redirect-{_status}"] = _redirect(_status)

# --- not HTTP, or too much of it ---------------------------------------------------------------------------------

_fixed("garbage", bytes(range(256)) * 4, Do.FIN)
_fixed("garbage-line", b"220 smtp.example ESMTP\r\n", Do.HANG)
_fixed("bare-body", b'{"jsonrpc":"2.0","id":1,"result":1}\n', Do.FIN)
_fixed("nonsense-status", b"HTTP/1.1 2xx Fine\r\nContent-Length: 0\r\n\r\n")
_fixed("switching-protocols", b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\n\r\n", Do.HANG)
_fixed("huge-header", b"HTTP/1.1 200 OK\r\nX-Long: ", b"a" * 1_000_000, b"\r\nContent-Length: 2\r\n\r\n{}")
_fixed("long-header", b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 65_536 + b"\r\nContent-Length: 2\r\n\r\n{}")
_fixed("folded-header", b"HTTP/1.1 200 OK\r\nX-A: b\r\n Content-Length: 9\r\nContent-Length: 2\r\n\r\n{}")
_fixed("two-lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ")
_fixed("negative-length", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}", Do.FIN)
_fixed("huge-length", b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n{", Do.HANG)
_fixed("unknown-coding", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n")

_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
_fixed("length-and-chunks", _CHUNKED[:-2] + b"Content-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
_fixed("bad-chunk", _CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n")
_fixed("negative-chunk", _CHUNKED + b"-1\r\n", b"x" * 1_000_000, Do.FIN)
_fixed("huge-chunk", _CHUNKED + b"fffffffff\r\n{}", Do.HANG)
_fixed("long-chunk", _CHUNKED + b"2\r\n{}}\r\n0\r\n\r\n")
_fixed("cut-chunks", _CHUNKED + b"2\r\n{}\r\n", Do.FIN)


def _endless(name: str, start: bytes, piece: bytes) -> None:
    MODES[name] = lambda _: itertools.chain([start], itertools.repeat(piece))


_endless("endless-headers", b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n" * 1000)
_endless("endless-header", b"HTTP/1.1 200 OK\r\nX-A: ", b"b" * 10_000)
_endless("endless-continue", b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
_endless("endless-body", b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", b"[" * 65536)
_endless("endless-chunks", _CHUNKED, (b"10000\r\n" + b" " * 65536 + b"\r\n"))
_endless("endless-trailers", _CHUNKED + b"2\r\n{}\r\n0\r\n", b"X-A: b\r\n" * 1000)
_endless("endless-extension", _CHUNKED + b"2;a=", b"b" * 10_000)


@mode
def gzip_bomb(_: Case) -> Steps:
    body = gzip.compress(bytes(20_000_000))
    yield Reply(200, (*_TYPE, ("Content-Encoding", "gzip")), body).encode()


@mode
def two_answers(case: Case) -> Steps:
    yield case.honest().encode() + Reply.json({"jsonrpc": "2.0", "id": 2, "result": "forged"}).encode()


@mode
def surplus(case: Case) -> Steps:
    yield case.honest().encode() + b"surplus"


# --- odd, and allowed --------------------------------------------------------------------------------------------


@mode
def early_hints(case: Case) -> Steps:
    yield b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + case.honest().encode()


@mode
def chunks(case: Case) -> Steps:
    reply = case.honest()
    yield f"HTTP/1.1 {reply.status} OK\r\nTransfer-Encoding: Chunked\r\n\r\n".encode()
    size = 7 if len(reply.body) < 10_000 else 1009
    for start in range(0, len(reply.body), size):
        piece = reply.body[start : start + size]
        yield f"{len(piece):X}; name=value\r\n".encode() + piece + b"\r\n"
    yield b"0\r\nX-Trailer: t\r\n\r\n"


@mode
def body_to_the_end(case: Case) -> Steps:
    reply = case.honest()
    yield f"HTTP/1.0 {reply.status} OK\r\n\r\n".encode() + reply.body
    yield Do.FIN


@mode
def line_feeds_only(case: Case) -> Steps:
    reply = case.honest()
    yield f"HTTP/1.1 {reply.status}\nContent-Length:{len(reply.body)}\n\n".encode() + reply.body


@mode
def wrong_content_type(case: Case) -> Steps:
    yield replace(case.honest(), headers=(("Content-Type", "image/png"),)).encode()


# --- HTTP, and not JSON-RPC --------------------------------------------------------------------------------------


def _body(name: str, body: bytes, content_type: str = "application/json") -> None:
    _fixed(name, Reply(200, (("Content-Type", content_type),), body).encode())


_body("html", HTML, "text/html")
_body("empty", b"")
_body("json-null", b"null")
_body("json-list", b"[]")
_body("json-text", b'"text"')
_body("json-number", b"7")
_body("json-object", b"{}")
_body("deep", b"[" * 200_000)
_body("deep-object", b'{"result":' * 200_000)
_body("many-values", b"[" + b"[]," * 3_000_000 + b"[]]")
_body("byte-order-mark", b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"result":1}')


def _altered(name: str, change: Callable[[dict[str, Any]], Any]) -> None:
    """Register a mode that changes the first JSON-RPC answer of an honest reply."""

    def steps(case: Case) -> Steps:
        reply = case.honest()
        document = json.loads(reply.body)
        if isinstance(document, list):
            changed: Any = [change(document[0]), *document[1:]]
        else:
            changed = change(document)
        yield replace(reply, body=json.dumps(changed).encode()).encode()

    MODES[name] = steps
    JSON_RPC_MODES.append(name)


_altered("wrong-id", lambda answer: {**answer, "id": answer["id"] + 1})
_altered("text-id", lambda answer: {**answer, "id": str(answer["id"])})
_altered("float-id", lambda answer: {**answer, "id": float(answer["id"])})
_altered("true-id", lambda answer: {**answer, "id": True})
_altered("list-id", lambda answer: {**answer, "id": [answer["id"]]})
_altered("null-id", lambda answer: {**answer, "id": None})
_altered("no-id", lambda answer: {key: value for key, value in answer.items() if key != "id"})
_altered("no-result", lambda answer: {key: value for key, value in answer.items() if key not in ("result", "error")})
_altered("error-text", lambda answer: {"id": answer["id"], "error": "it failed"})
_altered("error-list", lambda answer: {"id": answer["id"], "error": []})
_altered("error-object", lambda answer: {"id": answer["id"], "error": {"code": -32000, "message": "no", "data": "0x"}})
_altered("error-odd", lambda answer: {"id": answer["id"], "error": {"code": True, "message": [1], "data": {}}})
_altered("error-without-id", lambda answer: {"id": None, "error": {"code": -32600, "message": "too large"}})
_altered("nan", lambda answer: {**answer, "result": float("nan")})
_altered("infinity", lambda answer: {**answer, "result": float("-inf")})
_altered("huge-integer", lambda answer: {**answer, "result": 10**400})
_altered("lone-surrogate", lambda answer: {**answer, "result": "\ud800"})
_altered("inner-list", lambda answer: [answer])


def _rewritten(name: str, change: Callable[[bytes], bytes]) -> None:
    """Register a mode that changes the bytes of an honest body."""

    def steps(case: Case) -> Steps:
        reply = case.honest()
        yield replace(reply, body=change(reply.body)).encode()

    MODES[name] = steps


_rewritten("cut-json", lambda body: body[: len(body) // 2])
_rewritten("invalid-utf8", lambda body: body[:-1] + b', "\xff\xfe": 1' + body[-1:])
_rewritten("duplicate-keys", lambda body: body.replace(b'"id":', b'"id": 1, "id":', 1))
_rewritten("trailing-text", lambda body: body + b" and more")

# --- the request reaches the network, the answer does not come back -------------------------------------------------


def _forward_then(name: str, *steps: bytes | Do) -> None:
    def forwarded(case: Case) -> Steps:
        case.honest()
        yield from steps

    MODES[f"forward-then-{name}"] = forwarded


_forward_then("fin", Do.FIN)
_forward_then("reset", Do.RESET)
_forward_then("silence", Do.HANG)
_forward_then("500", _refusing(500))
_forward_then("502", _refusing(502))
_forward_then("html", Reply(200, (("Content-Type", "text/html"),), HTML).encode())
MODES["forward-then-cut"] = MODES["fin-mid-body"]

# --- the server repeats what it was told in confidence --------------------------------------------------------------


def _confidences(case: Case) -> str:
    return f"{case.request.target} {json.dumps(case.request.headers)}"


@mode
def echo_in_error(case: Case) -> Steps:
    text = _confidences(case)
    identity = json.loads(case.request.body)["id"] if case.request.body.startswith(b"{") else None
    yield Reply.json({"id": identity, "error": {"code": 1, "message": text.upper(), "data": text}}).encode()


@mode
def echo_in_headers(case: Case) -> Steps:
    text = _confidences(case)
    yield Reply(200, (("Content-Type", text), ("Retry-After", text), ("X-Echo", text)), text.encode()).encode()


@mode
def echo_in_refusal(case: Case) -> Steps:
    text = _confidences(case)
    head = f"HTTP/1.1 400 {text}\r\nContent-Type: {text}\r\nConnection: close\r\nContent-Length: {len(text)}\r\n\r\n"
    yield head.encode() + text.encode()


@mode
def echo_in_garbage(case: Case) -> Steps:
    yield f"{_confidences(case)}\r\n\r\n".encode()
    yield Do.FIN


RESET_AT_ONCE = struct.pack("ii", 1, 0)
"""Value of SO_LINGER with which closing a socket resets its connection."""
