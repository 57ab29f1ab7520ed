"""A cluster's facts from the database: what the policy decides on, and the evidence a ticket shows."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import ColumnElement, Row, and_, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from models.kind_names import KINDS
from pipeline.decide import Action, ClusterFacts
from pipeline.records import MessageRef
from pipeline.settings import PolicySettings
from pipeline.state import Status
from pipeline.store import schema
from pipeline.store.rates import find_rising

EVIDENCE_MESSAGES = 400
"""Newest messages that summary and quotes are taken from; more would not change what is typical."""
COPIED_MIN_WORDS = 4
"""Content words from which on two equal texts are a copy, and no coincidence."""


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
    cues: tuple[str, ...] = ()
    """Wordings that spoke for its kind, strongest first."""


async def cluster_facts(
    connection: AsyncConnection, space: str, cluster_id: str, policy: PolicySettings
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
    mine = and_(messages.c.space == space, messages.c.cluster_id == cluster_id, messages.c.status == Status.CLUSTERED)
    by_platform = await connection.execute(
        select(
            messages.c.platform,
            func.count().label("said"),
            func.count(messages.c.author.distinct()).label("people"),
            func.min(messages.c.posted_at).label("first_at"),
            func.max(messages.c.posted_at).label("last_at"),
        )
        .where(mine)
        .group_by(messages.c.platform)
    )
    said = sorted(by_platform, key=lambda m: m.platform)  # databases sort by other alphabets
    if not said and row.merged_into is None:
        return None
    numbers = await _numbers(connection, space, [row.held_by, row.merged_into])
    last_at = max((m.last_at for m in said), default=row.now)
    rising = None if row.merged_into else await find_rising(connection, space, cluster_id, last_at, policy.watch)
    voices = await _voices(connection, and_(mine, messages.c.posted_at > last_at - policy.window))
    facts = ClusterFacts(
        number=row.number,
        kind=KINDS[int(np.argmax(np.frombuffer(row.log_kinds, np.float64)))],
        people=sum(m.people for m in said),
        people_in_window=voices.people,
        messages=sum(m.said for m in said),
        platforms=tuple(m.platform for m in said),
        first_at=min((m.first_at for m in said), default=row.now),
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
        clear_people=voices.clear,
        repeats=voices.repeats,
        copied=voices.copied,
        reacting=await _reacting(connection, mine, policy),
        rising=rising,
        proposed=await _proposed(connection, space, cluster_id),
    )
    return facts, row.version


@dataclass(frozen=True, slots=True)
class _Voices:
    """Who spoke in a window."""

    people: int
    clear: int
    repeats: tuple[tuple[int, int], ...]
    copied: tuple[int, ...]


async def _voices(connection: AsyncConnection, where: ColumnElement[bool]) -> _Voices:
    """Count people by how often, how clearly and in whose words they spoke."""
    messages = schema.messages
    rows = await connection.execute(
        select(
            messages.c.platform,
            messages.c.author,
            messages.c.fingerprint,
            (messages.c.words >= COPIED_MIN_WORDS).label("long"),
            and_(messages.c.kind != "unsure", messages.c.follows_id.is_(None)).label("clear"),
            func.count().label("said"),
        )
        .where(where)
        .group_by(messages.c.platform, messages.c.author, messages.c.fingerprint, "long", "clear")
    )
    said: Counter[tuple[str, str]] = Counter()
    clear: set[tuple[str, str]] = set()
    texts: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    speakers: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for row in rows:
        person = (row.platform, row.author)
        said[person] += row.said
        if row.clear:
            clear.add(person)
        # A short text says the same as another by chance.
        text = row.fingerprint if row.long else ""
        texts[person].add(text)
        if text:
            speakers[text].add(person)
    copies: Counter[str] = Counter()
    for own in texts.values():
        if all(text and len(speakers[text]) > 1 for text in own):
            copies[min(own)] += 1
    often = Counter(count for count in said.values() if count > 1)
    copied = tuple(sorted((count for count in copies.values() if count > 1), reverse=True))
    return _Voices(len(said), len(clear), tuple(sorted(often.items())), copied)


async def _reacting(connection: AsyncConnection, mine: ColumnElement[bool], policy: PolicySettings) -> int:
    """Count those who reacted or voted for a cluster and said nothing themselves.

    A score does not say who voted: the highest one of a platform is the least number of different people, without
    the vote that an author has from the start.
    """
    messages, reactions = schema.messages, schema.reactions
    authors = select(messages.c.platform, messages.c.author).where(mine).subquery()
    same = and_(
        reactions.c.space == messages.c.space,
        reactions.c.platform == messages.c.platform,
        reactions.c.message_id == messages.c.message_id,
    )
    spoke = exists().where(authors.c.platform == reactions.c.platform, authors.c.author == reactions.c.author)
    people = (
        select(reactions.c.platform, reactions.c.author)
        .join(messages, same)
        .where(mine, reactions.c.present, reactions.c.emoji.not_in(policy.reactions_against), ~spoke)
        .distinct()
        .subquery()
    )
    reacted = await connection.scalar(select(func.count()).select_from(people))
    scores = await connection.execute(select(func.max(messages.c.score)).where(mine).group_by(messages.c.platform))
    votes = sum(max(0, int(score) - 1) for (score,) in scores)
    return int(reacted or 0) + votes


async def _proposed(connection: AsyncConnection, space: str, cluster_id: str) -> bool:
    decisions = schema.decisions
    query = select(decisions.c.action).where(decisions.c.space == space, decisions.c.cluster_id == cluster_id)
    return await connection.scalar(query) == Action.PROPOSE


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
    return [said_of(row) for row in rows]


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


def frequent_cues(said: list[Said], count: int) -> list[tuple[str, int]]:
    """Return the `count` cues that most authors' messages show, with how many authors; ties by name."""
    authors = Counter(cue for cue, _ in {(cue, item.author) for item in said for cue in item.cues})
    return sorted(authors.items(), key=lambda pair: (-pair[1], pair[0]))[:count]


def said_of(row: Row[Any]) -> Said:
    """Return a message from its row, joined with its vector's."""
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
        cues=tuple(row.cues),
    )
