"""What a rebuild reads, and the one transaction in which it puts a space on its new footing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from sqlalchemy import and_, bindparam, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from pipeline.entries import Entry, Posted, Vector
from pipeline.fold import SpaceState
from pipeline.records import Kinds, MessageRef
from pipeline.refold import Before, Refolded
from pipeline.state import Changes, Cluster, FoldSettings, Lineage, LineageEvent, Member, Move, Status
from pipeline.store import schema
from pipeline.store.commands import effect_row
from pipeline.store.journal import entry_of
from pipeline.store.spaces import MessageDetails, _members, load_state, save


@dataclass(frozen=True, slots=True)
class Stored:
    """A message's newest text, with the vector that stands for it."""

    ref: MessageRef
    text: str
    channel: str | None
    permalink: str | None
    release: str | None
    model: str | None
    vector: Vector | None
    kinds: Kinds
    """As it was read when it came, by the classifier that its recipe names."""


async def models_of(connection: AsyncConnection, space: str) -> dict[str, int]:
    """Return how many of a space's vectors each model made."""
    table = schema.vectors
    rows = await connection.execute(
        select(table.c.model, func.count()).where(table.c.space == space).group_by(table.c.model)
    )
    return {row.model: int(row[1]) for row in rows}


async def read_journal(connection: AsyncConnection, space: str) -> list[Entry]:
    """Return a space's journal in order; messages that were erased since read as deletions."""
    journal, vectors = schema.journal, schema.vectors
    query = (
        select(journal, vectors.c.vector)
        .outerjoin(vectors, and_(vectors.c.space == journal.c.space, vectors.c.seq == journal.c.seq))
        .where(journal.c.space == space)
        .order_by(journal.c.seq)
    )
    return [entry_of(row, _vector(row.vector)) for row in await connection.execute(query)]


async def read_texts(connection: AsyncConnection, space: str) -> list[Stored]:
    """Return the newest revision of every message that is not erased, in order of arrival."""
    messages, vectors = schema.messages, schema.vectors
    query = (
        select(messages, vectors.c.vector, vectors.c.model)
        .outerjoin(vectors, and_(vectors.c.space == messages.c.space, vectors.c.seq == messages.c.seq))
        .where(messages.c.space == space, messages.c.status != Status.ERASED)
        .order_by(messages.c.seq)
    )
    return [
        Stored(
            MessageRef(row.platform, row.message_id),
            row.text,
            row.channel,
            row.permalink,
            row.release,
            row.model,
            _vector(row.vector),
            Kinds.of(row.kinds, row.kind, row.cues, row.recipe),
        )
        for row in await connection.execute(query)
    ]


def _vector(stored: bytes | None) -> Vector | None:
    return np.frombuffer(stored, "<f2").astype(np.float32) if stored is not None else None


async def tables_of(
    connection: AsyncConnection, space: str, settings: FoldSettings
) -> tuple[SpaceState, dict[MessageRef, Member]]:
    """Return a space as its tables have it: its state, and every message."""
    state = await load_state(connection, space, settings)
    return state, {m.ref: m for m in await _members(connection, space, schema.messages.c.space == space)}


def before_of(state: SpaceState, members: Mapping[MessageRef, Member]) -> Before:
    """Return what a rebuild has to know of the tables."""
    homes = {m.ref: m.cluster_id for m in members.values() if m.cluster_id is not None}
    return Before(state.seq, state.next_number, state.clusters, homes)


async def switch(
    connection: AsyncConnection, done: Refolded, details: Mapping[MessageRef, MessageDetails], before: Before
) -> None:
    """Exchange journal, vectors, members and clusters of a space for the rebuilt ones.

    Call it inside a writing transaction that holds the space's lease. Tickets, reactions, accounts and the history of
    clusters stay; what names an entry of the old journal is led to its place in the new one.

    Parameters
    ----------
    details
        Of every message that has a text.
    """
    state = done.state
    space = state.space
    changes = state.drain()
    changes.lineage = _new_history(state, changes)
    changes.moves = _moves(state, before)
    by_seq = {entry.seq: details[entry.body.ref] for entry in done.entries if isinstance(entry.body, Posted)}
    for table in (schema.journal, schema.vectors):
        await connection.execute(delete(table).where(table.c.space == space))
    await save(connection, state, changes, done.entries, by_seq)
    commands = schema.commands
    for command_id, effect in state.effects.items():
        mine = and_(commands.c.space == space, commands.c.command_id == command_id)
        await connection.execute(update(commands).where(mine).values(effect=effect_row(effect)))
    moved = [{"old_seq": old, "new_seq": new} for old, new in done.seqs.items()]
    for table in (schema.commands, schema.quotes):
        there = set(await connection.scalars(select(table.c.seq).where(table.c.space == space)))
        if rows := [row for row in moved if row["old_seq"] in there]:
            # New ones are all greater than the old: no row is led on twice.
            statement = (
                update(table)
                .where(table.c.space == space, table.c.seq == bindparam("old_seq"))
                .values(seq=bindparam("new_seq"))
            )
            await connection.execute(statement, rows)


