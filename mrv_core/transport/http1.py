# SPDX-License-Identifier: MIT
"""HTTP/1.1 (RFC 9112) on one connection, strictly, before a deadline and within a number of bytes.

`http.client` hands out a body that is shorter than announced as if it were whole, reads without limit after a chunk
of negative size, takes one answer's surplus for the next answer, and folds line breaks into headers. This reads
status, headers and a body by length, by chunks or to the end of the connection; whatever is ambiguous is refused.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from mrv_core.errors import FormatError
from mrv_core.transport.sockets import seconds_until

MAX_IDLE_S: Final = 4.0
"""Longest time between two requests on one connection; below the five seconds after which common servers close it."""
_MAX_HEAD: Final = 64 * 1024
_MAX_CHUNK_LINE: Final = 4 * 1024
_PIECE: Final = 64 * 1024
_METHOD: Final = re.compile(r"[A-Z]{1,20}")
_TARGET: Final = re.compile(r"/[!-~]*")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[\t -~\x80-\xff]*")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\x00]*)?")
_HEADER_LINE: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\x00\r]*)")
_CHUNK_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,12})[ \t]*(?:;.*)?")


class ProtocolError(Exception):
    """What came back is not a whole HTTP/1.1 answer. The text is ours and repeats nothing of it."""


class TooLargeError(ProtocolError):
    """The answer has more bytes than allowed."""


@dataclass(frozen=True, slots=True)
class Request:
    """An encoded request. Does not show itself: it holds credentials."""

    method: str
    head: bytes = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: HTTP status, headers with lower-case names, and at most the allowed number of bytes.

    Headers that came more than once are joined by commas. Only the status is shown: a server may echo credentials.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


def encode_request(method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> Request:
    """Encode a request.

    Args:
        method: `GET`, `POST`, `HEAD`.
        target: Path and query, percent-encoded.
        headers: Latin-1 text.
        body: Bytes to send, if any.

    Raises:
        FormatError: something that would be another request on the wire. The message does not repeat it.
    """
    if not _METHOD.fullmatch(method):
        raise FormatError("not an HTTP method")
    check_target(target)
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise FormatError("a header has characters that no header can carry")
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if body is not None or method == "POST":
        lines.append(f"Content-Length: {len(body or b'')}")
    return Request(method, "\r\n".join([*lines, "", ""]).encode("latin-1"), body or b"")


def check_target(target: str) -> None:
    """Check that a path with its query can stand in a request.

    Raises:
        FormatError: it cannot. The message does not repeat it.
    """
    if not _TARGET.fullmatch(target):
        raise FormatError("the path has characters that must be percent-encoded", hint="correct the address")


class Connection:
    """One connection, used by one thread at a time.

    Args:
        opened: A connected socket, which now belongs to the connection.

    Attributes:
        begun: Whether any byte of the latest request may have left.
        reusable: Whether another request may follow the latest answer.
    """

    def __init__(self, opened: socket.socket) -> None:
        self._socket = opened
        self._pid = os.getpid()
        self._idle_since = time.monotonic()
        self.begun = False
        self.reusable = False

    def exchange(self, request: Request, ends: float, max_bytes: int) -> Response:
        """Send a request and read the whole answer.

        Args:
            request: What to send.
            ends: Moment of the monotonic clock at which all of it must be done.
            max_bytes: Longest body.

        Raises:
            ProtocolError: no whole answer, or one that is too large.
            OSError: the connection broke, or the time is over.
        """
        self.begun = self.reusable = False
        try:
            self._send(request, ends)
        except ConnectionError as broken:
            # A server that does not want a body answers before it has read it, and closes; that answer says why.
            response = self._early_answer(request, ends, max_bytes)
            if response is None:
                raise broken from None
            return response
        return self._receive(request, ends, max_bytes)

    def is_fresh(self) -> bool:
        """Tell whether another request can be sent: this process's, not idle for long, nothing arrived, not closed.

        A request on a connection that the server has closed could not be told from one that it took and never
        answered, so it is looked at beforehand.
        """
        if self._pid != os.getpid() or time.monotonic() - self._idle_since > MAX_IDLE_S:
            return False
        try:
            self._socket.settimeout(0)
            socket.socket.recv(self._socket, 1, socket.MSG_PEEK)  # below TLS, which knows no peeking
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """Close the connection; one that another process made stays open there."""
        self._socket.close()

    def _send(self, request: Request, ends: float) -> None:
        first = request.body[:_PIECE]  # in one packet with the headers where it is small
        for part in (request.head + first, memoryview(request.body)[len(first) :]):
            left = memoryview(part)
            while left:
                self._socket.settimeout(seconds_until(ends))
                self.begun = True
                left = left[self._socket.send(left[:_PIECE]) :]

    def _receive(self, request: Request, ends: float, max_bytes: int) -> Response:
        stream = _Stream(self._socket, ends)
        minor, status, headers = _read_head(stream)
        body, delimited = _read_body(stream, request, status, headers, max_bytes)
        options = {option.strip().lower() for option in headers.get("connection", "").split(",")}
        self._idle_since = time.monotonic()
        self.reusable = minor == 1 and "close" not in options and delimited and stream.is_empty
        return Response(status, headers, body)

    def _early_answer(self, request: Request, ends: float, max_bytes: int) -> Response | None:
        try:
            response = self._receive(request, ends, max_bytes)
        except (OSError, ProtocolError):
            return None
        self.reusable = False
        return response if response.status >= 400 else None


class _Stream:
    """The bytes that arrive on a socket before a deadline."""

    def __init__(self, source: socket.socket, ends: float) -> None:
        self._socket = source
        self._ends = ends
        self._buffer = bytearray()

    @property
    def is_empty(self) -> bool:
        return not self._buffer

    def line(self, room: int) -> bytes:
        """Take a line of at most `room` bytes, without its end."""
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0 and len(self._buffer) <= room:
            searched = len(self._buffer)
            if not self._fetch():
                raise ProtocolError("breaks off its answer")
        if not 0 <= end <= room:
            raise ProtocolError("answers with headers longer than any server needs")
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line.removesuffix(b"\r")

    def some(self, most: int) -> bytes:
        """Take at least one and at most `most` bytes; none means the end."""
        if not self._buffer:
            self._fetch()
        data = bytes(self._buffer[:most])
        del self._buffer[:most]
        return data

    def exactly(self, count: int, body: bytearray) -> None:
        """Append the next `count` bytes to a body."""
        while count:
            data = self.some(min(count, _PIECE))
            if not data:
                raise ProtocolError("breaks off its answer")
            body += data
            count -= len(data)

    def _fetch(self) -> bool:
        self._socket.settimeout(seconds_until(self._ends))
        data = self._socket.recv(_PIECE)
        self._buffer += data
        return bool(data)


def _read_head(stream: _Stream) -> tuple[int, int, dict[str, str]]:
    """Read minor version, status and headers of the final answer; interim ones count for its size and are dropped."""
    room = _MAX_HEAD
    while True:
        line = stream.line(room)
        match = _STATUS_LINE.fullmatch(line)
        if match is None:
            raise ProtocolError("answers with something that is not HTTP/1.1")
        headers, room = _read_headers(stream, room - len(line) - 1)
        minor, status = int(match[1]), int(match[2])
        if status == 101:
            raise ProtocolError("switches to another protocol")
        if status >= 200:
            return minor, status, headers


def _read_headers(stream: _Stream, room: int) -> tuple[dict[str, str], int]:
    headers: dict[str, str] = {}
    while line := stream.line(room):
        room -= len(line) + 1
        match = _HEADER_LINE.fullmatch(line)
        if match is None:
            raise ProtocolError("answers with a header that is none")
        name, value = match[1].decode("ascii").lower(), match[2].strip(b" \t").decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers, room - 1


def _read_body(
    stream: _Stream, request: Request, status: int, headers: Mapping[str, str], max_bytes: int
) -> tuple[bytes, bool]:
    """Return the body and whether its end was marked by anything but the end of the connection."""
    if request.method == "HEAD" or status in (204, 304):
        return b"", True
    coding = headers.get("transfer-encoding")
    if coding is not None:
        if coding.lower() != "chunked" or "content-length" in headers:  # RFC 9112, 6.3: a smuggling attempt
            raise ProtocolError("answers with a body whose length is ambiguous")
        return _read_chunks(stream, max_bytes), True
    if "content-length" in headers:
        body = bytearray()
        stream.exactly(_allowed(_content_length(headers["content-length"]), max_bytes), body)
        return bytes(body), True
    return _read_to_end(stream, max_bytes), False


def _content_length(text: str) -> int:
    values = {part.strip() for part in text.split(",")}
    value = values.pop()
    if values or not re.fullmatch(r"[0-9]{1,18}", value):
        raise ProtocolError("answers with a body whose length is ambiguous")
    return int(value)


def _read_to_end(stream: _Stream, max_bytes: int) -> bytes:
    body = bytearray()
    while data := stream.some(_PIECE):
        body += data
        _allowed(len(body), max_bytes)
    return bytes(body)


def _read_chunks(stream: _Stream, max_bytes: int) -> bytes:
    body = bytearray()
    while True:
        match = _CHUNK_LINE.fullmatch(stream.line(_MAX_CHUNK_LINE))
        if match is None:
            raise ProtocolError("answers with a chunk of no size")
        size = int(match[1], 16)
        if not size:
            _read_headers(stream, _MAX_HEAD)  # trailers, of which none is used
            return bytes(body)
        _allowed(len(body) + size, max_bytes)
        stream.exactly(size, body)
        if stream.line(_MAX_CHUNK_LINE):
            raise ProtocolError("answers with a chunk longer than its size")


def _allowed(size: int, max_bytes: int) -> int:
    if size > max_bytes:
        raise TooLargeError(f"answers with more than the {max_bytes} bytes allowed")
    return size
