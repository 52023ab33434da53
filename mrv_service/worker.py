# SPDX-License-Identifier: MIT
"""The anchoring worker: records that nobody anchored become batches, and batches are anchored until they are final.

Several workers may run on one database: a record is in one batch, and a batch is one worker's at a time. Whoever was
killed left its batch to the next one; what it had sent is found in the shared journal, or on the network.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from mrv_core.batching import Batch, batch_metadata
from mrv_core.canonical import canonical_bytes, parse_json
from mrv_core.failpoint import failpoint
from mrv_core.hashing import Digest
from mrv_core.manager import BlockchainManager
from mrv_core.models import Receipt, ReceiptState, format_time, utc_now
from mrv_service.database import Database
from mrv_service.repeating import lease_of, repeat
from mrv_service.tables import batches, members, receipts, records

_logger = logging.getLogger(__name__)

_MOST_IN_ONE_QUESTION: Final = 1000
OPEN: Final = "open"
FINAL: Final = "final"
_LOOK_AGAIN: Final = timedelta(seconds=15)
"""Until the next look at a batch that is not final yet."""
_SPARE_S: Final = 60.0
"""How much longer than its networks' timeout a batch stays with a worker that says nothing more."""


@dataclass(frozen=True, slots=True)
class Pace:
    """When records become a batch.

    Attributes:
        records: As soon as so many wait; also the most in one batch.
        seconds: Or as soon as the oldest has waited so long.
    """

    records: int = 1000
    seconds: float = 60.0


