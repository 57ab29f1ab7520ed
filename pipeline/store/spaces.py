"""A space's state in the database: load it, bring back members, write what a batch changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import (
    ColumnElement,
    FromClause,
    Row,
    and_,
    bindparam,
    delete,
    exists,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from models.geometry import View
from pipeline.decisions import recalibrate
from pipeline.entries import Commanded, Entry, Features, Posted
from pipeline.fold import Needs, SpaceState
from pipeline.raid import RAID_MIN_WORDS, RAID_SPAN
from pipeline.records import CommandName, MessageRef
from pipeline.state import Changes, Cluster, FoldSettings, Lineage, Member, Status
from pipeline.store import schema
from pipeline.store.commands import effect_of
from pipeline.store.journal import journal_row
from pipeline.store.moves import move_merged, save_moves
from pipeline.store.statements import naming, upsert


@dataclass(frozen=True, slots=True)
class MessageDetails:
    """What the database keeps of a message and the fold does not need."""

    text: str
    channel: str | None
    permalink: str | None
    release: str | None
    cues: tuple[str, ...]
    model: str
    recipe: str | None = None


async def load_state(connection: AsyncConnection, space: str, settings: FoldSettings) -> SpaceState:
    """Return the state as the last committed transaction left it."""
    state = SpaceState(space, settings)
    header = (await connection.execute(select(schema.spaces).where(schema.spaces.c.space == space))).one_or_none()
    if header is None:
        return state
    state.seq, state.now = header.seq, header.now
    state.seen_since_fit, state.fit_size = header.seen_since_fit, header.fit_size
    state.next_number, state.floor, state.fit_seq = header.next_number, header.floor, header.fit_seq
    table = schema.clusters
    for row in await connection.execute(select(table).where(table.c.space == space).order_by(table.c.number)):
        state.clusters[row.cluster_id] = _cluster(row)
    commands = schema.commands
    for row in await connection.execute(
        select(commands).where(commands.c.space == space, commands.c.seq > 0).order_by(commands.c.seq)
    ):
        state.command_ids.add(row.command_id)
        if row.in_force:
            state.commands[row.command_id] = Commanded(
                row.command_id, CommandName(row.name), row.cluster_id, row.by, row.value, row.other
            )
            state.effects[row.command_id] = effect_of(row.seq, row.effect)
    erased = schema.erased_authors
    for row in await connection.execute(select(erased).where(erased.c.space == space)):
        state.erased_authors.add((row.platform, row.author))
    messages, root = schema.messages, schema.messages.alias()
    state.admit(await _members(connection, space, _stays(messages, state.floor)))
    followed = exists().where(
        root.c.space == space,
        root.c.platform == messages.c.follows_platform,
        root.c.message_id == messages.c.follows_id,
        _stays(root, state.floor),
    )
    state.admit(await _members(connection, space, and_(messages.c.follows_id.is_not(None), followed)))
    remembered = and_(messages.c.seq > state.seq - RAID_SPAN, messages.c.words >= RAID_MIN_WORDS)
    state.admit(await _members(connection, space, remembered))
    state.restore(View.frombytes(header.view) if header.view is not None else None)
    recalibrate(state)
    return state


async def space_model(connection: AsyncConnection, space: str) -> str | None:
    """Return the name of the model that made the space's newest vector; None where there is none."""
    table = schema.vectors
    query = select(table.c.model).where(table.c.space == space).order_by(table.c.seq.desc()).limit(1)
    return await connection.scalar(query) or None


def _stays(messages: FromClause, floor: int) -> ColumnElement[bool]:
    """What `SpaceState.evict` leaves in memory, echoes aside."""
    status = messages.c.status
    in_window = and_(status == Status.CLUSTERED, messages.c.seq >= floor)
    return and_(messages.c.follows_id.is_(None), or_(status == Status.POOL, in_window))


async def prefetch(connection: AsyncConnection, state: SpaceState, needs: Needs) -> None:
    """Bring back from the database the members that a batch will look at, their parents and their echoes."""
    messages = schema.messages
    refs, authors, placed = needs
    found: list[Member] = []
    for platform, author in sorted(authors):
        own = and_(messages.c.platform == platform, messages.c.author == author)
        found += await _members(connection, state.space, own)
    if placed:
        found += await _members(connection, state.space, messages.c.via.in_(sorted(placed)))
    found += await _by_refs(connection, state.space, (refs | {m.ref for m in found}) - state.members.keys())
    # An edit need not repeat what it answers.
    answered = {m.reply_to for m in found if m.ref in refs and m.reply_to is not None}
    found += await _by_refs(connection, state.space, answered - state.members.keys() - {m.ref for m in found})
    near = {m.ref: m for m in found} | {ref: state.members[ref] for ref in refs & state.members.keys()}
    roots = {m.follows for m in near.values() if m.follows is not None}
    found += await _by_refs(connection, state.space, roots - state.members.keys() - near.keys())
    for followers in naming(messages.c.follows_platform, messages.c.follows_id, refs | roots | near.keys()):
        found += await _members(connection, state.space, followers)
    state.admit(found)


