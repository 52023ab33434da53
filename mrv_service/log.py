# SPDX-License-Identifier: MIT
"""The log of a registry: everything that it accepted, in one order that only grows (RFC 9162, section 2.1).

Who keeps a head of it notices where the registry shows an old state of itself, hides something, or shows others
something else (`mrv_core.mrv.registry_audit`). The order is settled when somebody asks for the log, so that writers do
not wait for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final

from sqlalchemy import Connection, Row, String, bindparam, exists, func, insert, literal, select, update

from mrv_core.errors import StorageError
from mrv_core.hashing import Digest
from mrv_core.merkle import LogTree, leaf_hash
from mrv_core.models import DigestField, Model
from mrv_core.mrv.registry_audit import log_entry
from mrv_service.database import Database
from mrv_service.problems import ProblemError
from mrv_service.tables import bundles, log_entries, records
from mrv_service.verifications import Kind

_LOCK: Final = 0x6D7277
"""Ours, for one order at a time on PostgreSQL."""
_WHOLE_S: Final = 600.0
"""Seconds after which the whole log is read anew: somebody may have changed it below this process."""
_AT_ONCE: Final = 1000
"""Entries in memory at once while the log is read."""
_COLUMNS: Final = ("kind", "name", "hash")
_GIVEN: Final = [bindparam(name, type_=String()) for name in _COLUMNS]
_ENTER: Final = insert(log_entries).from_select(
    _COLUMNS,
    select(*_GIVEN).where(~exists().where(*(log_entries.c[given.key] == given for given in _GIVEN))),
)
_SETTLED: Final = select(log_entries).order_by(log_entries.c.position)
_WAITING: Final = select(log_entries.c.id).where(log_entries.c.position.is_(None)).order_by(log_entries.c.id)


class LogHead(Model):
    """How much there is in the log.

    Attributes:
        size: Entries.
        root: Root of the tree over them.
    """

    size: int
    root: DigestField


class LogConsistency(Model):
    """That the log only grew between two sizes.

    Attributes:
        first, second: The sizes.
        path: Hashes of the proof (RFC 9162, section 2.1.4), hexadecimal.
    """

    first: int
    second: int
    path: tuple[str, ...]


class LogInclusion(Model):
    """That something is in the log.

    Attributes:
        index: Its place, from 0 on.
        size: Entries of the log that the proof is for.
        path: Hashes of the proof (RFC 9162, section 2.1.3), hexadecimal.
    """

    index: int
    size: int
    path: tuple[str, ...]


def enter(connection: Connection, kind: Kind, name: str, hash: str) -> None:
    """Enter what is accepted in this very transaction; it is in the log from then on.

    What is entered already with the same hash was lost, and comes back.

    Raises:
        IntegrityError: something else was accepted under this name.
    """
    connection.execute(_ENTER, {"kind": kind, "name": name, "hash": hash})


class RegistryLog:
    """The log of one registry. Thread-safe.

    Memory is about 200 bytes an entry in each process, and twice that while the whole is read anew.

    Args:
        database: Where the entries are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tree = LogTree()
        self._read_at = time.monotonic()
        self._lock = threading.Lock()
        self._renewing = threading.Lock()

    def enter_missing(self) -> None:
        """Enter what a server of an earlier version accepted after the log was made, beside or before this one."""
        with self._ordering() as connection:
            for kind, name, hash in (
                (Kind.RECORD, records.c.mrv_id, records.c.hash),
                (Kind.BUNDLE, bundles.c.hash, bundles.c.hash),
            ):
                known = exists().where(log_entries.c.kind == kind, log_entries.c.name == name)
                rows = select(literal(str(kind)), name, hash).where(~known).order_by(name.table.c.id)
                connection.execute(insert(log_entries).from_select(_COLUMNS, rows))

    def head(self) -> LogHead:
        """Return the head of the log with everything that was accepted before."""
        self._renew()
        with self._lock:
            self._settle()
            self._load()
            return LogHead(size=self._tree.size, root=Digest("sha256", self._tree.root()))

    def consistency(self, first: int, second: int) -> LogConsistency:
        """Prove that the log of one size is the beginning of that of another.

        Raises:
            ProblemError: the log never had these sizes.
        """
        with self._lock:
            self._load()
            if not 1 <= first <= second <= self._tree.size:
                raise ProblemError(
                    HTTPStatus.UNPROCESSABLE_ENTITY,
                    f"sizes: 1 ≤ first ≤ second ≤ {self._tree.size}, which is the log's",
                )
            path = self._tree.consistency_proof(first, second)
        return LogConsistency(first=first, second=second, path=tuple(each.hex() for each in path))

    def inclusion(self, kind: Kind, name: str, size: int) -> LogInclusion:
        """Prove that something is in the log of a size.

        Raises:
            ProblemError: it is not, or the log never had this size.
        """
        with self._database.read() as connection:
            row = connection.execute(
                select(log_entries).where(log_entries.c.kind == kind, log_entries.c.name == name)
            ).one_or_none()
        with self._lock:
            self._load()
            place = None if row is None else row.position
            if row is not None and self._is_other(place, _entry(row)):
                self._load_whole()
            if not 1 <= size <= self._tree.size:
                raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, f"size: 1 to {self._tree.size}, which is the log's")
            if place is None or place >= size:
                raise ProblemError(HTTPStatus.NOT_FOUND, f"this {kind} is not in the log of this size")
            path = self._tree.inclusion_proof(place, size)
        return LogInclusion(index=place, size=size, path=tuple(each.hex() for each in path))

    def _settle(self) -> None:
        """Give what was accepted since the next places."""
        with self._database.read() as connection:
            if connection.execute(_WAITING.limit(1)).scalar_one_or_none() is None:
                return
        with self._ordering() as connection:
            first = connection.execute(select(func.coalesce(func.max(log_entries.c.position), -1))).scalar_one() + 1
            waiting = connection.execute(_WAITING).scalars().all()
            places = [{"of": each, "place": first + number} for number, each in enumerate(waiting)]
            if places:
                connection.execute(
                    update(log_entries).where(log_entries.c.id == bindparam("of")).values(position=bindparam("place")),
                    places,
                )

    @contextmanager
    def _ordering(self) -> Iterator[Connection]:
        """Open a transaction beside which no other orders entries."""
        with self._database.write() as connection:
            if not self._database.is_sqlite:  # which has the one lock for writing
                connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
            yield connection

    def _load(self) -> None:
        """Take what was settled, here or in another process, into the tree.

        A database that was rolled back below this process is noticed by the last entry, and anything else that was
        changed when the whole is read once in a while.
        """
        last = self._tree.size - 1
        if last < 0:
            self._load_whole()
            return
        found = list(self._entries(last))
        if not found or leaf_hash(found[0]) != self._tree.leaf(last):
            self._load_whole()
        else:
            self._tree.extend(found[1:])

    def _renew(self) -> None:
        """Read the whole anew if it is time to; meanwhile the others go on with what they have."""
        if time.monotonic() - self._read_at <= _WHOLE_S or not self._renewing.acquire(blocking=False):
            return
        try:
            tree = self._whole()
            with self._lock:
                self._tree, self._read_at = tree, time.monotonic()
        finally:
            self._renewing.release()

    def _is_other(self, place: int | None, entry: bytes) -> bool:
        """Tell whether an entry was changed below this process."""
        return place is not None and place < self._tree.size and leaf_hash(entry) != self._tree.leaf(place)

    def _load_whole(self) -> None:
        self._tree, self._read_at = self._whole(), time.monotonic()

    def _whole(self) -> LogTree:
        tree = LogTree()
        tree.extend(self._entries(0))
        return tree

    def _entries(self, first: int) -> Iterator[bytes]:
        """Yield the entries from a place on.

        Raises:
            StorageError: a place has none.
        """
        asked = _SETTLED.where(log_entries.c.position >= first)
        with (
            self._database.snapshot() as connection,  # a part of whose answer is in memory at a time
            connection.execution_options(yield_per=_AT_ONCE).execute(asked) as rows,
        ):
            for place, row in enumerate(rows, first):
                if row.position != place:
                    raise StorageError("the registry's database: its log has a gap", hint="restore a backup")
                yield _entry(row)


def _entry(row: Row[Any]) -> bytes:
    return log_entry(row.kind, row.name, row.hash)
