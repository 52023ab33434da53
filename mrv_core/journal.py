# SPDX-License-Identifier: MIT
"""The journal: every anchor is written down before it is sent, so that a crash loses none and repeats none.

    queued → prepared (signed bytes and reference) → submitted → included → final
       ↑ conflict   ↑ a reorg drops it, a replacement outbids it    ↘ rejected

One anchor may be prepared several times: outbid by a replacement, or anew after a conflict. Every attempt stays in
the journal, because any of them may turn out to be the one that was included.

The signed bytes are stored *before* they are sent; after a crash the same bytes are sent again, which gives the
same transaction id. One SQLite file (WAL, synchronous FULL), shared safely by any number of processes. One file
lock a network keeps `prepare` and `submit` from running twice at the same time. Each row has a checksum, so that
a damaged row is refused and never taken for done. docs/journal.md describes all of it for users.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import filelock

from mrv_core.canonical import canonical_bytes
from mrv_core.errors import BackendUnavailableError, StorageError
from mrv_core.files import PRIVATE_FILE, make_folder, storage_error, sync_folder
from mrv_core.hashing import Digest
from mrv_core.journal_rows import (
    ATTEMPT_FIELDS,
    ATTEMPTS_TABLE,
    CLOSED,
    FIELDS,
    TABLE,
    Attempt,
    JournalRow,
    JournalState,
    check_row,
    checksum,
    parse_attempt,
    parse_row,
)
from mrv_core.models import Metadata, Prepared, Receipt, ReceiptState, format_time, utc_now

__all__ = ["JOURNAL_FILE", "Attempt", "DamagedJournalError", "Journal", "JournalRow", "JournalState"]

JOURNAL_FILE: Final = "journal.sqlite3"
_VERSION: Final = 2
_OLDEST_VERSION: Final = 1
"""Version 1 had no earlier attempts; it is read as it is, and brought up to date by the first write."""
_BUSY_TIMEOUT_S: Final = 10.0
_MAX_REASON: Final = 500
"""Characters kept of an error: enough to act on, whatever a network wrote into it."""

_STATE_OF_RECEIPT: Final = {
    ReceiptState.PENDING: JournalState.SUBMITTED,
    ReceiptState.INCLUDED: JournalState.INCLUDED,
    ReceiptState.FINAL: JournalState.FINAL,
}

_QUEUED_ANEW: Final = MappingProxyType({"state": JournalState.QUEUED, "prepared": None, "receipt": None, "error": None})


class DamagedJournalError(StorageError):
    """The journal's file, or a row of it, is not as it was written."""


