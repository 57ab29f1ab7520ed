"""The database: one engine, two kinds of transaction, migrations.

SQLite runs in WAL mode and every writing transaction begins IMMEDIATE: a transaction that reads first and writes
later would fail at once with "database is locked" instead of waiting its turn.

On PostgreSQL a writing transaction is READ COMMITTED: those that must not meet wait for one another at a row, the
space's lease or the ticket, and see what the other one left. A reading one is REPEATABLE READ: one view, as on SQLite.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from pipeline.errors import FatalError
from pipeline.store.failures import MIGRATE, shown, translated

BUSY_TIMEOUT_S: Final = 30
"""How long a writer waits for another one: SQLite's busy timeout, PostgreSQL's lock_timeout."""
CONNECT_TIMEOUT_S: Final = 10
STALLED_S: Final = 60
"""After so long a server ends a transaction whose program stands still: it may hold the lock on a space's lease."""
COMMAND_TIMEOUT_S: Final = 600
"""No statement takes so long; a network that swallows the answer would be waited for without end."""
POOL: Final = 3
"""Connections that a process keeps: the owner's or the sink's, the relay's, one for reports."""
POOL_MORE: Final = 5
POOL_AGE_S: Final = 1800
"""Firewalls forget connections that are idle for longer."""
MIGRATIONS: Final = Path(__file__).parent / "migrations"
_DRIVERS: Final = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}
_OPTIONS: Final = frozenset({"ssl", "host", "port"})


class Database:
    """Asynchronous access to groundswell's database.

    Parameters
    ----------
    url : str
        SQLAlchemy URL: `sqlite+aiosqlite:///PATH` or `postgresql+asyncpg://USER:PASSWORD@HOST:PORT/NAME`, with
        `?ssl=verify-full` where the network is not trusted.

    Raises
    ------
    FatalError
        When the URL names neither.
    """

    def __init__(self, url: str) -> None:
        self.url = checked_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        if self.is_sqlite:
            if self.url.database:
                Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
            self.engine = create_async_engine(self.url, connect_args={"timeout": BUSY_TIMEOUT_S}, hide_parameters=True)
            event.listen(self.engine.sync_engine, "connect", _configure_sqlite)
            event.listen(self.engine.sync_engine, "begin", _begin_sqlite)
        else:
            self.engine = _server_engine(self.url)

    def __repr__(self) -> str:
        return f"Database({shown(self.url)})"

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Open a writing transaction; keep it short. Commits at the end, rolls back on an exception.

        Raises
        ------
        RetriableError
            When the database is away or busy. In a lost commit, the transaction may have taken effect all the same.
        FatalError
            When only a person can help: a password, a right, the schema.
        """
        with translated(self.url):
            async with self.engine.connect() as connection:
                if self.is_sqlite:
                    connection = await connection.execution_options(groundswell_write=True)
                else:
                    connection = await connection.execution_options(isolation_level="READ COMMITTED")
                async with connection.begin():
                    yield connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Open a reading transaction: one consistent view, blocks nobody. Raises as `write` does."""
        with translated(self.url):
            async with self.engine.connect() as connection:
                if not self.is_sqlite:
                    connection = await connection.execution_options(
                        isolation_level="REPEATABLE READ", postgresql_readonly=True
                    )
                yield connection

    async def migrate(self) -> None:
        """Bring the schema to this release's revision.

        Raises
        ------
        FatalError
            When the database cannot be opened or was written by a newer release.
        RetriableError
            When a server is away.
        """
        found, head = await self.revision()
        if found == head:
            return
        if found is not None and not known_revision(found):
            raise FatalError(_newer(found, head))
        if not self.is_sqlite:
            await self._check_encoding()
        try:
            with translated(self.url):
                await asyncio.to_thread(_upgrade, self.url.render_as_string(hide_password=False))
        except SQLAlchemyError as exc:
            raise FatalError(f"cannot change the database {self!r}: {_cause(exc)}") from exc

    async def revision(self) -> tuple[str | None, str]:
        """Return the schema revision found and the one this release needs. Raises as `migrate` does."""
        head = ScriptDirectory(str(MIGRATIONS)).get_current_head()
        assert head is not None
        try:
            async with self.read() as connection:
                found = await connection.run_sync(_current_revision)
        except SQLAlchemyError as exc:
            raise FatalError(f"cannot open the database {self!r}: {_cause(exc)}") from exc
        return found, head

    async def require_revision(self) -> str:
        """Return the schema's revision; FatalError with the remedy when it is not this release's."""
        found, needed = await self.revision()
        if found == needed:
            return needed
        if found is not None and not known_revision(found):
            raise FatalError(_newer(found, needed))
        raise FatalError(f"the database is at revision {found}, this release needs {needed}: {MIGRATE}")

    async def server_settings(self, *names: str) -> dict[str, str]:
        """Return settings of a PostgreSQL server, as it shows them; nothing of SQLite."""
        if self.is_sqlite:
            return {}
        async with self.read() as connection:
            rows = await connection.execute(
                text("SELECT name, setting FROM pg_settings WHERE name = ANY(:names)"), {"names": list(names)}
            )
            return {row.name: row.setting for row in rows}

    async def close(self) -> None:
        """Give back every connection."""
        await self.engine.dispose()

    async def _check_encoding(self) -> None:
        found = (await self.server_settings("server_encoding")).get("server_encoding")
        if found != "UTF8":
            raise FatalError(
                f"the database {self!r} holds {found}, and people write in every script: create one with "
                f"CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
            )


