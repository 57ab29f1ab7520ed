"""Kinds of messages that people corrected, and which classifier read each message."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from pipeline.store.schema import UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "corrections",
        sa.Column("space", sa.String(length=255), nullable=False),
        sa.Column("platform", sa.String(length=255), nullable=False),
        sa.Column("message_id", sa.String(length=255), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("by", sa.String(length=255), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("space", "platform", "message_id"),
    )
    with op.batch_alter_table("messages", schema=None) as batch_op:
        batch_op.add_column(sa.Column("recipe", sa.String(length=64), nullable=True))


def downgrade() -> None:
    """Take this revision back."""
    with op.batch_alter_table("messages", schema=None) as batch_op:
        batch_op.drop_column("recipe")
    op.drop_table("corrections")
