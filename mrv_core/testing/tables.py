# SPDX-License-Identifier: MIT
"""The tables of a `MemoryChain` and the questions asked of them."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Final

from mrv_core.testing.blocks import Block

# `evicted` anchors lost their slot to another one; they are kept only to tell why they are not there.
SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS block (number INTEGER PRIMARY KEY, branch INTEGER, parent BLOB, time INTEGER,"
    " size INTEGER, root BLOB, hash BLOB)",
    "CREATE TABLE IF NOT EXISTS anchor (arrival INTEGER PRIMARY KEY, reference TEXT UNIQUE, commitment TEXT,"
    " payload BLOB, sender TEXT, slot TEXT, fee INTEGER, height INTEGER, submitted_at INTEGER,"
    " evicted INTEGER DEFAULT 0, block INTEGER, position INTEGER)",
    "CREATE TABLE IF NOT EXISTS market (mining INTEGER, relaying INTEGER)",
)


@dataclass(frozen=True, slots=True)
class Fees:
    """What the chain asks for.

    Attributes:
        mining: Least fee that is mined; what pays less waits.
        relaying: Least fee that is taken into the mempool; what pays less is refused for now.
    """

    mining: int = 0
    relaying: int = 0


@dataclass(frozen=True, slots=True)
class Holder:
    """The anchor that has a slot: in a block, or else in the mempool."""

    reference: str
    fee: int
    block: int | None


def holder(db: sqlite3.Connection, slot: str) -> Holder | None:
    """Return which anchor has a slot."""
    row = db.execute("SELECT reference, fee, block FROM anchor WHERE slot = ? AND NOT evicted", (slot,)).fetchone()
    return None if row is None else Holder(*row)


def evict(db: sqlite3.Connection, slot: str) -> None:
    """Take the anchor that waits in a slot out of the mempool."""
    db.execute("UPDATE anchor SET evicted = 1 WHERE slot = ? AND block IS NULL", (slot,))


def is_there(db: sqlite3.Connection, reference: str) -> bool:
    """Tell whether an anchor is in a block or in the mempool."""
    query = "SELECT 1 FROM anchor WHERE reference = ? AND NOT evicted"
    return db.execute(query, (reference,)).fetchone() is not None


def fees(db: sqlite3.Connection) -> Fees:
    """Return what is asked for."""
    row = db.execute("SELECT mining, relaying FROM market").fetchone()
    return Fees() if row is None else Fees(*row)


def height(db: sqlite3.Connection) -> int:
    """Return the number of blocks."""
    number: int = db.execute("SELECT count(*) FROM block").fetchone()[0]
    return number


def branch(db: sqlite3.Connection) -> int:
    """Return how many reorgs there have been."""
    number: int = db.execute("PRAGMA user_version").fetchone()[0]
    return number


def waiting(db: sqlite3.Connection, fee: int) -> list[int]:
    """Return what waits and pays at least a fee, by order of arrival."""
    query = "SELECT arrival FROM anchor WHERE block IS NULL AND NOT evicted AND fee >= ? ORDER BY arrival"
    return [row[0] for row in db.execute(query, (fee,))]


def payloads(db: sqlite3.Connection, number: int) -> list[bytes]:
    """Return what is in a block, in its order."""
    return [row[0] for row in db.execute("SELECT payload FROM anchor WHERE block = ? ORDER BY position", (number,))]


def block(db: sqlite3.Connection, number: int) -> Block:
    """Return the header of a block that is there."""
    columns = "number, branch, parent, time, size, root"
    return Block(*db.execute(f"SELECT {columns} FROM block WHERE number = ?", (number,)).fetchone())  # noqa: S608
