"""The outbox: what a transaction wants published, until the relay has the broker's word for it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from pipeline.store import schema


@dataclass(frozen=True, slots=True)
class Note:
    """One line of the outbox: this cluster has a new version."""

    id: int
    space: str
    cluster_id: str
    version: int


async def oldest(connection: AsyncConnection, limit: int) -> list[Note]:
    """Return the first lines, in order."""
    table = schema.outbox
    rows = await connection.execute(select(table).order_by(table.c.id).limit(limit))
    return [Note(row.id, row.space, row.cluster_id, row.version) for row in rows]


async def remove(connection: AsyncConnection, notes: list[Note]) -> None:
    """Take out what was published."""
    table = schema.outbox
    await connection.execute(delete(table).where(table.c.id.in_([note.id for note in notes])))
