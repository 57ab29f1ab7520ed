"""Why a cluster is where it is: its facts, the last decision, its history and what people ordered.

Reads only. Texts are returned as strangers wrote them: whoever shows them escapes them for his medium.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from pipeline.decide import ClusterFacts
from pipeline.errors import FatalError
from pipeline.settings import PolicySettings
from pipeline.store import schema
from pipeline.store.backlog import verdicts
from pipeline.store.database import Database
from pipeline.store.facts import cluster_facts, evidence, frequent_cues, release_after, typical
from pipeline.store.reports import Ticket, reading, tickets_of

QUOTES: Final = 5
CUES: Final = 3


@dataclass(frozen=True, slots=True)
class Step:
    """One step in a cluster's history; `other` is the other cluster's number."""

    seq: int
    what: str
    other: int | None
    command_id: str | None = None
    """The command that did it; None when a fit did."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """The last decision about a cluster."""

    action: str
    rule: str
    reason: str
    at: datetime
    due_at: datetime | None
    current: bool
    """False when the cluster changed since, and the sink has yet to look at it again."""


@dataclass(frozen=True, slots=True)
class Order:
    """A person's command about a cluster."""

    command_id: str
    name: str
    by: str
    at: datetime
    value: str | None
    in_force: bool
    other: int | None = None
    """Number of the second cluster: of a merge, of two that were separated, or what was split off."""


@dataclass(frozen=True, slots=True)
class Quote:
    """A typical message, without its author."""

    at: datetime
    text: str
    permalink: str | None


@dataclass(frozen=True, slots=True)
class Alike:
    """An issue that people filed, beside the cluster."""

    key: str
    url: str
    summary: str
    score: float | None
    """Likeness; None where a person named the issue."""
    verdict: str
    by: str | None
    """Who said so; None: the program."""


@dataclass(frozen=True, slots=True)
class Why:
    """All that is known of one cluster."""

    cluster_id: str
    facts: ClusterFacts
    ruling: Ruling | None
    ticket: Ticket | None
    lineage: tuple[Step, ...]
    commands: tuple[Order, ...]
    release: str | None
    cues: tuple[tuple[str, int], ...]
    """Wordings that speak for the kinds of its newest messages, with how many people used each."""
    quotes: tuple[Quote, ...]
    filed: tuple[Alike, ...] = ()
    """Issues that people filed and that were compared with it, the likest first."""


async def find_cluster(database: Database, space: str, named: str) -> str:
    """Return the id of the cluster that a person names: "#12", "12", its id, or its ticket's key.

    Raises
    ------
    FatalError
        When there is no such cluster; says what there is.
    """
    async with reading(database) as connection:
        return await _find(connection, space, named)


async def why(database: Database, space: str, named: str, policy: PolicySettings) -> Why:
    """Return all that is known of a cluster, named as for `find_cluster`.

    Parameters
    ----------
    policy : PolicySettings
        The one in force, for what it counts.

    Raises
    ------
    FatalError
        When there is no such cluster.
    """
    async with reading(database) as connection:
        cluster_id = await _find(connection, space, named)
        found = await cluster_facts(connection, space, cluster_id, policy)
        if found is None:
            raise FatalError(f"nobody is left in cluster {named}: all its messages were deleted")
        facts, version = found
        said = await evidence(connection, space, cluster_id)
        tickets = await tickets_of(connection, space, cluster_id)
        return Why(
            cluster_id=cluster_id,
            facts=facts,
            ruling=await _ruling(connection, space, cluster_id, version),
            ticket=tickets[0] if tickets else None,
            lineage=await _lineage(connection, space, cluster_id),
            commands=await _commands(connection, space, cluster_id),
            release=release_after(said),
            cues=tuple(frequent_cues(said, CUES)),
            filed=tuple(
                Alike(row.issue_key, row.url, row.summary, row.score, row.verdict, row.by)
                for row in await verdicts(connection, space, cluster_id)
            ),
            quotes=tuple(Quote(item.at, item.text, item.permalink) for item in typical(said, QUOTES)),
        )


async def command_in_force(database: Database, space: str, command_id: str) -> bool | None:
    """Tell whether a command is in force; None while the owner of the space has not taken it."""
    table = schema.commands
    query = select(table.c.in_force).where(table.c.space == space, table.c.command_id == command_id)
    async with reading(database) as connection:
        return await connection.scalar(query)


