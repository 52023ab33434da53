# SPDX-License-Identifier: MIT
"""What verifications found and what is to be verified next; and the log of all that was accepted."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables, and enter what is there into the log, in the order of its arrival."""
    op.create_table(
        "verifications",
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("due_at", sa.String(length=32), nullable=False),
        sa.Column("claimed_by", sa.String(length=64), nullable=True),
        sa.Column("requested_at", sa.String(length=32), nullable=True),
        sa.Column("checked_at", sa.String(length=32), nullable=True),
        sa.Column("verdict", sa.String(length=16), nullable=True),
        sa.Column("summary", sa.Text(), nullable=True),
        sa.Column("report", sa.LargeBinary(), nullable=True),
        sa.Column("valid_at", sa.String(length=32), nullable=True),
        sa.Column("failing_since", sa.String(length=32), nullable=True),
        sa.Column("enrolled_at", sa.String(length=32), nullable=True),
        sa.Column("held", sa.Text(), nullable=True),
        sa.Column("alarm", sa.String(length=16), nullable=True),
        sa.Column("logged", sa.String(length=16), nullable=True),
        sa.Column("posted", sa.String(length=16), nullable=True),
        sa.PrimaryKeyConstraint("kind", "name", name=op.f("pk_verifications")),
    )
    op.create_index("ix_verifications_due_at", "verifications", ["due_at"], unique=False)
    op.create_index("ix_verifications_requested_at", "verifications", ["requested_at"], unique=False)
    op.create_table(
        "log_entries",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=True),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_log_entries")),
        sa.UniqueConstraint("position", name=op.f("uq_log_entries_position")),
        sa.UniqueConstraint("kind", "name", name="uq_log_entries_what"),
    )
    op.execute(
        "INSERT INTO log_entries (kind, name, hash) SELECT kind, name, hash FROM ("
        "SELECT 'record' AS kind, mrv_id AS name, hash, submitted_at, id FROM records "
        "UNION ALL SELECT 'bundle', hash, hash, submitted_at, id FROM bundles"
        ") AS accepted ORDER BY submitted_at, kind, id"
    )
