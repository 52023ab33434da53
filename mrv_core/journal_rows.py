# SPDX-License-Identifier: MIT
"""What the journal's tables hold, and how a row of them is checked and read."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from mrv_core.canonical import parse_json
from mrv_core.hashing import Digest, length_prefixed
from mrv_core.models import Prepared, Receipt

# No STRICT table and no RETURNING: SQLite 3.34 of long-lived distributions knows neither.
TABLE: Final = """
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
ATTEMPTS_TABLE: Final = """
CREATE TABLE attempts (
    id INTEGER PRIMARY KEY,
    anchor INTEGER NOT NULL,
    prepared BLOB NOT NULL,
    ended TEXT NOT NULL,
    ended_at TEXT NOT NULL,
    checksum BLOB NOT NULL
)
""".strip()
ATTEMPT_FIELDS: Final = ("id", "anchor", "prepared", "ended", "ended_at")
"""With the number, which no index repeats, so that it cannot change unnoticed, and with it the order of attempts."""
FIELDS: Final = (
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
    """Where an anchor stands; see `mrv_core.journal`."""

    QUEUED = "queued"
    PREPARED = "prepared"
    SUBMITTED = "submitted"
    INCLUDED = "included"
    FINAL = "final"
    REJECTED = "rejected"


CLOSED: Final = (JournalState.FINAL, JournalState.REJECTED)
"""States in which nothing is left to send or to wait for."""


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
        return self.state not in CLOSED


def checksum(row: Mapping[str, Any] | sqlite3.Row, fields: Sequence[str]) -> bytes:
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


def check_row(record: sqlite3.Row) -> None:
    """Check that a row of `anchors` is as it was written.

    Raises:
        TypeError, ValueError: it is not.
    """
    _check(record, FIELDS)


def parse_row(record: sqlite3.Row, what: str, earlier: tuple[Attempt, ...] = ()) -> JournalRow:
    """Check and read one row of `anchors`.

    Args:
        record: The row.
        what: Names it in errors.
        earlier: The earlier attempts that belong to it.

    Raises:
        TypeError, ValueError: it is not as it was written.
    """
    check_row(record)
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


def parse_attempt(record: sqlite3.Row, what: str) -> Attempt:
    """Check and read one row of `attempts`; see `parse_row`."""
    _check(record, ATTEMPT_FIELDS)
    prepared = Prepared.from_bytes(record["prepared"], what=what)
    return Attempt(prepared, record["ended"], datetime.fromisoformat(record["ended_at"]))


def _check(record: sqlite3.Row, fields: Sequence[str]) -> None:
    if record["checksum"] != checksum(record, fields):
        raise ValueError("the checksum does not fit")
