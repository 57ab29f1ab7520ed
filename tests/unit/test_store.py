"""Leases, the journal's rows and upserts, on real databases."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio
from sqlalchemy.exc import StatementError

from models.geometry import View
from pipeline.entries import AuthorErased, Body, Commanded, Deleted, Entry, Features, Fitted, Posted, Reacted, Ticked
from pipeline.records import CommandName, MessageRef
from pipeline.store import leases, schema
from pipeline.store.database import Database
from pipeline.store.journal import entry_of, journal_row
from pipeline.store.leases import LeaseLostError
from pipeline.store.statements import upsert
from tests.standins.space_stream import SPACE, T0, rows


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    one = Database(database_url)
    yield one
    await one.close()


async def acquire(database: Database, owner: str) -> int:
    async with database.write() as connection:
        return await leases.acquire(connection, SPACE, owner)


async def test_a_lease_is_taken_by_one_and_again_by_the_same_at_once(database: Database) -> None:
    assert await acquire(database, "one") == 1
    assert await acquire(database, "one") == 2
    with pytest.raises(LeaseLostError, match="owned by one for another 30 s") as caught:
        await acquire(database, "two")
    assert 29 < caught.value.retry_after_s <= 30


async def test_a_lease_that_ran_out_or_was_released_goes_to_the_next(database: Database) -> None:
    epoch = await acquire(database, "one")
    async with database.write() as connection:
        await leases.release(connection, SPACE, epoch - 1)
    with pytest.raises(LeaseLostError):
        await acquire(database, "two")
    async with database.write() as connection:
        await leases.release(connection, SPACE, epoch)
    assert await acquire(database, "two") == epoch + 1


async def test_a_fenced_owner_writes_nothing(database: Database) -> None:
    old = await acquire(database, "one")
    new = await acquire(database, "one")

    async def write_fenced() -> None:
        row = {"space": SPACE, "platform": "p", "author": "a", "at": T0}
        async with database.write() as connection:
            await connection.execute(schema.erased_authors.insert(), [row])
            await leases.hold(connection, SPACE, old)

    with pytest.raises(LeaseLostError):
        await write_fenced()
    assert await rows(database, schema.erased_authors) == []
    async with database.write() as connection:
        await leases.hold(connection, SPACE, new)


async def test_holding_renews_by_the_database_s_clock(database: Database) -> None:
    epoch = await acquire(database, "one")
    async with database.write() as connection:
        await connection.execute(schema.leases.update().values(expires_at=5.0))
        await leases.hold(connection, SPACE, epoch)
        now = await leases.database_now(connection)
    (lease,) = await rows(database, schema.leases)
    assert lease.expires_at == pytest.approx(now + leases.LEASE_S, abs=1)


REF = MessageRef("discord", "m1")
FEATURES = Features((0.1, 0.2, 0.3, 0.15, 0.25), "unsure", 4, echo=False, fingerprint="f", language="ru")
VECTOR = np.array([0.6, 0.8], np.float32)


@pytest.mark.parametrize(
    "body",
    [
        Posted(REF, "ann", T0, FEATURES, VECTOR, MessageRef("discord", "m0"), edited=True),
        Posted(REF, None, T0, FEATURES, VECTOR),
        Deleted(REF),
        Reacted(REF),
        AuthorErased("discord", "ann"),
        Commanded("c1", CommandName.TAG, "cluster", "kim", "vip"),
        Commanded("c2", CommandName.MERGE, "cluster", "kim", other="second"),
        Commanded("c3", CommandName.SPLIT, "cluster", "kim", messages=(REF, MessageRef("reddit", "m2"))),
        Ticked(),
        Fitted(3, (REF,), np.array([-1], np.int32), View.plain(2), 2),
    ],
    ids=lambda body: type(body).__name__,
)
async def test_a_journal_row_reads_back_as_its_entry(database: Database, body: Body) -> None:
    async with database.write() as connection:
        await connection.execute(schema.journal.insert(), [journal_row(SPACE, Entry(7, T0, body))])
    (row,) = await rows(database, schema.journal)
    back = entry_of(row, VECTOR if isinstance(body, Posted) else None)
    assert (back.seq, back.at, repr(back.body)) == (7, T0, repr(body))


async def test_a_posted_row_without_a_vector_reads_as_deleted(database: Database) -> None:
    async with database.write() as connection:
        row = journal_row(SPACE, Entry(7, T0, Posted(REF, "ann", T0, FEATURES, VECTOR))) | {"body": {}}
        await connection.execute(schema.journal.insert(), [row])
    (found,) = await rows(database, schema.journal)
    assert entry_of(found, None).body == Deleted(REF)


async def test_a_naive_time_is_refused(database: Database) -> None:
    row = {"space": SPACE, "platform": "p", "author": "a", "at": T0.replace(tzinfo=None)}

    async def write() -> None:
        async with database.write() as connection:
            await upsert(connection, schema.erased_authors, [row])

    with pytest.raises(StatementError, match="naive time"):
        await write()
