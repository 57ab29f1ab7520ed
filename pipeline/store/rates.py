"""Rates of people from the database, for the early warning (`pipeline.watch`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from pipeline.settings import WatchSettings
from pipeline.state import Status
from pipeline.store import schema
from pipeline.watch import Counts, Rise, Rising, rises

RELEASE_PEOPLE: Final = 3
"""Authors who must name a release before it counts as out: one may have a beta, or mistype."""


async def find_rising(
    connection: AsyncConnection, space: str, cluster_id: str, last_at: datetime, settings: WatchSettings
) -> Rising | None:
    """Return how a cluster's rate rose up to its newest message, or None.

    The cheap questions come first: the whole space is counted only for a cluster whose own rate rose.
    """
    if settings.false_alarms == 0:
        return None
    messages = schema.messages
    said = (
        await connection.execute(
            select(messages.c.platform, messages.c.author, messages.c.posted_at).where(
                messages.c.space == space,
                messages.c.cluster_id == cluster_id,
                messages.c.status == Status.CLUSTERED,
                messages.c.posted_at > last_at - settings.window * (settings.baseline + 1),
            )
        )
    ).all()
    recent = {(m.platform, m.author) for m in said if m.posted_at > last_at - settings.window}
    if len(recent) < settings.min_people:
        return None
    windows = await _history(connection, space, last_at, settings)
    if windows < settings.min_history:
        return None
    own = people_per_window(said, last_at, settings.window, windows)
    clusters = await _live(connection, space)

    def judge(space_recent: int, space_past: tuple[int, ...]) -> Rise | None:
        counts = Counts(own[0], own[1:], space_recent, space_past)
        return rises(counts, settings.window, settings.false_alarms, clusters, settings.min_people)

    if judge(1, (1,) * windows) is None:
        return None
    everybody = await connection.execute(
        select(messages.c.platform, messages.c.author, messages.c.posted_at).where(
            messages.c.space == space,
            messages.c.status != Status.ERASED,
            messages.c.posted_at > last_at - settings.window * (windows + 1),
            messages.c.posted_at <= last_at,
        )
    )
    whole = people_per_window(everybody, last_at, settings.window, windows)
    rise = judge(whole[0], whole[1:])
    if rise is None:
        return None
    before = {m.platform for m in said if m.posted_at <= last_at - settings.window}
    new = tuple(sorted({platform for platform, _ in recent} - before)) if before else ()
    release = await _release(connection, space, last_at, settings)
    return Rising(rise, settings.window, new, *release)


def people_per_window(said: Iterable[Any], last_at: datetime, window: timedelta, windows: int) -> tuple[int, ...]:
    """Count distinct people in the window that ends with `last_at` and in the `windows` before, newest first.

    Parameters
    ----------
    said : iterable of rows
        Each with `platform`, `author` and `posted_at`, none after `last_at`.
    """
    people: defaultdict[int, set[tuple[str, str]]] = defaultdict(set)
    for m in said:
        people[(last_at - m.posted_at) // window].add((m.platform, m.author))
    return tuple(len(people[index]) for index in range(windows + 1))


async def _history(connection: AsyncConnection, space: str, last_at: datetime, settings: WatchSettings) -> int:
    """Return how many whole windows before the last one lie in the space's past, up to the baseline."""
    messages = schema.messages
    query = select(func.min(messages.c.posted_at)).where(messages.c.space == space, messages.c.status != Status.ERASED)
    first: datetime | None = await connection.scalar(query)
    return 0 if first is None else min(settings.baseline, (last_at - first) // settings.window - 1)


async def _live(connection: AsyncConnection, space: str) -> int:
    clusters = schema.clusters
    query = select(func.count()).where(
        clusters.c.space == space, clusters.c.merged_into.is_(None), clusters.c.count > 0
    )
    return int(await connection.scalar(query) or 0)


async def _release(
    connection: AsyncConnection, space: str, last_at: datetime, settings: WatchSettings
) -> tuple[str | None, datetime | None]:
    """Return the newest release that came out within two windows and a week, and when its third author named it."""
    messages = schema.messages
    rows = await connection.execute(
        select(messages.c.release, messages.c.platform, messages.c.author, func.min(messages.c.posted_at).label("at"))
        .where(messages.c.space == space, messages.c.release.is_not(None), messages.c.posted_at <= last_at)
        .group_by(messages.c.release, messages.c.platform, messages.c.author)
    )
    named: defaultdict[str, list[datetime]] = defaultdict(list)
    for row in rows:
        named[row.release].append(row.at)
    out = {
        release: sorted(times)[RELEASE_PEOPLE - 1] for release, times in named.items() if len(times) >= RELEASE_PEOPLE
    }
    if len(out) < 2:
        return None, None  # the only one ever named was out before anybody looked
    release = max(out, key=lambda name: (out[name], name))
    if out[release] <= last_at - settings.window * 2 - timedelta(days=7):
        return None, None
    return release, out[release]
