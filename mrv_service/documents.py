# SPDX-License-Identifier: MIT
"""Requests and answers that are documents byte by byte: read whole, and sent with an ETag (RFC 9110, section 8.8.3)."""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Header, Request, Response


async def _body(request: Request) -> bytes:
    return await request.body()


Body = Annotated[bytes, Depends(_body)]
"""The whole body of a request; its size is limited before it comes here."""
IfNoneMatch = Annotated[str | None, Header(description="ETags that the client has.")]

JSON_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}}
"""What OpenAPI says of a request whose bytes are a JSON document."""


def document(data: bytes, media_type: str, if_none_match: str | None, *, unchanging: bool) -> Response:
    """Send bytes, or that the client has them already.

    Args:
        data: The bytes.
        media_type: What they are.
        if_none_match: The client's header.
        unchanging: Whether they will be the same for ever.
    """
    tag = f'"{hashlib.sha256(data).hexdigest()}"'
    headers = {
        "ETag": tag,
        "Cache-Control": "public, max-age=31536000, immutable" if unchanging else "no-cache",
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": "attachment",  # a browser never shows what somebody submitted as a page of ours
    }
    known = [each.strip().removeprefix("W/") for each in (if_none_match or "").split(",")]
    if tag in known or "*" in known:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(data, media_type=media_type, headers=headers)
