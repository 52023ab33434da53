# SPDX-License-Identifier: MIT
"""HttpTransport: one HTTP server, asked within a deadline."""

from __future__ import annotations

import base64
import logging
import re
import ssl
import time
from collections import deque
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from mrv_core.deadline import seconds_left
from mrv_core.errors import BackendError, FormatError
from mrv_core.transport.errors import SOMETHING_ELSE, TransportError, describe
from mrv_core.transport.http1 import Connection, ProtocolError, Request, Response, check_target, encode_request
from mrv_core.transport.masking import MAX_TEXT, Mask, url_secrets
from mrv_core.transport.sockets import is_numeric, open_socket

_logger = logging.getLogger(__name__)

MAX_REPLY_BYTES: Final = 32 * 1024 * 1024
"""Largest answer read by default: a full block with its transactions fits."""
MAX_CALL_S: Final = 10.0
"""Longest single call by default, so that one that hangs leaves time for another attempt."""
_MAX_IDLE: Final = 8
_MAX_WAIT_ASKED_S: Final = 3600.0
_RETRYABLE_STATUS: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_PORTS: Final = {"http": 80, "https": 443}
_HOST: Final = re.compile(r"[A-Za-z0-9._-]{1,253}")


class HttpTransport:
    """One HTTP server. Thread-safe and fork-safe; idle connections are kept and reused. No proxy is used.

    Args:
        url: `http` or `https` URL. A user and password in it are sent as Basic authentication; a path, which may be
            an API key, is the base of every request. None of it but scheme, host and port is ever shown.
        timeout_s: Longest time for one call, all of it; never beyond the deadline that core has set.
        max_bytes: Largest answer read.
        user: User name for Basic authentication, instead of one in the URL.
        password: Its password.
        token: Sent as Bearer authentication, in place of user and password.

    Attributes:
        name: The server's masked name: scheme, host and port.

    Raises:
        FormatError: not an http(s) URL; the message does not repeat it.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = MAX_CALL_S,
        max_bytes: int = MAX_REPLY_BYTES,
        user: str | None = None,
        password: str | None = None,
        token: str | None = None,
    ) -> None:
        parts, self._host, self._port = _split(url)
        self.name: Final = f"{parts.scheme}://{_authority(self._host, self._port)}"
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._base, self._query = parts.path.rstrip("/"), parts.query
        check_target(self._target(""))
        host = _authority(self._host.partition("%")[0], self._port)  # without an IPv6 zone: RFC 6874, section 1
        self._headers = {"Host": host, "User-Agent": "mrv-provenance", "Accept-Encoding": "identity"}
        user, password = user or unquote(parts.username or ""), password or unquote(parts.password or "")
        credentials = token or base64.b64encode(f"{user}:{password}".encode()).decode()
        if token or user or password:
            self._headers["Authorization"] = f"{'Bearer' if token else 'Basic'} {credentials}"
        self._mask = Mask([user, password, credentials, *url_secrets(parts)], shown=self.name)
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._idle: deque[Connection] = deque()  # without a lock, which a fork in another thread would leave locked

    def __repr__(self) -> str:
        return f"HttpTransport({getattr(self, 'name', '')})"

    def request(
        self,
        method: str,
        path: str = "",
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send one request and read the whole answer, whatever its status is, except a redirect.

        Args:
            method: `GET`, `POST` or `HEAD`.
            path: Appended to the URL's own path; may have a query. Percent-encoded.
            body: Bytes to send.
            headers: Further headers.

        Raises:
            TransportError: no usable answer; see the package's description.
            FormatError: a path or header that no request can carry.
        """
        ends = time.monotonic() + min(self._timeout_s, seconds_left())
        request = encode_request(method, self._target(path), {**self._headers, **(headers or {})}, body)
        outcome = self._outcome(request, ends)
        # Raised here, where no cause, context or local variable holds credentials.
        if isinstance(outcome, TransportError):
            _logger.debug("%s %s", method, outcome)
            raise outcome
        _logger.debug("%s %s: HTTP %d, %d bytes", method, self.name, outcome.status, len(outcome.body))
        return outcome

    def refusal(self, response: Response) -> BackendError:
        """Build the error for an HTTP status that is not a success."""
        status = response.status
        if status in (401, 403):
            return BackendError(
                f"{self.name} refuses our credentials (HTTP {status})",
                hint="check user, password or API key of this network; they are never shown",
            )
        if status in _RETRYABLE_STATUS:
            return TransportError(
                f"{self.name} is not able to answer now (HTTP {status})",
                maybe_delivered=True,
                retry_after_s=_retry_after(response),
                hint="try again later, or lower the rate of requests" if status == 429 else "look into the node's log",
            )
        return BackendError(
            f"{self.name} does not take the request (HTTP {status})", hint="check the address in the configuration"
        )

    def mask(self, text: str, longest: int = MAX_TEXT) -> str:
        """Return somebody else's text as one line of at most `longest` characters without our secrets."""
        return self._mask(text, longest)

    def close(self) -> None:
        """Close what is idle. The transport stays usable."""
        while (connection := self._pop()) is not None:
            connection.close()

    def _target(self, path: str) -> str:
        if path and not path.startswith(("/", "?")):
            path = f"/{path}"
        target = f"{self._base}{path}"
        if not target.startswith("/"):
            target = f"/{target}"
        if self._query:
            target += f"{'&' if '?' in target else '?'}{self._query}"
        return target

    def _outcome(self, request: Request, ends: float) -> Response | TransportError:
        connection = None
        try:
            connection = self._fresh() or Connection(open_socket(self._host, self._port, self._tls, ends))
            response = connection.exchange(request, ends, self._max_bytes)
        except ProtocolError as error:
            return self._unusable(str(error))
        except OSError as error:
            what, hint = describe(error)
            maybe_delivered = connection is not None and connection.begun
            return TransportError(f"{self.name}: {what}", maybe_delivered=maybe_delivered, hint=hint)
        finally:
            if connection is not None:
                self._give_back(connection)
        return self._checked(response)

    def _fresh(self) -> Connection | None:
        while (connection := self._pop()) is not None and not connection.is_fresh():
            connection.close()
        return connection

    def _pop(self) -> Connection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _give_back(self, connection: Connection) -> None:
        if connection.reusable and len(self._idle) < _MAX_IDLE:
            self._idle.append(connection)
        else:
            connection.close()

    def _checked(self, response: Response) -> Response | TransportError:
        if 300 <= response.status < 400:
            what = f"redirects elsewhere (HTTP {response.status}), which is not followed"
            return self._unusable(what, retryable=False)
        if response.headers.get("content-encoding", "").lower() not in ("", "identity"):
            return self._unusable("answers in an encoding that was not asked for", retryable=False)
        return response

    def _unusable(self, what: str, *, retryable: bool = True) -> TransportError:
        return TransportError(f"{self.name} {what}", maybe_delivered=True, retryable=retryable, hint=SOMETHING_ELSE)


def _split(url: str) -> tuple[SplitResult, str, int]:
    """Return a URL's parts, its host in ASCII and its port.

    Raises:
        FormatError: not an http or https URL.
    """
    parts, port = _parts(url) or (urlsplit(""), None)
    host = _ascii_host(parts.hostname or "")
    if parts.scheme not in _PORTS or not host or port == 0:
        raise FormatError("not an http or https URL", hint="write it like https://host:port/path")
    return parts, host, port or _PORTS[parts.scheme]


def _parts(url: str) -> tuple[SplitResult, int | None] | None:
    try:
        parts = urlsplit(url)
        return parts, parts.port
    except ValueError:  # its text repeats the URL, so it must not become the context of our error
        return None


def _ascii_host(name: str) -> str:
    if is_numeric(name):
        return name
    try:
        host = name.encode("idna").decode("ascii")
    except UnicodeError:
        return ""
    return host if _HOST.fullmatch(host) else ""


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _retry_after(response: Response) -> float | None:
    text = response.headers.get("retry-after", "")
    return min(float(text), _MAX_WAIT_ASKED_S) if re.fullmatch(r"[0-9]{1,6}", text) else None
