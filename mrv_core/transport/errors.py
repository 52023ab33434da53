# SPDX-License-Identifier: MIT
"""What a call may end with, in words that repeat nothing of a library's exception, which may hold a URL."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from typing import Final

from mrv_core.errors import BackendError, BackendUnavailableError

SOMETHING_ELSE: Final = (
    "check the address in the configuration: something else than the expected server may answer there"
)
"""Hint for an answer that no honest server of the expected kind gives."""


class TransportError(BackendUnavailableError):
    """No usable answer came back. Says nothing about what the network did.

    Args:
        message: One line with the server's masked name.
        maybe_delivered: Whether any byte of the request may have reached the server.
        hint: What to do next.
        retryable: Whether the same call may succeed later.
        retry_after_s: Seconds the server asked us to wait, if it did.
    """

    def __init__(
        self,
        message: str,
        *,
        maybe_delivered: bool,
        hint: str | None = None,
        retryable: bool = True,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, hint=hint, retryable=retryable, retry_after_s=retry_after_s)
        self.maybe_delivered = maybe_delivered


class RpcError(BackendError):
    """The node answered a JSON-RPC call with an error.

    Attributes:
        code: The node's error code, or None where it gave none.
        reason: The node's own text, one line, without our secrets.
        data: The node's error data, where it is text, for instance the bytes of a revert.
    """

    def __init__(self, message: str, *, code: int | None, reason: str, data: str | None = None) -> None:
        super().__init__(message, hint="the node understood the request and refused it; its log may say more")
        self.code = code
        self.reason = reason
        self.data = data


def describe(error: OSError) -> tuple[str, str]:
    """Return what went wrong on the way to a server or back, and what to do next."""
    if isinstance(error, TimeoutError):
        return "does not answer in time", "check that the node runs, or raise 'timeout' of this network"
    if isinstance(error, ConnectionRefusedError):
        return "refuses the connection", "start what should answer there, or correct the address"
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted: {error.verify_message}",
            "correct the address, or let SSL_CERT_FILE name a file with the authority that signed the certificate",
        )
    if isinstance(error, ssl.SSLError):
        return (
            f"no secure connection: {_reason(error)}",
            "check whether the server speaks TLS on this port, or only http",
        )
    if isinstance(error, socket.gaierror):
        return "its name cannot be resolved", "check the address in the configuration and the network"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return os.strerror(error.errno), "raise the limit of open files (ulimit -n)"
    text = os.strerror(error.errno) if error.errno else "the connection breaks off"
    return text, "check that the node runs and can be reached"


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or type(error).__name__).replace("_", " ").lower()
