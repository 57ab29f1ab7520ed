"""What people ask the database, on a small space written by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from sqlalchemy import LargeBinary, Table, insert

from pipeline.dead import DeadLetter, dead_headers
from pipeline.errors import FatalError
from pipeline.in_flight import origin
from pipeline.records import Event, EventType, MessageData, Origin, Signal, encode
from pipeline.settings import PolicySettings
from pipeline.store import schema
from pipeline.store.database import Database
from pipeline.store.explain import command_cluster, command_in_force, find_cluster, why
from pipeline.store.reports import account, progress, sizes, taken_by_partition, ticket_list

SPACE = "quillstone"
T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
POLICY = PolicySettings(window=timedelta(days=30))
LOGIN, DARK, MERGED = "a" * 16, "b" * 16, "c" * 16


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    one = Database(database_url)
    yield one
    await one.close()


async def write(database: Database, table: Table, *rows: dict[str, Any]) -> None:
    """Insert rows; columns that no report reads, and that must not be empty, hold a 0."""
    needed = {
        column.name: bytes(4) if isinstance(column.type, LargeBinary) else 0
        for column in table.columns
        if not column.nullable and not column.primary_key and column.server_default is None
    }
    async with database.write() as connection:
        await connection.execute(insert(table), [{**needed, "space": SPACE, **row} for row in rows])


def message(number: int, status: str, cluster: str | None = None, **fields: Any) -> dict[str, Any]:
    return {
        "platform": "discord" if number % 2 else "reddit",
        "message_id": f"m{number}",
        "seq": number,
        "revision": T0,
        "author": f"user{number}",
        "posted_at": T0 + timedelta(hours=number),
        "text": f"cannot log in, attempt {number}",
        "kinds": [0.8, 0.05, 0.05, 0.05, 0.05],
        "kind": "complaint",
        "cues": [],
        "words": 4,
        "echo": False,
        "fingerprint": f"f{number}",
        "status": status,
        "cluster_id": cluster,
        "fits": 0,
        "reason": None,
        "release": None,
        **fields,
    }


def cluster(number: int, cluster_id: str, **fields: Any) -> dict[str, Any]:
    return {
        "cluster_id": cluster_id,
        "number": number,
        "version": 10 * number,
        "born_seq": number,
        "total": np.ones(4).tobytes(),
        "count": 3,
        "log_kinds": np.log([0.9, 0.025, 0.025, 0.025, 0.025]).tobytes(),
        "threshold": 0.5,
        "fits": 2,
        "established_seq": number,
        "held_by": None,
        "merged_into": None,
        "split_from": None,
        "muted": False,
        "promoted": False,
        "tags": [],
        **fields,
    }


async def fill(database: Database) -> None:
    await write(
        database,
        schema.spaces,
        {"seq": 99, "now": T0 + timedelta(days=2), "seen_since_fit": 7, "fit_size": 0, "floor": 0, "next_number": 4},
    )
    await write(
        database,
        schema.messages,
        *(
            message(n, "clustered", LOGIN, release="4.2", cues=["negates", "speaks of a failure", "praises"][:n])
            for n in (1, 2, 3)
        ),
        message(4, "clustered", DARK),
        message(5, "pool"),
        message(6, "aside", reason="language ru"),
        message(7, "aside", reason="language ru"),
        message(8, "aside", reason="chatter"),
        message(9, "expired"),
        message(10, "erased", text=""),
    )
    vectors = [
        {
            "seq": n,
            "platform": "discord" if n % 2 else "reddit",
            "message_id": f"m{n}",
            "model": "x",
            "vector": np.ones(4, "<f2").tobytes(),
        }
        for n in (1, 2, 3, 4)
    ]
    await write(database, schema.vectors, *vectors)
    await write(
        database,
        schema.clusters,
        cluster(1, LOGIN),
        cluster(2, DARK, held_by=LOGIN),
        cluster(3, MERGED, merged_into=LOGIN, count=0),
    )
    await write(
        database,
        schema.lineage,
        {"seq": 1, "cluster_id": LOGIN, "what": "born", "other": None},
        {"seq": 3, "cluster_id": MERGED, "what": "born", "other": None},
        {"seq": 8, "cluster_id": MERGED, "what": "merged", "other": LOGIN},
    )
    await write(
        database,
        schema.accounts,
        {
            "broker": "k1",
            "partition": 0,
            "offset": 8,
            "counts": {"message.created": 7, "duplicate": 1, "redelivered": 5},
        },
        {"broker": "k1", "partition": 1, "offset": 4, "counts": {"message.created": 4, "message.deleted": 1}},
        {"broker": "k0", "partition": 0, "offset": 0, "counts": {"reaction.set": 1}},
    )
    await write(
        database,
        schema.decisions,
        {
            "cluster_id": LOGIN,
            "version": 10,
            "at": T0,
            "action": "open",
            "rule": "people",
            "reason": "3 of 3",
            "due_at": None,
        },
        {
            "cluster_id": DARK,
            "version": 19,
            "at": T0,
            "action": "skip",
            "rule": "held",
            "reason": "close to #1",
            "due_at": None,
        },
    )
    await write(
        database,
        schema.tickets,
        {
            "cluster_id": LOGIN,
            "tracker": "local",
            "state": "open",
            "label": "gs-1",
            "issue_id": "1",
            "issue_key": "GS-1",
            "url": "local:GS-1",
            "kind": "complaint",
            "summary": "Login",
            "reason": "3 of 3",
            "reserved_at": T0,
            "people": 3,
            "messages": 3,
            "platforms": ["discord", "reddit"],
        },
    )
    await write(
        database,
        schema.commands,
        {
            "command_id": "c1",
            "seq": 20,
            "name": "tag",
            "cluster_id": LOGIN,
            "by": "anna",
            "at": T0,
            "value": "login",
            "in_force": True,
        },
        {
            "command_id": "c2",
            "seq": 21,
            "name": "mute",
            "cluster_id": LOGIN,
            "by": "anna",
            "at": T0,
            "value": None,
            "in_force": False,
        },
    )


async def test_account_counts_every_event_once_and_every_message(database: Database) -> None:
    await fill(database)
    found = await account(database, SPACE)
    assert found.taken == {"message.created": 11, "duplicate": 1, "message.deleted": 1, "reaction.set": 1}
    assert (found.events, found.redelivered) == (14, 5)
    assert found.messages == {"clustered": 4, "pool": 1, "aside": 3, "expired": 1, "erased": 1}
    assert found.aside == {"language ru": 2, "chatter": 1}
    assert found.unmatched == 1
    assert (found.clusters, found.tickets) == (2, 1)
    assert found.now == T0 + timedelta(days=2)


async def test_an_unknown_space_has_an_empty_account(database: Database) -> None:
    found = await account(database, "nobody")
    assert (found.events, found.messages, found.now, found.clusters) == (0, {}, None, 0)
    assert (await progress(database, "nobody")).seq == 0


async def test_events_of_another_kafka_cluster_are_not_mixed_in(database: Database) -> None:
    await fill(database)
    assert await taken_by_partition(database, "k1") == {0: 8, 1: 5}
    assert await taken_by_partition(database) == {0: 9, 1: 5}


async def test_progress_says_what_is_still_to_be_done(database: Database) -> None:
    await fill(database)
    await write(database, schema.outbox, {"cluster_id": DARK, "version": 20})
    found = await progress(database, SPACE)
    assert (found.seen_since_fit, found.clusters, found.undecided, found.outbox) == (7, 2, 1, 1)
    assert (found.tickets, found.unsettled, found.events) == (1, 0, 14)
    assert {space: (size.clusters, size.pool) for space, size in (await sizes(database)).items()} == {SPACE: (2, 1)}


async def test_ticket_list_joins_the_cluster(database: Database) -> None:
    await fill(database)
    (ticket,) = await ticket_list(database, SPACE)
    assert (ticket.number, ticket.key, ticket.platforms) == (1, "GS-1", ("discord", "reddit"))
    assert ticket.since == T0 + timedelta(hours=1)


@pytest.mark.parametrize("named", ["1", "#1", LOGIN, "GS-1", "gs-1"])
async def test_a_cluster_is_found_by_any_of_its_names(database: Database, named: str) -> None:
    await fill(database)
    assert await find_cluster(database, SPACE, named) == LOGIN


@pytest.mark.parametrize("named", ["99", "#99999999999999999999", "nonsense", "", "%", "' OR 1=1 --", "²"])
async def test_an_unknown_cluster_is_refused_with_what_there_is(database: Database, named: str) -> None:
    await fill(database)
    with pytest.raises(FatalError, match="its clusters are #1 to #3"):
        await find_cluster(database, SPACE, named)


async def test_why_tells_the_whole_story(database: Database) -> None:
    await fill(database)
    found = await why(database, SPACE, "#1", POLICY)
    assert (found.facts.people, found.facts.messages, found.release) == (3, 3, "4.2")
    assert found.ruling is not None
    assert (found.ruling.rule, found.ruling.current) == ("people", True)
    assert [(step.what, step.other) for step in found.lineage] == [("born", None), ("took in", 3)]
    assert [(order.name, order.in_force) for order in found.commands] == [("tag", True), ("mute", False)]
    assert found.cues == (("negates", 3), ("speaks of a failure", 2), ("praises", 1))
    assert len(found.quotes) == 3
    assert not hasattr(found.quotes[0], "author")


async def test_why_of_a_cluster_held_by_another(database: Database) -> None:
    await fill(database)
    found = await why(database, SPACE, "2", POLICY)
    assert found.facts.held_by == 1
    assert found.ticket is None
    assert found.ruling is not None
    assert not found.ruling.current


async def test_commands(database: Database) -> None:
    await fill(database)
    assert await command_cluster(database, SPACE, "c1") == LOGIN
    with pytest.raises(FatalError, match="no command c2 is in force"):
        await command_cluster(database, SPACE, "c2")
    assert [await command_in_force(database, SPACE, name) for name in ("c1", "c2", "c3")] == [True, False, None]


async def test_a_database_without_tables_is_an_error_with_its_remedy(tmp_path: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'empty.db'}")
    with pytest.raises(FatalError, match="groundswell migrate"):
        await account(database, SPACE)
    await database.close()


def letter(topic: str | None, value: bytes, offset: int | None = 5, stage: str = "embed", at: int = 0) -> DeadLetter:
    headers = dead_headers(stage, "SkippableError", "no", topic, 1 if topic else None, offset if topic else None)
    return DeadLetter.decode(None, value, headers, partition=0, offset=at, timestamp_ms=0)


def test_dead_letters_are_told_apart_by_what_died() -> None:
    event = Event(
        id="1",
        source="s",
        type=EventType.DELETED,
        time=T0,
        space=SPACE,
        container="c",
        data=MessageData(platform="p", message_id="m"),
    )
    signal = encode(Signal(event=event, origin=Origin(partition=1, offset=5)))
    died_of_event = origin(letter("x.community.events", b"{}"), "x.")
    assert died_of_event == ("event", "1", "5")
    assert origin(letter("x.community.events", b"{}", at=9), "x.") == died_of_event
    assert origin(letter("x.community.signals", signal, 77, "cluster"), "x.") == died_of_event
    assert origin(letter("x.community.signals", b"junk", 77, "cluster"), "x.")[0] == "other"
    assert origin(letter("x.clusters.changed", b"{}", 3, "file"), "x.")[0] == "other"
    assert origin(letter(None, b"half a line"), "x.")[0] == "refused"
    assert origin(letter("x.community.events", b"too large", None, "publish"), "x.")[0] == "refused"
