"""What people ask the database about a space: the account of all events, how far it is, its tickets.

Reads only. Texts are returned as they stand: whoever shows them escapes them for his medium.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, func, or_, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from pipeline.errors import FatalError
from pipeline.state import Status
from pipeline.store import schema
from pipeline.store.database import Database
from pipeline.store.ledger import TicketState

REDELIVERED: Final = "redelivered"
DUPLICATE: Final = "duplicate"
_UNSETTLED: Final = (TicketState.RESERVED, TicketState.UNCERTAIN, TicketState.WAITING)


FOREIGN_WARNING: Final = 0.01
"""Share of messages in languages that the model does not serve from which on people are warned. The detector calls
one English message in some thousands foreign (measured), so that a hundredth is no mistake of its."""
FOREIGN_REMEDY: Final = (
    "name a multilingual model in model.name and its languages in model.languages, then `groundswell rebuild`"
)
_LANGUAGE: Final = "language "


@dataclass(frozen=True, slots=True)
class Foreign:
    """Messages set aside because the model does not serve their language."""

    counts: Mapping[str, int]
    """By ISO 639-1 code, most first."""
    messages: int
    """All messages that are not erased."""

    @property
    def share(self) -> float:
        """Of all messages, 0 to 1."""
        return sum(self.counts.values()) / max(1, self.messages)

    def __str__(self) -> str:
        each = (f"{count:,} in {code} ({count / max(1, self.messages):.1%})" for code, count in self.counts.items())
        return ", ".join(each)


@dataclass(frozen=True, slots=True)
class Account:
    """What became of every event of a space. Each event is counted once, however often Kafka delivered it."""

    space: str
    now: datetime | None
    """The space's clock: event time of its newest event."""
    taken: Mapping[str, int]
    """Events by type ("message.created"), repeats apart under "duplicate"."""
    redelivered: int
    """Deliveries of events that had been taken before; not events of their own."""
    messages: Mapping[str, int]
    """Messages by status: clustered, pool, aside, expired, erased."""
    aside: Mapping[str, int]
    """Messages set aside, by reason."""
    unmatched: int
    """Creations taken less messages known. Above 0: messages posted anew under a known id; below: messages known
    only from their edit or deletion."""
    clusters: int
    tickets: int
    no_feedback: int = 0
    """Of the messages in clusters, those in one that a person called no feedback."""

    @property
    def events(self) -> int:
        """Events taken, repeats included."""
        return sum(self.taken.values())

    @property
    def foreign(self) -> Foreign:
        """Return what was set aside for its language."""
        counts = Counter({r.removeprefix(_LANGUAGE): n for r, n in self.aside.items() if r.startswith(_LANGUAGE)})
        there = sum(count for status, count in self.messages.items() if status != Status.ERASED)
        return Foreign(dict(counts.most_common()), there)