class Journal:
    """The journal of one artifacts folder. Reading never creates it.

    Every operation is one transaction on a connection of its own, so threads, processes and forks cannot disturb
    each other.

    Args:
        folder: The artifacts folder.
        busy_timeout_s: Longest wait for another process that is writing.
    """

    def __init__(self, folder: Path, *, busy_timeout_s: float = _BUSY_TIMEOUT_S) -> None:
        self.path = folder / JOURNAL_FILE
        self._busy_timeout_s = busy_timeout_s
        self._examined = False

    def enqueue(self, commitment: Digest, network: str, metadata: Metadata) -> JournalRow:
        """Write down the intention to anchor. The same commitment on the same network is one row for ever.

        A row that a network rejected is queued again; any other existing row is returned as it is.

        Raises:
            FormatError: metadata that JSON cannot carry.
            StorageError: it could not be stored, so nothing must be sent.
        """
        self.enqueue_many([commitment], network, metadata)
        return self.find(commitment, network)

    def enqueue_many(self, commitments: Sequence[Digest], network: str, metadata: Metadata) -> None:
        """Write down the intention to anchor each of these with the same metadata, all or none; see `enqueue`.

        Raises:
            FormatError: metadata that JSON cannot carry.
            StorageError: it could not be stored, so nothing must be sent.
        """
        facts, now = canonical_bytes(dict(metadata)), format_time(utc_now())
        if not self._exists():
            self._create()
        with self._transaction() as database:
            for commitment in commitments:
                self._enqueue(database, commitment, network, facts, now)

    def _enqueue(self, database: sqlite3.Connection, commitment: Digest, network: str, facts: bytes, now: str) -> None:
        query = "SELECT * FROM anchors WHERE commitment = ? AND network = ?"
        record = database.execute(query, (str(commitment), network)).fetchone()
        if record is None:
            start = {"state": JournalState.QUEUED, "created_at": now, "updated_at": now}
            _insert(database, {"commitment": str(commitment), "network": network, "metadata": facts, **start})
        elif self._row(record).state is JournalState.REJECTED:
            _keep_attempt(database, record, record["error"] or "rejected", now)
            _change(database, record, **_QUEUED_ANEW, updated_at=now)

    def adopt(self, commitment: Digest, network: str, metadata: Metadata, receipt: Receipt) -> JournalRow:
        """Write down an anchor that the network has and the journal knows nothing of.

        Raises:
            FormatError: metadata that JSON cannot carry.
            StorageError: it could not be stored, or there is such a row.
        """
        state, now = _STATE_OF_RECEIPT[receipt.state], format_time(utc_now())
        values = {"commitment": str(commitment), "network": network, "metadata": canonical_bytes(dict(metadata))}
        if not self._exists():
            self._create()
        with self._transaction() as database:
            times = {"created_at": now, "updated_at": now}
            _insert(database, {**values, "state": state, "receipt": receipt.to_bytes(), **times})
        return self.find(commitment, network)

    def find(self, commitment: Digest, network: str) -> JournalRow:
        """Return the row of a commitment on a network.

        Raises:
            StorageError: there is none, or it cannot be read.
        """
        rows = self.rows(commitment=commitment, network=network)
        if not rows:
            raise StorageError(f"{self.path} has no row for {commitment} on {network}")
        return rows[0]

    def rows(
        self,
        *,
        commitment: Digest | None = None,
        network: str | None = None,
        run_id: str | None = None,
        only_open: bool = False,
        ids: Sequence[int] | None = None,
    ) -> list[JournalRow]:
        """Return rows in the order in which they were queued; an absent journal has none.

        Args:
            commitment: Only those of this commitment.
            network: Only those of this network.
            run_id: Only those whose metadata name this run.
            only_open: Only those with something left to send or to wait for.
            ids: Only those with these row numbers.

        Raises:
            StorageError: the journal cannot be read, or one of the rows is damaged.
        """
        if not self._exists():
            return []
        conditions: list[str] = []
        values: list[str | bytes] = []
        if commitment is not None:
            conditions.append("commitment = ?")
            values.append(str(commitment))
        if network is not None:
            conditions.append("network = ?")
            values.append(network)
        if run_id is not None:  # canonical JSON has exactly one way to say this
            conditions.append("instr(metadata, ?) > 0")
            values.append(b'"run_id":' + canonical_bytes(run_id))
        if only_open:
            conditions.append(f"state NOT IN ({', '.join('?' * len(CLOSED))})")
            values.extend(CLOSED)
        if ids is not None:  # numbers of our own; there may be more of them than SQLite takes as parameters
            conditions.append(f"id IN ({', '.join(map(str, map(int, ids)))})")
        where = " AND ".join(conditions) or "1"
        with self._connection() as database:
            database.execute("BEGIN")  # one state of the file: attempts and rows that belong together
            query = f"SELECT * FROM anchors WHERE {where} ORDER BY id"  # noqa: S608 - constants
            records = database.execute(query, values).fetchall()
            earlier = self._earlier(database, {record["id"] for record in records})
            return [self._row(record, earlier.get(record["id"], ())) for record in records]

    def has_open(self, network: str) -> bool:
        """Tell whether there is anything left to send to a network, or to wait for.

        Raises:
            StorageError: the journal cannot be read.
        """
        if not self._exists():
            return False
        query = f"SELECT 1 FROM anchors WHERE network = ? AND state NOT IN ({', '.join('?' * len(CLOSED))}) LIMIT 1"  # noqa: S608 - constants
        with self._connection() as database:
            return database.execute(query, (network, *CLOSED)).fetchone() is not None

    def record_prepared(self, row: JournalRow, prepared: Prepared) -> JournalRow:
        """Store the signed bytes before they are sent."""
        return self._update(row, state=JournalState.PREPARED, prepared=prepared.to_bytes(), error=None)

    def record_prepared_many(self, prepared: Sequence[tuple[JournalRow, Prepared]]) -> list[JournalRow]:
        """Store the signed bytes of several rows before any of them is sent, all or none."""
        state = JournalState.PREPARED
        return self._update_many(
            [(row, {"state": state, "prepared": item.to_bytes(), "error": None}) for row, item in prepared]
        )

    def record_receipts(self, receipts: Sequence[tuple[JournalRow, Receipt]]) -> list[JournalRow]:
        """Store what the network answered for several rows, all or none."""
        return self._update_many(
            [
                (row, {"state": _STATE_OF_RECEIPT[item.state], "receipt": item.to_bytes(), "error": None})
                for row, item in receipts
            ]
        )

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """Hold a connection, so that those that come and go meanwhile do not each write the log back into the file."""
        if not self._exists():
            yield
            return
        with self._connection() as database:
            database.execute("SELECT count(*) FROM anchors").fetchall()
            yield

    def record_replacement(self, row: JournalRow, prepared: Prepared, reason: str) -> JournalRow:
        """Store the signed bytes of a replacement before they are sent, and keep those that it outbids."""
        changes = {"prepared": prepared.to_bytes(), "receipt": None, "error": None}
        return self._update(row, ended=_one_line(reason), state=JournalState.PREPARED, **changes)

    def record_receipt(self, row: JournalRow, receipt: Receipt) -> JournalRow:
        """Store what the network answered; the state follows the receipt's, in either direction."""
        return self._update(row, state=_STATE_OF_RECEIPT[receipt.state], receipt=receipt.to_bytes(), error=None)

    def record_dropped(self, row: JournalRow) -> JournalRow:
        """Take back a receipt that the network no longer stands by; what was prepared is to be sent again."""
        state = JournalState.QUEUED if row.prepared is None else JournalState.PREPARED
        return self._update(row, state=state, receipt=None)

    def record_conflict(self, row: JournalRow, reason: str) -> JournalRow:
        """Give up bytes that can never be included any more, and queue the anchor to be prepared anew."""
        line = _one_line(reason)
        return self._update(row, ended=line, **{**_QUEUED_ANEW, "error": line})

    def record_rejected(self, row: JournalRow, reason: str) -> JournalRow:
        """Close a row that the network refused, or has something else in the place of."""
        return self._update(row, state=JournalState.REJECTED, error=_one_line(reason))

    def record_error(self, row: JournalRow, reason: str) -> JournalRow:
        """Remember why an attempt failed; the state stays."""
        return self._update(row, error=_one_line(reason))

    @contextmanager
    def exclusive(self, network: str, timeout_s: float) -> Iterator[None]:
        """Hold the network's lock, which the kernel releases when the process dies.

        Raises:
            BackendUnavailableError: another process or thread held it for `timeout_s` seconds.
            StorageError: no permission, or no space.
        """
        make_folder(self.path.parent)
        with self._file_lock(f"journal.{network}.lock", timeout_s) as held:
            if not held:
                raise BackendUnavailableError(
                    f"{network}: another process has been anchoring for {timeout_s:g} s",
                    hint="what was queued is kept; run 'mrv flush' later",
                    retryable=True,
                )
            yield

    @contextmanager
    def _file_lock(self, name: str, timeout_s: float) -> Iterator[bool]:
        """Hold a lock, and say whether it could be had in time."""
        path = self.path.with_name(name)
        lock = filelock.FileLock(path, timeout=timeout_s, mode=PRIVATE_FILE, thread_local=False)
        try:
            lock.acquire()
        except filelock.Timeout:
            pass  # said by what is yielded
        except OSError as error:
            raise storage_error("lock", path, error) from error
        try:
            yield lock.is_locked
        finally:
            lock.release()

    def _update(self, row: JournalRow, *, ended: str | None = None, **values: Any) -> JournalRow:
        """Change a row in one transaction.

        Args:
            row: Which one.
            ended: Why its present attempt becomes an earlier one; None where it stays the present one.
            values: New content of columns.
        """
        now = format_time(utc_now())
        with self._transaction() as database:
            self._apply(database, row, ended, values, now)
        return self.find(row.commitment, row.network)  # read back: a commit that was not stored must send nothing

    def _update_many(self, changes: Sequence[tuple[JournalRow, Mapping[str, Any]]]) -> list[JournalRow]:
        """Change several rows of one network in one transaction, and read them back in the same order."""
        if not changes:
            return []
        now = format_time(utc_now())
        with self._transaction() as database:
            for row, values in changes:
                self._apply(database, row, None, values, now)
        stored = {row.id: row for row in self.rows(network=changes[0][0].network, ids=[row.id for row, _ in changes])}
        return [stored[row.id] for row, _ in changes]

    def _apply(
        self, database: sqlite3.Connection, row: JournalRow, ended: str | None, values: Mapping[str, Any], now: str
    ) -> None:
        record = database.execute("SELECT * FROM anchors WHERE id = ?", (row.id,)).fetchone()
        if record is None:
            raise StorageError(f"journal {self.path}: row {row.id} is gone")
        self._require_intact(record)
        if ended is not None:
            _keep_attempt(database, record, ended, now)
        _change(database, record, **values, updated_at=now)

    # --- the file -----------------------------------------------------------------------------------------------

    def _exists(self) -> bool:
        try:
            mode = os.lstat(self.path).st_mode
        except FileNotFoundError:
            return False
        except (OSError, ValueError) as error:
            raise storage_error("open", self.path, error) from error
        if not stat.S_ISREG(mode):
            raise StorageError(f"{self.path} is not a regular file", hint="a link or folder is in the way; remove it")
        return True

    def _create(self) -> None:
        """Build the database beside its place and then name it, so that nobody ever opens half of one."""
        with self.being_made() as folder:
            if not self._exists():
                os.replace(build(Path(folder, JOURNAL_FILE)), self.path)

    @contextmanager
    def being_made(self) -> Iterator[Path]:
        """Hold the lock for putting a file into the journal's place, and yield a folder beside it to build one in.

        Raises:
            StorageError: another process holds it, no permission, or no space.
        """
        folder = make_folder(self.path.parent)
        with self._file_lock("journal.lock", self._busy_timeout_s) as held:
            if not held:
                raise StorageError(f"another process has been creating {self.path} for {self._busy_timeout_s:g} s")
            try:
                with tempfile.TemporaryDirectory(prefix=".journal-", dir=folder) as temporary:
                    yield Path(temporary)
                sync_folder(folder)
            except OSError as error:
                raise storage_error("create", self.path, error) from error
            except sqlite3.Error as error:
                raise self._error(error) from error

    def _address(self) -> str:
        """Return the database's address; in a folder that cannot be written it is read as it lies there."""
        address = self.path.absolute().as_uri()
        if os.access(self.path.parent, os.W_OK):
            return f"{address}?mode=rw"
        log = self.path.with_name(f"{self.path.name}-wal")
        if log.exists() and log.stat().st_size:
            raise StorageError(
                f"cannot read {self.path}: its last changes are in {log.name} and the folder cannot be written",
                hint="copy the folder to where it can be written",
            )
        return f"{address}?mode=ro&immutable=1"

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._connection() as database:
            database.execute("BEGIN IMMEDIATE")
            if database.execute("PRAGMA user_version").fetchone()[0] < _VERSION:
                database.execute(ATTEMPTS_TABLE)
                database.execute(f"PRAGMA user_version = {_VERSION}")
            yield database
            database.execute("COMMIT")  # where this is not reached, closing the connection rolls back

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(
                sqlite3.connect(self._address(), uri=True, isolation_level=None, timeout=self._busy_timeout_s)
            ) as database:
                self._examine(database)
                yield database
        except sqlite3.Error as error:
            raise self._error(error) from error
        except UnicodeDecodeError as error:  # sqlite3 tripping over its own message about a damaged schema
            raise self._damaged("not an intact journal") from error

    def _examine(self, database: sqlite3.Connection) -> None:
        database.row_factory = sqlite3.Row
        database.execute("PRAGMA synchronous = FULL")
        database.execute("BEGIN")  # one state of the file: another process may be bringing it up to date
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version > _VERSION:
            raise StorageError(
                f"{self.path}: format version {version} is newer than this program knows ({_VERSION})",
                hint="upgrade mrv-provenance",
            )
        if version < _OLDEST_VERSION:
            raise self._damaged("not an intact journal: it has no format version")
        if not self._examined:
            # A damaged index would hide rows, and what is hidden is anchored again. Once an object, not each time.
            found = database.execute("PRAGMA integrity_check(1)").fetchone()[0]
            query = "SELECT name, sql FROM sqlite_master WHERE type = 'table'"
            tables = {name: sql for name, sql in database.execute(query)}
            expected = {"anchors": TABLE, **({"attempts": ATTEMPTS_TABLE} if version > _OLDEST_VERSION else {})}
            if tables != expected or found != "ok":
                raise self._damaged(f"not an intact journal ({found})")
            self._examined = True
        database.execute("COMMIT")

    def _damaged(self, what: str) -> DamagedJournalError:
        hint = "see it with 'mrv fsck', repair it with 'mrv fsck --rebuild' (docs/journal.md, 'A damaged journal')"
        return DamagedJournalError(f"journal {self.path}: {_one_line(what)}", hint=hint)

    def _error(self, error: sqlite3.Error) -> StorageError:
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
            return self._damaged(str(error))
        return StorageError(f"journal {self.path}: {_one_line(str(error))}", hint=_hint(name))

    def _require_intact(self, record: sqlite3.Row) -> None:
        try:
            check_row(record)
        except (TypeError, ValueError) as error:
            raise self._damaged(f"row {record['id']} is damaged: {error}") from error

    def _row(self, record: sqlite3.Row, earlier: tuple[Attempt, ...] = ()) -> JournalRow:
        try:
            return parse_row(record, f"{self.path} row {record['id']}", earlier)
        except (TypeError, ValueError) as error:
            raise self._damaged(f"row {record['id']} is damaged: {error}") from error

    def _earlier(self, database: sqlite3.Connection, ids: Collection[int]) -> dict[int, tuple[Attempt, ...]]:
        """Return the earlier attempts at some rows, by the row's number, oldest first.

        An attempt that names no row at all, or one about another anchor, is damaged, and may be one of theirs; or
        the row that it was made for is gone, whose number is given again.
        """
        if database.execute("PRAGMA user_version").fetchone()[0] < _VERSION:
            return {}
        query = (
            "SELECT attempts.*, anchors.id AS owner, commitment, network "
            "FROM attempts LEFT JOIN anchors ON anchor = anchors.id ORDER BY 1"
        )
        found: dict[int, tuple[Attempt, ...]] = {}
        for record in database.execute(query):
            if record["owner"] in ids or record["owner"] is None:
                attempt = self._attempt(record)
                made_for = (str(attempt.prepared.commitment), attempt.prepared.network)
                if made_for != (record["commitment"], record["network"]):
                    raise self._damaged(f"an earlier attempt of row {record['anchor']} is of another anchor")
                found[record["anchor"]] = (*found.get(record["anchor"], ()), attempt)
        return found

    def _attempt(self, record: sqlite3.Row) -> Attempt:
        try:
            return parse_attempt(record, f"{self.path} row {record['anchor']}, an earlier attempt")
        except (TypeError, ValueError) as error:
            raise self._damaged(f"an earlier attempt of row {record['anchor']} is damaged: {error}") from error