def checked_url(url: str) -> URL:
    """Return the URL with this program's driver; FatalError, which never shows it, when it is no database of ours."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise FatalError(
            "database.url cannot be read: write postgresql+asyncpg://USER:PASSWORD@HOST:5432/NAME, and @ as %40, "
            "/ as %2F in the password"
        ) from None
    backend = parsed.drivername.partition("+")[0]
    if backend not in _DRIVERS:
        raise FatalError(f"database.url names {backend}: what is served is sqlite+aiosqlite and postgresql+asyncpg")
    parsed = parsed.set(drivername=_DRIVERS[backend])
    if backend == "sqlite":
        return parsed
    if "sslmode" in parsed.query:  # as libpq calls it
        mode = parsed.query["sslmode"]
        parsed = parsed.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})
    if strange := sorted(parsed.query.keys() - _OPTIONS):
        known = ", ".join(sorted(_OPTIONS))
        raise FatalError(f"database.url has an option {strange[0]}, which is not known: there are {known}")
    if not parsed.database:
        raise FatalError("database.url names a server and no database: add its name after the last slash")
    return parsed


def known_revision(revision: str) -> bool:
    """Whether this release has the migration of that name."""
    return any(script.revision == revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions())


def _server_engine(url: URL) -> AsyncEngine:
    return create_async_engine(
        url,
        connect_args={
            "timeout": CONNECT_TIMEOUT_S,
            "command_timeout": COMMAND_TIMEOUT_S,
            "server_settings": {
                "application_name": "groundswell",
                "lock_timeout": f"{BUSY_TIMEOUT_S}s",
                "idle_in_transaction_session_timeout": f"{STALLED_S}s",
            },
        },
        pool_size=POOL,
        max_overflow=POOL_MORE,
        pool_recycle=POOL_AGE_S,
        pool_pre_ping=True,
        hide_parameters=True,
    )


def _newer(found: str, needed: str) -> str:
    return (
        f"the database is at revision {found}, which this release does not know (its own is {needed}): a newer one "
        f"wrote it; install that one"
    )


def _cause(exc: SQLAlchemyError) -> BaseException:
    return exc.__cause__ or exc


def _configure_sqlite(dbapi_connection: Any, _record: object) -> None:
    dbapi_connection.isolation_level = None
    cursor = dbapi_connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA secure_delete=ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    write = connection.get_execution_options().get("groundswell_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _current_revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _upgrade(url: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = url
    command.upgrade(config, "head")
