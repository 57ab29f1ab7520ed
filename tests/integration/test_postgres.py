"""What is PostgreSQL's own: its errors with their remedies, its locks, its migrations, and what its texts may hold."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from pipeline.doors import arrival_of
from pipeline.errors import FatalError, RetriableError, SkippableError
from pipeline.fitter import InlineFitter
from pipeline.owner import Owner
from pipeline.records import decode_signal, encode
from pipeline.store import database as module
from pipeline.store import leases, schema
from pipeline.store.database import Database
from pipeline.store.ledger import TicketState
from pipeline.store.statements import one_at_a_time
from pipeline.trackers import local
from tests.standins.postgres import PASSWORD, ROLE, TEMPLATE, PostgresCluster
from tests.standins.sink_world import SPACE, World
from tests.standins.space_stream import SMALL, Stream, clusterer, received, rows

EMPTY = "template0"


@pytest_asyncio.fixture
async def database(postgres: PostgresCluster) -> AsyncIterator[Database]:
    name = postgres.create()
    one = Database(postgres.url(name))
    yield one
    await one.close()
    postgres.drop(name)


async def refused(url: str, error: type[Exception], match: str, *, migrate: bool = False) -> None:
    """Assert that the database is refused with these words, and without its password."""
    database = Database(url)
    with pytest.raises(error, match=match) as caught:
        await (database.migrate() if migrate else database.require_revision())
    assert PASSWORD not in str(caught.value)
    assert "guessed" not in str(caught.value)
    assert "***" in repr(database)
    await database.close()


# -- what goes wrong, and what to do about it -------------------------------------------------------------------------


async def test_a_server_that_is_not_there() -> None:
    await refused("postgresql+asyncpg://u:guessed@127.0.0.1:1/x", RetriableError, r"cannot reach database .*u:\*\*\*@")


async def test_a_wrong_password_and_an_unknown_role(postgres: PostgresCluster) -> None:
    words = r"password authentication failed for user .*; correct the password of database.url"
    await refused(postgres.url(TEMPLATE, password="guessed"), FatalError, words)
    await refused(postgres.url(TEMPLATE, user="nobody"), FatalError, words)


async def test_a_database_that_does_not_exist(postgres: PostgresCluster) -> None:
    await refused(postgres.url("elsewhere"), FatalError, f"CREATE DATABASE elsewhere OWNER {ROLE}")


async def test_a_role_without_rights(postgres: PostgresCluster) -> None:
    name = postgres.create(EMPTY)
    postgres.admin(f"ALTER DATABASE {name} OWNER TO postgres")
    await refused(postgres.url(name), FatalError, "run `groundswell migrate`")
    await refused(postgres.url(name), FatalError, f"ALTER DATABASE {name} OWNER TO {ROLE}", migrate=True)
    postgres.drop(name)


async def test_a_role_that_may_only_read(postgres: PostgresCluster, database: Database) -> None:
    postgres.admin("REVOKE INSERT ON leases FROM groundswell", str(database.url.database))
    with pytest.raises(FatalError, match=r"permission denied for table leases; .* INSERT, UPDATE and DELETE"):
        async with database.write() as connection:
            await leases.acquire(connection, SPACE, "one")


async def test_an_older_and_a_newer_schema(database: Database) -> None:
    url = database.url.render_as_string(hide_password=False)
    for found, words in (("0001", "is at revision 0001.*migrate"), ("9999", "9999, which this release does not know")):
        async with database.write() as connection:
            await connection.execute(text("UPDATE alembic_version SET version_num = :found"), {"found": found})
        await refused(url, FatalError, words)
    await refused(url, FatalError, "a newer one wrote it", migrate=True)


async def test_a_missing_table_is_a_schema_of_another_release(database: Database) -> None:
    async with database.write() as connection:
        await connection.execute(text("DROP TABLE leases"))
    with pytest.raises(FatalError, match="groundswell migrate"):
        async with database.write() as connection:
            await leases.acquire(connection, SPACE, "one")


async def test_a_database_of_another_encoding(postgres: PostgresCluster) -> None:
    name = "narrow"
    postgres.admin(
        f"CREATE DATABASE {name} OWNER {ROLE} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C' LOCALE_PROVIDER libc"
    )
    await refused(postgres.url(name), FatalError, "holds LATIN1, .*ENCODING 'UTF8'", migrate=True)
    postgres.drop(name)


async def test_an_error_shows_nobodys_words(database: Database) -> None:
    row = {"space": SPACE, "platform": "p", "author": "x" * 300 + "her-name", "at": None}
    with pytest.raises(Exception, match=r"too long|not-null|null value") as caught:
        async with database.write() as connection:
            await connection.execute(schema.erased_authors.insert(), [row])
    assert "her-name" not in f"{caught.value}"


async def test_a_connection_that_was_ended_is_replaced(postgres: PostgresCluster, database: Database) -> None:
    """A restart of the server between two transactions is not noticed; one within is worth another try."""
    ended = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database.url.database}'"
    assert (await database.revision())[0] is not None
    postgres.admin(ended)
    assert (await database.revision())[0] is not None

    async def write() -> None:
        async with database.write() as connection:
            await connection.execute(text("SELECT 1"))
            postgres.admin(ended)
            await connection.execute(text("SELECT 1"))

    with pytest.raises(RetriableError):
        await write()
    assert (await database.revision())[0] is not None


# -- who waits for whom -----------------------------------------------------------------------------------------------


async def test_a_reading_transaction_sees_one_moment_and_writes_nothing(database: Database) -> None:
    async with database.read() as reading:
        assert list(await reading.execute(schema.leases.select())) == []
        async with database.write() as writing:
            await leases.acquire(writing, SPACE, "one")
        assert list(await reading.execute(schema.leases.select())) == []
    with pytest.raises(Exception, match=r"read-only transaction|takes no writes"):
        async with database.read() as reading:
            await leases.acquire(reading, SPACE, "one")


async def test_an_owner_that_was_overtaken_in_its_transaction_is_fenced(database: Database) -> None:
    async with database.write() as connection:
        old = await leases.acquire(connection, SPACE, "one")
    overtaken = asyncio.Event()

    async def overtake() -> None:
        async with database.write() as connection:
            await connection.execute(schema.leases.update().values(expires_at=0.0))
            await leases.acquire(connection, SPACE, "two")
            overtaken.set()
            await waits_for_a_lock(database)

    async def write() -> None:
        await overtaken.wait()
        async with database.write() as connection:
            await leases.hold(connection, SPACE, old)  # waits for the row, and then sees the epoch that came

    with pytest.raises(leases.LeaseLostError):
        await asyncio.gather(overtake(), write())


@pytest.mark.parametrize("owned_before", [False, True])
async def test_of_many_who_would_own_a_space_one_does(database: Database, owned_before: bool) -> None:  # noqa: FBT001
    async def acquire(owner: str) -> int:
        async with database.write() as connection:
            return await leases.acquire(connection, SPACE, owner)

    if owned_before:
        epoch = await acquire("old")
        async with database.write() as connection:
            await leases.release(connection, SPACE, epoch)
    got = await asyncio.gather(*(acquire(f"owner{number}") for number in range(5)), return_exceptions=True)
    assert [one for one in got if isinstance(one, int)] == [2 if owned_before else 1]
    assert sum(isinstance(one, leases.LeaseLostError) for one in got) == 4


async def test_what_is_done_by_one_at_a_time_is(database: Database) -> None:
    begun = asyncio.Event()
    order = []

    async def first() -> None:
        async with database.write() as connection:
            await one_at_a_time(connection, "x")
            begun.set()
            await waits_for_a_lock(database)
            order.append("first")

    async def second() -> None:
        await begun.wait()
        async with database.write() as connection:
            await one_at_a_time(connection, "x")
            order.append("second")

    await asyncio.gather(first(), second())
    assert order == ["first", "second"]


async def test_a_writer_that_stands_still_does_not_keep_the_lease(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was stopped within its transaction holds the lease's row: the server ends that transaction."""
    monkeypatch.setattr(module, "STALLED_S", 1)
    stalled = Database(database.url.render_as_string(hide_password=False))

    taken = []

    async def stall() -> None:
        async with stalled.write() as connection:
            await leases.acquire(connection, SPACE, "one")
            async with database.write() as other:
                taken.append(await leases.acquire(other, SPACE, "two"))
            await connection.execute(text("SELECT 1"))

    with pytest.raises(RetriableError):
        await stall()
    assert taken == [1]
    await stalled.close()


