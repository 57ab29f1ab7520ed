"""What became of every event: counts per partition, and the engagement that events carry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from pipeline.records import Event, EventType
from pipeline.store import schema
from pipeline.store.spaces import upsert

if TYPE_CHECKING:
    from pipeline.doors import Arrival


async def offsets(connection: AsyncConnection, space: str) -> dict[tuple[str, int], int]:
    """Return, by broker and partition of `community.events`, the highest offset that was counted."""
    table = schema.accounts
    rows = await connection.execute(select(table).where(table.c.space == space))
    return {(row.broker, row.partition): row.offset for row in rows}


async def add_counts(
    connection: AsyncConnection,
    space: str,
    counts: Mapping[tuple[str, int], Counter[str]],
    offsets: Mapping[tuple[str, int], int],
) -> None:
    """Add a batch's counts by event type to the account of each partition of `community.events`."""
    table = schema.accounts
    known = {
        (row.broker, row.partition): Counter(row.counts)
        for row in await connection.execute(select(table).where(table.c.space == space))
    }
    rows = [
        {
            "space": space,
            "broker": key[0],
            "partition": key[1],
            "offset": offsets.get(key, -1),
            "counts": dict(known.get(key, Counter()) + added),
        }
        for key, added in counts.items()
    ]
    if rows:
        await upsert(connection, table, rows)


async def save_reactions(connection: AsyncConnection, space: str, arrivals: Sequence[Arrival]) -> None:
    """Store reactions, votes and scores as states: the newest of each wins, a repeat changes nothing."""
    states: dict[tuple[str, ...], dict[str, object]] = {}
    for arrival in arrivals:
        event = arrival.record
        if not isinstance(event, Event) or event.data.message_id is None:
            continue
        data = event.data
        if event.type is EventType.SCORE_SNAPSHOT:
            table = schema.messages
            await connection.execute(
                update(table)
                .where(table.c.space == space, table.c.platform == data.platform, table.c.message_id == data.message_id)
                .values(score=data.score)
            )
        elif event.type in {EventType.REACTION_SET, EventType.POLL_VOTE_SET} and data.author is not None:
            emoji = data.emoji or f"vote:{data.option}"
            key = (data.platform, data.message_id or "", data.author, emoji)
            if key not in states or states[key]["at"] <= event.time:  # type: ignore[operator]
                states[key] = {
                    "space": space,
                    "platform": data.platform,
                    "message_id": data.message_id,
                    "author": data.author,
                    "emoji": emoji,
                    "present": bool(data.present),
                    "at": event.time,
                }
    if states:
        await upsert(connection, schema.reactions, list(states.values()))
