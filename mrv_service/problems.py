# SPDX-License-Identifier: MIT
"""Errors as problem documents (RFC 9457). None of them repeats what a client sent, or a secret of ours."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from mrv_core.errors import (
    AnchorNotFoundError,
    BackendError,
    ConfigurationError,
    FormatError,
    MrvError,
    StorageError,
    VerificationError,
)

_logger = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
_STATUS_OF: Final[tuple[tuple[type[MrvError], HTTPStatus], ...]] = (
    (FormatError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (VerificationError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (AnchorNotFoundError, HTTPStatus.NOT_FOUND),
    (ConfigurationError, HTTPStatus.INTERNAL_SERVER_ERROR),
    (BackendError, HTTPStatus.SERVICE_UNAVAILABLE),
    (StorageError, HTTPStatus.SERVICE_UNAVAILABLE),
)


class ProblemError(Exception):
    """An answer that is no success.

    Args:
        status: HTTP status.
        detail: One line: what is wrong.
        hint: One line: what to do next.
        headers: Further headers of the answer.
        facts: Further members of the document.
    """

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        hint: str | None = None,
        headers: Mapping[str, str] | None = None,
        **facts: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.hint = hint
        self.headers = dict(headers or {})
        self.facts = facts


def install(app: FastAPI) -> None:
    """Answer every error of an application with a problem document."""
    app.add_exception_handler(ProblemError, _of_problem)
    app.add_exception_handler(MrvError, _of_ours)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(Exception, _of_defect)


def response(problem: ProblemError) -> JSONResponse:
    """Write a problem document."""
    content = {
        "type": "about:blank",
        "title": problem.status.phrase,
        "status": int(problem.status),
        "detail": problem.detail,
        **({"hint": problem.hint} if problem.hint else {}),
        **problem.facts,
    }
    return JSONResponse(content, int(problem.status), problem.headers, media_type=MEDIA_TYPE)


def _of_problem(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ProblemError)  # noqa: S101 - registered for nothing else
    return response(error)


def _of_ours(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, MrvError)  # noqa: S101 - registered for nothing else
    status = next((status for kind, status in _STATUS_OF if isinstance(error, kind)), HTTPStatus.BAD_REQUEST)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _logger.error("%s", error.message)
    return response(ProblemError(status, error.message, hint=error.hint))


def _of_validation(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for nothing else
    first = error.errors()[0]
    place = ".".join(str(part)[:80] for part in first["loc"])
    return response(ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{place}: {first['msg']}"))


def _of_http(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    status = HTTPStatus(error.status_code)
    return response(ProblemError(status, status.description or status.phrase, headers=error.headers))


def _of_defect(_request: Request, error: Exception) -> JSONResponse:
    _logger.error("a defect of this program", exc_info=error)
    return response(ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, "a defect of this program; its log says more"))
