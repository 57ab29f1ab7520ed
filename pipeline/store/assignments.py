"""Which message stands in which cluster: a whole space at once, for who studies a run."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from pipeline.records import MessageRef
from pipeline.state import Status
from pipeline.store import schema
from pipeline.store.database import Database


@dataclass(frozen=True, slots=True)
class Assignment:
    """Where a message stands."""

    ref: MessageRef
    cluster_id: str | None
    kind: str
    """Of the message alone, as read."""
    status: str
    reason: str | None
    """Why it was set aside, or expired."""


async def assignments(database: Database, space: str) -> list[Assignment]:
    """Return one for each message, in the order in which they first arrived."""
    messages, journal = schema.messages, schema.journal
    first = (
        select(journal.c.platform, journal.c.message_id, func.min(journal.c.seq).label("first"))
        .where(journal.c.space == space, journal.c.message_id.is_not(None))
        .group_by(journal.c.platform, journal.c.message_id)
        .subquery()
    )
    query = (
        select(messages)
        .join(
            first,
            (first.c.platform == messages.c.platform) & (first.c.message_id == messages.c.message_id),
        )
        .where(messages.c.space == space)
        .order_by(first.c.first)
    )
    async with database.read() as connection:
        return [
            Assignment(
                ref=MessageRef(row.platform, row.message_id),
                cluster_id=row.cluster_id if row.status == Status.CLUSTERED else None,
                kind=row.kind,
                status=row.status,
                reason=row.reason,
            )
            for row in await connection.execute(query)
        ]
