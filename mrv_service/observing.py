# SPDX-License-Identifier: MIT
"""What an operator sees: a line of JSON for each request, counts for Prometheus, and whether the service can work."""

from __future__ import annotations

import json
import logging
import os
import time
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mrv_core.errors import MrvError
from mrv_service.problems import ProblemError

_access: Final = logging.getLogger("mrv_service.access")
COUNTS_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable with the folder where several processes keep their counts, as prometheus-client reads it."""
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "OPTIONS"})

router = APIRouter(include_in_schema=False)


class Metrics:
    """Counts of one application, or of all the processes that share a folder of counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self.requests = Counter("mrv_requests_total", "Requests that were answered.", labels, registry=self.registry)
        self.seconds = Histogram(
            "mrv_request_seconds", "Seconds until the answer.", ("method", "route"), registry=self.registry
        )

    def text(self) -> bytes:
        """Return the counts in Prometheus' text format."""
        if COUNTS_VARIABLE not in os.environ:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)


class Observing:
    """Counts and logs each request: its route, never its address line, headers or body, which may hold secrets.

    Args:
        app: Whom to hand on to.
        metrics: Where to count.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, and note what became of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, begun = int(HTTPStatus.INTERNAL_SERVER_ERROR), time.perf_counter()

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            # A made-up method or path must not make a series of its own.
            method = scope["method"] if scope["method"] in _METHODS else "other"
            route = getattr(scope.get("route"), "path", "none")
            seconds = time.perf_counter() - begun
            self._metrics.requests.labels(method, route, str(status)).inc()
            self._metrics.seconds.labels(method, route).observe(seconds)
            _access.info(
                "", extra={"mrv": {"method": method, "route": route, "status": status, "ms": round(seconds * 1000, 1)}}
            )


class JsonLines(logging.Formatter):
    """Writes a log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        facts: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "logger": record.name,
            **getattr(record, "mrv", {}),
        }
        if record.getMessage():
            facts["message"] = record.getMessage()
        if record.exc_info:
            facts["exception"] = self.formatException(record.exc_info)
        return json.dumps(facts, ensure_ascii=False)


def log_as_json() -> None:
    """Write what this package, core and the server have to say to the standard error, as lines of JSON."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    for name in ("mrv_service", "mrv_core", "uvicorn.error"):
        logging.getLogger(name).handlers = [handler]
        logging.getLogger(name).setLevel(logging.INFO)
        logging.getLogger(name).propagate = False


@router.get("/healthz")
def healthz() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(request: Request) -> dict[str, str]:
    """Say whether the database answers, and has this version's tables."""
    try:
        is_current = request.app.state.database.is_current()
    except MrvError as error:
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, error.message) from error
    if not is_current:
        raise ProblemError(
            HTTPStatus.SERVICE_UNAVAILABLE, "the database has the tables of another version", hint="restart the service"
        )
    return {"status": "ready"}


@router.get("/metrics")
def metrics(request: Request) -> Response:
    """Show the counts, and what the database holds, in Prometheus' text format."""
    state = request.app.state
    return Response(state.metrics.text() + state.gauges.text(), media_type=CONTENT_TYPE_LATEST)
