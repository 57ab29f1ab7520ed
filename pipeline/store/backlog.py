"""The tracker's issues as they are kept, a vector and hashes of words, no text; and which clusters are like which.

| verdict | meaning | whose |
|---|---|---|
| likely | the issue may say the same; waits for a person | the program's |
| linked | the cluster's ticket is this issue | the program's or a person's |
| distinct | it does not say the same: never proposed again | a person's |
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Row, and_, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from pipeline.decide import Action, Match
from pipeline.store import schema
from pipeline.store.ledger import TicketState
from pipeline.store.statements import CHUNK, storable, upsert
from pipeline.trackers.port import IssueState

Vectors = npt.NDArray[np.float32]


class Verdict(StrEnum):
    """What is thought of a cluster and an issue; the module's docstring is the table."""

    LIKELY = "likely"
    LINKED = "linked"
    DISTINCT = "distinct"


@dataclass(frozen=True, slots=True)
class Read:
    """How far the tracker's issues were read."""

    read_at: datetime
    """Begin of the last pass that ended well."""
    full_at: datetime
    """Begin of the last such pass over everything."""
    changes: int
    """Counts what passes changed: who keeps the vectors in memory sees by it whether they are still those."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """The issues that people filed, those of other clusters' tickets included; n of them."""

    ids: tuple[str, ...]
    vectors: Vectors
    """(n, d) float32, unit rows."""
    words: tuple[bytes, ...]
    """Packed by `models.backlog.pack`."""


async def read_state(connection: AsyncConnection, space: str, place: str) -> Read | None:
    """Return how far a tracker was read; None before the first pass over everything ended."""
    table = schema.backlog_reads
    query = select(table).where(table.c.space == space, table.c.place == place)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else Read(row.read_at, row.full_at, row.changes)


async def hashes(connection: AsyncConnection, space: str, place: str, ids: Sequence[str]) -> dict[str, str]:
    """Return the text hashes that are kept of these issues."""
    table = schema.backlog
    found: dict[str, str] = {}
    for start in range(0, len(ids), CHUNK):
        rows = await connection.execute(
            select(table.c.issue_id, table.c.text_hash).where(
                table.c.space == space, table.c.place == place, table.c.issue_id.in_(ids[start : start + CHUNK])
            )
        )
        found |= {row.issue_id: row.text_hash for row in rows}
    return found


@dataclass(frozen=True, slots=True)
class Seen:
    """An issue as it was read; vector (d,) float32 and words are None where the text is kept already."""

    issue: IssueState
    own: bool
    """groundswell filed it."""
    text_hash: str
    model: str
    vector: npt.NDArray[np.float32] | None
    words: bytes | None


async def keep(connection: AsyncConnection, space: str, place: str, seen: Sequence[Seen], began: datetime) -> None:
    """Write a page of issues that a pass begun then has read; the same page twice is the same as once."""
    table = schema.backlog
    new: list[dict[str, Any]] = []
    for one in seen:
        issue = one.issue
        key = {"space": space, "place": place, "issue_id": issue.ref.id}
        values = {
            "issue_key": issue.ref.key[:64],
            "url": issue.ref.url,
            "status": issue.status[:255],
            "done": issue.done,
            "own": one.own,
            "updated_at": issue.updated_at,
            "seen_at": began,
        }
        if one.vector is None:
            where = [table.c[name] == value for name, value in key.items()]
            await connection.execute(update(table).where(*where).values(**_clean(values)))
        else:
            vector = one.vector.astype("<f2").tobytes()
            new.append(
                key
                | _clean(values)
                | {"text_hash": one.text_hash, "model": one.model, "vector": vector, "words": one.words}
            )
    if new:
        await upsert(connection, table, new)
        await _changed(connection, space, place)


async def end_pass(connection: AsyncConnection, space: str, place: str, began: datetime, *, full: bool) -> None:
    """Note that a pass ended well; after one over everything, forget the issues that it did not see."""
    before = await read_state(connection, space, place)
    gone = 0
    if full:
        table, reads = schema.backlog, schema.backlog_reads
        unseen = or_(table.c.place != place, table.c.seen_at < began)
        gone = (await connection.execute(delete(table).where(table.c.space == space, unseen))).rowcount
        await connection.execute(delete(reads).where(reads.c.space == space, reads.c.place != place))
    elif before is None:
        return
    row = {
        "space": space,
        "place": place,
        "read_at": began,
        "full_at": began if full or before is None else before.full_at,
        "changes": before.changes if before else 0,
    }
    await upsert(connection, schema.backlog_reads, [row])
    if gone or before is None:
        await _changed(connection, space, place)


def _clean(values: dict[str, Any]) -> dict[str, Any]:
    return {name: storable(value) for name, value in values.items()}


async def forget(connection: AsyncConnection, space: str, place: str, issue_id: str) -> None:
    """Forget an issue that people deleted or moved away."""
    table = schema.backlog
    await connection.execute(
        delete(table).where(table.c.space == space, table.c.place == place, table.c.issue_id == issue_id)
    )
    await _changed(connection, space, place)


