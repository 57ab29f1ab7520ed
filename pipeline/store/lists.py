"""Lists of clusters for people: what is on watch, which questions are asked. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from sqlalchemy import and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from models.kind_names import KINDS
from pipeline.state import Status
from pipeline.store import schema
from pipeline.store.database import Database
from pipeline.store.facts import evidence, typical
from pipeline.store.reports import reading


@dataclass(frozen=True, slots=True)
class Talk:
    """A cluster in a list; `quote` is its most typical message, as a stranger wrote it."""

    cluster_id: str
    number: int
    kind: str
    name: str | None
    people: int
    messages: int
    platforms: tuple[str, ...]
    first_at: datetime
    last_at: datetime
    quote: str
    action: str | None
    reason: str | None
    at: datetime | None
    """Event time of the decision."""


async def talks(
    database: Database, space: str, *, actions: tuple[str, ...] | None = None, kind: str | None = None
) -> list[Talk]:
    """Return the live clusters whose last decision is one of `actions` and that are of `kind`, most people first."""
    clusters, messages, decisions = schema.clusters, schema.messages, schema.decisions
    query = (
        select(
            clusters.c.cluster_id,
            clusters.c.number,
            clusters.c.log_kinds,
            clusters.c.name,
            decisions.c.action,
            decisions.c.reason,
            decisions.c.at,
        )
        .outerjoin(
            decisions, and_(decisions.c.space == clusters.c.space, decisions.c.cluster_id == clusters.c.cluster_id)
        )
        .where(
            clusters.c.space == space,
            clusters.c.merged_into.is_(None),
            clusters.c.count > 0,
            ~clusters.c.muted,
            ~clusters.c.rejected,
        )
    )
    if actions is not None:
        query = query.where(decisions.c.action.in_(actions))
    by_platform = (
        select(
            messages.c.cluster_id,
            messages.c.platform,
            func.count().label("said"),
            func.count(messages.c.author.distinct()).label("people"),
            func.min(messages.c.posted_at).label("first_at"),
            func.max(messages.c.posted_at).label("last_at"),
        )
        .where(messages.c.space == space, messages.c.status == Status.CLUSTERED)
        .group_by(messages.c.cluster_id, messages.c.platform)
    )
    async with reading(database) as connection:
        rows = (await connection.execute(query)).all()
        voices: dict[str, list[tuple[str, int, int, datetime, datetime]]] = {}
        for v in sorted(await connection.execute(by_platform), key=lambda v: v.platform):
            voices.setdefault(v.cluster_id, []).append((v.platform, v.said, v.people, v.first_at, v.last_at))
        found = []
        for row in rows:
            own = voices.get(row.cluster_id)
            named = KINDS[int(np.argmax(np.frombuffer(row.log_kinds, np.float64)))]
            if own is None or kind not in {None, named}:
                continue
            found.append(
                Talk(
                    cluster_id=row.cluster_id,
                    number=row.number,
                    kind=named,
                    name=row.name,
                    people=sum(v[2] for v in own),
                    messages=sum(v[1] for v in own),
                    platforms=tuple(v[0] for v in own),
                    first_at=min(v[3] for v in own),
                    last_at=max(v[4] for v in own),
                    quote=await _quote(connection, space, row.cluster_id),
                    action=row.action,
                    reason=row.reason,
                    at=row.at,
                )
            )
    return sorted(found, key=lambda talk: (-talk.people, talk.number))


async def _quote(connection: AsyncConnection, space: str, cluster_id: str) -> str:
    chosen = typical(await evidence(connection, space, cluster_id), 1)
    return chosen[0].text if chosen else ""
