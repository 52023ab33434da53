# SPDX-License-Identifier: MIT
"""What verifications found, and what is to be verified next."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table."""
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
        sa.Column("alarm", sa.String(length=16), nullable=True),
        sa.Column("told", sa.String(length=16), nullable=True),
        sa.PrimaryKeyConstraint("kind", "name", name=op.f("pk_verifications")),
    )
    op.create_index("ix_verifications_due_at", "verifications", ["due_at"], unique=False)
