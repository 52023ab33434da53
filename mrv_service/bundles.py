# SPDX-License-Identifier: MIT
"""Bundles of runs in the database, named by the SHA-256 of their bytes."""

from __future__ import annotations

import hashlib
from datetime import datetime
from http import HTTPStatus
from typing import Any

from sqlalchemy import Row, insert, select
from sqlalchemy.exc import IntegrityError

from mrv_core.bundle import Bundle
from mrv_core.errors import ConfigurationError, FormatError
from mrv_core.models import Model, TimeField, format_time, utc_now
from mrv_service.database import Database
from mrv_service.log import enter
from mrv_service.pages import contains, page_of
from mrv_service.problems import ProblemError
from mrv_service.tables import bundles
from mrv_service.verifications import Kind

_LISTED = select(*(column for column in bundles.c if column.name != "content"))
_MAX_RUN_ID = 200


class BundleSummary(Model):
    """What a list says of a bundle.

    Attributes:
        hash: SHA-256 of its bytes, hexadecimal: its name here.
        run_id: The run, as the bundle says.
        root: Root of the run.
        submitted_at: When it came here, by this server's clock.
    """

    hash: str
    run_id: str
    root: str
    submitted_at: TimeField


class BundlePage(Model):
    """One page of a list.

    Attributes:
        items: The newest first.
        next: Cursor of the page behind it, or null.
    """

    items: tuple[BundleSummary, ...]
    next: str | None


class Bundles:
    """The bundles of one registry. Thread-safe.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, data: bytes, submitted_by: str) -> tuple[str, bool]:
        """Keep a bundle; return its name here, and whether it is new.

        Raises:
            FormatError: no bundle.
            VerificationError: a damaged one.
        """
        bundle = _bundle(data)
        if len(bundle.run_id) > _MAX_RUN_ID:
            raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, f"run_id: more than {_MAX_RUN_ID} characters")
        name = hashlib.sha256(data).hexdigest()
        values = {
            "hash": name,
            "run_id": bundle.run_id,
            "root": str(bundle.root),
            "content": data,
            "submitted_at": format_time(utc_now()),
            "submitted_by": submitted_by,
        }
        try:
            with self._database.write() as connection:
                connection.execute(insert(bundles).values(values))
                enter(connection, Kind.BUNDLE, name, name)
        except IntegrityError:
            return name, False
        return name, True

    def summary(self, name: str) -> BundleSummary:
        """Return what a list says of a bundle.

        Raises:
            ProblemError: there is none.
        """
        with self._database.read() as connection:
            row = connection.execute(_LISTED.where(bundles.c.hash == name)).one_or_none()
        if row is None:
            raise _no_bundle()
        return _summary(row)

    def require_listed_as_it_is(self, name: str) -> None:
        """Compare what lists say of a bundle with the bundle itself.

        Raises:
            FormatError: they say something else, or it cannot be read.
            ProblemError: there is none.
        """
        summary, bundle = self.summary(name), _bundle(self.content(name))
        for what, listed, found in (("run", summary.run_id, bundle.run_id), ("root", summary.root, str(bundle.root))):
            if listed != found:
                raise FormatError(f"lists say another {what} of it than its file")

    def content(self, name: str) -> bytes:
        """Return a bundle's bytes.

        Raises:
            ProblemError: there is none.
        """
        with self._database.read() as connection:
            found = connection.execute(select(bundles.c.content).where(bundles.c.hash == name)).scalar_one_or_none()
        if found is None:
            raise _no_bundle()
        return bytes(found)

    def page(self, q: str | None, run_id: str | None, cursor: str | None, limit: int) -> BundlePage:
        """Return one page of the bundles of a run, or whose run has a text in its id.

        Raises:
            ProblemError: the cursor is none.
        """
        query = _LISTED
        if run_id is not None:
            query = query.where(bundles.c.run_id == run_id)
        if q:
            query = query.where(contains(q, bundles.c.run_id))
        with self._database.read() as connection:
            rows = connection.execute(page_of(query, bundles, cursor, limit)).all()
        items = tuple(_summary(row) for row in rows[:limit])
        return BundlePage(items=items, next=str(rows[limit - 1].id) if len(rows) > limit else None)


def _bundle(data: bytes) -> Bundle:
    try:
        return Bundle.from_bytes(data, what="the bundle")
    except ConfigurationError as error:  # not a wrong setting here: it is what was submitted
        raise FormatError(error.message) from error


def _summary(row: Row[Any]) -> BundleSummary:
    return BundleSummary(
        hash=row.hash, run_id=row.run_id, root=row.root, submitted_at=datetime.fromisoformat(row.submitted_at)
    )


def _no_bundle() -> ProblemError:
    return ProblemError(HTTPStatus.NOT_FOUND, "there is no bundle of this hash")
