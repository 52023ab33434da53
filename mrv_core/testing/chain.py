# SPDX-License-Identifier: MIT
"""A small model of a chain: a mempool, blocks that bind their parent and contents, mining and reorgs on command.

Kept in one SQLite file, so that a test counts from outside what a killed process has anchored. Every operation is
one transaction on a connection of its own: any number of threads and processes may share the file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

from mrv_core.errors import AnchorNotFoundError, BackendUnavailableError, VerificationError
from mrv_core.files import make_folder
from mrv_core.hashing import Digest, length_prefixed
from mrv_core.merkle import LogTree
from mrv_core.models import DigestField, Json, Model, utc_now

Clock = Callable[[], datetime]

_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS block (number INTEGER PRIMARY KEY, branch INTEGER, parent BLOB, time INTEGER,"
    " size INTEGER, root BLOB, hash BLOB)",
    "CREATE TABLE IF NOT EXISTS anchor (arrival INTEGER PRIMARY KEY, reference TEXT UNIQUE, commitment TEXT,"
    " payload BLOB, submitted_at INTEGER, block INTEGER, position INTEGER)",
)


class Payload(Model):
    """What one anchor puts on the chain; its canonical bytes are what is sent.

    Attributes:
        commitment: What is anchored.
        metadata: Public facts beside it.
        nonce: Random text that makes two anchors of one commitment different, as a wallet's nonce would.
    """

    commitment: DigestField
    metadata: dict[str, Json]
    nonce: str


@dataclass(frozen=True, slots=True)
class Block:
    """Header of a block.

    Attributes:
        number: Zero-based height.
        branch: How many reorgs had happened before it, so that a block mined again is another block.
        parent: Hash of the block before it, 32 bytes; zeros below the first.
        time: Unix seconds, never before the parent's.
        size: Number of anchors in it.
        root: RFC 9162 root over their payloads, 32 bytes.
    """

    number: int
    branch: int
    parent: bytes
    time: int
    size: int
    root: bytes

    def hash(self, network_id: str) -> bytes:
        """Return the block's hash, which binds the network and every field."""
        numbers = b"".join(n.to_bytes(8, "big") for n in (self.number, self.branch, self.time, self.size))
        return sha256(
            b"mrv-memory-block" + length_prefixed(network_id.encode()) + numbers + self.parent + self.root
        ).digest()


@dataclass(frozen=True, slots=True)
class ChainAnchor:
    """An anchor as the chain holds it.

    Attributes:
        reference: Its id.
        payload: The bytes that were sent.
        submitted_at: When they were first taken, in Unix seconds.
        block: Header of the including block; None in the mempool.
        position: Zero-based position in the block.
        path: Inclusion path from the payload to the block's root, 32 bytes each.
        confirmations: Blocks counting the including one; 0 in the mempool.
    """

    reference: str
    payload: bytes
    submitted_at: int
    block: Block | None = None
    position: int = 0
    path: tuple[bytes, ...] = ()
    confirmations: int = 0


def reference_of(payload: bytes) -> str:
    """Return the id of an anchor: 64 hexadecimal digits that only these bytes have."""
    return sha256(b"mrv-memory-anchor" + payload).hexdigest()