async def command_cluster(database: Database, space: str, command_id: str) -> str:
    """Return the cluster that a command in force is about; FatalError when there is none."""
    table = schema.commands
    query = select(table.c.cluster_id).where(table.c.space == space, table.c.command_id == command_id, table.c.in_force)
    async with reading(database) as connection:
        found = await connection.scalar(query)
    if found is None:
        raise FatalError(f"no command {command_id} is in force: `groundswell why CLUSTER` lists a cluster's commands")
    return str(found)


async def _find(connection: AsyncConnection, space: str, named: str) -> str:
    clusters, tickets = schema.clusters, schema.tickets
    digits = named.removeprefix("#")
    query = select(clusters.c.cluster_id).where(clusters.c.space == space)
    if digits.isascii() and digits.isdecimal() and len(digits) <= 9:
        by_number = await connection.scalar(query.where(clusters.c.number == int(digits)))
        if by_number is not None:
            return str(by_number)
    by_id = await connection.scalar(query.where(clusters.c.cluster_id == named))
    if by_id is not None:
        return str(by_id)
    by_key = await connection.scalar(
        select(tickets.c.cluster_id).where(tickets.c.space == space, func.upper(tickets.c.issue_key) == named.upper())
    )
    if by_key is not None:
        return str(by_key)
    newest = await connection.scalar(select(func.max(clusters.c.number)).where(clusters.c.space == space))
    there = f"its clusters are #1 to #{newest}" if newest else "it has none yet"
    raise FatalError(
        f"no cluster {named!r} in space {space} ({there}): name it by number (12 or '#12'), id, or ticket key; "
        f"`groundswell tickets` lists those with a ticket"
    )


async def _ruling(connection: AsyncConnection, space: str, cluster_id: str, version: int) -> Ruling | None:
    table = schema.decisions
    query = select(table).where(table.c.space == space, table.c.cluster_id == cluster_id)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        return None
    return Ruling(row.action, row.rule, row.reason, row.at, row.due_at, current=row.version >= version)


async def _lineage(connection: AsyncConnection, space: str, cluster_id: str) -> tuple[Step, ...]:
    """Return what happened to a cluster, and what others became part of it."""
    table, clusters = schema.lineage, schema.clusters
    rows = (
        await connection.execute(
            select(table)
            .where(table.c.space == space, or_(table.c.cluster_id == cluster_id, table.c.other == cluster_id))
            .order_by(table.c.seq, table.c.id)
        )
    ).all()
    ids = {row.cluster_id for row in rows} | {row.other for row in rows if row.other is not None}
    found = await connection.execute(
        select(clusters.c.cluster_id, clusters.c.number).where(
            clusters.c.space == space, clusters.c.cluster_id.in_(sorted(ids))
        )
    )
    numbers = {row.cluster_id: row.number for row in found}
    steps = []
    for row in rows:
        own = row.cluster_id == cluster_id
        what = {"merged": "merged into", "split": "split from", "revived": "taken out again of"}.get(row.what, row.what)
        if not own:
            what = {"merged": "took in", "split": "gave off", "revived": "gave back"}.get(row.what, row.what)
        steps.append(Step(row.seq, what, numbers.get(row.other if own else row.cluster_id), row.command_id))
    return tuple(steps)


async def _commands(connection: AsyncConnection, space: str, cluster_id: str) -> tuple[Order, ...]:
    """Return the commands that name a cluster, as the first or as the second."""
    table, clusters = schema.commands, schema.clusters
    named = or_(table.c.cluster_id == cluster_id, table.c.other == cluster_id)
    rows = (await connection.execute(select(table).where(table.c.space == space, named).order_by(table.c.seq))).all()
    seconds = {row.command_id: _second(row, cluster_id) for row in rows}
    wanted = sorted(one for one in seconds.values() if one is not None)
    found = await connection.execute(
        select(clusters.c.cluster_id, clusters.c.number).where(
            clusters.c.space == space, clusters.c.cluster_id.in_(wanted)
        )
    )
    numbers = {row.cluster_id: row.number for row in found}
    return tuple(
        Order(
            command_id=row.command_id,
            name=row.name,
            by=row.by,
            at=row.at,
            value=row.value,
            in_force=row.in_force,
            other=numbers.get(seconds[row.command_id] or ""),
        )
        for row in rows
    )


def _second(row: Row[Any], cluster_id: str) -> str | None:
    """Return the cluster beside this one that a command is about."""
    if row.other is not None:
        return str(row.cluster_id if row.other == cluster_id else row.other)
    return row.effect["cluster"] if row.effect is not None else None
