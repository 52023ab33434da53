# SPDX-License-Identifier: MIT
"""The newest verification of each record and bundle: asked for by clients, done by a watcher (`mrv_service.watcher`).

It is what this registry found by the networks of its own configuration; whoever must be sure verifies the file.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Connection, Row, and_, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from mrv_core.canonical import parse_json
from mrv_core.errors import StorageError
from mrv_core.models import Model, TimeField, Verdict, format_time, utc_now
from mrv_service.database import Database
from mrv_service.tables import verifications


class Kind(StrEnum):
    """What is verified."""

    RECORD = "record"
    BUNDLE = "bundle"


WITHOUT_REPORT: Final = tuple(column for column in verifications.c if column.name != "report")
"""All columns but the one that may have megabytes."""


class Verification(Model):
    """The newest verification of a record or bundle.

    Attributes:
        kind: What it is of.
        name: Id of the record, or SHA-256 of the bundle.
        state: Whether somebody waits for a newer one.
        requested_at: Since when; null where nobody waits.
        checked_at: When it was done, by the clock of this registry; null, as all that follows, where none was yet.
        verdict: Its verdict.
        summary: One sentence for people.
        valid_at: When the verdict was VALID last; null where it never was.
        report: The report, as `mrv verify --json` writes it.
    """

    kind: Kind
    name: str
    state: Literal["waiting", "done"]
    requested_at: TimeField | None
    checked_at: TimeField | None
    verdict: Verdict | None
    summary: str | None
    valid_at: TimeField | None
    report: dict[str, Any] | None


class Verifications:
    """The verifications of one registry. Thread-safe.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def request(self, kind: Kind, name: str) -> Verification:
        """Ask for a verification, and return the newest; who asks again while it waits changes nothing."""
        try:
            with self._database.write() as connection:
                return self._request(connection, kind, name)
        except IntegrityError:  # another request for it was quicker
            with self._database.write() as connection:
                return self._request(connection, kind, name)

    def newest(self, kind: Kind, name: str) -> Verification | None:
        """Return the newest verification, or None where nobody asked for one and none was due."""
        with self._database.read() as connection:
            row = connection.execute(select(verifications).where(of(kind, name))).one_or_none()
        if row is None:
            return None
        try:
            return _verification(row)
        except ValueError as error:
            raise StorageError("the registry's database: a verification is none") from error

    def counts(self) -> list[tuple[str, str, int]]:
        """Return kind, verdict and how many there are; the verdict is empty where none was found yet."""
        column = func.coalesce(verifications.c.verdict, "")
        with self._database.read() as connection:
            rows = connection.execute(
                select(verifications.c.kind, column, func.count()).group_by(verifications.c.kind, column)
            ).all()
        return [(kind, verdict, count) for kind, verdict, count in rows]

    def due(self, now: str) -> tuple[int, str | None]:
        """Return how many have their turn by now, and when the newest of all was done, or None."""
        is_due = func.count().filter(verifications.c.due_at <= now)
        with self._database.read() as connection:
            count, newest = connection.execute(select(is_due, func.max(verifications.c.checked_at))).one()
        return count, newest

    def alarms(self) -> int:
        """Return how many of them are cause for alarm."""
        with self._database.read() as connection:
            alarming = select(func.count()).select_from(verifications).where(verifications.c.alarm.is_not(None))
            return connection.execute(alarming).scalar_one()

    def _request(self, connection: Connection, kind: Kind, name: str) -> Verification:
        now = format_time(utc_now())
        asked = {"requested_at": now, "due_at": now}
        if connection.execute(select(verifications.c.name).where(of(kind, name))).one_or_none() is None:
            connection.execute(insert(verifications).values(kind=kind, name=name, **asked))
        else:
            free = and_(of(kind, name), verifications.c.requested_at.is_(None))
            connection.execute(update(verifications).where(free).values(asked))
        return _verification(connection.execute(select(verifications).where(of(kind, name))).one())


def of(kind: str, name: str) -> ColumnElement[bool]:
    """Return the condition that a row is of this record or bundle."""
    return and_(verifications.c.kind == kind, verifications.c.name == name)


def _verification(row: Row[Any]) -> Verification:
    return Verification(
        kind=Kind(row.kind),
        name=row.name,
        state="done" if row.requested_at is None else "waiting",
        requested_at=_time(row.requested_at),
        checked_at=_time(row.checked_at),
        verdict=None if row.verdict is None else Verdict(row.verdict),
        summary=row.summary,
        valid_at=_time(row.valid_at),
        report=None if row.report is None else parse_json(bytes(row.report), what="the report"),
    )


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
