# SPDX-License-Identifier: MIT
"""Idempotency keys: a request that is sent again under the same key gets the answer of the first one.

After the draft "The Idempotency-Key HTTP Header Field" (draft-ietf-httpapi-idempotency-key-header).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from mrv_core.models import format_time, utc_now
from mrv_service.database import Database
from mrv_service.problems import ProblemError
from mrv_service.tables import idempotency_keys

_KEY: Final = re.compile(r"[!-~]{1,200}")


class IdempotencyKeys:
    """The keys of one registry. Thread-safe.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def location(self, token: str, key: str | None, request: bytes, make: Callable[[], str]) -> str:
        """Make what a request asks for, and return where it is; under a known key it must be the same request.

        Making twice is harmless here, where the same bytes are one record. So the key is kept after it, and what was
        lost since comes back.

        Args:
            token: Id of the token, whose keys are its own.
            key: The key, or None.
            request: What the request is, for comparison.
            make: Does it, and returns where the result is.

        Raises:
            ProblemError: the key is malformed, or was used for another request.
        """
        if key is None:
            return make()
        if not _KEY.fullmatch(key):
            raise ProblemError(
                HTTPStatus.BAD_REQUEST, "Idempotency-Key: 1 to 200 printable ASCII characters without spaces"
            )
        digest = hashlib.sha256(request).hexdigest()
        is_known = self._is_known(token, key, digest)
        location = make()
        if is_known:
            return location
        row = {
            "token": token,
            "key": key,
            "request_hash": digest,
            "location": location,
            "created_at": format_time(utc_now()),
        }
        try:
            with self._database.write() as connection:
                connection.execute(insert(idempotency_keys).values(row))
        except IntegrityError:  # another request with the same key was quicker
            self._is_known(token, key, digest)
        return location

    def _is_known(self, token: str, key: str, digest: str) -> bool:
        with self._database.read() as connection:
            row = connection.execute(
                select(idempotency_keys).where(idempotency_keys.c.token == token, idempotency_keys.c.key == key)
            ).one_or_none()
        if row is None:
            return False
        if row.request_hash != digest:
            raise ProblemError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "Idempotency-Key: it was used for another request",
                hint="take a new one",
            )
        return True