class Worker:
    """Anchors what waits in one database. Belongs to one thread.

    Args:
        database: Where the records are.
        manager: Anchors; its journal may be shared with other workers.
        name: Of this worker, for people.
        pace: When records become a batch.
        clock: Returns now, in UTC.

    Raises:
        ConfigurationError: the manager's configuration has no network.
    """

    def __init__(
        self,
        database: Database,
        manager: BlockchainManager,
        name: str,
        pace: Pace,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._manager = manager
        self._name = name
        self._pace = pace
        self._clock = clock
        self._lease = lease_of(manager, _SPARE_S)

    def run(self, stop: threading.Event, pause_s: float) -> None:
        """Work until told to stop. What fails is logged, and tried again."""
        repeat(self.step, stop, pause_s)

    def step(self) -> bool:
        """Make one batch, or bring one a step further; tell whether there was anything to do.

        Raises:
            MrvError: the database or the journal cannot be used.
        """
        return self.make_batch() is not None or self.anchor_batch() is not None

    def make_batch(self) -> int | None:
        """Put records that wait into a new batch, if it is time to, and return its id."""
        try:
            return self._make_batch()
        except IntegrityError:  # another worker took one of them at the same moment
            return None

    def _make_batch(self) -> int | None:
        with self._database.write() as connection:
            waiting = (
                select(records.c.id, records.c.mrv_id, records.c.hash, records.c.submitted_at)
                .where(
                    ~select(members.c.record_id).where(members.c.record_id == records.c.id).exists(),
                    ~select(receipts.c.record_id).where(receipts.c.record_id == records.c.id).exists(),
                )
                .order_by(records.c.id)
                .limit(self._pace.records)
                .with_for_update(skip_locked=True)  # each worker takes other ones
            )
            locked = connection.execute(waiting).all()
            # What came while the statement ran, before it had the lock, it did not see.
            taken = _taken(connection, [row.id for row in locked])
            rows = [row for row in locked if row.id not in taken]
            if not rows or not self._is_due(rows):
                return None
            batch = Batch(tuple(dict.fromkeys(_commitment(row) for row in rows)))
            now = format_time(self._clock())
            made = connection.execute(
                insert(batches).values(
                    commitment=str(batch.commitment),
                    size=len(batch.members),
                    state=OPEN,
                    receipts=b"{}",
                    networks="",
                    due_at=now,
                    created_at=now,
                )
            )
            batch_id = int(made.inserted_primary_key[0])  # type: ignore[index]
            connection.execute(
                insert(members),
                [
                    {"record_id": row.id, "batch_id": batch_id, "proof": batch.prove(_commitment(row)).to_bytes()}
                    for row in rows
                ],
            )
            failpoint("worker.before_batch")
        failpoint("worker.batched")
        _logger.info("batch %d of %d records: %s", batch_id, len(rows), batch.commitment)
        return batch_id

    def anchor_batch(self) -> int | None:
        """Claim an open batch that is due, anchor it or look at it again, and return its id; None where none is."""
        row = self._claim()
        if row is None:
            return None
        failpoint("worker.claimed")
        commitment = Digest.parse(row.commitment)
        outcomes = self._manager.anchor(commitment, batch_metadata(row.size))
        found = {name: outcome.receipt for name, outcome in outcomes.items() if outcome.receipt is not None}
        for name, outcome in outcomes.items():
            if outcome.error is not None:
                _logger.warning("batch %d on %s: %s", row.id, name, outcome.error.message)
        failpoint("worker.anchored")
        done = len(found) == len(outcomes) and all(each.state is ReceiptState.FINAL for each in found.values())
        kept = {**_receipts_of(row.receipts), **found}
        with self._database.write() as connection:
            connection.execute(
                update(batches)
                .where(batches.c.id == row.id, batches.c.claimed_by == self._name)  # else it took too long
                .values(
                    receipts=canonical_bytes({name: receipt.to_json() for name, receipt in kept.items()}),
                    networks="\n".join(sorted(kept)),
                    state=FINAL if done else OPEN,
                    claimed_by=None,
                    due_at=format_time(self._clock() + _LOOK_AGAIN),
                )
            )
        failpoint("worker.noted")
        return int(row.id)

    def _claim(self) -> Row[Any] | None:
        with self._database.write() as connection:
            row = connection.execute(
                select(batches)
                .where(batches.c.state == OPEN, batches.c.due_at <= format_time(self._clock()))
                .order_by(batches.c.due_at, batches.c.id)
                .limit(1)
                .with_for_update(skip_locked=True)
            ).one_or_none()
            if row is not None:
                connection.execute(
                    update(batches)
                    .where(batches.c.id == row.id)
                    .values(claimed_by=self._name, due_at=format_time(self._clock() + self._lease))
                )
        return row

    def _is_due(self, rows: Sequence[Any]) -> bool:
        oldest = datetime.fromisoformat(rows[0].submitted_at)
        return len(rows) >= self._pace.records or self._clock() - oldest >= timedelta(seconds=self._pace.seconds)


def waiting(database: Database) -> tuple[int, int]:
    """Return how many records are in no batch and have no receipts, and how many batches are not final.

    Raises:
        BackendUnavailableError, StorageError: the database cannot be used.
    """
    with database.read() as connection:
        alone = (
            select(func.count())
            .select_from(records.outerjoin(members).outerjoin(receipts, receipts.c.record_id == records.c.id))
            .where(members.c.record_id.is_(None), receipts.c.record_id.is_(None))
        )
        unfinished = select(func.count()).select_from(batches).where(batches.c.state == OPEN)
        return connection.execute(alone).scalar_one(), connection.execute(unfinished).scalar_one()


def _taken(connection: Connection, ids: Sequence[int]) -> set[int]:
    """Return which of these records have receipts, or are in a batch."""
    found: set[int] = set()
    for first in range(0, len(ids), _MOST_IN_ONE_QUESTION):
        some = ids[first : first + _MOST_IN_ONE_QUESTION]
        for column in (receipts.c.record_id, members.c.record_id):
            found.update(connection.execute(select(column).where(column.in_(some))).scalars())
    return found


def _commitment(row: Any) -> Digest:
    return Digest("sha256", bytes.fromhex(row.hash))


def _receipts_of(data: bytes) -> dict[str, Receipt]:
    values = parse_json(bytes(data), what="the receipts")
    return {name: Receipt.from_json(value, what="a receipt") for name, value in values.items()}