async def save(
    connection: AsyncConnection,
    state: SpaceState,
    changes: Changes,
    entries: Sequence[Entry],
    details: Mapping[int, MessageDetails],
) -> None:
    """Write a batch: its journal lines, what it changed, and a line in the outbox per changed cluster.

    Parameters
    ----------
    details : mapping
        Of the messages posted by these entries, by `seq`.
    """
    space = state.space
    if entries:
        await connection.execute(insert(schema.journal), [journal_row(space, entry) for entry in entries])
    await _save_members(connection, space, changes, details)
    await _save_vectors(connection, space, entries, details)
    await _forget(connection, space, changes.erased)
    if changes.erased_authors:
        assert state.now is not None
        rows = [
            {"space": space, "platform": platform, "author": author, "at": state.now}
            for platform, author in sorted(changes.erased_authors)
        ]
        await upsert(connection, schema.erased_authors, rows)
        reactions = schema.reactions
        for platform, author in sorted(changes.erased_authors):
            await connection.execute(
                delete(reactions).where(
                    reactions.c.space == space, reactions.c.platform == platform, reactions.c.author == author
                )
            )
    await save_moves(connection, space, changes)
    for event in changes.lineage:
        # Those of one that is alive again were all in memory when it came to life.
        if event.what is Lineage.MERGED and state.clusters[event.cluster_id].merged_into is not None:
            await move_merged(connection, space, event)
    if written := changes.refitted | changes.clusters:
        await upsert(connection, schema.clusters, [_cluster_row(space, c) for c in written.values()])
    if changes.clusters:
        await connection.execute(
            insert(schema.outbox),
            [{"space": space, "cluster_id": c.cluster_id, "version": c.version} for c in changes.clusters.values()],
        )
    if changes.lineage:
        await connection.execute(
            insert(schema.lineage),
            [
                {
                    "space": space,
                    "seq": e.seq,
                    "cluster_id": e.cluster_id,
                    "what": e.what,
                    "other": e.other,
                    "command_id": e.command_id,
                }
                for e in changes.lineage
            ],
        )
    view = state.centroids.view
    header = {
        "space": space,
        "seq": state.seq,
        "now": state.now,
        "seen_since_fit": state.seen_since_fit + (state.fit.seen if state.fit is not None else 0),
        "fit_size": state.fit_size,
        "floor": state.floor,
        "next_number": state.next_number,
        "view": view.tobytes() if view is not None else None,
        "fit_seq": state.fit_seq,
    }
    await upsert(connection, schema.spaces, [header])


async def _save_members(
    connection: AsyncConnection, space: str, changes: Changes, details: Mapping[int, MessageDetails]
) -> None:
    full, partial = [], []
    for ref, member in changes.members.items():
        if member.seq in details or member.status is Status.ERASED:
            full.append(_message_row(space, member, details.get(member.seq)))
        else:
            partial.append(
                {
                    "k_platform": ref.platform,
                    "k_message_id": ref.message_id,
                    "author": member.author,
                    "posted_at": member.at,
                    "status": member.status,
                    "reason": member.reason,
                    "cluster_id": member.cluster_id,
                    "fits": member.fits,
                    "follows_platform": member.follows.platform if member.follows else None,
                    "follows_id": member.follows.message_id if member.follows else None,
                    "reply_to": member.reply_to.message_id if member.reply_to else None,
                    "via": member.via,
                }
            )
    if full:
        await upsert(connection, schema.messages, full)
    if partial:
        table = schema.messages
        statement = (
            update(table)
            .where(
                table.c.space == space,
                table.c.platform == bindparam("k_platform"),
                table.c.message_id == bindparam("k_message_id"),
            )
            .values(
                {
                    name: bindparam(name)
                    for name in (
                        *("author", "posted_at", "status", "reason", "cluster_id", "fits"),
                        *("follows_platform", "follows_id", "reply_to", "via"),
                    )
                }
            )
        )
        await connection.execute(statement, partial)


async def _save_vectors(
    connection: AsyncConnection, space: str, entries: Sequence[Entry], details: Mapping[int, MessageDetails]
) -> None:
    """Store the vector of each revision: without it the journal could not be folded again."""
    stored = [
        {
            "space": space,
            "seq": entry.seq,
            "platform": entry.body.ref.platform,
            "message_id": entry.body.ref.message_id,
            "model": details[entry.seq].model,
            "vector": entry.body.vector.astype("<f2").tobytes(),
        }
        for entry in entries
        if isinstance(entry.body, Posted)
    ]
    if stored:
        await upsert(connection, schema.vectors, stored)


