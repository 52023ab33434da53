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

import hashlib
import os
import sqlite3
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import filelock

from mrv_core.canonical import canonical_bytes, parse_json
from mrv_core.errors import BackendUnavailableError, StorageError
from mrv_core.files import PRIVATE_FILE, make_folder, storage_error, sync_folder
from mrv_core.hashing import Digest, length_prefixed
from mrv_core.models import Metadata, Prepared, Receipt, ReceiptState, format_time, utc_now

JOURNAL_FILE: Final = "journal.sqlite3"
_VERSION: Final = 2
_OLDEST_VERSION: Final = 1
"""Version 1 had no earlier attempts; it is read as it is, and brought up to date by the first write."""
_BUSY_TIMEOUT_S: Final = 10.0
_MAX_REASON: Final = 500
"""Characters kept of an error: enough to act on, whatever a network wrote into it."""

# No STRICT table and no RETURNING: SQLite 3.34 of long-lived distributions knows neither.
_TABLE: Final = """
CREATE TABLE anchors (
    id INTEGER PRIMARY KEY,
    commitment TEXT NOT NULL,
    network TEXT NOT NULL,
    metadata BLOB NOT NULL,
    state TEXT NOT NULL,
    prepared BLOB,
    receipt BLOB,
    error TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    checksum BLOB NOT NULL,
    UNIQUE (commitment, network)
)
""".strip()
_ATTEMPTS_TABLE: Final = """
CREATE TABLE attempts (
    id INTEGER PRIMARY KEY,
    anchor INTEGER NOT NULL,
    prepared BLOB NOT NULL,
    ended TEXT NOT NULL,
    ended_at TEXT NOT NULL,
    checksum BLOB NOT NULL
)
""".strip()
_ATTEMPT_FIELDS: Final = ("anchor", "prepared", "ended", "ended_at")
_FIELDS: Final = (
    "commitment",
    "network",
    "metadata",
    "state",
    "prepared",
    "receipt",
    "error",
    "created_at",
    "updated_at",
)


class JournalState(StrEnum):
    """Where an anchor stands; see the module's description."""

    QUEUED = "queued"
    PREPARED = "prepared"
    SUBMITTED = "submitted"
    INCLUDED = "included"
    FINAL = "final"
    REJECTED = "rejected"


_CLOSED: Final = (JournalState.FINAL, JournalState.REJECTED)
_STATE_OF_RECEIPT: Final = {
    ReceiptState.PENDING: JournalState.SUBMITTED,
    ReceiptState.INCLUDED: JournalState.INCLUDED,
    ReceiptState.FINAL: JournalState.FINAL,
}


