# SPDX-License-Identifier: MIT
"""What a client may send, and how often. ASGI middleware, which sees a request before anything reads it."""

from __future__ import annotations

import math
import time
from http import HTTPStatus
from typing import Final

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mrv_service.problems import ProblemError, response

_FREE: Final = ("/healthz", "/readyz", "/metrics")
"""What a load balancer and a monitor ask for all the time."""


class BodyLimit:
    """Refuses requests that are larger than allowed, also where they do not say how large they are.

    Args:
        app: Whom to hand on to.
        max_bytes: Largest body.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        stated = dict(scope["headers"]).get(b"content-length", b"0")
        if not stated.isdigit() or int(stated[:20]) > self._max_bytes:
            await response(self._problem())(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._max_bytes:
                raise self._problem()
            return message

        await self._app(scope, counted, send)

    def _problem(self) -> ProblemError:
        return ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a request has at most {self._max_bytes} bytes")


class RateLimit:
    """Refuses clients, told apart by their address, that ask too often.

    Args:
        app: Whom to hand on to.
        per_minute: Requests in any minute.
    """

    def __init__(self, app: ASGIApp, per_minute: int) -> None:
        self._app = app
        self._item = RateLimitItemPerMinute(per_minute)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, or answer it."""
        if scope["type"] != "http" or scope["path"] in _FREE:
            await self._app(scope, receive, send)
            return
        client = _client(scope)
        if self._limiter.hit(self._item, client):
            await self._app(scope, receive, send)
            return
        reset, _ = self._limiter.get_window_stats(self._item, client)
        wait = max(1, math.ceil(reset - time.time()))
        problem = ProblemError(
            HTTPStatus.TOO_MANY_REQUESTS,
            f"at most {self._item.amount} requests a minute",
            hint=f"wait {wait} s",
            headers={"Retry-After": str(wait)},
        )
        await response(problem)(scope, receive, send)


def _client(scope: Scope) -> str:
    """Return the address: a token may be made up, and anew for each request."""
    return str((scope.get("client") or ("unknown",))[0])