async def _forget(connection: AsyncConnection, space: str, refs: set[MessageRef]) -> None:
    """Remove text, vector, author, reactions, corrections of erased messages; the journal keeps that there was one."""
    for table in (schema.vectors, schema.reactions, schema.moves, schema.corrections):
        for named in naming(table.c.platform, table.c.message_id, refs):
            await connection.execute(delete(table).where(table.c.space == space, named))
    journal = schema.journal
    for named in naming(journal.c.platform, journal.c.message_id, refs):
        await connection.execute(update(journal).where(journal.c.space == space, named).values(author=None, body={}))


async def _by_refs(connection: AsyncConnection, space: str, refs: set[MessageRef]) -> list[Member]:
    found: list[Member] = []
    messages = schema.messages
    for named in naming(messages.c.platform, messages.c.message_id, refs):
        found += await _members(connection, space, named)
    return found


async def _members(connection: AsyncConnection, space: str, where: Any, limit: int | None = None) -> list[Member]:
    messages, vectors = schema.messages, schema.vectors
    query = (
        select(messages, vectors.c.vector)
        .outerjoin(vectors, and_(vectors.c.space == messages.c.space, vectors.c.seq == messages.c.seq))
        .where(messages.c.space == space, where)
        .order_by(messages.c.seq.desc())
        .limit(limit)
    )
    rows = (await connection.execute(query)).all()
    return [_member(row) for row in reversed(rows)]


def _member(row: Row[Any]) -> Member:
    return Member(
        ref=MessageRef(row.platform, row.message_id),
        seq=row.seq,
        author=row.author,
        at=row.posted_at,
        revision=row.revision,
        status=Status(row.status),
        reason=row.reason,
        cluster_id=row.cluster_id,
        features=Features(tuple(row.kinds), row.kind, row.words, row.echo, row.fingerprint, row.language),
        vector=np.frombuffer(row.vector, "<f2").astype(np.float32) if row.vector is not None else None,
        follows=MessageRef(row.follows_platform, row.follows_id) if row.follows_id is not None else None,
        reply_to=MessageRef(row.platform, row.reply_to) if row.reply_to is not None else None,
        fits=row.fits,
        via=row.via,
    )


def _message_row(space: str, member: Member, details: MessageDetails | None) -> dict[str, Any]:
    gone = member.status is Status.ERASED
    kept = None if gone else details
    return {
        "space": space,
        "platform": member.ref.platform,
        "message_id": member.ref.message_id,
        "seq": member.seq,
        "revision": member.revision,
        "author": member.author,
        "posted_at": member.at,
        "text": kept.text if kept else "",
        "channel": kept.channel if kept else None,
        "permalink": kept.permalink if kept else None,
        "release": kept.release if kept else None,
        "kinds": list(member.features.kinds),
        "kind": member.features.kind,
        "cues": list(kept.cues) if kept else [],
        "recipe": kept.recipe if kept else None,
        "words": member.features.words,
        "echo": member.features.echo,
        "fingerprint": "" if gone else member.features.fingerprint,
        "language": member.features.language,
        "status": member.status,
        "reason": member.reason,
        "cluster_id": member.cluster_id,
        "follows_platform": member.follows.platform if member.follows else None,
        "follows_id": member.follows.message_id if member.follows else None,
        "reply_to": member.reply_to.message_id if member.reply_to else None,
        "fits": member.fits,
        "via": member.via,
    }


def _cluster(row: Row[Any]) -> Cluster:
    return Cluster(
        cluster_id=row.cluster_id,
        number=row.number,
        born_seq=row.born_seq,
        total=np.frombuffer(row.total, np.float64).copy(),
        count=row._mapping["count"],
        log_kinds=np.frombuffer(row.log_kinds, np.float64).copy(),
        threshold=row.threshold,
        fits=row.fits,
        established_seq=row.established_seq,
        held_by=row.held_by,
        merged_into=row.merged_into,
        split_from=row.split_from,
        muted=row.muted,
        promoted=row.promoted,
        tags=tuple(row.tags),
        version=row.version,
        name=row.name,
        rejected=row.rejected,
        inherited=tuple(row.inherited),
        centroid=np.frombuffer(row.centroid, np.float32).copy() if row.centroid is not None else None,
        overlaps=tuple(row.overlaps),
    )


def _cluster_row(space: str, cluster: Cluster) -> dict[str, Any]:
    return {
        "space": space,
        "cluster_id": cluster.cluster_id,
        "number": cluster.number,
        "version": cluster.version,
        "born_seq": cluster.born_seq,
        "total": cluster.total.tobytes(),
        "count": cluster.count,
        "log_kinds": cluster.log_kinds.tobytes(),
        "threshold": cluster.threshold,
        "fits": cluster.fits,
        "established_seq": cluster.established_seq,
        "held_by": cluster.held_by,
        "merged_into": cluster.merged_into,
        "split_from": cluster.split_from,
        "muted": cluster.muted,
        "promoted": cluster.promoted,
        "tags": list(cluster.tags),
        "name": cluster.name,
        "rejected": cluster.rejected,
        "inherited": list(cluster.inherited),
        "centroid": cluster.centroid.tobytes() if cluster.centroid is not None else None,
        "overlaps": list(cluster.overlaps),
    }
