# SPDX-License-Identifier: MIT
"""One HTTP server of IPFS, a daemon's API or a gateway: the core's transport, with a token where there is one."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import SecretStr

from mrv_core.errors import BackendError
from mrv_core.transport import MAX_REPLY_BYTES, HttpTransport, Response
from mrv_core.transport.masking import Mask


class RefusedError(BackendError):
    """The daemon understood a call and answered that it failed.

    Attributes:
        reason: The daemon's own text, one line, without our secrets. Shown, never judged by.
    """

    def __init__(self, message: str, *, reason: str, retryable: bool) -> None:
        super().__init__(message, hint="look into the daemon's log", retryable=retryable)
        self.reason = reason


class Endpoint:
    """Thread-safe; nothing shown by it or in its errors holds a secret.

    Args:
        url: `http` or `https` URL, perhaps with credentials.
        token: Sent as `Authorization: Bearer`.
        timeout_s: Longest time for one call, all of it.
        max_bytes: Largest answer read.

    Attributes:
        name: Masked name: scheme, host and port.
    """

    def __init__(
        self, url: str, *, token: SecretStr | None = None, timeout_s: float, max_bytes: int = MAX_REPLY_BYTES
    ) -> None:
        self._transport = HttpTransport(url, timeout_s=timeout_s, max_bytes=max_bytes)
        self._token = token
        self.name = self._transport.name
        self._mask = Mask([token.get_secret_value()] if token else [], shown=self.name)

    def __repr__(self) -> str:
        return f"Endpoint({self.name})"

    def request(
        self, method: str, path: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Send one request and read the whole answer, whatever its status is, except a redirect.

        Raises:
            TransportError: no usable answer came back.
        """
        sent = dict(headers or {})
        if self._token is not None:
            sent["Authorization"] = f"Bearer {self._token.get_secret_value()}"
        return self._transport.request(method, path, body=body, headers=sent)

    def refusal(self, response: Response) -> BackendError:
        """Build the error for an HTTP status that is not a success."""
        return self._transport.refusal(response)

    def mask(self, text: str) -> str:
        """Return the server's text as one line without our secrets and without excess."""
        return self._transport.mask(self._mask(text, len(text)))  # ours first: shortening could cut a token in two

    def close(self) -> None:
        """Close idle connections. The endpoint stays usable."""
        self._transport.close()
