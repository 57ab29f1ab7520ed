"""What commands share: settings, the broker, the database, and the way from a name to a cluster."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from pipeline.broker import EmbeddedBroker
from pipeline.broker_jars import KAFKA_VERSION, silent
from pipeline.errors import FatalError
from pipeline.settings import Settings
from pipeline.store.database import Database

T = TypeVar("T")


def embedded_broker(settings: Settings) -> EmbeddedBroker:
    """Return the embedded broker of the data directory, started or not."""
    return EmbeddedBroker(settings.data_dir / "broker", settings.cache_dir / f"kafka-{KAFKA_VERSION}")


def connect_broker(settings: Settings, *, start: bool = False, on_progress: Callable[[str], None] = silent) -> str:
    """Return the address of the broker that the settings name, or of the embedded one.

    Parameters
    ----------
    start : bool
        Start the embedded one when it does not run. Blocks, the first time for as long as its download takes.

    Raises
    ------
    FatalError
        When the embedded broker does not run and is not to be started; says how to start it.
    """
    if settings.kafka.bootstrap is not None:
        return settings.kafka.bootstrap
    broker = embedded_broker(settings)
    if start:
        broker.start(on_progress=on_progress)
    elif not broker.status().running:
        raise FatalError(
            f"the embedded broker in {broker.data_dir} does not run: start it with `groundswell broker start`, "
            f"or everything with `groundswell run`; or name another broker in kafka.bootstrap"
        )
    return broker.bootstrap


@contextlib.asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Database]:
    """Open the database for the block."""
    database = Database(settings.database_url)
    try:
        yield database
    finally:
        await database.close()


def with_database(settings: Settings, ask: Callable[[Database], Awaitable[T]]) -> T:
    """Return what `ask` reads from the database, which must be migrated.

    Raises
    ------
    FatalError
        When it cannot be opened, or has another revision than this release needs.
    """

    async def asked() -> T:
        async with opened(settings) as database:
            await require_schema(database)
            return await ask(database)

    return asyncio.run(asked())


async def require_schema(database: Database) -> None:
    """Raise FatalError when the database has another schema than this release needs."""
    if database.is_sqlite and database.url.database and not _exists(database):
        raise FatalError(
            f"there is no database yet at {database.url.database}: `groundswell run` or `groundswell migrate` makes "
            f"it; `groundswell settings` shows where it is looked for"
        )
    await database.require_revision()


def _exists(database: Database) -> bool:
    return Path(str(database.url.database)).exists()
