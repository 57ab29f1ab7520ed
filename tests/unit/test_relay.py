"""The outbox to the topic: nothing is lost, and only the newest version is worth sending."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from pipeline.errors import RetriableError, SkippableError
from pipeline.relay import decode_wake_up, relay, wake_up
from pipeline.store import outbox, schema
from pipeline.store.database import Database
from tests.standins.space_stream import rows


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    one = Database(database_url)
    yield one
    await one.close()


async def put(database: Database, *notes: tuple[str, str, int]) -> None:
    async with database.write() as connection:
        await connection.execute(
            schema.outbox.insert(), [dict(zip(("space", "cluster_id", "version"), note, strict=True)) for note in notes]
        )


async def run_until_empty(database: Database, sent: list[tuple[str, str, int]], fail_at: int = -1) -> None:
    calls = 0

    async def send(space: str, value: bytes) -> None:
        nonlocal calls
        calls += 1
        if calls == fail_at:
            raise RetriableError("the broker is away")
        fields = json.loads(value)
        assert fields["space"] == space
        sent.append((space, fields["cluster_id"], fields["version"]))

    empty = False

    async def watch() -> None:
        nonlocal empty
        while await rows(database, schema.outbox):
            await asyncio.sleep(0.01)
        empty = True

    watching = asyncio.create_task(watch())
    try:
        await relay(database, asyncio.Event(), send, lambda: empty)
    finally:
        watching.cancel()


async def test_only_the_newest_version_of_each_cluster_is_sent(database: Database) -> None:
    await put(database, ("s", "a", 1), ("s", "b", 2), ("s", "a", 3), ("t", "a", 1))
    sent: list[tuple[str, str, int]] = []
    await run_until_empty(database, sent)
    assert sorted(sent) == [("s", "a", 3), ("s", "b", 2), ("t", "a", 1)]


@pytest.mark.parametrize("fail_at", [1, 2, 3])
async def test_nothing_is_lost_when_a_send_fails_in_the_middle(database: Database, fail_at: int) -> None:
    await put(database, ("s", "a", 1), ("s", "b", 2), ("s", "c", 3))
    sent: list[tuple[str, str, int]] = []
    with pytest.raises(RetriableError):
        await run_until_empty(database, sent, fail_at)
    assert len(await rows(database, schema.outbox)) == 3
    await run_until_empty(database, sent)
    assert set(sent) == {("s", "a", 1), ("s", "b", 2), ("s", "c", 3)}


async def test_what_is_written_while_sending_stays(database: Database) -> None:
    await put(database, ("s", "a", 1))
    stop = False
    sent = []

    async def send(_space: str, value: bytes) -> None:
        nonlocal stop
        sent.append(value)
        await put(database, ("s", "a", 2))
        stop = True

    await relay(database, asyncio.Event(), send, lambda: stop)
    assert [row.version for row in await rows(database, schema.outbox)] == [2]


def test_a_wake_up_comes_back() -> None:
    assert decode_wake_up(wake_up(outbox.Note(1, "spacé", "c", 4))) == ("spacé", "c")


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b"{}", b"\xff", b"7", b"[" * 100_000, b'{"space": "\\ud800", "cluster_id": "c"}', b'{"space": "s", "cluster_id": "\\u0000"}'])  # fmt: skip # noqa: E501
def test_no_wake_up(value: bytes) -> None:
    with pytest.raises(SkippableError):
        decode_wake_up(value)
