# SPDX-License-Identifier: MIT
"""The log in one SQLite file: entries, the hashes of all complete subtrees, and every signed checkpoint.

Appending, roots and proofs touch O(log n) rows. The file keeps SQLite's rollback journal rather than a
write-ahead log: then the file is all there is, it can be copied, and reading it creates nothing beside it.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mrv_core.errors import BackendUnavailableError, MrvError, VerificationError
from mrv_core.files import PRIVATE_FILE, storage_error, sync_folder
from mrv_core.merkle import EMPTY_ROOT, HASH_SIZE, MAX_TREE_SIZE, node_hash

SCHEMA_VERSION: Final = 1

_MAX_ROW_BYTES: Final = 1024 * 1024
"""Longest row that is read; an entry and its hashes are far below, and a planted one must not fill the memory."""

_SCHEMA: Final = f"""
CREATE TABLE entries (
    leaf_index INTEGER PRIMARY KEY,
    leaf BLOB NOT NULL UNIQUE,
    entry BLOB NOT NULL,
    submitted_at TEXT NOT NULL
);
CREATE TABLE nodes (
    level INTEGER NOT NULL,
    position INTEGER NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (level, position)
) WITHOUT ROWID;
CREATE TABLE checkpoints (size INTEGER PRIMARY KEY, note TEXT NOT NULL);
PRAGMA user_version = {SCHEMA_VERSION};
"""
_DAMAGE: Final = {
    sqlite3.SQLITE_ERROR,  # a table or column of ours is missing
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_FORMAT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_TOOBIG,
}
_BUSY: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_HINTS: Final = {
    sqlite3.SQLITE_FULL: "free some space and run the command again; nothing half-written was kept",
    sqlite3.SQLITE_IOERR: "check the disk and its free space; nothing half-written was kept",
    sqlite3.SQLITE_CANTOPEN: "check the permissions of the file and its folder",
    sqlite3.SQLITE_PERM: "check the permissions of the file and its folder",
    sqlite3.SQLITE_READONLY: "check the permissions of the file and its folder",
    sqlite3.SQLITE_READONLY_ROLLBACK: "the last write was cut off; run 'mrv flush', which finishes it",
}


@dataclass(frozen=True, slots=True)
class EntryRow:
    """A logged entry.

    Attributes:
        index: Zero-based leaf index.
        entry: The entry's bytes.
        submitted_at: This machine's clock when it was logged, RFC 3339: a claim, in no hash.
    """

    index: int
    entry: bytes
    submitted_at: str


class LogReader:
    """A consistent view of the log, within one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.size = self._number("SELECT max(leaf_index) + 1 FROM entries")

    def _number(self, query: str) -> int:
        (number,) = self._connection.execute(query).fetchone()
        if number is None:
            return 0
        if type(number) is not int or not 0 <= number <= MAX_TREE_SIZE:
            raise VerificationError("the log's own numbering is damaged")
        return number

    def find(self, leaf: bytes) -> EntryRow | None:
        """Return the entry with this leaf hash."""
        row = self._connection.execute(
            "SELECT leaf_index, entry, submitted_at FROM entries WHERE leaf = ?", (leaf,)
        ).fetchone()
        if row is None:
            return None
        if tuple(map(type, row)) != (int, bytes, str) or not 0 <= row[0] < self.size:
            raise VerificationError("the log's row for this entry is damaged")
        return EntryRow(*row)

    def checkpoint(self, size: int) -> str | None:
        """Return the signed note that was issued at this size."""
        row = self._connection.execute("SELECT note FROM checkpoints WHERE size = ?", (size,)).fetchone()
        if row is not None and type(row[0]) is not str:
            raise VerificationError("the log's row for this checkpoint is damaged")
        return None if row is None else row[0]

    def latest_checkpoint_size(self) -> int:
        """Return the size of the newest checkpoint, 0 where none has been issued."""
        return self._number("SELECT max(size) FROM checkpoints")

    def root(self, size: int) -> bytes:
        """Recompute the root over the first `size` leaves (RFC 9162, section 2.1.1).

        Raises:
            VerificationError: a hash that the tree needs is missing.
        """
        return self._range_root(0, size) if size else EMPTY_ROOT

    def inclusion_path(self, index: int, size: int) -> tuple[bytes, ...]:
        """Recompute a leaf's audit path in the tree over the first `size` leaves (RFC 9162, section 2.1.3.1).

        Raises:
            VerificationError: a hash that the tree needs is missing.
        """
        path, last, level = [], size - 1, 0
        while last:
            if index & 1:
                path.append(self.node(level, index - 1))
            elif index < last:
                path.append(self._range_root((index + 1) << level, min((index + 2) << level, size)))
            index, last, level = index >> 1, last >> 1, level + 1
        return tuple(path)

    def node(self, level: int, position: int) -> bytes:
        """Return the hash of a complete subtree of 2**level leaves, the `position`-th from the left.

        Raises:
            VerificationError: it is missing or damaged.
        """
        row = self._connection.execute(
            "SELECT hash FROM nodes WHERE level = ? AND position = ?", (level, position)
        ).fetchone()
        if row is None or type(row[0]) is not bytes or len(row[0]) != HASH_SIZE:
            raise VerificationError(f"the log's tree has no node {position} on level {level}")
        return row[0]

    def _range_root(self, start: int, end: int) -> bytes:
        """Return the root over leaves start to end, `start` being on the left edge of a subtree that wide."""
        peaks = []
        while start < end:
            level = (end - start).bit_length() - 1
            peaks.append(self.node(level, start >> level))
            start += 1 << level
        result = peaks.pop()
        while peaks:
            result = node_hash(peaks.pop(), result)
        return result


