# SPDX-License-Identifier: MIT
"""ipfshttpclient on the core's transport (docs/adr/0007-ipfs-client.md).

The library writes requests and reads answers. Everything between is ours: it gets a `requests` session whose only
adapter is `TransportAdapter`, which knows the real address and the credentials, and lets an answer through only after
the strict parser has read it. So the library never opens a connection, never sees a secret, and never meets an answer
that it would crash on. Imported where a daemon is first talked to, because it brings `requests`.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from ipfshttpclient import Client, http_requests

from mrv_backends_ipfs.refusal import RefusedError
from mrv_core.canonical import parse_json
from mrv_core.errors import BackendError, FormatError
from mrv_core.transport import HttpTransport, Response, TransportError

_NOWHERE: Final = "/dns/daemon.invalid/tcp/5001/http"
"""What the library takes for the daemon's address; RFC 2606, section 2, keeps `.invalid` from ever existing."""
_BYTES_CALLS: Final = frozenset({"/api/v0/block/get", "/api/v0/dag/export"})
"""Calls whose answers are bytes, not JSON; the caller compares their hashes."""
_LIST_CALLS: Final = frozenset({"/api/v0/refs/local"})
"""Calls that answer with any number of JSON objects, one a line; every other call answers with one."""
_MAX_DOCUMENT: Final = 64 * 1024
"""Longest JSON object: what a daemon says about itself has a few kilobytes, everything else less."""
_MAX_LIST: Final = 16 * 1024 * 1024
"""Longest list of blocks: about 200,000, which takes some seconds to read."""


def connect(transport: HttpTransport) -> Any:
    """Return an `ipfshttpclient.Client` that reaches the daemon through `transport`. Thread-safe; asks nothing.

    `Client` and not `connect()`, which asks for the daemon's version and accepts none of this decade.
    """
    client = Client(_NOWHERE, username=None, password=None)
    client._client = _Sessions(transport)
    # The library makes these when they are first used, which two threads must not do at the same time.
    _ = client.block, client.pin, client.dag, client.repo, client.unstable.refs
    return client


class _Sessions(http_requests.ClientSync):  # type: ignore[misc]
    """The library's HTTP client with sessions of our own, one a call, which share one adapter."""

    __slots__ = ("_adapter",)

    def __init__(self, transport: HttpTransport) -> None:
        super().__init__(_NOWHERE, "api/v0")
        self._adapter = TransportAdapter(transport)

    def _make_session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False  # no proxy and no password out of .netrc
        session.adapters.clear()
        session.mount("http://", self._adapter)
        return session


class TransportAdapter(requests.adapters.BaseAdapter):
    """Sends the requests of a `requests` session through our transport, and checks the answers."""

    def __init__(self, transport: HttpTransport) -> None:
        super().__init__()
        self._transport = transport

    def send(self, request: requests.PreparedRequest, *_: object, **__: object) -> requests.Response:
        """Send a request.

        Raises:
            RefusedError: the daemon answered that the call failed.
            TransportError: no usable answer came back.
            BackendError: the HTTP server refused.
        """
        parts = urlsplit(str(request.url))
        content_type = request.headers.get("Content-Type")
        headers = {"Content-Type": str(content_type)} if content_type else {}
        reply = self._transport.request(
            str(request.method), f"{parts.path}?{parts.query}", body=_body(request.body), headers=headers
        )
        self._check(reply, parts.path)
        response = requests.Response()
        response.status_code, response.request, response.url = reply.status, request, _NOWHERE
        response.raw = io.BytesIO(reply.body)
        return response

    def close(self) -> None:
        """Leave the transport open: it outlives the sessions, and whoever made it closes it."""

    def _check(self, reply: Response, path: str) -> None:
        if reply.status != 200:
            raise self._refusal(reply, path)
        if path in _BYTES_CALLS:
            return
        try:
            documents = parse_documents(reply.body)
        except FormatError as error:
            raise self._garbled(path) from error
        expected = len(documents) if path in _LIST_CALLS else 1
        if len(documents) != expected or not all(isinstance(document, dict) for document in documents):
            raise self._garbled(path)

    def _refusal(self, reply: Response, path: str) -> BackendError:
        """Build the error for a call that failed; only an answer of a daemon's own form counts as its word."""
        reason = _reason(reply.body)
        if reason is None or reply.status in (401, 403, 429):
            return self._transport.refusal(reply)
        return RefusedError(
            f"{self._transport.name}: {_command(path)}: {self._transport.mask(reason)}",
            hint="look into the daemon's log",
            retryable=reply.status >= 500,
        )

    def _garbled(self, path: str) -> TransportError:
        return TransportError(
            f"{self._transport.name}: {_command(path)}: what came back is no answer of an IPFS daemon",
            maybe_delivered=True,
            hint="check the address in the configuration: something else than the daemon's API may answer there",
        )


def parse_documents(body: bytes) -> list[Any]:
    """Parse JSON documents, one a line.

    Raises:
        FormatError: not that, or more than a daemon has to say.
    """
    if len(body) > _MAX_LIST:
        raise FormatError(f"answer: more than {_MAX_LIST} bytes")
    lines = (line for line in body.split(b"\n") if line.strip())
    return [parse_json(line, what="answer", max_bytes=_MAX_DOCUMENT) for line in lines]


def _reason(body: bytes) -> str | None:
    try:
        answer = parse_json(body, what="answer", max_bytes=_MAX_DOCUMENT)
    except FormatError:
        return None
    reason = answer.get("Message") if isinstance(answer, Mapping) and answer.get("Type") == "error" else None
    return reason if isinstance(reason, str) else None


def _command(path: str) -> str:
    return path.removeprefix("/api/v0/")


def _body(body: Any) -> bytes | None:
    """Return a request's body as bytes: the library gives a generator of pieces."""
    if body is None or isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else b"".join(body)
