"""The ledger: the truth about which cluster has which issue. Reserve, then create, then confirm.

| state | meaning | what may follow |
|---|---|---|
| reserved | a create may be under way, or was when a process died | open, waiting, refused, uncertain |
| uncertain | the create's answer was lost; being searched for by label | open, or a person decides |
| open | the issue exists and its id is known | |
| waiting | the tracker said "later" and nothing was written | reserved |
| refused | the tracker will not have this draft; `problem` says why | reserved, once the cluster changed |
| unlinked | a person says that the linked issue is another matter; our comment is still there | no row |

A ticket's `origin` is "created", or "linked" when people filed the issue: then nothing but our comment is ever written.

`next_find_at` is when an uncertain create may be searched for again; of an open ticket without a comment, when the
claim of the one who writes it runs out.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, and_, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from pipeline.decide import ClusterFacts, Decision
from pipeline.records import MessageRef
from pipeline.state import Status
from pipeline.store import schema
from pipeline.store.statements import insert_into, insert_missing, storable, upsert
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
    UNLINKED = "unlinked"


CREATED: Final = "created"
LINKED: Final = "linked"
"""A ticket's origin."""
UNSETTLED: Final = frozenset({TicketState.RESERVED, TicketState.UNCERTAIN})
"""A create may be under way, or its outcome is not known."""


async def ticket(connection: AsyncConnection, space: str, cluster_id: str) -> Row[Any] | None:
    """Return the ledger's row of a cluster, or None."""
    table = schema.tickets
    query = select(table).where(table.c.space == space, table.c.cluster_id == cluster_id)
    return (await connection.execute(query)).one_or_none()


async def inherit(connection: AsyncConnection, space: str, cluster_id: str) -> Ticket | None:
    """Move the oldest ticket of the clusters that merged into this one over to it; None when there is none.

    One whose create has no known outcome moves too, when no other has an issue: its label goes with it, and is what it
    is searched for by.
    """
    table, clusters = schema.tickets, schema.clusters
    query = (
        select(table.c.cluster_id)
        .join(clusters, and_(clusters.c.space == table.c.space, clusters.c.cluster_id == table.c.cluster_id))
        .where(
            table.c.space == space,
            clusters.c.merged_into == cluster_id,
            table.c.state.in_([TicketState.OPEN, *UNSETTLED]),
        )
        .order_by(table.c.opened_at.nulls_last(), table.c.cluster_id)
        .limit(1)
    )
    heir_of = (await connection.execute(query)).scalar_one_or_none()
    if heir_of is None:
        return None
    for moved in (table, schema.quotes):
        await connection.execute(
            update(moved).where(moved.c.space == space, moved.c.cluster_id == heir_of).values(cluster_id=cluster_id)
        )
    return await ticket(connection, space, cluster_id)


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
        "origin": CREATED,
    }
    return await take(connection, values)


async def take(connection: AsyncConnection, values: dict[str, Any]) -> bool:
    """Write a row where there is none, or one that stands for nothing in the tracker; tell whether it was written."""
    table = schema.tickets
    statement = insert_into(connection, table).values({name: storable(value) for name, value in values.items()})
    again = statement.on_conflict_do_update(
        index_elements=["space", "cluster_id"],
        set_={name: statement.excluded[name] for name in values if name not in {"space", "cluster_id"}},
        where=table.c.state.in_([TicketState.WAITING, TicketState.REFUSED]),
    )
    return (await connection.execute(again)).rowcount == 1


async def look_again(connection: AsyncConnection, space: str, cluster_id: str) -> None:
    """Let the sink decide about a cluster again, though it did not change."""
    decisions = schema.decisions
    await connection.execute(
        update(decisions)
        .where(decisions.c.space == space, decisions.c.cluster_id == cluster_id)
        .values(due_at=await space_now(connection, space))
    )


async def retry(connection: AsyncConnection, space: str, cluster_id: str) -> bool:
    """Let a create be repeated: a person has looked, and there is no issue."""
    table = schema.tickets
    doubtful = table.c.state.in_([TicketState.UNCERTAIN, TicketState.REFUSED])
    values = {"state": TicketState.WAITING, "problem": "to be created again, said a person", "next_find_at": None}
    return await _set(connection, space, cluster_id, values, doubtful)


async def confirm(
    connection: AsyncConnection, space: str, cluster_id: str, ref: IssueRef, sent_hash: str | None, now: datetime
) -> bool:
    """Note the issue that exists now; False when another worker did so before."""
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
    return await _set(connection, space, cluster_id, values, schema.tickets.c.state != TicketState.OPEN)


async def set_state(
    connection: AsyncConnection,
    space: str,
    cluster_id: str,
    state: TicketState,
    problem: str,
    next_find_at: datetime | None = None,
    finds: int = 0,
) -> None:
    """Note that a create did not, or may not have, come to an issue; nothing when its outcome is known by now."""
    values = {"state": state, "problem": problem, "next_find_at": next_find_at, "finds": finds}
    await _set(connection, space, cluster_id, values, schema.tickets.c.state.in_(UNSETTLED))


