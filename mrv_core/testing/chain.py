# SPDX-License-Identifier: MIT
"""A small model of a chain: a mempool with fees, blocks, mining, reorgs and double spends on command.

Kept in one SQLite file, so that a test counts from outside what a killed process has anchored. Every operation is
one transaction on a connection of its own: any number of threads and processes may share the file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

from mrv_core.errors import (
    AnchorNotFoundError,
    BackendUnavailableError,
    FormatError,
    SubmissionRejectedError,
    VerificationError,
)
from mrv_core.files import make_folder
from mrv_core.hashing import Digest
from mrv_core.merkle import LogTree
from mrv_core.models import utc_now
from mrv_core.testing import tables
from mrv_core.testing.blocks import Block, ChainAnchor, Payload, reference_of
from mrv_core.testing.tables import Fees

Clock = Callable[[], datetime]


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
        """Accept an anchor into the mempool, unless it is there already, and return its reference.

        An anchor in the same slot that waits and pays less is evicted.

        Args:
            payload: Bytes of a `Payload`.
            mine: Also mine a block in the same transaction, if anything that pays enough waits for one.

        Raises:
            FormatError: the bytes are not a `Payload`.
            SubmissionRejectedError: it pays too little, or its slot is used up by a block; retryable, since fees fall
                and blocks may be dropped.
        """
        content = Payload.from_bytes(payload, what="the anchor's payload")
        reference = reference_of(payload)
        with self._write() as db:
            if not tables.is_there(db, reference):
                self._make_room(db, reference, content)
                self._insert(db, reference, content, payload)
            if mine and tables.waiting(db, tables.fees(db).mining):
                self._mine(db)
        return reference

    def mine(self, blocks: int = 1) -> None:
        """Mine blocks; the first takes everything from the mempool that pays enough."""
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
            first = tables.height(db) - depth
            # SQLite keeps this number for applications, inside the transaction; here it counts reorgs.
            db.execute(f"PRAGMA user_version = {tables.branch(db) + 1}")
            db.execute("DELETE FROM block WHERE number >= ?", (first,))
            if keep:
                db.execute("UPDATE anchor SET block = NULL, position = NULL WHERE block >= ?", (first,))
            else:
                db.execute("DELETE FROM anchor WHERE block >= ?", (first,))

    def set_fees(self, *, mining: int = 0, relaying: int = 0) -> None:
        """Ask for at least these fees from now on; see `Fees`."""
        with self._write() as db:
            db.execute("DELETE FROM market")
            db.execute("INSERT INTO market VALUES (?, ?)", (mining, relaying))

    def fees(self) -> Fees:
        """Return what is asked for; nothing where there is no chain yet."""
        if not self.path.exists():
            return Fees()
        with self._read() as db:
            return tables.fees(db)

    def evict(self) -> None:
        """Forget the mempool, as a node does that is restarted."""
        with self._write() as db:
            db.execute("DELETE FROM anchor WHERE block IS NULL")

    def spend(self, payload: bytes) -> None:
        """Let a stranger's anchor of something else use up the slot of an anchor that is in no block, in a new block.

        Raises:
            FormatError: that anchor is in a block.
        """
        ours = Payload.from_bytes(payload, what="the anchor's payload")
        foreign = ours.model_copy(update={"commitment": Digest("sha256", bytes(32)), "sender": "a stranger"})
        taken = foreign.to_bytes()
        with self._write() as db:
            holder = tables.holder(db, ours.slot)
            if holder is not None and holder.block is not None:
                raise FormatError(f"{self.network_id}: the slot {ours.slot!r} is used up")
            tables.evict(db, ours.slot)
            self._insert(db, reference_of(taken), foreign, taken)
            self._mine(db, at_least=0)

    def count(self, commitment: Digest) -> int:
        """Return how many anchors of a commitment stand in the active chain and the mempool together."""
        if not self.path.exists():
            return 0
        query = "SELECT count(*) FROM anchor WHERE commitment = ? AND NOT evicted"
        with self._read() as db:
            number: int = db.execute(query, (str(commitment),)).fetchone()[0]
            return number

    def height(self) -> int:
        """Return the number of blocks.

        Raises:
            BackendUnavailableError: there is no chain yet.
        """
        with self._read() as db:
            return tables.height(db)

    def slots_used(self) -> int:
        """Return how many slots are used in the active chain and the mempool together."""
        if not self.path.exists():
            return 0
        with self._read() as db:
            number: int = db.execute("SELECT count(DISTINCT slot) FROM anchor WHERE NOT evicted").fetchone()[0]
            return number

    def find(self, reference: str) -> ChainAnchor:
        """Return an anchor with its proof of inclusion.

        Raises:
            AnchorNotFoundError: neither in the active chain nor in the mempool.
            VerificationError: what the chain holds under this reference does not belong to it.
            BackendUnavailableError: there is no chain.
        """
        with self._read() as db:
            return self._find(db, reference)

    def search(self, commitment: Digest, sender: str) -> ChainAnchor | None:
        """Return the oldest anchor of a commitment by a sender, or None.

        Raises:
            BackendUnavailableError: there is no chain.
        """
        query = "SELECT reference FROM anchor WHERE commitment = ? AND sender = ? AND NOT evicted ORDER BY arrival"
        with self._read() as db:
            row = db.execute(query, (str(commitment), sender)).fetchone()
            return None if row is None else self._find(db, row[0])

    def outdone_for(self, reference: str, slot: str | None = None) -> int:
        """Return for how many blocks the slot of an anchor has been used up by another one; 0 where it is not.

        Args:
            reference: The anchor.
            slot: Its slot, where the chain may never have taken it.

        Raises:
            BackendUnavailableError: there is no chain.
        """
        with self._read() as db:
            row = db.execute("SELECT slot FROM anchor WHERE reference = ?", (reference,)).fetchone()
            place = slot if row is None else row[0]
            holder = None if place is None else tables.holder(db, place)
            if holder is None or holder.block is None or holder.reference == reference:
                return 0
            return tables.height(db) - holder.block

    def confirmations(self, number: int, block_hash: bytes) -> int:
        """Return how many blocks stand from this one on, counting it; 0 if it is not in the active chain.

        Raises:
            BackendUnavailableError: there is no chain.
        """
        with self._read() as db:
            row = db.execute("SELECT hash FROM block WHERE number = ?", (number,)).fetchone()
            return tables.height(db) - number if row is not None and row[0] == block_hash else 0

    def _make_room(self, db: sqlite3.Connection, reference: str, content: Payload) -> None:
        """Check that an anchor pays enough and that its slot is free, and evict what it outbids."""
        if content.fee < tables.fees(db).relaying:
            raise SubmissionRejectedError(
                f"{self.network_id}: {content.fee} is less than the fee of {tables.fees(db).relaying} asked for now",
                retryable=True,
            )
        holder = tables.holder(db, content.slot)
        if holder is None:
            return
        if holder.block is not None or content.fee <= holder.fee:
            raise SubmissionRejectedError(
                f"{self.network_id}: {reference} does not replace {holder.reference}", retryable=True
            )
        tables.evict(db, content.slot)

    def _insert(self, db: sqlite3.Connection, reference: str, content: Payload, payload: bytes) -> None:
        db.execute("DELETE FROM anchor WHERE reference = ?", (reference,))
        columns = "reference, commitment, payload, sender, slot, fee, height, submitted_at"
        row = (
            reference,
            str(content.commitment),
            payload,
            content.sender,
            content.slot,
            content.fee,
            tables.height(db),
        )
        time = int(self._clock().timestamp())
        db.execute(f"INSERT INTO anchor ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*row, time))  # noqa: S608

    def _find(self, db: sqlite3.Connection, reference: str) -> ChainAnchor:
        columns = "payload, submitted_at, height, block, position"
        row = db.execute(
            f"SELECT {columns} FROM anchor WHERE reference = ? AND NOT evicted",  # noqa: S608 - constants
            (reference,),
        ).fetchone()
        if row is None:
            raise AnchorNotFoundError(f"{self.network_id} has no anchor {reference[:80]!r}")
        payload, submitted_at, arrived, number, position = row
        if reference_of(payload) != reference:
            raise VerificationError(f"{self.network_id} holds another payload under {reference[:80]!r}")
        if number is None:
            return ChainAnchor(reference, payload, submitted_at, tables.height(db) - arrived)
        path = tuple(LogTree(tables.payloads(db, number)).inclusion_proof(position))
        return ChainAnchor(
            reference,
            payload,
            submitted_at,
            block=tables.block(db, number),
            position=position,
            path=path,
            confirmations=tables.height(db) - number,
        )

    def _mine(self, db: sqlite3.Connection, *, at_least: int | None = None) -> None:
        number = tables.height(db)
        before = tables.block(db, number - 1) if number else None
        time = int(self._clock().timestamp())
        fee = tables.fees(db).mining if at_least is None else at_least
        places = [(number, position, arrival) for position, arrival in enumerate(tables.waiting(db, fee))]
        db.executemany("UPDATE anchor SET block = ?, position = ? WHERE arrival = ?", places)
        block = Block(
            number=number,
            branch=tables.branch(db),
            parent=before.hash(self.network_id) if before else bytes(32),
            time=max(time, before.time) if before else time,
            size=len(places),
            root=LogTree(tables.payloads(db, number)).root(),
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
            for statement in tables.SCHEMA:
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
