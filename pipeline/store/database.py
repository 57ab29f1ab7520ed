"""The database: one engine, two kinds of transaction, migrations.

SQLite runs in WAL mode and every writing transaction begins IMMEDIATE: a transaction that reads first and writes
later would fail at once with "database is locked" instead of waiting its turn.
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
from sqlalchemy import Connection, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from pipeline.errors import FatalError

BUSY_TIMEOUT_S: Final = 30
MIGRATIONS: Final = Path(__file__).parent / "migrations"


class Database:
    """Asynchronous access to groundswell's database.

    Parameters
    ----------
    url : str
        SQLAlchemy URL: `sqlite+aiosqlite:///PATH` or `postgresql+asyncpg://…`.
    """

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        if self.is_sqlite and self.url.database:
            Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
        connect_args: dict[str, Any] = {"timeout": BUSY_TIMEOUT_S} if self.is_sqlite else {}
        self.engine = create_async_engine(self.url, connect_args=connect_args)
        if self.is_sqlite:
            event.listen(self.engine.sync_engine, "connect", _configure_sqlite)
            event.listen(self.engine.sync_engine, "begin", _begin_sqlite)

    def __repr__(self) -> str:
        return f"Database({self.url.render_as_string(hide_password=True)})"

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Open a writing transaction; keep it short. Commits at the end, rolls back on an exception."""
        async with self.engine.connect() as connection:
            connection = await connection.execution_options(groundswell_write=True)
            async with connection.begin():
                yield connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Open a reading transaction: one consistent view, blocks nobody."""
        async with self.engine.connect() as connection:
            yield connection

    async def migrate(self) -> None:
        """Bring the schema to this release's revision.

        Raises
        ------
        FatalError
            When the database cannot be opened or was written by a newer release.
        """
        try:
            await asyncio.to_thread(_upgrade, self.url.render_as_string(hide_password=False))
        except SQLAlchemyError as exc:
            raise FatalError(f"cannot open the database {self!r}: {exc.__cause__ or exc}") from exc

    async def revision(self) -> tuple[str | None, str]:
        """Return the schema revision found and the one this release needs."""
        head = ScriptDirectory(str(MIGRATIONS)).get_current_head()
        assert head is not None
        try:
            async with self.read() as connection:
                found = await connection.run_sync(_current_revision)
        except SQLAlchemyError as exc:
            raise FatalError(f"cannot open the database {self!r}: {exc.__cause__ or exc}") from exc
        return found, head

    async def close(self) -> None:
        """Give back every connection."""
        await self.engine.dispose()


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
