"""What became of every event: counts per partition, and the engagement that events carry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import and_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from pipeline.records import Event, EventType
from pipeline.state import Status
from pipeline.store import schema
from pipeline.store.statements import upsert

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
    """Store reactions, votes and scores as states: the newest of each wins, a repeat changes nothing.

    Call it after the batch is saved: to a message that is erased, or from an author who is, nothing is stored.
    """
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
    gone = await _gone(connection, space, states)
    kept = [state for key, state in states.items() if key not in gone]
    if kept:
        await upsert(connection, schema.reactions, kept, newest_by="at")


async def repeated(connection: AsyncConnection, space: str, arrivals: Sequence[Arrival]) -> set[str]:
    """Return the ids of reactions and votes of a batch that say what is stored already, or what is out of date."""
    table = schema.reactions
    found = set()
    for arrival in arrivals:
        event = arrival.record
        if not isinstance(event, Event) or event.type not in {EventType.REACTION_SET, EventType.POLL_VOTE_SET}:
            continue
        data = event.data
        same = select(table.c.at).where(
            table.c.space == space,
            table.c.platform == data.platform,
            table.c.message_id == data.message_id,
            table.c.author == data.author,
            table.c.emoji == (data.emoji or f"vote:{data.option}"),
            or_(
                table.c.at > event.time,
                and_(table.c.at == event.time, table.c.present == bool(data.present)),
            ),
        )
        if await connection.scalar(same) is not None:
            found.add(event.id)
    return found


async def _gone(connection: AsyncConnection, space: str, states: Iterable[tuple[str, ...]]) -> set[tuple[str, ...]]:
    """Return the keys (platform, message, author, emoji) that name something erased."""
    messages, authors = schema.messages, schema.erased_authors
    gone = set()
    for key in states:
        platform, message_id, author, _ = key
        erased = await connection.scalar(
            select(messages.c.seq).where(
                messages.c.space == space,
                messages.c.platform == platform,
                messages.c.message_id == message_id,
                messages.c.status == Status.ERASED,
            )
        )
        forgotten = await connection.scalar(
            select(authors.c.author).where(
                authors.c.space == space, authors.c.platform == platform, authors.c.author == author
            )
        )
        if erased is not None or forgotten is not None:
            gone.add(key)
    return gone
