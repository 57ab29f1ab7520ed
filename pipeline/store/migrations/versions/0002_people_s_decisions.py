"""What people decide about clusters, and the record of every move."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from pipeline.store.schema import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    with op.batch_alter_table("clusters", schema=None) as batch_op:
        batch_op.add_column(sa.Column("name", sa.String(length=255), nullable=True))
        batch_op.add_column(sa.Column("rejected", sa.Boolean(), server_default=sa.false(), nullable=False))
        batch_op.add_column(sa.Column("inherited", sa.JSON(), server_default="[]", nullable=False))
    with op.batch_alter_table("messages", schema=None) as batch_op:
        batch_op.add_column(sa.Column("via", sa.String(length=128), nullable=True))
        batch_op.create_index(
            "ix_messages_via",
            ["space", "via"],
            unique=False,
            sqlite_where=sa.text("via IS NOT NULL"),
            postgresql_where=sa.text("via IS NOT NULL"),
        )
    with op.batch_alter_table("lineage", schema=None) as batch_op:
        batch_op.add_column(sa.Column("command_id", sa.String(length=128), nullable=True))
    with op.batch_alter_table("commands", schema=None) as batch_op:
        batch_op.add_column(sa.Column("other", sa.String(length=255), nullable=True))
        batch_op.add_column(sa.Column("effect", sa.JSON(), nullable=True))
    op.create_table(
        "moves",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("space", sa.String(length=255), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("platform", sa.String(length=255), nullable=False),
        sa.Column("message_id", sa.String(length=255), nullable=False),
        sa.Column("from_cluster", sa.String(length=16), nullable=True),
        sa.Column("to_cluster", sa.String(length=16), nullable=True),
        sa.Column("why", sa.String(length=16), nullable=False),
        sa.Column("detail", sa.String(length=255), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("moves", schema=None) as batch_op:
        batch_op.create_index("ix_moves_message", ["space", "platform", "message_id"], unique=False)

    op.create_table(
        "fits",
        sa.Column("space", sa.String(length=255), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("begun_seq", sa.BigInteger(), nullable=False),
        sa.Column("messages", sa.Integer(), nullable=False),
        sa.Column("clustered", sa.Integer(), nullable=False),
        sa.Column("moved", sa.Integer(), nullable=False),
        sa.Column("to_pool", sa.Integer(), nullable=False),
        sa.Column("in_blocks", sa.Integer(), nullable=False),
        sa.Column("established", sa.Integer(), nullable=False),
        sa.Column("established_moved", sa.Integer(), nullable=False),
        sa.Column("established_to_pool", sa.Integer(), nullable=False),
        sa.Column("born", sa.Integer(), nullable=False),
        sa.Column("merged", sa.Integer(), nullable=False),
        sa.Column("split", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("space", "seq"),
    )


def downgrade() -> None:
    """Take this revision back."""
    op.drop_table("fits")
    with op.batch_alter_table("moves", schema=None) as batch_op:
        batch_op.drop_index("ix_moves_message")

    op.drop_table("moves")
    with op.batch_alter_table("commands", schema=None) as batch_op:
        batch_op.drop_column("effect")
        batch_op.drop_column("other")
    with op.batch_alter_table("lineage", schema=None) as batch_op:
        batch_op.drop_column("command_id")
    with op.batch_alter_table("messages", schema=None) as batch_op:
        batch_op.drop_index("ix_messages_via")
        batch_op.drop_column("via")
    with op.batch_alter_table("clusters", schema=None) as batch_op:
        batch_op.drop_column("inherited")
        batch_op.drop_column("rejected")
        batch_op.drop_column("name")
