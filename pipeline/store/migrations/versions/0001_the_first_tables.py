"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from pipeline.store.schema import UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "accounts",
        sa.Column("space", sa.String(length=255), nullable=False),
        sa.Column("broker", sa.String(length=64), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("space", "broker", "partition"),
    )
    op.create_table(
        "clusters",
        sa.Column("space", sa.String(length=255), nullable=False),
        sa.Column("cluster_id", sa.String(length=16), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("born_seq", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.LargeBinary(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("log_kinds", sa.LargeBinary(), nullable=False),
        sa.Column("threshold", sa.Float(), nullable=False),
        sa.Column("fits", sa.Integer(), nullable=False),
        sa.Column("established_seq", sa.BigInteger(), nullable=True),
        sa.Column("held_by", sa.String(length=16), nullable=True),
        sa.Column("merged_into", sa.String(length=16), nullable=True),
        sa.Column("split_from", sa.String(length=16), nullable=True),
        sa.Column("muted", sa.Boolean(), nullable=False),
        sa.Column("promoted", sa.Boolean(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("space", "cluster_id"),
    )
    with op.batch_alter_table("clusters", schema=None) as batch_op:
        batch_op.create_index("ix_clusters_number", ["space", "number"], unique=True)

    op.create_table(
        "commands",
        sa.Column("space", sa.String(length=255), nullable=False),
        sa.Column("command_id", sa.String(length=128), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("cluster_id", sa.String(length=255), nullable=False),
        sa.Column("by", sa.String(length=255), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("value", sa.String(length=255), nullable=True),
        sa.Column("in_force", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("space", "command_id"),
    )
    op.create_table(
        "decisions",
        sa.Column("space", sa.String(length=255), nullable=False),
        sa.Column("cluster_id", sa.String(length=16), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("rule", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("space", "cluster_id"),
    )
    op.create_table(
        "erased_authors",
        sa.Column("space", sa.String(length=255), nullable=False),
        sa.Column("platform", sa.String(length=255), nullable=False),
        sa.Column("author", sa.String(length=255), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("space", "platform", "author"),
    )
    op.create_table(
        "journal",
        sa.Column("space", sa.String(length=255), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("type", sa.String(length=16), nullable=False),
        sa.Column("platform", sa.String(length=255), nullable=True),
        sa.Column("message_id", sa.String(length=255), nullable=True),
        sa.Column("author", sa.String(length=255), nullable=True),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("labels", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("space", "seq"),
    )
    with op.batch_alter_table("journal", schema=None) as batch_op:
        batch_op.create_index("ix_journal_message", ["space", "platform", "message_id"], unique=False)

    op.create_table(
        "leases",
        sa.Column("space", sa.String(length=255), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("space"),
    )
    op.create_table(
        "lineage",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("space", sa.String(length=255), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("cluster_id", sa.String(length=16), nullable=False),
        sa.Column("what", sa.String(length=16), nullable=False),
        sa.Column("other", sa.String(length=16), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("lineage", schema=None) as batch_op:
        batch_op.create_index("ix_lineage_cluster", ["space", "cluster_id"], unique=False)

    op.create_table(
        "messages",
        sa.Column("space", sa.String(length=255), nullable=False),
        sa.Column("platform", sa.String(length=255), nullable=False),
        sa.Column("message_id", sa.String(length=255), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("revision", UtcDateTime(), nullable=False),
        sa.Column("author", sa.String(length=255), nullable=False),
        sa.Column("posted_at", UtcDateTime(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("channel", sa.String(length=255), nullable=True),
        sa.Column("permalink", sa.Text(), nullable=True),
        sa.Column("release", sa.String(length=64), nullable=True),
        sa.Column("score", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("kinds", sa.JSON(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("cues", sa.JSON(), nullable=False),
        sa.Column("words", sa.Integer(), nullable=False),
        sa.Column("echo", sa.Boolean(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("language", sa.String(length=16), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=255), nullable=True),
        sa.Column("cluster_id", sa.String(length=16), nullable=True),
        sa.Column("follows_platform", sa.String(length=255), nullable=True),
        sa.Column("follows_id", sa.String(length=255), nullable=True),
        sa.Column("fits", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("space", "platform", "message_id"),
    )
    with op.batch_alter_table("messages", schema=None) as batch_op:
        batch_op.create_index("ix_messages_author", ["space", "platform", "author"], unique=False)
        batch_op.create_index("ix_messages_cluster", ["space", "cluster_id"], unique=False)
        batch_op.create_index("ix_messages_follows", ["space", "follows_platform", "follows_id"], unique=False)
        batch_op.create_index("ix_messages_status", ["space", "status", "seq"], unique=False)

    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("space", sa.String(length=255), nullable=False),
        sa.Column("cluster_id", sa.String(length=16), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "quotes",
        sa.Column("space", sa.String(length=255), nullable=False),
        sa.Column("cluster_id", sa.String(length=16), nullable=False),
        sa.Column("platform", sa.String(length=255), nullable=False),
        sa.Column("message_id", sa.String(length=255), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("space", "cluster_id", "platform", "message_id"),
    )
    op.create_table(
        "reactions",
        sa.Column("space", sa.String(length=255), nullable=False),
        sa.Column("platform", sa.String(length=255), nullable=False),
        sa.Column("message_id", sa.String(length=255), nullable=False),
        sa.Column("author", sa.String(length=255), nullable=False),
        sa.Column("emoji", sa.String(length=255), nullable=False),
        sa.Column("present", sa.Boolean(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("space", "platform", "message_id", "author", "emoji"),
    )
    op.create_table(
        "spaces",
        sa.Column("space", sa.String(length=255), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("now", UtcDateTime(), nullable=True),
        sa.Column("seen_since_fit", sa.Integer(), nullable=False),
        sa.Column("fit_size", sa.Integer(), nullable=False),
        sa.Column("floor", sa.BigInteger(), nullable=False),
        sa.Column("next_number", sa.Integer(), nullable=False),
        sa.Column("mean", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("space"),
    )
    op.create_table(
        "tickets",
        sa.Column("space", sa.String(length=255), nullable=False),
        sa.Column("cluster_id", sa.String(length=16), nullable=False),
        sa.Column("tracker", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("label", sa.String(length=64), nullable=False),
        sa.Column("issue_id", sa.String(length=64), nullable=True),
        sa.Column("issue_key", sa.String(length=64), nullable=True),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("summary", sa.String(length=255), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("reserved_at", UtcDateTime(), nullable=False),
        sa.Column("opened_at", UtcDateTime(), nullable=True),
        sa.Column("updated_at", UtcDateTime(), nullable=True),
        sa.Column("finds", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_find_at", UtcDateTime(), nullable=True),
        sa.Column("people", sa.Integer(), nullable=False),
        sa.Column("messages", sa.Integer(), nullable=False),
        sa.Column("platforms", sa.JSON(), nullable=False),
        sa.Column("sent_hash", sa.String(length=64), nullable=True),
        sa.Column("comment_id", sa.String(length=64), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("space", "cluster_id"),
    )
    op.create_table(
        "vectors",
        sa.Column("space", sa.String(length=255), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("platform", sa.String(length=255), nullable=False),
        sa.Column("message_id", sa.String(length=255), nullable=False),
        sa.Column("model", sa.String(length=255), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("space", "seq"),
    )
    with op.batch_alter_table("vectors", schema=None) as batch_op:
        batch_op.create_index("ix_vectors_message", ["space", "platform", "message_id"], unique=False)


def downgrade() -> None:
    """Take this revision back."""
    with op.batch_alter_table("vectors", schema=None) as batch_op:
        batch_op.drop_index("ix_vectors_message")

    op.drop_table("vectors")
    op.drop_table("tickets")
    op.drop_table("spaces")
    op.drop_table("reactions")
    op.drop_table("quotes")
    op.drop_table("outbox")
    with op.batch_alter_table("messages", schema=None) as batch_op:
        batch_op.drop_index("ix_messages_status")
        batch_op.drop_index("ix_messages_follows")
        batch_op.drop_index("ix_messages_cluster")
        batch_op.drop_index("ix_messages_author")

    op.drop_table("messages")
    with op.batch_alter_table("lineage", schema=None) as batch_op:
        batch_op.drop_index("ix_lineage_cluster")

    op.drop_table("lineage")
    op.drop_table("leases")
    with op.batch_alter_table("journal", schema=None) as batch_op:
        batch_op.drop_index("ix_journal_message")

    op.drop_table("journal")
    op.drop_table("erased_authors")
    op.drop_table("decisions")
    op.drop_table("commands")
    with op.batch_alter_table("clusters", schema=None) as batch_op:
        batch_op.drop_index("ix_clusters_number")

    op.drop_table("clusters")
    op.drop_table("accounts")
