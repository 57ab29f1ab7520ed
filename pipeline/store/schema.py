"""The tables. Every one is keyed by space first: a space is the unit of ownership, of export and of deletion.

`space` + `platform` + `message_id` names a message. Texts and vectors stand in one place each, so that forgetting
a message is one UPDATE and one DELETE.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    false,
    text,
)
from sqlalchemy.engine import Dialect

metadata = MetaData()


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC in, aware UTC out; SQLite keeps no zone, so naive values are refused here."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Store UTC; ValueError for a naive time."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive time {value.isoformat()}")
        return value.astimezone(UTC)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return aware UTC."""
        return None if value is None else value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


AutoId = BigInteger().with_variant(Integer, "sqlite")

spaces = Table(
    "spaces",
    metadata,
    Column("space", String(255), primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("now", UtcDateTime),
    Column("seen_since_fit", Integer, nullable=False),
    Column("fit_size", Integer, nullable=False),
    Column("floor", BigInteger, nullable=False),
    Column("next_number", Integer, nullable=False),
    Column("view", LargeBinary),
    Column("fit_seq", BigInteger, nullable=False, server_default="0"),
)

messages = Table(
    "messages",
    metadata,
    Column("space", String(255), primary_key=True),
    Column("platform", String(255), primary_key=True),
    Column("message_id", String(255), primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("revision", UtcDateTime, nullable=False),
    Column("author", String(255), nullable=False),
    Column("posted_at", UtcDateTime, nullable=False),
    Column("text", Text, nullable=False),
    Column("channel", String(255)),
    Column("permalink", Text),
    Column("release", String(64)),
    Column("score", BigInteger, nullable=False, server_default="0"),
    Column("kinds", JSON, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("cues", JSON, nullable=False),
    Column("recipe", String(64)),
    Column("words", Integer, nullable=False),
    Column("echo", Boolean, nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("language", String(16)),
    Column("status", String(16), nullable=False),
    Column("reason", String(255)),
    Column("cluster_id", String(16)),
    Column("follows_platform", String(255)),
    Column("follows_id", String(255)),
    Column("reply_to", String(255)),
    Column("fits", Integer, nullable=False),
    Column("via", String(128)),
    Index("ix_messages_cluster", "space", "cluster_id"),
    Index("ix_messages_status", "space", "status", "seq"),
    Index("ix_messages_author", "space", "platform", "author"),
    Index("ix_messages_follows", "space", "follows_platform", "follows_id"),
    Index(
        "ix_messages_via",
        "space",
        "via",
        sqlite_where=text("via IS NOT NULL"),
        postgresql_where=text("via IS NOT NULL"),
    ),
)

vectors = Table(
    "vectors",
    metadata,
    Column("space", String(255), primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("platform", String(255), nullable=False),
    Column("message_id", String(255), nullable=False),
    Column("model", String(255), nullable=False),
    Column("vector", LargeBinary, nullable=False),
    Index("ix_vectors_message", "space", "platform", "message_id"),
)

corrections = Table(
    "corrections",
    metadata,
    Column("space", String(255), primary_key=True),
    Column("platform", String(255), primary_key=True),
    Column("message_id", String(255), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("by", String(255), nullable=False),
    Column("at", UtcDateTime, nullable=False),
)

reactions = Table(
    "reactions",
    metadata,
    Column("space", String(255), primary_key=True),
    Column("platform", String(255), primary_key=True),
    Column("message_id", String(255), primary_key=True),
    Column("author", String(255), primary_key=True),
    Column("emoji", String(255), primary_key=True),
    Column("present", Boolean, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)

clusters = Table(
    "clusters",
    metadata,
    Column("space", String(255), primary_key=True),
    Column("cluster_id", String(16), primary_key=True),
    Column("number", Integer, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("born_seq", BigInteger, nullable=False),
    Column("total", LargeBinary, nullable=False),
    Column("count", Integer, nullable=False),
    Column("log_kinds", LargeBinary, nullable=False),
    Column("threshold", Float, nullable=False),
    Column("fits", Integer, nullable=False),
    Column("established_seq", BigInteger),
    Column("held_by", String(16)),
    Column("merged_into", String(16)),
    Column("split_from", String(16)),
    Column("muted", Boolean, nullable=False),
    Column("promoted", Boolean, nullable=False),
    Column("tags", JSON, nullable=False),
    Column("name", String(255)),
    Column("rejected", Boolean, nullable=False, server_default=false()),
    Column("inherited", JSON, nullable=False, server_default="[]"),
    Column("centroid", LargeBinary),
    Column("overlaps", JSON, nullable=False, server_default="[]"),
    Index("ix_clusters_number", "space", "number", unique=True),
)

lineage = Table(
    "lineage",
    metadata,
    Column("id", AutoId, primary_key=True, autoincrement=True),
    Column("space", String(255), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("cluster_id", String(16), nullable=False),
    Column("what", String(16), nullable=False),
    Column("other", String(16)),
    Column("command_id", String(128)),
    Index("ix_lineage_cluster", "space", "cluster_id"),
)

moves = Table(
    "moves",
    metadata,
    Column("id", AutoId, primary_key=True, autoincrement=True),
    Column("space", String(255), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("platform", String(255), nullable=False),
    Column("message_id", String(255), nullable=False),
    Column("from_cluster", String(16)),
    Column("to_cluster", String(16)),
    Column("why", String(16), nullable=False),
    Column("detail", String(255)),
    Index("ix_moves_message", "space", "platform", "message_id"),
)

fits = Table(
    "fits",
    metadata,
    Column("space", String(255), primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("begun_seq", BigInteger, nullable=False),
    Column("messages", Integer, nullable=False),
    Column("clustered", Integer, nullable=False),
    Column("moved", Integer, nullable=False),
    Column("to_pool", Integer, nullable=False),
    Column("in_blocks", Integer, nullable=False),
    Column("established", Integer, nullable=False),
    Column("established_moved", Integer, nullable=False),
    Column("established_to_pool", Integer, nullable=False),
    Column("born", Integer, nullable=False),
    Column("merged", Integer, nullable=False),
    Column("split", Integer, nullable=False),
)

journal = Table(
    "journal",
    metadata,
    Column("space", String(255), primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("type", String(16), nullable=False),
    Column("platform", String(255)),
    Column("message_id", String(255)),
    Column("author", String(255)),
    Column("body", JSON, nullable=False),
    Column("labels", LargeBinary),
    Index("ix_journal_message", "space", "platform", "message_id"),
)

commands = Table(
    "commands",
    metadata,
    Column("space", String(255), primary_key=True),
    Column("command_id", String(128), primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("name", String(32), nullable=False),
    Column("cluster_id", String(255), nullable=False),
    Column("by", String(255), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("value", String(255)),
    Column("in_force", Boolean, nullable=False),
    Column("other", String(255)),
    Column("effect", JSON),
)

erased_authors = Table(
    "erased_authors",
    metadata,
    Column("space", String(255), primary_key=True),
    Column("platform", String(255), primary_key=True),
    Column("author", String(255), primary_key=True),
    Column("at", UtcDateTime, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("space", String(255), primary_key=True),
    Column("owner", String(255), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("expires_at", Float, nullable=False),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", AutoId, primary_key=True, autoincrement=True),
    Column("space", String(255), nullable=False),
    Column("cluster_id", String(16), nullable=False),
    Column("version", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

accounts = Table(
    "accounts",
    metadata,
    Column("space", String(255), primary_key=True),
    Column("broker", String(64), primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("offset", BigInteger, nullable=False),
    Column("counts", JSON, nullable=False),
)

tickets = Table(
    "tickets",
    metadata,
    Column("space", String(255), primary_key=True),
    Column("cluster_id", String(16), primary_key=True),
    Column("tracker", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("label", String(64), nullable=False),
    Column("issue_id", String(64)),
    Column("issue_key", String(64)),
    Column("url", Text),
    Column("kind", String(16), nullable=False),
    Column("summary", String(255), nullable=False),
    Column("reason", Text, nullable=False),
    Column("reserved_at", UtcDateTime, nullable=False),
    Column("opened_at", UtcDateTime),
    Column("updated_at", UtcDateTime),
    Column("finds", Integer, nullable=False, server_default="0"),
    Column("next_find_at", UtcDateTime),
    Column("people", Integer, nullable=False),
    Column("messages", Integer, nullable=False),
    Column("platforms", JSON, nullable=False),
    Column("sent_hash", String(64)),
    Column("comment_id", String(64)),
    Column("problem", Text),
    Column("origin", String(16), nullable=False, server_default="created"),
)

quotes = Table(
    "quotes",
    metadata,
    Column("space", String(255), primary_key=True),
    Column("cluster_id", String(16), primary_key=True),
    Column("platform", String(255), primary_key=True),
    Column("message_id", String(255), primary_key=True),
    Column("seq", BigInteger, nullable=False),
)

decisions = Table(
    "decisions",
    metadata,
    Column("space", String(255), primary_key=True),
    Column("cluster_id", String(16), primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("action", String(16), nullable=False),
    Column("rule", String(32), nullable=False),
    Column("reason", Text, nullable=False),
    Column("due_at", UtcDateTime),
)

backlog = Table(
    "backlog",
    metadata,
    Column("space", String(255), primary_key=True),
    Column("place", String(255), primary_key=True),
    Column("issue_id", String(64), primary_key=True),
    Column("issue_key", String(64), nullable=False),
    Column("url", Text, nullable=False),
    Column("status", String(255), nullable=False),
    Column("done", Boolean, nullable=False),
    Column("own", Boolean, nullable=False),
    Column("updated_at", UtcDateTime),
    Column("seen_at", UtcDateTime, nullable=False),
    Column("text_hash", String(64), nullable=False),
    Column("model", String(255), nullable=False),
    Column("vector", LargeBinary, nullable=False),
    Column("words", LargeBinary, nullable=False),
)

backlog_reads = Table(
    "backlog_reads",
    metadata,
    Column("space", String(255), primary_key=True),
    Column("place", String(255), primary_key=True),
    Column("read_at", UtcDateTime, nullable=False),
    Column("full_at", UtcDateTime, nullable=False),
    Column("changes", BigInteger, nullable=False),
)

likenesses = Table(
    "likenesses",
    metadata,
    Column("space", String(255), primary_key=True),
    Column("cluster_id", String(16), primary_key=True),
    Column("issue_id", String(64), primary_key=True),
    Column("issue_key", String(64), nullable=False),
    Column("url", Text, nullable=False),
    Column("summary", String(255), nullable=False),
    Column("score", Float),
    Column("verdict", String(16), nullable=False),
    Column("by", String(255)),
    Column("at", UtcDateTime, nullable=False),
)
