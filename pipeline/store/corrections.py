"""What people said the kind of a message is: input to the classifier of their space, not to the fold.

So it stands beside the journal, not in it: folding again never needs a correction, for each signal brings its kinds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, and_, delete, func, select

from pipeline.errors import FatalError
from pipeline.records import MessageRef
from pipeline.state import Status
from pipeline.store import schema
from pipeline.store.database import Database
from pipeline.store.reports import reading
from pipeline.store.statements import upsert
from pipeline.store.trail import find_message


@dataclass(frozen=True, slots=True)
class Corrected:
    """A correction with the message as it stands."""

    ref: MessageRef
    kind: str
    seq: int
    text: str


@dataclass(frozen=True, slots=True)
class Change:
    """What a correction changed: the message, what the classifier had called it, and its kind by people before."""

    ref: MessageRef
    called: str
    before: str | None


async def correct(database: Database, space: str, named: str, kind: str | None, by: str, now: datetime) -> Change:
    """Say that a message is of a kind, or with None take that back.

    Raises
    ------
    FatalError
        When there is no such message, several are meant, or it was erased.
    """
    table = schema.corrections
    async with database.write() as connection:
        row = await find_message(connection, space, named)
        ref = MessageRef(row.platform, row.message_id)
        key = _key(space, ref)
        # The row stays locked until the end: an erasure comes before this, and is seen, or after, and removes it.
        messages = schema.messages
        found = select(messages.c.status).where(
            messages.c.space == space, messages.c.platform == ref.platform, messages.c.message_id == ref.message_id
        )
        if await connection.scalar(found.with_for_update()) == Status.ERASED:
            raise FatalError(f"message {ref} was erased at its source: nothing of it is kept, and nothing can learn it")
        before = await connection.scalar(select(table.c.kind).where(key))
        if kind is None:
            await connection.execute(delete(table).where(key))
        else:
            values = {"space": space, "platform": ref.platform, "message_id": ref.message_id}
            await upsert(connection, table, [values | {"kind": kind, "by": by, "at": now}])
    return Change(ref, row.kind, before)


async def corrections(database: Database, space: str, limit: int) -> list[Corrected]:
    """Return the newest corrections of a space, by platform and message id.

    Left out are those of messages that were edited since: what was said of other words is not known of these.
    """
    table, messages = schema.corrections, schema.messages
    query = _valid(select(table.c.kind, messages), space)
    newest = query.order_by(table.c.at.desc(), table.c.platform, table.c.message_id).limit(limit)
    async with reading(database) as connection:
        found = (await connection.execute(newest)).all()
    return sorted((_corrected(row) for row in found), key=lambda one: one.ref)


async def fingerprint(database: Database, space: str) -> Sequence[tuple[Any, ...]]:
    """Return what is other whenever `corrections` would be: cheap to ask for again and again."""
    table, messages = schema.corrections, schema.messages
    query = _valid(select(table.c.platform, table.c.message_id, table.c.kind, messages.c.seq), space)
    async with reading(database) as connection:
        found = await connection.execute(query.order_by(table.c.platform, table.c.message_id))
        return [tuple(row) for row in found]


async def count(database: Database, space: str) -> int:
    """Return how many messages of a space people corrected."""
    table = schema.corrections
    async with reading(database) as connection:
        return await connection.scalar(select(func.count()).select_from(table).where(table.c.space == space)) or 0


def _valid(query: Select[Any], space: str) -> Select[Any]:
    table, messages = schema.corrections, schema.messages
    same = and_(
        messages.c.space == table.c.space,
        messages.c.platform == table.c.platform,
        messages.c.message_id == table.c.message_id,
    )
    return (
        query.select_from(table)
        .join(messages, same)
        .where(table.c.space == space, messages.c.status != Status.ERASED, messages.c.revision <= table.c.at)
    )


def _key(space: str, ref: MessageRef) -> Any:
    table = schema.corrections
    return and_(table.c.space == space, table.c.platform == ref.platform, table.c.message_id == ref.message_id)


def _corrected(row: Row[Any]) -> Corrected:
    return Corrected(ref=MessageRef(row.platform, row.message_id), kind=row[0], seq=row.seq, text=row.text)
