# SPDX-License-Identifier: MIT
"""Asking a registry over HTTP, and submitting records and bundles to it (docs/registry.md).

The registry is trusted with nothing: it keeps copies, and what is anchored is checked against the networks.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

from mrv_core.canonical import parse_json
from mrv_core.errors import BackendError, ConfigurationError, FormatError, RunStateError
from mrv_core.files import read_limited
from mrv_core.mrv.record import MAX_RECORD_BYTES, hash_of
from mrv_core.mrv.samples import MAX_SAMPLES_BYTES
from mrv_core.mrv.storage import read_receipts, read_record_file, samples_path
from mrv_core.mrv.verification import read_record
from mrv_core.transport import HttpTransport, Response

TOKEN_VARIABLE: Final = "MRV_REGISTRY_TOKEN"  # noqa: S105 - its name
"""Environment variable with the token; a token in a program would be published with it."""
_TIMEOUT_S: Final = 30.0
_MAX_REPLY_BYTES: Final = 1024 * 1024
_DONE: Final = (200, 201)
_NOT_FOUND: Final = 404
_TOO_MANY: Final = 429
_PATIENCE_S: Final = 180.0
"""How long one question waits where the registry answers that it is asked too often."""
_REFUSED: Final = (400, 404, 409, 413, 422)
_NOT_OURS: Final = 403


class RegistryClient:
    """Asks one registry, and submits to it. A context manager, which closes its connection.

    Args:
        url: Where the registry is, without `/api`.
        environment: Where the token is; by default the process's.

    Raises:
        ConfigurationError: the URL cannot be used.
    """

    def __init__(self, url: str, environment: Mapping[str, str] | None = None) -> None:
        token = (os.environ if environment is None else environment).get(TOKEN_VARIABLE)
        try:
            self._transport = HttpTransport(url, timeout_s=_TIMEOUT_S, max_bytes=MAX_RECORD_BYTES, token=token)
        except FormatError as error:
            raise ConfigurationError(f"registry_url: {error.message}", hint=error.hint) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._transport.close()

    @property
    def name(self) -> str:
        """Scheme, host and port of the registry."""
        return self._transport.name

    def fetch(self, path: str) -> Any:
        """Return the JSON of a path under the API, or None where the registry has no such thing.

        Raises:
            BackendError: it could not be asked, or does not answer the question.
        """
        data = self.fetch_bytes(path)
        if data is None:
            return None
        try:
            return parse_json(data, what="the registry's answer", max_bytes=_MAX_REPLY_BYTES)
        except FormatError as error:
            raise BackendError(error.message) from error

    def fetch_bytes(self, path: str) -> bytes | None:
        """Return the bytes of a path under the API, or None where the registry has no such thing. Raises as `fetch`.

        Waits as long as the registry asks to (Retry-After, RFC 9110, section 10.2.3), up to three minutes.
        """
        ends = time.monotonic() + _PATIENCE_S
        response = self._transport.request("GET", f"/api/v1/{path}")
        while response.status == _TOO_MANY:
            wait = self._transport.refusal(response).retry_after_s or 1.0
            if time.monotonic() + wait > ends:
                break
            time.sleep(wait)
            response = self._transport.request("GET", f"/api/v1/{path}")
        if response.status == _NOT_FOUND:
            return None
        if response.status not in _DONE:
            raise self._denial(response)
        return response.body

    def submit_record(self, path: Path) -> None:
        """Submit a record, and what lies beside it: its samples and its receipts. Doing it again is harmless.

        Receipts and samples are taken from who submitted the record first: with the same token, or one of its name.

        Raises:
            FormatError: no record.
            StorageError: a file cannot be read.
            RunStateError: the registry has another record of this id, or does not take what it is given.
            BackendError: it could not be asked.
        """
        data = read_record_file(path)
        record, _ = read_record(data, what=str(path))
        self._send("POST", "/api/v1/records", data, "application/json", **{"Idempotency-Key": hash_of(data).hex})
        place = f"/api/v1/records/{quote(record.mrv_id, safe='')}"
        held = read_receipts(path)
        if held is not None and held.receipts:  # first: the registry may find the samples too large
            self._send("PUT", f"{place}/receipts", held.to_bytes(), "application/json")
        if samples_path(path).exists():
            self._send("PUT", f"{place}/samples", read_limited(samples_path(path), MAX_SAMPLES_BYTES), "text/csv")

    def submit_bundle(self, path: Path) -> None:
        """Submit a bundle. Raises what `submit_record` raises."""
        data = read_limited(path, MAX_RECORD_BYTES)
        self._send("POST", "/api/v1/bundles", data, "application/json", **{"Idempotency-Key": hash_of(data).hex})

    def _send(self, method: str, path: str, body: bytes, media_type: str, **headers: str) -> None:
        response = self._transport.request(method, path, body=body, headers={"Content-Type": media_type, **headers})
        if response.status in _DONE:
            return
        if response.status in _REFUSED or (method == "PUT" and response.status == _NOT_OURS):
            raise RunStateError(
                f"{self._transport.name} refuses it: {self._said(response, 'detail') or f'HTTP {response.status}'}",
                hint=self._said(response, "hint"),
            )
        raise self._denial(response)

    def _denial(self, response: Response) -> BackendError:
        if response.status in (401, 403):
            return BackendError(
                f"{self._transport.name} refuses our token: {self._said(response, 'detail') or 'no reason is given'}",
                hint=f"put a token of 'mrv token create … --scope write', or read, into {TOKEN_VARIABLE}",
            )
        return self._transport.refusal(response)

    def _said(self, response: Response, member: str) -> str | None:
        """Return a text of a problem document (RFC 9457), or None where there is none."""
        try:
            document: Any = parse_json(response.body, what="the answer", max_bytes=_MAX_REPLY_BYTES)
        except FormatError:
            document = None
        text = document.get(member) if isinstance(document, dict) else None
        return self._transport.mask(text) if isinstance(text, str) else None
