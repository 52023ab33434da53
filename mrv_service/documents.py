# SPDX-License-Identifier: MIT
"""Requests and answers that are documents byte by byte: read whole, and sent with an ETag (RFC 9110, section 8.8.3)."""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Header, Request, Response
from starlette.requests import ClientDisconnect

from mrv_service.problems import ProblemError


async def _body(request: Request) -> bytes:
    try:
        return await request.body()
    except ClientDisconnect:  # no defect of ours
        raise ProblemError(HTTPStatus.BAD_REQUEST, "the request broke off") from None


Body = Annotated[bytes, Depends(_body)]
"""The whole body of a request; its size is limited before it comes here."""
IfNoneMatch = Annotated[str | None, Header(description="ETags that the client has.")]

JSON_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}}
"""What OpenAPI says of a request whose bytes are a JSON document."""


def document(
    request: Request, data: bytes, media_type: str, if_none_match: str | None, *, unchanging: bool
) -> Response:
    """Send bytes, or that the client has them already.

    Args:
        request: What asks; its application says who may read.
        data: The bytes.
        media_type: What they are.
        if_none_match: The client's header.
        unchanging: Whether they will be the same for ever.
    """
    reads = request.app.state.settings.reads  # a cache of many readers asks for no token
    tag = f'"{hashlib.sha256(data).hexdigest()}"'
    headers = {
        "ETag": tag,
        "Cache-Control": f"{reads}, max-age=31536000, immutable" if unchanging else "no-cache",
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": "attachment",  # a browser never shows what somebody submitted as a page of ours
    }
    known = [each.strip().removeprefix("W/") for each in (if_none_match or "").split(",")]
    if tag in known or "*" in known:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(data, media_type=media_type, headers=headers)
