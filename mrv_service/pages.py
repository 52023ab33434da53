# SPDX-License-Identifier: MIT
"""Pages of a list: the newest first, each page beginning where the one before it ended."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Table, or_

from mrv_service.problems import ProblemError

_CURSOR: Final = re.compile(r"[1-9][0-9]{0,17}")


def page_of(query: Select[Any], table: Table, cursor: str | None, limit: int) -> Select[Any]:
    """Return the query for one page and one row more, which tells whether another follows.

    Raises:
        ProblemError: the cursor is none that a page had.
    """
    if cursor is not None:
        if not _CURSOR.fullmatch(cursor):
            raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "cursor: not the `next` of a page")
        query = query.where(table.c.id < int(cursor))
    return query.order_by(table.c.id.desc()).limit(limit + 1)


def contains(text: str, *columns: ColumnElement[str]) -> ColumnElement[bool]:
    """Return the condition that a text is in one of the columns, whatever the case of ASCII letters."""
    return or_(*(column.icontains(text, autoescape=True) for column in columns))