async def test_a_lock_is_not_waited_for_without_end(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUSY_TIMEOUT_S", 1)
    hasty = Database(database.url.render_as_string(hide_password=False))
    async with database.write() as connection:
        await leases.acquire(connection, SPACE, "one")
        with pytest.raises(RetriableError, match="lock timeout"):
            async with hasty.write() as other:
                await leases.acquire(other, SPACE, "two")
    await hasty.close()


async def waits_for_a_lock(database: Database) -> None:
    """Return when somebody waits for a lock."""
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = :name")
    async with asyncio.timeout(20):
        while True:
            async with database.read() as connection:
                if await connection.scalar(waiting, {"name": database.url.database}):
                    return
            await asyncio.sleep(0.02)


# -- the schema -------------------------------------------------------------------------------------------------------


async def test_the_migrated_schema_is_the_one_of_the_models(database_url: str) -> None:
    """Types, defaults and indexes included, on both databases."""
    database = Database(database_url)

    def differences(connection: Connection) -> list[Any]:
        options = {"compare_type": True, "compare_server_default": _default_differs}
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, [schema.metadata, local.metadata]))  # type: ignore[arg-type]

    async with database.write() as connection:
        assert await connection.run_sync(differences) == []
        await connection.execute(text("ALTER TABLE leases ADD COLUMN extra INTEGER"))
        assert len(await connection.run_sync(differences)) == 1
    await database.close()