def _moves(state: SpaceState, before: Before) -> list[Move]:
    """Return who stands elsewhere than before: how the fold came there on its way is of no use to anybody."""
    return [
        Move(state.seq, ref, before.homes.get(ref), member.cluster_id, "rebuild")
        for ref, member in sorted(state.members.items())
        if member.status is not Status.ERASED and member.cluster_id != before.homes.get(ref)
    ]


def _new_history(state: SpaceState, changes: Changes) -> list[LineageEvent]:
    """Leave out what the tables say already: births of old clusters, and merges that had happened."""
    kept = []
    for event in changes.lineage:
        old = event.cluster_id in state.carried
        if not old or event.what is Lineage.REBUILT or (event.what is Lineage.MERGED and event.other is not None):
            kept.append(event)
    return kept


@dataclass(frozen=True, slots=True)
class Differences:
    """Where a journal folded again and the tables say different things."""

    messages: tuple[MessageRef, ...]
    clusters: tuple[str, ...]
    header: tuple[str, ...]
    erased: int
    """Messages erased since they were posted: the fold had seen them, and a replay cannot."""

    @property
    def any(self) -> bool:
        """Whether there are any."""
        return bool(self.messages or self.clusters or self.header)


def compare(again: SpaceState, tables: SpaceState, members: Mapping[MessageRef, Member]) -> Differences:
    """Return how a replay differs from the tables. Numbers are the tables': a replay may count fewer."""
    refs = [ref for ref in again.members.keys() | members.keys() if _differs(again.members.get(ref), members.get(ref))]
    ids = [
        cluster_id
        for cluster_id in again.clusters.keys() | tables.clusters.keys()
        if _cluster_differs(again.clusters.get(cluster_id), tables.clusters.get(cluster_id))
    ]
    header = [name for name in ("seq", "now", "floor", "commands") if getattr(again, name) != getattr(tables, name)]
    erased = sum(m.status is Status.ERASED for m in members.values())
    return Differences(tuple(sorted(refs)), tuple(sorted(ids)), tuple(header), erased)


def _differs(one: Member | None, other: Member | None) -> bool:
    if one is None or other is None:
        return True
    if one.status is other.status is Status.ERASED:
        return False
    return _place(one) != _place(other)


def _place(member: Member) -> tuple[object, ...]:
    return (
        *(member.seq, member.author, member.at, member.status, member.reason, member.cluster_id, member.follows),
        *(member.reply_to, member.via),
        member.fits if member.status is Status.POOL else None,
    )


def _cluster_differs(one: Cluster | None, other: Cluster | None) -> bool:
    if one is None or other is None:
        return True
    measured = {"number", "total", "log_kinds", "threshold", "centroid"}
    names = [name for name in Cluster.__dataclass_fields__ if name not in measured]
    if any(getattr(one, name) != getattr(other, name) for name in names):
        return True
    return not (
        one.total.shape == other.total.shape
        and np.allclose(one.total, other.total, atol=1e-6)
        and np.allclose(one.log_kinds, other.log_kinds, atol=1e-6)
        and np.isclose(one.threshold, other.threshold)
        and _same_centroid(one, other)
    )


def _same_centroid(one: Cluster, other: Cluster) -> bool:
    if one.centroid is None or other.centroid is None:
        return one.centroid is other.centroid
    return one.centroid.shape == other.centroid.shape and bool(np.allclose(one.centroid, other.centroid, atol=1e-5))


async def repair(
    connection: AsyncConnection,
    again: SpaceState,
    tables: SpaceState,
    members: Mapping[MessageRef, Member],
    found: Differences,
) -> None:
    """Write what a replay found where the tables differ; call it as `switch`.

    A cluster that the tables have and the replay does not stays, empty, merged into where most of its messages are.
    """
    for cluster_id, cluster in again.clusters.items():
        known = tables.clusters.get(cluster_id)
        cluster.number = known.number if known is not None else 0
    again.next_number = tables.next_number
    for cluster in sorted((c for c in again.clusters.values() if c.number == 0), key=lambda c: c.born_seq):
        cluster.number, again.next_number = again.next_number, again.next_number + 1
    for cluster_id in tables.clusters.keys() - again.clusters.keys():
        _end(again, tables.clusters[cluster_id], members)
    changes = Changes(
        members={ref: again.members[ref] for ref in found.messages if ref in again.members and ref in members},
        clusters={cluster_id: again.clusters[cluster_id] for cluster_id in found.clusters},
    )
    for cluster in changes.clusters.values():
        cluster.version = max(again.seq, tables.seq)
    await save(connection, again, changes, (), {})


def _end(again: SpaceState, cluster: Cluster, members: Mapping[MessageRef, Member]) -> None:
    where: dict[str, int] = {}
    for ref, member in members.items():
        if member.cluster_id == cluster.cluster_id and ref in again.members:
            home = again.members[ref].cluster_id or ""
            where[home] = where.get(home, 0) + 1
    best = max(sorted(where), key=lambda home: where[home], default="")
    if cluster.merged_into is None and best and where[best] * 2 >= sum(where.values()):
        cluster.merged_into = best
    cluster.count, cluster.total = 0, np.zeros_like(cluster.total)
    cluster.log_kinds, cluster.held_by = np.zeros_like(cluster.log_kinds), None
    again.clusters[cluster.cluster_id] = cluster
