"""A cluster and an issue that people filed: made partners, or kept apart."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import and_, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from pipeline.decide import ClusterFacts, Match
from pipeline.store import backlog, ledger, schema
from pipeline.store.backlog import Verdict
from pipeline.store.ledger import Ticket, TicketState
from pipeline.store.statements import one_at_a_time


async def link_issue(
    connection: AsyncConnection,
    space: str,
    cluster_id: str,
    tracker: str,
    match: Match,
    label: str,
    facts: ClusterFacts,
    reason: str,
    *,
    by: str | None,
) -> bool:
    """Make an issue a cluster's ticket; False when one of the two has a partner already.

    Parameters
    ----------
    by : str or None
        Who said so; None: the program.
    """
    now = datetime.now(UTC)
    if not await _link(connection, space, cluster_id, tracker, match, label, facts, reason, now):
        return False
    await backlog.note_likely(connection, space, cluster_id, None, now)
    await backlog.note_verdict(connection, space, cluster_id, match, Verdict.LINKED, by, now)
    await ledger.look_again(connection, space, cluster_id)
    return True


async def part(connection: AsyncConnection, space: str, cluster_id: str, by: str) -> tuple[str, bool] | None:
    """Say that a cluster's linked issue, or the one proposed for it, is another matter.

    Returns
    -------
    (issue key, whether it was linked), or None when there is neither.
    """
    now = datetime.now(UTC)
    row: Ticket | None = await ledger.ticket(connection, space, cluster_id)
    if row is not None and row.origin == ledger.LINKED and row.state == TicketState.OPEN:
        match = Match(row.issue_id, row.issue_key, row.url, row.summary, "", done=False, score=None)
        await backlog.note_verdict(connection, space, cluster_id, match, Verdict.DISTINCT, by, now)
        await _unlink(connection, space, cluster_id)
        return str(row.issue_key), True
    for one in await backlog.verdicts(connection, space, cluster_id):
        if one.verdict == Verdict.LIKELY:
            await backlog.set_verdict(connection, space, cluster_id, one.issue_id, Verdict.DISTINCT, by, now)
            await ledger.look_again(connection, space, cluster_id)
            return str(one.issue_key), False
    return None


async def _link(
    connection: AsyncConnection,
    space: str,
    cluster_id: str,
    tracker: str,
    issue: Match,
    label: str,
    facts: ClusterFacts,
    reason: str,
    now: datetime,
) -> bool:
    """Make an issue that people filed a cluster's ticket; False when one of the two has a partner already."""
    table = schema.tickets
    # Two clusters, looked at by two sinks at once, may be like one issue.
    await one_at_a_time(connection, f"link {space} {tracker} {issue.issue_id}")
    same = and_(table.c.space == space, table.c.tracker == tracker, table.c.issue_id == issue.issue_id)
    if await connection.scalar(select(table.c.cluster_id).where(same).limit(1)) is not None:
        return False
    values = {
        "space": space,
        "cluster_id": cluster_id,
        "tracker": tracker,
        "origin": ledger.LINKED,
        "state": TicketState.OPEN,
        "label": label,
        "issue_id": issue.issue_id,
        "issue_key": issue.key,
        "url": issue.url,
        "kind": facts.kind,
        "summary": issue.summary[:255],
        "reason": reason,
        "reserved_at": now,
        "opened_at": facts.now,
        "updated_at": facts.now,
        "people": facts.people,
        "messages": facts.messages,
        "platforms": list(facts.platforms),
        "problem": None,
        "finds": 0,
        "next_find_at": None,
    }
    return await ledger.take(connection, values)


async def _unlink(connection: AsyncConnection, space: str, cluster_id: str) -> None:
    """Note that a linked issue is another matter; the sink takes its comment away, and then the row."""
    table = schema.tickets
    mine = and_(table.c.space == space, table.c.cluster_id == cluster_id)
    linked = and_(mine, table.c.origin == ledger.LINKED, table.c.state == TicketState.OPEN)
    await connection.execute(update(table).where(linked).values(state=TicketState.UNLINKED))


async def unlinked(connection: AsyncConnection, now: datetime) -> Sequence[Ticket]:
    """Return the rows of linked issues that are another matter, unless somebody may be writing a comment there."""
    table = schema.tickets
    idle = or_(table.c.comment_id.is_not(None), table.c.next_find_at.is_(None), table.c.next_find_at <= now)
    return (await connection.execute(select(table).where(table.c.state == TicketState.UNLINKED, idle))).all()


async def remove(connection: AsyncConnection, space: str, cluster_id: str) -> None:
    """Forget a linked issue, and let the cluster be decided about anew."""
    table, quotes = schema.tickets, schema.quotes
    await connection.execute(delete(quotes).where(quotes.c.space == space, quotes.c.cluster_id == cluster_id))
    gone = and_(table.c.space == space, table.c.cluster_id == cluster_id, table.c.state == TicketState.UNLINKED)
    await connection.execute(delete(table).where(gone))
    await ledger.look_again(connection, space, cluster_id)
