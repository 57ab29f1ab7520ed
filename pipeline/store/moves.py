"""How every message came to where it is: each move of each message, and how much each fit moved.

Written with the entries that did it, and gone with the message: what is erased leaves no trail.
"""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import String, and_, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from pipeline.state import Changes, LineageEvent
from pipeline.store import schema


async def save_moves(connection: AsyncConnection, space: str, changes: Changes) -> None:
    """Write the moves of a batch, and the reports of its fits."""
    moves = [
        {
            "space": space,
            "seq": move.seq,
            "platform": move.ref.platform,
            "message_id": move.ref.message_id,
            "from_cluster": move.from_cluster,
            "to_cluster": move.to_cluster,
            "why": move.why,
            "detail": move.detail,
        }
        for move in changes.moves
        if move.ref not in changes.erased
    ]
    if moves:
        await connection.execute(insert(schema.moves), moves)
    if changes.fits:
        await connection.execute(insert(schema.fits), [{"space": space} | asdict(fit) for fit in changes.fits])


async def move_merged(connection: AsyncConnection, space: str, event: LineageEvent) -> None:
    """Move the members of a merged cluster that are not in memory, and record it as for those that are."""
    messages, moves = schema.messages, schema.moves
    left = and_(messages.c.space == space, messages.c.cluster_id == event.cluster_id)
    columns = {
        moves.c.space: messages.c.space,
        moves.c.seq: literal(event.seq),
        moves.c.platform: messages.c.platform,
        moves.c.message_id: messages.c.message_id,
        moves.c.from_cluster: messages.c.cluster_id,
        moves.c.to_cluster: literal(event.other),
        moves.c.why: literal("merge"),
        moves.c.detail: literal(event.command_id, String),
    }
    await connection.execute(insert(moves).from_select(list(columns), select(*columns.values()).where(left)))
    if event.pins:
        own = and_(left, messages.c.via.is_(None), messages.c.follows_id.is_(None))
        await connection.execute(update(messages).where(own).values(via=event.command_id))
    await connection.execute(update(messages).where(left).values(cluster_id=event.other))
