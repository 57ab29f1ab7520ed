"""Single messages, as people name them: how each came to where it is, and which of a cluster's are one half of it.

Reads only. Texts are returned as strangers wrote them: whoever shows them escapes them for his medium.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import Row, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from models.halves import halve
from pipeline.errors import FatalError
from pipeline.records import COMMAND_MESSAGES_MAX, MessageRef
from pipeline.state import Status
from pipeline.store import schema
from pipeline.store.database import Database
from pipeline.store.facts import Said, said_of, typical
from pipeline.store.reports import reading

QUOTES = 4


@dataclass(frozen=True, slots=True)
class Stop:
    """One move of a message; clusters by their numbers."""

    seq: int
    at: datetime | None
    why: str
    from_number: int | None
    to_number: int | None
    detail: str | None
    by: str | None
    """The person whose command it was."""


@dataclass(frozen=True, slots=True)
class Trail:
    """How a message came to where it is. Its author is left out."""

    platform: str
    message_id: str
    posted_at: datetime
    text: str
    seq: int
    """Entry of the journal that brought its newest revision."""
    status: str
    reason: str | None
    number: int | None
    cluster_id: str | None
    follows: str | None
    """The message whose place it takes, as its echo."""
    placed_by: str | None
    """The command by which a person put it there: no fit moves it away."""
    kind: str
    """As the classifier read it; see `recipe`."""
    recipe: str | None
    """Which classifier read it; None for messages of older releases."""
    corrected: str | None
    """What a person said that it is."""
    stops: tuple[Stop, ...]


@dataclass(frozen=True, slots=True)
class Halves:
    """A proposal to split a cluster: the messages that would go, and typical ones of both sides."""

    named: tuple[MessageRef, ...]
    leaving: tuple[str, ...]
    staying: tuple[str, ...]
    count: int
    """Messages that were looked at."""


async def trail(database: Database, space: str, named: str) -> Trail:
    """Return how a message, named by its id or as PLATFORM/ID, came to where it is.

    Raises
    ------
    FatalError
        When there is no such message, or several.
    """
    moves, journal, commands = schema.moves, schema.journal, schema.commands
    async with reading(database) as connection:
        row = await find_message(connection, space, named)
        found = await connection.execute(
            select(moves, journal.c.at, commands.c.by)
            .outerjoin(journal, and_(journal.c.space == moves.c.space, journal.c.seq == moves.c.seq))
            .outerjoin(commands, and_(commands.c.space == moves.c.space, commands.c.command_id == moves.c.detail))
            .where(moves.c.space == space, moves.c.platform == row.platform, moves.c.message_id == row.message_id)
            .order_by(moves.c.seq, moves.c.id)
        )
        rows = found.all()
        ids = {row.cluster_id} | {one.from_cluster for one in rows} | {one.to_cluster for one in rows}
        numbers = await _numbers(connection, space, ids)
        said = schema.corrections
        named_so = (said.c.space == space, said.c.platform == row.platform, said.c.message_id == row.message_id)
        corrected = await connection.scalar(select(said.c.kind).where(*named_so))
    return Trail(
        platform=row.platform,
        message_id=row.message_id,
        posted_at=row.posted_at,
        text=row.text,
        seq=row.seq,
        status=row.status,
        reason=row.reason,
        number=numbers.get(row.cluster_id),
        cluster_id=row.cluster_id,
        follows=f"{row.follows_platform}/{row.follows_id}" if row.follows_id is not None else None,
        placed_by=row.via,
        kind=row.kind,
        recipe=row.recipe,
        corrected=corrected,
        stops=tuple(
            Stop(
                seq=one.seq,
                at=one.at,
                why=one.why,
                from_number=numbers.get(one.from_cluster),
                to_number=numbers.get(one.to_cluster),
                detail=one.detail,
                by=one.by,
            )
            for one in rows
        ),
    )


async def named_messages(
    database: Database, space: str, cluster_id: str, names: Sequence[str]
) -> tuple[MessageRef, ...]:
    """Return the messages of a cluster that a person names by id or as PLATFORM/ID.

    Raises
    ------
    FatalError
        When one is unknown, ambiguous, an echo of another, or not in this cluster.
    """
    refs = []
    async with reading(database) as connection:
        for name in names:
            row = await find_message(connection, space, name)
            ref = MessageRef(row.platform, row.message_id)
            if row.cluster_id != cluster_id:
                raise FatalError(
                    f"message {ref} is not in this cluster: `groundswell why --message {ref}` says where it is"
                )
            if row.follows_id is not None:
                raise FatalError(
                    f"message {ref} only agrees with {row.follows_platform}/{row.follows_id}, and goes where that "
                    f"one goes: name that one"
                )
            refs.append(ref)
    return tuple(dict.fromkeys(refs))


async def propose_halves(database: Database, space: str, cluster_id: str) -> Halves:
    """Return a cut of a cluster in two, by its newest messages; FatalError when nothing tells them apart."""
    messages, vectors = schema.messages, schema.vectors
    query = (
        select(messages, vectors.c.vector)
        .join(vectors, and_(vectors.c.space == messages.c.space, vectors.c.seq == messages.c.seq))
        .where(
            messages.c.space == space,
            messages.c.cluster_id == cluster_id,
            messages.c.status == Status.CLUSTERED,
            messages.c.follows_id.is_(None),
        )
        .order_by(messages.c.seq.desc())
        .limit(2 * COMMAND_MESSAGES_MAX)
    )
    async with reading(database) as connection:
        said = [said_of(row) for row in await connection.execute(query)]
    said.reverse()
    rows = [one.vector for one in said if one.vector is not None]
    away = await asyncio.to_thread(halve, np.stack(rows)) if rows else np.zeros(0, np.bool_)
    leaving = [one for one, goes in zip(said, away.tolist(), strict=True) if goes]
    staying = [one for one, goes in zip(said, away.tolist(), strict=True) if not goes]
    if not leaving:
        raise FatalError(
            f"nothing tells the {len(said)} messages of this cluster apart: name those that are another matter "
            f"(groundswell split CLUSTER MESSAGE...)"
        )
    return Halves(tuple(one.ref for one in leaving), _texts(leaving), _texts(staying), len(said))


def _texts(said: list[Said]) -> tuple[str, ...]:
    return tuple(one.text for one in typical(said, QUOTES))


async def find_message(connection: AsyncConnection, space: str, named: str) -> Row[Any]:
    """Return the row of a message that a person names by its id or as PLATFORM/ID; FatalError unless it is one."""
    messages = schema.messages
    platform, _, message_id = named.partition("/")
    exact = and_(messages.c.platform == platform, messages.c.message_id == message_id)
    query = select(messages).where(messages.c.space == space, or_(messages.c.message_id == named, exact))
    found = (await connection.execute(query.limit(5))).all()
    if not found:
        raise FatalError(f"no message {named!r} in space {space}: name it by its id, or as PLATFORM/ID")
    if len(found) > 1:
        names = ", ".join(f"{row.platform}/{row.message_id}" for row in found)
        raise FatalError(f"{named!r} names several messages: {names}")
    return found[0]


async def _numbers(connection: AsyncConnection, space: str, ids: set[str | None]) -> dict[str | None, int]:
    clusters = schema.clusters
    wanted = sorted(one for one in ids if one is not None)
    query = select(clusters.c.cluster_id, clusters.c.number)
    found = await connection.execute(query.where(clusters.c.space == space, clusters.c.cluster_id.in_(wanted)))
    return {row.cluster_id: row.number for row in found}