async def note_update(
    connection: AsyncConnection,
    space: str,
    cluster_id: str,
    facts: ClusterFacts,
    sent_hash: str | None,
    now: datetime,
    problem: str | None,
) -> None:
    """Note what the issue says now, or why the tracker would not have it."""
    values = {
        "people": facts.people,
        "messages": facts.messages,
        "platforms": list(facts.platforms),
        "sent_hash": sent_hash,
        "updated_at": now,
        "problem": problem,
    }
    await _set(connection, space, cluster_id, values)


async def claim_comment(
    connection: AsyncConnection, space: str, cluster_id: str, now: datetime, until: datetime
) -> bool:
    """Claim the right to write the first comment until then: two workers would write two."""
    table = schema.tickets
    free = or_(table.c.next_find_at.is_(None), table.c.next_find_at <= now)
    unwritten = and_(table.c.state == TicketState.OPEN, table.c.comment_id.is_(None))
    return await _set(connection, space, cluster_id, {"next_find_at": until}, and_(unwritten, free))


async def release_comment(connection: AsyncConnection, space: str, cluster_id: str) -> None:
    """Give the claim back: the comment was not written."""
    await _set(connection, space, cluster_id, {"next_find_at": None}, schema.tickets.c.state == TicketState.OPEN)


async def intend_quotes(connection: AsyncConnection, space: str, cluster_id: str, quoted: Sequence[Quoted]) -> None:
    """Remember, before a comment is written, what it will quote beside what it may quote already.

    Of a message that is there already the old revision stays: it may be all that was ever written.
    """
    if quoted:
        await insert_missing(connection, schema.quotes, _quote_rows(space, cluster_id, quoted))


async def note_comment(
    connection: AsyncConnection, space: str, cluster_id: str, comment_id: str, quoted: Sequence[Quoted]
) -> None:
    """Remember the quotes comment ("": people deleted it) and which revision of which message it quotes."""
    await _set(connection, space, cluster_id, {"comment_id": comment_id, "next_find_at": None})
    table = schema.quotes
    await connection.execute(delete(table).where(table.c.space == space, table.c.cluster_id == cluster_id))
    if quoted and comment_id:
        await connection.execute(insert(table), _quote_rows(space, cluster_id, quoted))


def _quote_rows(space: str, cluster_id: str, quoted: Sequence[Quoted]) -> list[dict[str, Any]]:
    own = {"space": space, "cluster_id": cluster_id}
    return [own | {"platform": ref.platform, "message_id": ref.message_id, "seq": seq} for ref, seq in quoted]


async def uncommented(connection: AsyncConnection) -> list[tuple[str, str]]:
    """Return (space, cluster id) of tickets whose quotes comment was never written: a process died before it."""
    table = schema.tickets
    query = select(table.c.space, table.c.cluster_id).where(
        table.c.state == TicketState.OPEN, table.c.comment_id.is_(None)
    )
    return [(row.space, row.cluster_id) for row in await connection.execute(query)]


async def stale_quotes(connection: AsyncConnection) -> list[tuple[str, str]]:
    """Return (space, cluster id) of tickets that quote what was edited, deleted or set aside (a raid) since."""
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
        .where(or_(messages.c.seq != quotes.c.seq, messages.c.status != Status.CLUSTERED))
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
    return (await connection.execute(select(table).where(table.c.state.in_(UNSETTLED)))).all()


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


async def spaces(connection: AsyncConnection) -> list[str]:
    """Return the spaces that have begun."""
    return list(await connection.scalars(select(schema.spaces.c.space).order_by(schema.spaces.c.space)))


async def space_now(connection: AsyncConnection, space: str) -> datetime:
    """Return the space's clock: event time, moved by messages and ticks."""
    query = select(schema.spaces.c.now).where(schema.spaces.c.space == space)
    now: datetime = (await connection.execute(query)).scalar_one()
    return now


async def space_seq(connection: AsyncConnection, space: str) -> int:
    """Return how many entries the space's journal has."""
    seq: int = (
        await connection.execute(select(schema.spaces.c.seq).where(schema.spaces.c.space == space))
    ).scalar_one()
    return seq


async def decided(connection: AsyncConnection, space: str, cluster_id: str) -> int | None:
    """Return the cluster's version that was last decided about."""
    table = schema.decisions
    query = select(table.c.version).where(table.c.space == space, table.c.cluster_id == cluster_id)
    return await connection.scalar(query)


async def _set(
    connection: AsyncConnection,
    space: str,
    cluster_id: str,
    values: dict[str, Any],
    condition: ColumnElement[bool] | None = None,
) -> bool:
    """Change a row, when `condition` holds of it still."""
    table = schema.tickets
    clean = {name: storable(value) for name, value in values.items()}
    statement = update(table).where(table.c.space == space, table.c.cluster_id == cluster_id).values(**clean)
    if condition is not None:
        statement = statement.where(condition)
    return (await connection.execute(statement)).rowcount == 1
