# SPDX-License-Identifier: MIT
"""The verification page: one file, built from `dashboard/`, that asks the API it came with and the visitor's node."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import APIRouter
from fastapi.responses import FileResponse

_PAGE: Final = Path(__file__).with_name("static") / "index.html"

router = APIRouter(include_in_schema=False)


@router.get("/")
def page() -> FileResponse:
    """Serve the page, which carries its own content security policy."""
    headers = {"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer"}
    return FileResponse(_PAGE, media_type="text/html", headers=headers)