class MemoryChain:
    """One network. It comes to be with the first anchor or block; reading creates nothing.

    Args:
        store_dir: Folder of its file.
        network: Name of the network; two names are two networks, also in one folder.
        clock: Source of submission and block times.
    """

    def __init__(self, store_dir: Path, network: str, clock: Clock = utc_now) -> None:
        self.path = store_dir / f"{network}.memory.sqlite"
        self.network_id = f"memory:{network}"
        self._clock = clock

    def take(self, payload: bytes, *, mine: bool = False) -> str:
        """Accept an anchor into the mempool, unless it is known already, and return its reference.

        Args:
            payload: Bytes of a `Payload`.
            mine: Also mine a block in the same transaction, if anything waits for one.

        Raises:
            FormatError: the bytes are not a `Payload`.
        """
        commitment = Payload.from_bytes(payload, what="the anchor's payload").commitment
        row = (reference_of(payload), str(commitment), payload, int(self._clock().timestamp()))
        with self._write() as db:
            db.execute(
                "INSERT OR IGNORE INTO anchor (reference, commitment, payload, submitted_at) VALUES (?, ?, ?, ?)", row
            )
            if mine and _waiting(db):
                self._mine(db)
        return row[0]

    def mine(self, blocks: int = 1) -> None:
        """Mine blocks; the first takes everything from the mempool."""
        with self._write() as db:
            for _ in range(blocks):
                self._mine(db)

    def reorg(self, depth: int, *, keep: bool = True) -> None:
        """Drop the last blocks.

        Args:
            depth: How many.
            keep: Whether the anchors in them return to the mempool, or vanish.
        """
        with self._write() as db:
            first = _height(db) - depth
            # SQLite keeps this number for applications, inside the transaction; here it counts reorgs.
            db.execute(f"PRAGMA user_version = {_branch(db) + 1}")
            db.execute("DELETE FROM block WHERE number >= ?", (first,))
            if keep:
                db.execute("UPDATE anchor SET block = NULL, position = NULL WHERE block >= ?", (first,))
            else:
                db.execute("DELETE FROM anchor WHERE block >= ?", (first,))

    def count(self, commitment: Digest) -> int:
        """Return how many anchors of a commitment stand in the active chain and the mempool together."""
        if not self.path.exists():
            return 0
        with self._read() as db:
            number: int = db.execute("SELECT count(*) FROM anchor WHERE commitment = ?", (str(commitment),)).fetchone()[
                0
            ]
            return number

    def height(self) -> int:
        """Return the number of blocks.

        Raises:
            BackendUnavailableError: there is no chain yet.
        """
        with self._read() as db:
            return _height(db)

    def find(self, reference: str) -> ChainAnchor:
        """Return an anchor with its proof of inclusion.

        Raises:
            AnchorNotFoundError: neither in the active chain nor in the mempool.
            VerificationError: what the chain holds under this reference does not belong to it.
            BackendUnavailableError: there is no chain.
        """
        with self._read() as db:
            row = db.execute(
                "SELECT payload, submitted_at, block, position FROM anchor WHERE reference = ?", (reference,)
            ).fetchone()
            if row is None:
                raise AnchorNotFoundError(f"{self.network_id} has no anchor {reference[:80]!r}")
            payload, submitted_at, number, position = row
            if reference_of(payload) != reference:
                raise VerificationError(f"{self.network_id} holds another payload under {reference[:80]!r}")
            if number is None:
                return ChainAnchor(reference, payload, submitted_at)
            tree = LogTree(_payloads(db, number))
            path = tuple(tree.inclusion_proof(position))
            depth = _height(db) - number
            return ChainAnchor(reference, payload, submitted_at, _block(db, number), position, path, depth)

    def confirmations(self, number: int, block_hash: bytes) -> int:
        """Return how many blocks stand from this one on, counting it; 0 if it is not in the active chain.

        Raises:
            BackendUnavailableError: there is no chain.
        """
        with self._read() as db:
            row = db.execute("SELECT hash FROM block WHERE number = ?", (number,)).fetchone()
            return _height(db) - number if row is not None and row[0] == block_hash else 0

    def _mine(self, db: sqlite3.Connection) -> None:
        number = _height(db)
        before = _block(db, number - 1) if number else None
        time = int(self._clock().timestamp())
        arrivals = [row[0] for row in db.execute("SELECT arrival FROM anchor WHERE block IS NULL ORDER BY arrival")]
        places = [(number, position, arrival) for position, arrival in enumerate(arrivals)]
        db.executemany("UPDATE anchor SET block = ?, position = ? WHERE arrival = ?", places)
        block = Block(
            number=number,
            branch=_branch(db),
            parent=before.hash(self.network_id) if before else bytes(32),
            time=max(time, before.time) if before else time,
            size=len(arrivals),
            root=LogTree(_payloads(db, number)).root(),
        )
        row = (block.number, block.branch, block.parent, block.time, block.size, block.root)
        db.execute("INSERT INTO block VALUES (?, ?, ?, ?, ?, ?, ?)", (*row, block.hash(self.network_id)))

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        if not self.path.is_file():
            raise BackendUnavailableError(f"{self.network_id}: there is no chain at {self.path}")
        # "rw" and not "ro": only a writer may clean up after a process that was killed inside a transaction.
        with self._transaction("rw", "BEGIN") as db:
            yield db

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        make_folder(self.path.parent)
        with self._transaction("rwc", "BEGIN IMMEDIATE") as db:
            for statement in _SCHEMA:
                db.execute(statement)
            yield db

    @contextmanager
    def _transaction(self, mode: str, begin: str) -> Iterator[sqlite3.Connection]:
        # synchronous=OFF survives a killed process, which tests do; a power cut, which they do not, may lose the file.
        try:
            address = f"{self.path.absolute().as_uri()}?mode={mode}"
            with closing(sqlite3.connect(address, uri=True, timeout=30, isolation_level=None)) as db:
                db.execute("PRAGMA synchronous = OFF")
                db.execute(begin)
                yield db
                db.execute("COMMIT")
        except sqlite3.Error as error:
            raise BackendUnavailableError(f"{self.network_id}: cannot use {self.path}: {error}") from error


def _height(db: sqlite3.Connection) -> int:
    height: int = db.execute("SELECT count(*) FROM block").fetchone()[0]
    return height


def _branch(db: sqlite3.Connection) -> int:
    branch: int = db.execute("PRAGMA user_version").fetchone()[0]
    return branch


def _waiting(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM anchor WHERE block IS NULL LIMIT 1").fetchone() is not None


def _payloads(db: sqlite3.Connection, number: int) -> list[bytes]:
    return [row[0] for row in db.execute("SELECT payload FROM anchor WHERE block = ? ORDER BY position", (number,))]


def _block(db: sqlite3.Connection, number: int) -> Block:
    columns = "number, branch, parent, time, size, root"
    return Block(*db.execute(f"SELECT {columns} FROM block WHERE number = ?", (number,)).fetchone())  # noqa: S608
