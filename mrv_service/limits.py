# SPDX-License-Identifier: MIT
"""What a client may send, and how often. ASGI middleware, which sees a request before anything reads it."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Collection
from http import HTTPStatus
from typing import Final

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mrv_service.problems import ProblemError, response

_BODY_S: Final = 120.0
"""Longest time that a client may take to send a body: it holds no thread meanwhile, but memory."""
_BODIES: Final = 2
"""How many of the largest bodies are held in memory at a time."""
_SMALL_BYTES: Final = 64 * 1024
_PORT: Final = re.compile(r":[0-9]*$")
_FREE: Final = ("/healthz", "/readyz", "/metrics")
"""What a load balancer and a monitor ask for all the time."""


class HostLimit:
    """Refuses requests by another name than the registry's: a page that had its own name lead here (DNS rebinding).

    Args:
        app: Whom to hand on to.
        allowed: Names; any where there is none.
    """

    def __init__(self, app: ASGIApp, allowed: Collection[str]) -> None:
        self._app = app
        self._allowed = frozenset(name.lower() for name in allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, or answer it."""
        if scope["type"] == "http" and self._allowed and scope["path"] not in _FREE:
            names = [value.decode("latin-1").lower() for name, value in scope["headers"] if name == b"host"]
            if len(names) != 1 or _PORT.sub("", names[0]) not in self._allowed:
                problem = ProblemError(
                    HTTPStatus.BAD_REQUEST,
                    "the registry is not asked by this name",
                    hint="its operator names it with 'mrv serve --allow-host NAME'",
                )
                await response(problem)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class BodyLimit:
    """Refuses requests that are larger, or take longer to come, than allowed, whatever they say of themselves.

    All bodies that are being read share some memory; who finds none left is asked to come again.

    Args:
        app: Whom to hand on to.
        max_bytes: Largest body.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._free_bytes = _BODIES * max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        stated = dict(scope["headers"]).get(b"content-length", b"0")
        if not stated.isdigit() or int(stated[:20]) > self._max_bytes:
            await response(self._too_large())(scope, receive, send)
            return
        seen, is_open, ends = 0, True, time.monotonic() + _BODY_S

        async def counted() -> Message:
            nonlocal seen, is_open
            try:
                message = await asyncio.wait_for(receive(), max(0.0, ends - time.monotonic()) if is_open else None)
            except TimeoutError:
                raise _too_slow() from None
            is_open = message.get("more_body", False)
            size = len(message.get("body", b""))
            before, seen = seen, seen + size
            self._free_bytes -= _beyond(seen) - _beyond(before)
            if seen > self._max_bytes:
                raise self._too_large()
            if self._free_bytes < 0:
                raise _too_many()
            return message

        try:
            await self._app(scope, counted, send)
        finally:
            self._free_bytes += _beyond(seen)

    def _too_large(self) -> ProblemError:
        return ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a request has at most {self._max_bytes} bytes")


def _beyond(size: int) -> int:
    """Return how much of a body counts: large ones that come slowly must not keep the small ones out."""
    return max(0, size - _SMALL_BYTES)


def _too_slow() -> ProblemError:
    detail = f"a request is sent within {_BODY_S:.0f} s"
    return ProblemError(HTTPStatus.REQUEST_TIMEOUT, detail, headers={"Connection": "close"})


def _too_many() -> ProblemError:
    detail = "too many large requests at the same time"
    return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, detail, hint="send it again", headers={"Retry-After": "5"})


class RateLimit:
    """Refuses clients, told apart by their address, that ask too often.

    Args:
        app: Whom to hand on to.
        per_minute: Requests in any minute.
    """

    def __init__(self, app: ASGIApp, per_minute: int) -> None:
        self._app = app
        self._item = RateLimitItemPerMinute(per_minute)
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

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