@dataclass(frozen=True, slots=True)
class Ticket:
    """A line of the ledger with its cluster. `since` is the cluster's first message."""

    number: int
    cluster_id: str
    kind: str
    summary: str
    people: int
    messages: int
    platforms: tuple[str, ...]
    since: datetime | None
    reason: str
    tracker: str
    key: str | None
    url: str | None
    state: str
    problem: str | None


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a space holds."""

    clusters: int
    pool: int


@dataclass(frozen=True, slots=True)
class Progress:
    """What is still to be done for a space in the database, for whoever waits for the end."""

    seq: int
    seen_since_fit: int
    events: int
    """Events taken, repeats included."""
    clusters: int
    undecided: int
    """Live clusters that changed since the last decision about them."""
    outbox: int
    tickets: int
    unsettled: int
    """Tickets whose issue is not known to exist, or that wait for the tracker."""


async def account(database: Database, space: str) -> Account:
    """Return the account of a space."""
    async with reading(database) as connection:
        taken = await _taken(connection, space)
        now = await connection.scalar(select(schema.spaces.c.now).where(schema.spaces.c.space == space))
        table = schema.messages
        rows = await connection.execute(
            select(table.c.status, table.c.reason, func.count())
            .where(table.c.space == space)
            .group_by(table.c.status, table.c.reason)
        )
        messages: Counter[str] = Counter()
        aside: Counter[str] = Counter()
        for status, reason, count in rows:
            messages[status] += count
            if status == Status.ASIDE:
                aside[reason or "no reason"] += count
        tickets = await connection.scalar(
            select(func.count()).select_from(schema.tickets).where(schema.tickets.c.space == space)
        )
        clusters = (await _sizes(connection)).get(space, Sizes(0, 0)).clusters
        rejected = select(schema.clusters.c.cluster_id).where(
            schema.clusters.c.space == space, schema.clusters.c.rejected
        )
        no_feedback = await connection.scalar(
            select(func.count()).select_from(table).where(table.c.space == space, table.c.cluster_id.in_(rejected))
        )
    redelivered = taken.pop(REDELIVERED, 0)
    return Account(
        space=space,
        now=now,
        taken=dict(taken.most_common()),
        redelivered=redelivered,
        messages=dict(messages),
        aside=dict(aside.most_common()),
        unmatched=taken.get("message.created", 0) - messages.total(),
        clusters=clusters,
        tickets=tickets or 0,
        no_feedback=no_feedback or 0,
    )


async def taken_by_partition(database: Database, broker: str | None = None) -> dict[int, int]:
    """Return how many events of each partition all spaces together have taken, of one Kafka cluster or of all."""
    table = schema.accounts
    query = select(table.c.partition, table.c.counts)
    if broker is not None:
        query = query.where(table.c.broker == broker)
    found: Counter[int] = Counter()
    async with reading(database) as connection:
        for partition, counts in await connection.execute(query):
            found[partition] += sum(counts.values()) - counts.get(REDELIVERED, 0)
    return dict(found)


async def sizes(database: Database) -> dict[str, Sizes]:
    """Return the size of each space."""
    async with reading(database) as connection:
        return await _sizes(connection)


async def progress(database: Database, space: str) -> Progress:
    """Return how far a space is."""
    clusters, decisions = schema.clusters, schema.decisions
    async with reading(database) as connection:
        row = (await connection.execute(select(schema.spaces).where(schema.spaces.c.space == space))).one_or_none()
        taken = await _taken(connection, space)
        decided = (decisions.c.space == clusters.c.space) & (decisions.c.cluster_id == clusters.c.cluster_id)
        undecided = await connection.scalar(
            select(func.count())
            .select_from(clusters.outerjoin(decisions, decided))
            .where(
                clusters.c.space == space,
                _live(),
                or_(decisions.c.version.is_(None), decisions.c.version < clusters.c.version),
            )
        )
        outbox = await connection.scalar(
            select(func.count()).select_from(schema.outbox).where(schema.outbox.c.space == space)
        )
        of_state: dict[str, int] = dict(
            (
                await connection.execute(
                    select(schema.tickets.c.state, func.count())
                    .where(schema.tickets.c.space == space)
                    .group_by(schema.tickets.c.state)
                )
            )
            .tuples()
            .all()
        )
        live = (await _sizes(connection)).get(space, Sizes(0, 0)).clusters
    return Progress(
        seq=row.seq if row else 0,
        seen_since_fit=row.seen_since_fit if row else 0,
        events=taken.total() - taken[REDELIVERED],
        clusters=live,
        undecided=undecided or 0,
        outbox=outbox or 0,
        tickets=sum(of_state.values()),
        unsettled=sum(of_state.get(state, 0) for state in _UNSETTLED),
    )


async def ticket_list(database: Database, space: str) -> list[Ticket]:
    """Return the tickets of a space, most people first."""
    async with reading(database) as connection:
        return await tickets_of(connection, space)


# -- pieces ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def reading(database: Database) -> AsyncIterator[AsyncConnection]:
    """Open a reading transaction; a database that cannot answer is a FatalError that says what to do."""
    try:
        async with database.read() as connection:
            yield connection
    except SQLAlchemyError as exc:
        cause = getattr(exc, "orig", None) or exc
        raise FatalError(f"cannot read {database!r}: {cause}. Is it migrated? `groundswell migrate`") from exc


def _live() -> Any:
    return schema.clusters.c.merged_into.is_(None) & (schema.clusters.c.count > 0)


async def _taken(connection: AsyncConnection, space: str) -> Counter[str]:
    table = schema.accounts
    taken: Counter[str] = Counter()
    for row in await connection.execute(select(table.c.counts).where(table.c.space == space)):
        taken.update(row.counts)
    return taken


async def _sizes(connection: AsyncConnection) -> dict[str, Sizes]:
    clusters, messages, spaces = schema.clusters, schema.messages, schema.spaces
    live = await connection.execute(select(clusters.c.space, func.count()).where(_live()).group_by(clusters.c.space))
    waiting = await connection.execute(
        select(messages.c.space, func.count()).where(messages.c.status == Status.POOL).group_by(messages.c.space)
    )
    of_clusters = {space: count for space, count in live}
    of_pool = {space: count for space, count in waiting}
    return {
        space: Sizes(of_clusters.get(space, 0), of_pool.get(space, 0))
        for space in await connection.scalars(select(spaces.c.space))
    }


async def tickets_of(connection: AsyncConnection, space: str, cluster_id: str | None = None) -> list[Ticket]:
    """Return a space's tickets, or a cluster's, most people first."""
    tickets, clusters, messages = schema.tickets, schema.clusters, schema.messages
    first = (
        select(messages.c.cluster_id, func.min(messages.c.posted_at).label("since"))
        .where(messages.c.space == space, messages.c.status == Status.CLUSTERED)
        .group_by(messages.c.cluster_id)
        .subquery()
    )
    query = (
        select(tickets, clusters.c.number, first.c.since)
        .join(clusters, (clusters.c.space == tickets.c.space) & (clusters.c.cluster_id == tickets.c.cluster_id))
        .outerjoin(first, first.c.cluster_id == tickets.c.cluster_id)
        .where(tickets.c.space == space)
        .order_by(tickets.c.people.desc(), clusters.c.number)
    )
    if cluster_id is not None:
        query = query.where(tickets.c.cluster_id == cluster_id)
    return [_ticket(row) for row in await connection.execute(query)]


def _ticket(row: Row[Any]) -> Ticket:
    return Ticket(
        number=row.number,
        cluster_id=row.cluster_id,
        kind=row.kind,
        summary=row.summary,
        people=row.people,
        messages=row.messages,
        platforms=tuple(row.platforms),
        since=row.since,
        reason=row.reason,
        tracker=row.tracker,
        key=row.issue_key,
        url=row.url,
        state=row.state,
        problem=row.problem,
    )