class LogWriter(LogReader):
    """The log within a transaction that holds its write lock."""

    def append(self, leaf: bytes, entry: bytes, submitted_at: str) -> int:
        """Add an entry with the subtrees it completes and return its leaf index."""
        index = self.size
        self._connection.execute("INSERT INTO entries VALUES (?, ?, ?, ?)", (index, leaf, entry, submitted_at))
        self._add_node(0, index, leaf)
        position, level, value = index, 0, leaf
        while position & 1:
            value = node_hash(self.node(level, position - 1), value)
            position, level = position >> 1, level + 1
            self._add_node(level, position, value)
        self.size = index + 1
        return index

    def add_checkpoint(self, note: str) -> None:
        """Keep the signed checkpoint at the current size."""
        self._connection.execute("INSERT INTO checkpoints VALUES (?, ?)", (self.size, note))

    def _add_node(self, level: int, position: int, value: bytes) -> None:
        self._connection.execute("INSERT INTO nodes VALUES (?, ?, ?)", (level, position, value))


class LogStore:
    """The log's file. Thread-safe: every use has a connection of its own.

    Args:
        path: The file; need not exist.
        timeout_s: How long to wait for another process's lock.
    """

    def __init__(self, path: Path, timeout_s: float) -> None:
        self.path = path
        self._timeout_s = timeout_s

    @contextmanager
    def reading(self) -> Iterator[LogReader]:
        """Look at the log without being able to change it.

        Raises:
            BackendUnavailableError: it is not there, cannot be read, or is locked.
            VerificationError: it is damaged.
        """
        with self._transaction("ro", "BEGIN") as connection:
            self._check_version(connection)
            yield LogReader(connection)

    @contextmanager
    def writing(self) -> Iterator[LogWriter]:
        """Change the log in one transaction, which an exception rolls back.

        Raises:
            BackendUnavailableError: it is not there, cannot be written, or is locked.
            VerificationError: it is damaged.
        """
        with self._transaction("rw", "BEGIN IMMEDIATE") as connection:
            self._check_version(connection)
            yield LogWriter(connection)

    def create(self) -> None:
        """Create the file with its tables, unless it is there already, perhaps from another process just now.

        Raises:
            StorageError: the file cannot be created.
            BackendUnavailableError: it cannot be written, or is locked.
            VerificationError: it is there and damaged.
        """
        _create_empty(self.path)
        with self._transaction("rw", "BEGIN IMMEDIATE") as connection:
            if not _version(connection):
                for statement in _SCHEMA.strip().split(";\n"):
                    connection.execute(statement)

    @contextmanager
    def _transaction(self, mode: str, begin: str) -> Iterator[sqlite3.Connection]:
        self._require_file()
        try:
            connection = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode={mode}",
                uri=True,
                timeout=self._timeout_s,
                isolation_level=None,
            )
            try:
                connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_ROW_BYTES)
                if mode == "rw":
                    self._make_durable(connection)
                connection.execute(begin)
                yield connection
                connection.execute("COMMIT")
            finally:
                connection.close()  # rolls back whatever was not committed
        except sqlite3.Error as error:
            raise self._translated(error) from error
        except UnicodeDecodeError as error:  # from sqlite3 itself, whose message quotes the damaged schema
            raise VerificationError(f"the log {self.path} is damaged: its schema is not text") from error

    def _require_file(self) -> None:
        try:
            mode = self.path.lstat().st_mode
        except (FileNotFoundError, NotADirectoryError) as error:
            hint = "restore the file; receipts alone do not show what became of the log"
            raise BackendUnavailableError(f"the log {self.path} is not there", hint=hint) from error
        except OSError as error:
            failure = storage_error("read", self.path, error)
            raise BackendUnavailableError(failure.message, hint=failure.hint) from error
        if not stat.S_ISREG(mode):
            raise BackendUnavailableError(f"{self.path} is not a regular file", hint="remove it or restore the log")

    def _make_durable(self, connection: sqlite3.Connection) -> None:
        """Sync every commit and the removal of its journal; SQLite tells only in its answers whether it will."""
        (journal,) = connection.execute("PRAGMA journal_mode = DELETE").fetchone()
        connection.execute("PRAGMA synchronous = EXTRA")
        (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
        if (journal, synchronous) != ("delete", 3):
            raise BackendUnavailableError(f"the log {self.path} cannot be written durably: {journal}, {synchronous}")

    def _check_version(self, connection: sqlite3.Connection) -> None:
        version = _version(connection)
        if version > SCHEMA_VERSION:
            raise BackendUnavailableError(f"{self.path} was written by a newer version", hint="upgrade this program")
        if version != SCHEMA_VERSION:
            raise VerificationError(f"the log {self.path} has been emptied: its tables are gone")

    def _translated(self, error: sqlite3.Error) -> MrvError:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        if code & 0xFF in _BUSY:
            waiting = "another process is writing to it; try again"
            return BackendUnavailableError(f"the log {self.path} is locked", hint=waiting, retryable=True)
        if code & 0xFF in _DAMAGE:
            return VerificationError(f"the log {self.path} is damaged: {error}")
        hint = _HINTS.get(code, _HINTS.get(code & 0xFF))
        return BackendUnavailableError(f"cannot use the log {self.path}: {error}", hint=hint)


def _create_empty(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, PRIVATE_FILE))
        sync_folder(path.parent)
    except FileExistsError:
        return
    except OSError as error:
        raise storage_error("create", path, error) from error


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)