def _default_differs(_: Any, __: Any, ___: Any, found: str | None, ____: Any, wanted: str | None) -> bool:
    """Alembic asks the server whether '[]'::json = '[]', and it has no such operator."""
    return _plain(found) != _plain(wanted)


def _plain(default: str | None) -> str:
    return (default or "").partition("::")[0].strip("'()").replace("0", "false" if default == "false" else "0")


async def test_two_may_migrate_at_once(postgres: PostgresCluster) -> None:
    name = postgres.create(EMPTY)
    program = (
        "import asyncio as a, sys; from pipeline.store.database import Database as D; a.run(D(sys.argv[1]).migrate())"
    )
    each = [await asyncio.create_subprocess_exec(sys.executable, "-c", program, postgres.url(name)) for _ in range(3)]
    assert [await one.wait() for one in each] == [0, 0, 0]
    database = Database(postgres.url(name))
    await database.require_revision()
    await database.close()
    postgres.drop(name)


async def test_a_migration_that_fails_changes_nothing(postgres: PostgresCluster) -> None:
    """DDL is transactional here: what stood in the way is removed, and it goes through."""
    name = postgres.create(EMPTY)
    postgres.ask("CREATE TABLE fits (x int)", (), name)
    database = Database(postgres.url(name))
    with pytest.raises(FatalError, match=r"cannot change the database .*fits.* already exists"):
        await database.migrate()
    assert postgres.ask("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", (), name) == [("fits",)]
    postgres.ask("DROP TABLE fits", (), name)
    await database.migrate()
    await database.require_revision()
    await database.close()
    postgres.drop(name)


# -- what texts hold --------------------------------------------------------------------------------------------------

ODD = st.text(st.characters(exclude_categories=["Cs"]) | st.just("\x00"), max_size=20) | st.just("x" * 300)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_whatever_a_signal_holds_it_is_refused_at_the_door_or_stored(
    database: Database, data: st.DataObject
) -> None:
    """What passes the door and no column takes would end the stage at each restart."""
    stream = Stream(data.draw(st.integers(0, 50)))
    while (made := data.draw(st.sampled_from([stream.post, stream.echo, stream.react, stream.delete]))()) is None:
        pass
    fields = json.loads(encode(made))
    places = [(path, value) for path, value in leaves(fields) if isinstance(value, str | int | float)]
    for path, value in data.draw(st.lists(st.sampled_from(places), max_size=3)):
        odd = ODD if isinstance(value, str) else st.sampled_from([2**31, 2**63, -1, 1e300, float("nan")])
        put(fields, path, data.draw(odd))
    try:
        arrival = arrival_of(decode_signal(json.dumps(fields).encode()), frozenset({"en"}))
    except SkippableError:
        return
    owner = Owner("one", database, SMALL, InlineFitter(clusterer()), quiet=timedelta(0))
    await owner.take(received([arrival]))
    assert arrival.space in {row.space for row in await rows(database, schema.accounts)}
    await owner.release()
    owner.close()


def leaves(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], Any]]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else None
    if items is None:
        return [(path, tree)]
    return [leaf for key, value in items for leaf in leaves(value, (*path, key))]


def put(tree: Any, path: tuple[Any, ...], value: Any) -> None:
    for key in path[:-1]:
        tree = tree[key]
    tree[path[-1]] = value


async def test_what_a_tracker_says_is_kept_without_what_no_column_takes(database_url: str) -> None:
    world = await World(database_url).begin()
    await world.cluster("c1")
    sink = world.sink(world.local())
    await sink.consider(SPACE, "c1")
    async with world.database.write() as connection:
        await connection.execute(schema.tickets.update().values(state=TicketState.RESERVED))
    await sink._state(SPACE, "c1", TicketState.REFUSED, "said \x00 and \ud800")
    assert (await world.ticket()).problem == "said  and ?"
    await world.database.close()