async def _changed(connection: AsyncConnection, space: str, place: str) -> None:
    """Count a change, and let the sink look again at what it proposed: the tracker holds other issues now."""
    reads, decisions = schema.backlog_reads, schema.decisions
    await connection.execute(
        update(reads).where(reads.c.space == space, reads.c.place == place).values(changes=reads.c.changes + 1)
    )
    now = await connection.scalar(select(schema.spaces.c.now).where(schema.spaces.c.space == space))
    await connection.execute(
        update(decisions).where(decisions.c.space == space, decisions.c.action == Action.PROPOSE).values(due_at=now)
    )


async def model_of(connection: AsyncConnection, space: str, seq: int) -> str | None:
    """Return the model that made a message's vector."""
    table = schema.vectors
    return await connection.scalar(select(table.c.model).where(table.c.space == space, table.c.seq == seq))


async def load(connection: AsyncConnection, space: str, place: str, model: str) -> Backlog:
    """Return the issues that people filed, with their vectors by `model`."""
    table = schema.backlog
    rows = (
        await connection.execute(
            select(table.c.issue_id, table.c.vector, table.c.words)
            .where(table.c.space == space, table.c.place == place, table.c.model == model, ~table.c.own)
            .order_by(table.c.issue_id)
        )
    ).all()
    if not rows:
        return Backlog((), np.zeros((0, 0), np.float32), ())
    vectors = np.stack([np.frombuffer(row.vector, "<f2").astype(np.float32) for row in rows])
    return Backlog(tuple(row.issue_id for row in rows), vectors, tuple(row.words for row in rows))


async def size(connection: AsyncConnection, space: str, place: str) -> int:
    """Return how many issues that people filed are kept."""
    table = schema.backlog
    query = select(func.count()).select_from(table).where(table.c.space == space, table.c.place == place, ~table.c.own)
    return await connection.scalar(query) or 0


# -- which cluster is like which issue ------------------------------------------------------------------------------


async def verdicts(connection: AsyncConnection, space: str, cluster_id: str) -> Sequence[Row[Any]]:
    """Return what is thought of a cluster and issues, the best first."""
    table = schema.likenesses
    query = (
        select(table)
        .where(table.c.space == space, table.c.cluster_id == cluster_id)
        .order_by(table.c.score.desc(), table.c.issue_id)
    )
    return (await connection.execute(query)).all()


async def likely_key(connection: AsyncConnection, space: str, cluster_id: str) -> str | None:
    """Return the key of the issue that a cluster is likely to be about."""
    table = schema.likenesses
    mine = and_(table.c.space == space, table.c.cluster_id == cluster_id, table.c.verdict == Verdict.LIKELY)
    return await connection.scalar(select(table.c.issue_key).where(mine).limit(1))


async def holders(
    connection: AsyncConnection, space: str, ids: Collection[str], tracker: str
) -> dict[str, tuple[int, str]]:
    """Return whose ticket each of `ids` is that is one: the cluster's number and the ticket's origin."""
    tickets, clusters = schema.tickets, schema.clusters
    query = (
        select(tickets.c.issue_id, tickets.c.origin, clusters.c.number)
        .join(clusters, and_(clusters.c.space == tickets.c.space, clusters.c.cluster_id == tickets.c.cluster_id))
        .where(
            tickets.c.space == space,
            tickets.c.tracker == tracker,
            tickets.c.state == TicketState.OPEN,
            tickets.c.issue_id.in_(sorted(ids)),
        )
    )
    return {row.issue_id: (row.number, row.origin) for row in await connection.execute(query)}


async def note_likely(
    connection: AsyncConnection, space: str, cluster_id: str, match: Match | None, now: datetime
) -> None:
    """Keep the issue that a cluster is likely to be about instead of an earlier guess; what people said stays."""
    table = schema.likenesses
    mine = and_(table.c.space == space, table.c.cluster_id == cluster_id)
    await connection.execute(delete(table).where(mine, table.c.verdict == Verdict.LIKELY))
    if match is not None:
        await note_verdict(connection, space, cluster_id, match, Verdict.LIKELY, None, now)


async def note_verdict(
    connection: AsyncConnection,
    space: str,
    cluster_id: str,
    match: Match,
    verdict: Verdict,
    by: str | None,
    now: datetime,
) -> None:
    """Keep what is thought of a cluster and an issue."""
    row = {
        "space": space,
        "cluster_id": cluster_id,
        "issue_id": match.issue_id,
        "issue_key": match.key[:64],
        "url": match.url,
        "summary": match.summary[:255],
        "score": match.score,
        "verdict": verdict,
        "by": by,
        "at": now,
    }
    await upsert(connection, schema.likenesses, [_clean(row)])


async def set_verdict(
    connection: AsyncConnection, space: str, cluster_id: str, issue_id: str, verdict: Verdict, by: str, now: datetime
) -> None:
    """Change what is thought of a cluster and an issue, to what a person says."""
    table = schema.likenesses
    key = (table.c.space == space, table.c.cluster_id == cluster_id, table.c.issue_id == issue_id)
    await connection.execute(update(table).where(*key).values(verdict=verdict, by=by, at=now))
