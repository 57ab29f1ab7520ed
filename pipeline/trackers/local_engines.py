"""The databases under the local tracker: blocking calls, each one transaction, over SQLite or PostgreSQL.

SQLite gets a synchronous engine of its own on the store's file: WAL, `BEGIN IMMEDIATE` and a busy timeout let the
store and several processes write beside it. PostgreSQL is reached as the store reaches it, by the same driver, from an
event loop in a thread.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, OperationalError

from pipeline.errors import FatalError, RetriableError
from pipeline.store.database import Database, checked_url

T = TypeVar("T")
Ask = Callable[[sa.Connection], T]
BUSY_TIMEOUT_S: Final = 30


class Engine(Protocol):
    """Runs a function in one transaction.

    Both raise RetriableError when nothing happened and it may work later, FatalError when a person must act.
    """

    def write(self, ask: Ask[T]) -> T:
        """Return what `ask` returns, and commit; nothing is written when it raises."""

    def read(self, ask: Ask[T]) -> T:
        """Return what `ask` returns."""

    def close(self) -> None:
        """Give back every connection."""


def new_engine(database_url: str) -> Engine:
    """Return the engine for a database; FatalError when it is one in memory, or none of ours."""
    url = checked_url(database_url)
    if url.get_backend_name() != "sqlite":
        return ServerEngine(database_url)
    if not url.database or url.database == ":memory:":
        raise FatalError("local tracker needs a database file: one in memory is seen by one connection only")
    return FileEngine(url.database)


class FileEngine:
    """SQLite, in the caller's thread."""

    def __init__(self, file: str) -> None:
        self._file = file
        self.engine = sa.create_engine(sa.URL.create("sqlite", database=file), hide_parameters=True)
        sa.event.listen(self.engine, "connect", _on_connect)

    def __repr__(self) -> str:
        return repr(self._file)

    def write(self, ask: Ask[T]) -> T:
        """See `Engine.write`."""
        with _translated(), self.engine.connect() as connection:
            # At once: a transaction that read first fails on its write when another one wrote meanwhile (WAL)
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            found = ask(connection)
            connection.commit()
            return found

    def read(self, ask: Ask[T]) -> T:
        """See `Engine.read`."""
        with _translated(), self.engine.connect() as connection:
            return ask(connection)

    def close(self) -> None:
        """See `Engine.close`."""
        self.engine.dispose()


class ServerEngine:
    """PostgreSQL, from a loop in a thread of its own, whatever thread or loop the caller is in."""

    def __init__(self, database_url: str) -> None:
        self._database = Database(database_url)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting = threading.Lock()

    def __repr__(self) -> str:
        return repr(self._database)

    def write(self, ask: Ask[T]) -> T:
        """See `Engine.write`."""

        async def written() -> T:
            async with self._database.write() as connection:
                return await connection.run_sync(ask)

        return self._await(written())

    def read(self, ask: Ask[T]) -> T:
        """See `Engine.read`."""

        async def asked() -> T:
            async with self._database.read() as connection:
                return await connection.run_sync(ask)

        return self._await(asked())

    def close(self) -> None:
        """See `Engine.close`."""
        with self._starting:
            loop, self._loop = self._loop, None
        if loop is not None:
            asyncio.run_coroutine_threadsafe(self._database.close(), loop).result()
            loop.call_soon_threadsafe(loop.stop)

    def _await(self, call: Coroutine[Any, Any, T]) -> T:
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=_run, args=(self._loop,), daemon=True, name="local tracker").start()
            loop = self._loop
        return asyncio.run_coroutine_threadsafe(call, loop).result()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.close()


def _on_connect(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver would begin transactions of its own, deferred ones
    cursor = connection.cursor()
    for pragma in (f"busy_timeout = {BUSY_TIMEOUT_S * 1000}", "journal_mode = WAL", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OperationalError as exc:
        if "locked" in str(exc.orig) or "busy" in str(exc.orig):
            raise RetriableError(f"local tracker: {exc.orig}") from exc
        raise FatalError(f"local tracker: {exc.orig}. Check the database file and the free space") from exc
    except DBAPIError as exc:
        raise FatalError(f"local tracker: {exc.orig}. Check the database file") from exc
