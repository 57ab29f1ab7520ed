"""The ledger: the truth about which cluster has which issue. Reserve, then create, then confirm.

| state | meaning | what may follow |
|---|---|---|
| reserved | a create may be under way, or was when a process died | open, waiting, refused, uncertain |
| uncertain | the create's answer was lost; being searched for by label | open, or a person decides |
| open | the issue exists and its id is known | |
| waiting | the tracker said "later" and nothing was written | reserved |
| refused | the tracker will not have this draft; `problem` says why | reserved, once the cluster changed |
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, and_, delete, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from pipeline.decide import ClusterFacts, Decision
from pipeline.records import MessageRef
from pipeline.state import Status
from pipeline.store import schema
from pipeline.store.spaces import upsert
from pipeline.trackers.port import IssueDraft, IssueRef

Ticket = Row[Any]
"""A row of `tickets`."""
Quoted = tuple[MessageRef, int]
"""A message and the entry that brought the revision that was quoted."""


class TicketState(StrEnum):
    """Where a ticket stands; the module's docstring is the table of transitions."""

    RESERVED = "reserved"
    UNCERTAIN = "uncertain"
    OPEN = "open"
    WAITING = "waiting"
    REFUSED = "refused"


async def ticket(connection: AsyncConnection, space: str, cluster_id: str) -> Row[Any] | None:
    """Return the ledger's row of a cluster, or None."""
    table = schema.tickets
    query = select(table).where(table.c.space == space, table.c.cluster_id == cluster_id)
    return (await connection.execute(query)).one_or_none()


async def reserve(
    connection: AsyncConnection,
    space: str,
    cluster_id: str,
    tracker: str,
    draft: IssueDraft,
    facts: ClusterFacts,
    decision: Decision,
    now: datetime,
) -> bool:
    """Claim the right to create this cluster's issue; False when another claim or an issue is there."""
    table = schema.tickets
    values = {
        "space": space,
        "cluster_id": cluster_id,
        "tracker": tracker,
        "state": TicketState.RESERVED,
        "label": draft.label,
        "kind": draft.kind,
        "summary": draft.summary[:255],
        "reason": decision.reason,
        "reserved_at": now,
        "people": facts.people,
        "messages": facts.messages,
        "platforms": list(facts.platforms),
        "problem": None,
        "finds": 0,
    }
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(table).values(values)
    again = statement.on_conflict_do_update(
        index_elements=["space", "cluster_id"],
        set_={name: statement.excluded[name] for name in values if name not in {"space", "cluster_id"}},
        where=table.c.state.in_([TicketState.WAITING, TicketState.REFUSED]),
    )
    return (await connection.execute(again)).rowcount == 1


async def confirm(
    connection: AsyncConnection, space: str, cluster_id: str, ref: IssueRef, sent_hash: str | None, now: datetime
) -> None:
    """Note the issue that exists now."""
    values = {
        "state": TicketState.OPEN,
        "issue_id": ref.id,
        "issue_key": ref.key,
        "url": ref.url,
        "opened_at": now,
        "updated_at": now,
        "sent_hash": sent_hash,
        "problem": None,
        "next_find_at": None,
    }
    await _set(connection, space, cluster_id, values)


async def set_state(
    connection: AsyncConnection,
    space: str,
    cluster_id: str,
    state: TicketState,
    problem: str,
    next_find_at: datetime | None = None,
    finds: int = 0,
) -> None:
    """Note that a create did not, or may not have, come to an issue."""
    values = {"state": state, "problem": problem, "next_find_at": next_find_at, "finds": finds}
    await _set(connection, space, cluster_id, values)


async def note_update(
    connection: AsyncConnection,
    space: str,
    cluster_id: str,
    facts: ClusterFacts,
    decision: Decision,
    sent_hash: str,
    now: datetime,
) -> None:
    """Note what the issue says now."""
    values = {
        "people": facts.people,
        "messages": facts.messages,
        "platforms": list(facts.platforms),
        "reason": decision.reason,
        "sent_hash": sent_hash,
        "updated_at": now,
    }
    await _set(connection, space, cluster_id, values)


