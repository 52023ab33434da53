# SPDX-License-Identifier: MIT
"""A damaged journal: what of it is intact, and a new file in its place. Nothing is ever deleted."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from mrv_core.files import PRIVATE_FILE, storage_error, sync_folder
from mrv_core.journal import JOURNAL_FILE, Attempt, DamagedJournalError, Journal, JournalRow, build
from mrv_core.journal_rows import parse_attempt, parse_row

_COMPANIONS: Final = ("-wal", "-shm")
"""Ends of the names of SQLite's files that belong to the database beside them."""
_DATABASE_ERRORS: Final = (sqlite3.Error, UnicodeDecodeError)
_ROW_ERRORS: Final = (TypeError, ValueError, IndexError, OverflowError)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Examination:
    """What a journal's file holds.

    Attributes:
        exists: Whether there is a file.
        rows: Its intact rows, in their order.
        problems: What is wrong with it, one line each; empty where nothing is.
    """

    exists: bool
    rows: tuple[JournalRow, ...] = ()
    problems: tuple[str, ...] = ()


def examine(journal: Journal) -> Examination:
    """Check the file, every row and every attempt; of a damaged one return what is intact.

    The file itself is not touched: a damaged one is read from a copy.

    Raises:
        StorageError: it cannot be read at all: no permission, a link in its place, a newer format.
    """
    try:  # an object of its own, which has not found the file intact before
        return Examination(os.path.lexists(journal.path), tuple(Journal(journal.path.parent).rows()))
    except DamagedJournalError as error:
        problem = error.message
    try:
        with tempfile.TemporaryDirectory(prefix=".journal-", dir=journal.path.parent) as folder:
            rows, problems = _salvage(_copied(journal.path, Path(folder, JOURNAL_FILE)))
    except OSError as error:
        raise storage_error("copy", journal.path, error) from error
    return Examination(True, rows, tuple(dict.fromkeys([problem, *problems])))


def rebuild(journal: Journal, rows: Iterable[JournalRow]) -> Path:
    """Put a new file with these rows in the place of a damaged one.

    The damaged one is copied first, with its companions, so that a crash at any point leaves it or the new one in
    place, and its content under the new name in any case.

    Returns:
        Where the damaged file is kept.

    Raises:
        StorageError: no permission, or no space.
    """
    with journal.being_made() as folder:
        new = build(Path(folder, JOURNAL_FILE), rows)
        kept = _copied(journal.path, _unused(journal.path))
        sync_folder(kept.parent)
        for end in _COMPANIONS:  # before the new file is there: SQLite would apply the old log to it
            Path(f"{journal.path}{end}").unlink(missing_ok=True)
        os.replace(new, journal.path)
    return kept


def _unused(path: Path) -> Path:
    return next(place for number in range(1, 10_000) if not os.path.lexists(place := Path(f"{path}.damaged-{number}")))


def _copied(source: Path, target: Path) -> Path:
    """Copy a database with its companions, durably, and return where the copy is."""
    for end in ("", *_COMPANIONS):
        if os.path.lexists(f"{source}{end}"):
            descriptor = os.open(f"{target}{end}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
            with open(f"{source}{end}", "rb") as old, os.fdopen(descriptor, "wb") as new:
                shutil.copyfileobj(old, new)
                new.flush()
                os.fsync(new.fileno())
    return target


def _salvage(path: Path) -> tuple[tuple[JournalRow, ...], list[str]]:
    """Read whatever is intact in a damaged file; the checksums tell."""
    problems: list[str] = []
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            database.row_factory = sqlite3.Row
            attempts = _read(database, "attempts", _attempt, problems)
            rows = _read(database, "anchors", _row, problems)
    except _DATABASE_ERRORS as error:
        return (), [*problems, f"not readable as a database: {error}"]
    newest: dict[tuple[Any, str], JournalRow] = {}
    for row in sorted(rows, key=lambda row: (row.updated_at, row.id)):
        key = (row.commitment, row.network)
        earlier = tuple(one for one in attempts if (one.prepared.commitment, one.prepared.network) == key)
        newest[key] = replace(row, earlier=earlier)
    return tuple(sorted(newest.values(), key=lambda row: row.id)), problems


def _attempt(record: sqlite3.Row) -> Attempt:
    return parse_attempt(record, "an earlier attempt")


def _row(record: sqlite3.Row) -> JournalRow:
    return parse_row(record, "a row")


def _read(
    database: sqlite3.Connection, table: str, parse: Callable[[sqlite3.Row], _T], problems: list[str]
) -> list[_T]:
    """Read a table from its beginning, and where it breaks off from its end, by number."""
    found: dict[int, _T] = {}
    for order in ("ASC", "DESC"):
        try:
            for record in _records(database, table, order):
                number = record["id"]
                if number in found:
                    break
                _keep(found, number, record, parse, f"{table} row {number}", problems)
            else:
                break  # all of it could be read
        except (*_DATABASE_ERRORS, IndexError) as error:
            problems.append(f"table {table}: {error}")
    return [found[number] for number in sorted(found)]


def _records(database: sqlite3.Connection, table: str, order: str) -> Iterator[sqlite3.Row]:
    return iter(database.execute(f"SELECT * FROM {table} ORDER BY id {order}"))  # noqa: S608 - constants


def _keep(
    found: dict[int, _T],
    number: int,
    record: sqlite3.Row,
    parse: Callable[[sqlite3.Row], _T],
    what: str,
    problems: list[str],
) -> None:
    try:
        found[number] = parse(record)
    except _ROW_ERRORS as error:
        problems.append(f"{what} is damaged: {error}")