@dataclass(frozen=True, slots=True)
class Attempt:
    """An earlier try at one anchor, whose bytes may still be on their way.

    Attributes:
        prepared: What was signed.
        ended: Why something else was prepared in its place.
        ended_at: When that was, by this machine's clock.
    """

    prepared: Prepared
    ended: str
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class JournalRow:
    """One anchor on one network.

    Attributes:
        id: Row number; rows of one network are worked on in this order.
        commitment: What is anchored.
        network: Configured name of the network.
        metadata: Public facts sent along.
        state: Where it stands.
        prepared: The signed bytes and their reference, once they exist.
        receipt: The newest receipt, as long as the network has it.
        error: Why the last attempt failed, if it did.
        created_at, updated_at: UTC, by this machine's clock.
        earlier: What was prepared before `prepared`, oldest first.
    """

    id: int
    commitment: Digest
    network: str
    metadata: Mapping[str, Any]
    state: JournalState
    prepared: Prepared | None
    receipt: Receipt | None
    error: str | None
    created_at: datetime
    updated_at: datetime
    earlier: tuple[Attempt, ...] = ()

    @property
    def attempts(self) -> tuple[Prepared, ...]:
        """Everything prepared for this anchor, the newest first."""
        newest = () if self.prepared is None else (self.prepared,)
        return (*newest, *(attempt.prepared for attempt in reversed(self.earlier)))

    @property
    def reference(self) -> str | None:
        """Transaction id or CID, known from the moment the anchor is prepared."""
        if self.receipt is not None:
            return self.receipt.reference
        return self.prepared.reference if self.prepared is not None else None

    @property
    def is_open(self) -> bool:
        """Whether there is something left to send or to wait for."""
        return self.state not in _CLOSED


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
        facts, now = canonical_bytes(dict(metadata)), format_time(utc_now())
        if not self._exists():
            self._create()
        with self._transaction() as database:
            query = "SELECT * FROM anchors WHERE commitment = ? AND network = ?"
            record = database.execute(query, (str(commitment), network)).fetchone()
            if record is None:
                start = {"state": JournalState.QUEUED, "created_at": now, "updated_at": now}
                _insert(database, {"commitment": str(commitment), "network": network, "metadata": facts, **start})
            elif self._row(record).state is JournalState.REJECTED:
                _keep_attempt(database, record, record["error"] or "rejected", now)
                _change(database, record, state=JournalState.QUEUED, prepared=None, error=None, updated_at=now)
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
    ) -> list[JournalRow]:
        """Return rows in the order in which they were queued; an absent journal has none.

        Args:
            commitment: Only those of this commitment.
            network: Only those of this network.
            run_id: Only those whose metadata name this run.
            only_open: Only those with something left to send or to wait for.

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
            conditions.append(f"state NOT IN ({', '.join('?' * len(_CLOSED))})")
            values.extend(_CLOSED)
        where = " AND ".join(conditions) or "1"
        with self._connection() as database:
            earlier = self._earlier(database, where, values)
            records = database.execute(f"SELECT * FROM anchors WHERE {where} ORDER BY id", values)  # noqa: S608 - constants
            return [self._row(record, earlier.get(record["id"], ())) for record in records]

    def record_prepared(self, row: JournalRow, prepared: Prepared) -> JournalRow:
        """Store the signed bytes before they are sent."""
        return self._update(row, state=JournalState.PREPARED, prepared=prepared.to_bytes(), error=None)

    def record_replacement(self, row: JournalRow, prepared: Prepared, reason: str) -> JournalRow:
        """Store the signed bytes of a replacement before they are sent, and keep those that it outbids."""
        changes = {"state": JournalState.PREPARED, "prepared": prepared.to_bytes(), "receipt": None, "error": None}
        return self._update(row, ended=reason, **changes)

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
        return self._update(row, ended=line, state=JournalState.QUEUED, prepared=None, receipt=None, error=line)

    def record_rejected(self, row: JournalRow, reason: str) -> JournalRow:
        """Close a row whose bytes the network looked at and refused."""
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
            record = database.execute("SELECT * FROM anchors WHERE id = ?", (row.id,)).fetchone()
            if record is None:
                raise StorageError(f"journal {self.path}: row {row.id} is gone")
            self._row(record)
            if ended is not None:
                _keep_attempt(database, record, ended, now)
            _change(database, record, **values, updated_at=now)
        return self.find(row.commitment, row.network)  # read back: a commit that was not stored must send nothing

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
        folder = make_folder(self.path.parent)
        with self._file_lock("journal.lock", self._busy_timeout_s) as held:
            if not held:
                raise StorageError(f"another process has been creating {self.path} for {self._busy_timeout_s:g} s")
            if self._exists():
                return
            try:
                with tempfile.TemporaryDirectory(prefix=".journal-", dir=folder) as temporary:
                    os.replace(_build(Path(temporary, JOURNAL_FILE)), self.path)
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
                database.execute(_ATTEMPTS_TABLE)
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
            expected = {"anchors": _TABLE, **({"attempts": _ATTEMPTS_TABLE} if version > _OLDEST_VERSION else {})}
            if tables != expected or found != "ok":
                raise self._damaged(f"not an intact journal ({found})")
            self._examined = True

    def _damaged(self, what: str) -> StorageError:
        return StorageError(
            f"journal {self.path}: {_one_line(what)}", hint="see 'A damaged journal' in docs/journal.md"
        )

    def _error(self, error: sqlite3.Error) -> StorageError:
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
            return self._damaged(str(error))
        return StorageError(f"journal {self.path}: {_one_line(str(error))}", hint=_hint(name))

    def _row(self, record: sqlite3.Row, earlier: tuple[Attempt, ...] = ()) -> JournalRow:
        what = f"{self.path} row {record['id']}"
        try:
            if record["checksum"] != _checksum(record, _FIELDS):
                raise ValueError("the checksum does not fit")
            return _parse_row(record, what, earlier)
        except (TypeError, ValueError) as error:
            raise self._damaged(f"row {record['id']} is damaged: {error}") from error

    def _earlier(
        self, database: sqlite3.Connection, where: str, values: list[str | bytes]
    ) -> dict[int, tuple[Attempt, ...]]:
        """Return the earlier attempts of the rows that a condition selects, by row number, oldest first."""
        if database.execute("PRAGMA user_version").fetchone()[0] < _VERSION:
            return {}
        query = f"SELECT * FROM attempts WHERE anchor IN (SELECT id FROM anchors WHERE {where}) ORDER BY id"  # noqa: S608 - constants
        found: dict[int, tuple[Attempt, ...]] = {}
        for record in database.execute(query, values):
            found[record["anchor"]] = (*found.get(record["anchor"], ()), self._attempt(record))
        return found

    def _attempt(self, record: sqlite3.Row) -> Attempt:
        what = f"{self.path} row {record['anchor']}, an earlier attempt"
        try:
            if record["checksum"] != _checksum(record, _ATTEMPT_FIELDS):
                raise ValueError("the checksum does not fit")
            prepared = Prepared.from_bytes(record["prepared"], what=what)
            return Attempt(prepared, record["ended"], datetime.fromisoformat(record["ended_at"]))
        except (TypeError, ValueError) as error:
            raise self._damaged(f"an earlier attempt of row {record['anchor']} is damaged: {error}") from error


def _build(path: Path) -> Path:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE))
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA synchronous = FULL")
        database.executescript(f"BEGIN; {_TABLE}; {_ATTEMPTS_TABLE}; PRAGMA user_version = {_VERSION}; COMMIT;")
        mode = database.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StorageError(
            f"the file system of {path.parent.parent} does not support write-ahead logging (mode {mode})",
            hint="choose an artifacts folder on a local disk",
        )
    return path


def _insert(database: sqlite3.Connection, values: Mapping[str, Any]) -> None:
    _insert_into(database, "anchors", {name: values.get(name) for name in _FIELDS})


def _keep_attempt(database: sqlite3.Connection, record: sqlite3.Row, ended: str, now: str) -> None:
    """Make what a row has prepared, if anything, one of its earlier attempts."""
    if record["prepared"] is not None:
        attempt = {"anchor": record["id"], "prepared": record["prepared"], "ended": ended, "ended_at": now}
        _insert_into(database, "attempts", attempt)


def _insert_into(database: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> None:
    marks = ", ".join("?" * (len(row) + 1))
    columns = f"{', '.join(row)}, checksum"
    values = (*row.values(), _checksum(row, tuple(row)))
    database.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", values)  # noqa: S608 - constants


def _change(database: sqlite3.Connection, record: sqlite3.Row, **values: Any) -> None:
    row = {name: values.get(name, record[name]) for name in _FIELDS}
    columns = ", ".join(f"{name} = ?" for name in (*row, "checksum"))
    changed = (*row.values(), _checksum(row, _FIELDS), record["id"])
    database.execute(f"UPDATE anchors SET {columns} WHERE id = ?", changed)  # noqa: S608 - constants


def _checksum(row: Mapping[str, Any] | sqlite3.Row, fields: Sequence[str]) -> bytes:
    """Return SHA-256 over the fields of a row and whether each is absent, text, a number or bytes."""
    hasher = hashlib.sha256()
    for name in fields:
        value = row[name]
        if isinstance(value, str):
            hasher.update(b"\x01" + length_prefixed(value.encode()))
        elif isinstance(value, int):
            hasher.update(b"\x03" + length_prefixed(str(value).encode()))
        else:
            hasher.update(b"\x00" if value is None else b"\x02" + length_prefixed(value))
    return hasher.digest()


def _parse_row(record: sqlite3.Row, what: str, earlier: tuple[Attempt, ...]) -> JournalRow:
    return JournalRow(
        id=record["id"],
        commitment=Digest.parse(record["commitment"]),
        network=record["network"],
        metadata=parse_json(record["metadata"], what=what),
        state=JournalState(record["state"]),
        prepared=None if record["prepared"] is None else Prepared.from_bytes(record["prepared"], what=what),
        receipt=None if record["receipt"] is None else Receipt.from_bytes(record["receipt"], what=what),
        error=record["error"],
        created_at=datetime.fromisoformat(record["created_at"]),
        updated_at=datetime.fromisoformat(record["updated_at"]),
        earlier=earlier,
    )


def _hint(name: str) -> str:
    if name.startswith("SQLITE_BUSY"):
        return "another process is writing; try again"
    if name.startswith("SQLITE_READONLY"):
        return "the folder or the file cannot be written; check their permissions"
    return "check the folder and its free space, then run 'mrv flush'; nothing was sent that is not written down"


def _one_line(text: str) -> str:
    """Return text of others without line breaks, terminal sequences and excess."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_MAX_REASON]