def build(path: Path, rows: Iterable[JournalRow] = ()) -> Path:
    """Make a new journal's file with some rows, and return its path.

    Raises:
        OSError, sqlite3.Error: it cannot be made.
        StorageError: the file system is not fit for it.
    """
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE))
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA synchronous = FULL")
        database.executescript(f"BEGIN; {TABLE}; {ATTEMPTS_TABLE}; PRAGMA user_version = {_VERSION}; COMMIT;")
        database.execute("BEGIN")
        for row in rows:
            _copy(database, row)
        database.execute("COMMIT")
        mode = database.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StorageError(
            f"the file system of {path.parent.parent} does not support write-ahead logging (mode {mode})",
            hint="choose an artifacts folder on a local disk",
        )
    return path


def _insert(database: sqlite3.Connection, values: Mapping[str, Any]) -> int:
    return _insert_into(database, "anchors", {name: values.get(name) for name in FIELDS})


def _copy(database: sqlite3.Connection, row: JournalRow) -> None:
    """Put a row and its earlier attempts into a new file; they get new numbers and keep their order."""
    values = {
        "commitment": str(row.commitment),
        "network": row.network,
        "metadata": canonical_bytes(dict(row.metadata)),
        "state": row.state,
        "prepared": None if row.prepared is None else row.prepared.to_bytes(),
        "receipt": None if row.receipt is None else row.receipt.to_bytes(),
        "error": row.error,
        "created_at": format_time(row.created_at),
        "updated_at": format_time(row.updated_at),
    }
    number = _insert(database, values)
    for attempt in row.earlier:
        _insert_attempt(database, number, attempt.prepared.to_bytes(), attempt.ended, format_time(attempt.ended_at))