async def note_comment(
    connection: AsyncConnection, space: str, cluster_id: str, comment_id: str, quoted: Sequence[Quoted]
) -> None:
    """Remember the quotes comment ("": people deleted it) and which revision of which message it quotes."""
    await _set(connection, space, cluster_id, {"comment_id": comment_id})
    table = schema.quotes
    await connection.execute(delete(table).where(table.c.space == space, table.c.cluster_id == cluster_id))
    if quoted and comment_id:
        rows = [
            {
                "space": space,
                "cluster_id": cluster_id,
                "platform": ref.platform,
                "message_id": ref.message_id,
                "seq": seq,
            }
            for ref, seq in quoted
        ]
        await connection.execute(insert(table), rows)


async def stale_quotes(connection: AsyncConnection) -> list[tuple[str, str]]:
    """Return (space, cluster id) of tickets whose quotes comment holds words that were edited or deleted since."""
    quotes, messages = schema.quotes, schema.messages
    same = and_(
        messages.c.space == quotes.c.space,
        messages.c.platform == quotes.c.platform,
        messages.c.message_id == quotes.c.message_id,
    )
    query = (
        select(quotes.c.space, quotes.c.cluster_id)
        .distinct()
        .join(messages, same)
        .where(or_(messages.c.seq != quotes.c.seq, messages.c.status == Status.ERASED))
    )
    return [(row.space, row.cluster_id) for row in await connection.execute(query)]


async def summaries(connection: AsyncConnection, space: str, but: str) -> list[str]:
    """Return the summaries of the other tickets, to keep a new one distinct."""
    table = schema.tickets
    rows = await connection.execute(select(table.c.summary).where(table.c.space == space, table.c.cluster_id != but))
    return [row.summary for row in rows]


async def unsettled(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Return the rows whose create has no known outcome."""
    table = schema.tickets
    states = [TicketState.RESERVED, TicketState.UNCERTAIN]
    return (await connection.execute(select(table).where(table.c.state.in_(states)))).all()


async def note_decision(
    connection: AsyncConnection, space: str, cluster_id: str, version: int, decision: Decision, now: datetime
) -> None:
    """Keep the latest decision about a cluster, and which version of it was decided about."""
    row = {
        "space": space,
        "cluster_id": cluster_id,
        "version": version,
        "at": now,
        "action": decision.action,
        "rule": decision.rule,
        "reason": decision.reason,
        "due_at": decision.due_at,
    }
    await upsert(connection, schema.decisions, [row])


async def due(connection: AsyncConnection) -> list[tuple[str, str]]:
    """Return (space, cluster id) of what to look at again though it did not change: its time came, or the tracker's."""
    decisions, spaces, tickets = schema.decisions, schema.spaces, schema.tickets
    by_time = (
        select(decisions.c.space, decisions.c.cluster_id)
        .join(spaces, spaces.c.space == decisions.c.space)
        .where(decisions.c.due_at <= spaces.c.now)
    )
    waiting = select(tickets.c.space, tickets.c.cluster_id).where(tickets.c.state == TicketState.WAITING)
    return [(row.space, row.cluster_id) for row in await connection.execute(by_time.union(waiting))]


async def space_now(connection: AsyncConnection, space: str) -> datetime:
    """Return the space's clock: event time, moved by messages and ticks."""
    query = select(schema.spaces.c.now).where(schema.spaces.c.space == space)
    now: datetime = (await connection.execute(query)).scalar_one()
    return now


async def _set(connection: AsyncConnection, space: str, cluster_id: str, values: dict[str, Any]) -> None:
    table = schema.tickets
    await connection.execute(
        update(table).where(table.c.space == space, table.c.cluster_id == cluster_id).values(**values)
    )
