# SPDX-License-Identifier: MIT
"""Tables of the registry (SQLAlchemy Core). What is here once is never changed or deleted, receipts excepted.

Times are UTC, as ISO 8601 text, which sorts and reads the same in every database.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)
_Key = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers only this type by itself

records: Final = Table(
    "records",
    metadata,
    Column("id", _Key, primary_key=True, autoincrement=True),
    Column("mrv_id", String(128), nullable=False, unique=True),
    Column("hash", String(64), nullable=False),
    Column("schema_version", String(8), nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("experiment", String(1000), nullable=False),
    Column("model", String(1000), nullable=False),
    Column("dataset", String(1000), nullable=False),
    Column("status", String(16), nullable=False),
    Column("ended_at", String(32), nullable=False),
    Column("energy_uwh", BigInteger),
    Column("co2e_mg", BigInteger),
    Column("submitted_at", String(32), nullable=False),
    Column("submitted_by", String(32), nullable=False),
    Index("ix_records_hash", "hash"),
    Index("ix_records_experiment", "experiment"),
)

conflicts: Final = Table(
    "conflicts",
    metadata,
    Column("id", _Key, primary_key=True, autoincrement=True),
    Column("mrv_id", String(128), nullable=False),
    Column("hash", String(64), nullable=False),
    Column("refused_at", String(32), nullable=False),
    Column("submitted_by", String(32), nullable=False),
    UniqueConstraint("mrv_id", "hash", "submitted_by", name="uq_conflicts_all"),
)
"""Other records that somebody wanted to submit under an id that is taken."""

receipts: Final = Table(
    "receipts",
    metadata,
    Column("record_id", _Key, ForeignKey("records.id"), primary_key=True),
    Column("content", LargeBinary, nullable=False),
    Column("networks", Text, nullable=False),
    Column("updated_at", String(32), nullable=False),
)
"""The receipts document of a record, see `mrv_core.mrv.storage.RecordReceipts`; its networks, a line each."""

samples: Final = Table(
    "samples",
    metadata,
    Column("record_id", _Key, ForeignKey("records.id"), primary_key=True),
    Column("content", LargeBinary, nullable=False),
)
"""The file of samples that a record commits to."""

batches: Final = Table(
    "batches",
    metadata,
    Column("id", _Key, primary_key=True, autoincrement=True),
    Column("commitment", String(80), nullable=False),
    Column("size", Integer, nullable=False),
    Column("state", String(8), nullable=False),
    Column("receipts", LargeBinary, nullable=False),
    Column("networks", Text, nullable=False),
    Column("claimed_by", String(64)),
    Column("due_at", String(32), nullable=False),
    Column("created_at", String(32), nullable=False),
    Index("ix_batches_state_due_at", "state", "due_at"),
)
"""Batches of records that a worker anchors. `due_at` is when somebody should look at an open one next."""

members: Final = Table(
    "members",
    metadata,
    Column("record_id", _Key, ForeignKey("records.id"), primary_key=True),
    Column("batch_id", _Key, ForeignKey("batches.id"), nullable=False),
    Column("proof", LargeBinary, nullable=False),
    Index("ix_members_batch_id", "batch_id"),
)
"""Which record is in which batch, with its `mrv_core.batching.BatchProof`."""

bundles: Final = Table(
    "bundles",
    metadata,
    Column("id", _Key, primary_key=True, autoincrement=True),
    Column("hash", String(64), nullable=False, unique=True),
    Column("run_id", String(200), nullable=False),
    Column("root", String(80), nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("submitted_at", String(32), nullable=False),
    Column("submitted_by", String(32), nullable=False),
    Index("ix_bundles_run_id", "run_id"),
)

log_entries: Final = Table(
    "log_entries",
    metadata,
    Column("id", _Key, primary_key=True, autoincrement=True),
    Column("position", BigInteger, unique=True),
    Column("kind", String(8), nullable=False),
    Column("name", String(128), nullable=False),
    Column("hash", String(64), nullable=False),
    UniqueConstraint("kind", "name", name="uq_log_entries_what"),
)
"""What was accepted, each once; `position` is its place in the log, or null where nobody asked for the log since."""

verifications: Final = Table(
    "verifications",
    metadata,
    Column("kind", String(8), primary_key=True),
    Column("name", String(128), primary_key=True),
    Column("due_at", String(32), nullable=False),
    Column("claimed_by", String(64)),
    Column("requested_at", String(32)),
    Column("checked_at", String(32)),
    Column("verdict", String(16)),
    Column("summary", Text),
    Column("report", LargeBinary),
    Column("valid_at", String(32)),
    Column("failing_since", String(32)),
    Column("enrolled_at", String(32)),
    Column("held", Text),
    Column("alarm", String(16)),
    Column("logged", String(16)),
    Column("posted", String(16)),
    Index("ix_verifications_due_at", "due_at"),
    Index("ix_verifications_requested_at", "requested_at"),
)
"""The newest verification of each record and bundle. Without a foreign key: one that is deleted by hand is missed.

`requested_at` is set while a client waits for one, `enrolled_at` once it has its turns, `valid_at` is when it was
VALID last, `failing_since` when the first check after that was, and `held` what was there then. `alarm` is the
verdict that somebody should hear of, or null; `logged` and `posted` are those that the log and the webhook were told
last.
"""

tokens: Final = Table(
    "tokens",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("hash", String(64), nullable=False),
    Column("scopes", String(200), nullable=False),
    Column("created_at", String(32), nullable=False),
    Column("revoked_at", String(32)),
)

idempotency_keys: Final = Table(
    "idempotency_keys",
    metadata,
    Column("token", String(32), primary_key=True),
    Column("key", String(200), primary_key=True),
    Column("request_hash", String(64), nullable=False),
    Column("location", String(400), nullable=False),
    Column("created_at", String(32), nullable=False),
)