def _keep_attempt(database: sqlite3.Connection, record: sqlite3.Row, ended: str, now: str) -> None:
    """Make what a row has prepared, if anything, one of its earlier attempts."""
    if record["prepared"] is not None:
        _insert_attempt(database, record["id"], record["prepared"], ended, now)


def _insert_attempt(database: sqlite3.Connection, anchor: int, prepared: bytes, ended: str, ended_at: str) -> None:
    number = database.execute("SELECT coalesce(max(id), 0) + 1 FROM attempts").fetchone()[0]
    values = (number, anchor, prepared, ended, ended_at)
    _insert_into(database, "attempts", dict(zip(ATTEMPT_FIELDS, values, strict=True)))


def _insert_into(database: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> int:
    """Insert a row with its checksum and return its number."""
    marks = ", ".join("?" * (len(row) + 1))
    columns = f"{', '.join(row)}, checksum"
    values = (*row.values(), checksum(row, tuple(row)))
    inserted = database.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", values)  # noqa: S608 - constants
    return int(inserted.lastrowid or 0)


def _change(database: sqlite3.Connection, record: sqlite3.Row, **values: Any) -> None:
    row = {name: values.get(name, record[name]) for name in FIELDS}
    columns = ", ".join(f"{name} = ?" for name in (*row, "checksum"))
    changed = (*row.values(), checksum(row, FIELDS), record["id"])
    database.execute(f"UPDATE anchors SET {columns} WHERE id = ?", changed)  # noqa: S608 - constants


def _hint(name: str) -> str:
    if name.startswith("SQLITE_BUSY"):
        return "another process is writing; try again"
    if name.startswith("SQLITE_READONLY"):
        return "the folder or the file cannot be written; check their permissions"
    return "check the folder and its free space, then run 'mrv flush'; nothing was sent that is not written down"


def _one_line(text: str) -> str:
    """Return text of others without line breaks, terminal sequences and excess."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_MAX_REASON]
