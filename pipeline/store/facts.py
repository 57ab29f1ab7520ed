"""A cluster's facts from the database: what the policy decides on, and the evidence a ticket shows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Row, and_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from models.kind_names import KINDS
from pipeline.decide import ClusterFacts
from pipeline.records import MessageRef
from pipeline.state import Status
from pipeline.store import schema

EVIDENCE_MESSAGES = 400
"""Newest messages that summary and quotes are taken from; more would not change what is typical."""


@dataclass(frozen=True, slots=True)
class Said:
    """One message of a cluster, with its author: evidence, never to be shown together with the author."""

    ref: MessageRef
    seq: int
    author: str
    text: str
    at: datetime
    permalink: str | None
    release: str | None
    vector: npt.NDArray[np.float32] | None


async def cluster_facts(
    connection: AsyncConnection, space: str, cluster_id: str, window: timedelta
) -> tuple[ClusterFacts, int] | None:
    """Return the facts and the version they are of; None when there is no such cluster or nobody is in it."""
    clusters, messages = schema.clusters, schema.messages
    row = (
        await connection.execute(
            select(clusters, schema.spaces.c.now)
            .join(schema.spaces, schema.spaces.c.space == clusters.c.space)
            .where(clusters.c.space == space, clusters.c.cluster_id == cluster_id)
        )
    ).one_or_none()
    if row is None:
        return None
    said = (
        await connection.execute(
            select(messages.c.platform, messages.c.author, messages.c.posted_at).where(
                messages.c.space == space, messages.c.cluster_id == cluster_id, messages.c.status == Status.CLUSTERED
            )
        )
    ).all()
    if not said and row.merged_into is None:
        return None
    numbers = await _numbers(connection, space, [row.held_by, row.merged_into])
    last_at = max((m.posted_at for m in said), default=row.now)
    facts = ClusterFacts(
        number=row.number,
        kind=KINDS[int(np.argmax(np.frombuffer(row.log_kinds, np.float64)))],
        people=len({(m.platform, m.author) for m in said}),
        people_in_window=len({(m.platform, m.author) for m in said if m.posted_at > last_at - window}),
        messages=len(said),
        platforms=tuple(sorted({m.platform for m in said})),
        first_at=min((m.posted_at for m in said), default=row.now),
        last_at=last_at,
        now=row.now,
        established=row.established_seq is not None,
        held_by=numbers.get(row.held_by),
        merged_into=numbers.get(row.merged_into),
        muted=row.muted,
        promoted=row.promoted,
        tags=tuple(row.tags),
        name=row.name,
        rejected=row.rejected,
    )
    return facts, row.version


async def _numbers(connection: AsyncConnection, space: str, ids: list[str | None]) -> dict[str | None, int]:
    wanted = [cluster_id for cluster_id in ids if cluster_id is not None]
    if not wanted:
        return {}
    clusters = schema.clusters
    rows = await connection.execute(
        select(clusters.c.cluster_id, clusters.c.number).where(
            clusters.c.space == space, clusters.c.cluster_id.in_(wanted)
        )
    )
    return {row.cluster_id: row.number for row in rows}


async def evidence(connection: AsyncConnection, space: str, cluster_id: str) -> list[Said]:
    """Return the newest messages of a cluster, newest first; echoes are left out, they say nothing themselves."""
    messages, vectors = schema.messages, schema.vectors
    rows = await connection.execute(
        select(messages, vectors.c.vector)
        .outerjoin(vectors, and_(vectors.c.space == messages.c.space, vectors.c.seq == messages.c.seq))
        .where(
            messages.c.space == space,
            messages.c.cluster_id == cluster_id,
            messages.c.status == Status.CLUSTERED,
            messages.c.follows_id.is_(None),
        )
        .order_by(messages.c.posted_at.desc(), messages.c.seq.desc())
        .limit(EVIDENCE_MESSAGES)
    )
    return [_said(row) for row in rows]


async def background(connection: AsyncConnection, space: str, limit: int) -> list[str]:
    """Return the newest texts of a space, whatever became of them: what its people usually talk about."""
    messages = schema.messages
    rows = await connection.execute(
        select(messages.c.text)
        .where(messages.c.space == space, messages.c.status != Status.ERASED)
        .order_by(messages.c.seq.desc())
        .limit(limit)
    )
    return [row.text for row in rows]


def typical(said: list[Said], count: int) -> list[Said]:
    """Return up to `count` messages nearest to the middle of all, by different authors, with different texts."""
    with_vector = [item for item in said if item.vector is not None]
    if not with_vector:
        return []
    vectors = np.stack([item.vector for item in with_vector if item.vector is not None])
    order = np.argsort(-(vectors @ vectors.mean(axis=0)), kind="stable")
    chosen: list[Said] = []
    for item in (with_vector[index] for index in order):
        if all(item.author != other.author and item.text != other.text for other in chosen):
            chosen.append(item)
        if len(chosen) == count:
            break
    return chosen


def release_after(said: list[Said]) -> str | None:
    """Return the release that at least a third of those who name one name, when three people or more name it."""
    pairs = {(item.release, item.author) for item in said if item.release}
    if not pairs:
        return None
    named, people = Counter(release for release, _ in pairs), {author for _, author in pairs}
    release, count = max(named.items(), key=lambda pair: (pair[1], pair[0] or ""))
    return release if count >= 3 and count * 3 >= len(people) else None


def _said(row: Row[Any]) -> Said:
    vector = np.frombuffer(row.vector, "<f2").astype(np.float32) if row.vector is not None else None
    return Said(
        ref=MessageRef(row.platform, row.message_id),
        seq=row.seq,
        author=f"{row.platform}/{row.author}",
        text=row.text,
        at=row.posted_at,
        permalink=row.permalink,
        release=row.release,
        vector=vector,
    )
