# SPDX-License-Identifier: MIT
"""Requests to the nodes on this machine: one call, one connection.

Written apart from the drivers' transport on purpose: tests compare what the drivers say with what this says.
"""

from __future__ import annotations

import base64
import http.client
import json
from typing import Any
from urllib.parse import urlsplit

from mrv_core.errors import BackendError, BackendUnavailableError


class RpcError(BackendError):
    """A node answered with an error.

    Attributes:
        code: The error's number: JSON-RPC's, or an HTTP status.
    """

    def __init__(self, message: str, *, code: int) -> None:
        super().__init__(message, hint="see the node's log")
        self.code = code


def post(
    url: str,
    body: bytes,
    *,
    content_type: str,
    user: str | None = None,
    password: str = "",
    timeout_s: float,
) -> tuple[int, bytes]:
    """Send a POST request; return the HTTP status and the body of the answer.

    Raises:
        BackendUnavailableError: nobody listens, or the connection broke.
    """
    parts = urlsplit(url)
    headers = {"Content-Type": content_type}
    if user is not None:
        headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        connection.request("POST", f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}", body, headers)
        reply = connection.getresponse()
        return reply.status, reply.read()
    except (OSError, http.client.HTTPException) as error:
        raise BackendUnavailableError(
            f"no answer from {parts.hostname}:{parts.port}: {error or type(error).__name__}",
            hint="is the node running? see its log",
            retryable=True,
        ) from error
    finally:
        connection.close()


def call(
    url: str,
    method: str,
    params: list[Any],
    *,
    user: str | None = None,
    password: str = "",
    timeout_s: float,
) -> Any:
    """Make a JSON-RPC call and return its result.

    Raises:
        RpcError: the node refused.
        BackendUnavailableError: it cannot be reached.
    """
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    status, answer = post(url, body, content_type="application/json", user=user, password=password, timeout_s=timeout_s)
    try:
        document = json.loads(answer)
        error, result = document.get("error"), document.get("result")
    except (ValueError, AttributeError):
        raise RpcError(f"{method}: HTTP status {status}", code=status) from None
    if error is not None:
        raise RpcError(f"{method}: {error['message']}", code=error["code"])
    return result
