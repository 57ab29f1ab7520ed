"""`run` and `migrate`."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Annotated

import typer

from pipeline.cli.context import connect_broker, embedded_broker, opened, require_schema
from pipeline.cli.screen import note, say
from pipeline.running import running
from pipeline.settings import STAGES, Settings, Stage
from pipeline.supervisor import Supervisor
from pipeline.topics import ensure_topics


class StageName(StrEnum):
    """The stages, as typer takes a list of choices."""

    EMBED = "embed"
    CLUSTER = "cluster"
    FILE = "file"


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command("run")(run)
    app.command("migrate")(migrate)


def run(
    stage: Annotated[
        list[StageName] | None, typer.Option("--stage", help="Only this stage; may be given more than once.")
    ] = None,
    instance: Annotated[
        int, typer.Option("--instance", min=0, help="Number of this worker among those of its stage.")
    ] = 0,
) -> None:
    """Run the stages until stopped, and restart what ends itself.

    Starts the embedded broker when no other is set, makes missing topics, brings an SQLite database to this
    release's schema, and serves /metrics and /healthz.

    Example: groundswell run

    Example: groundswell run --stage embed --instance 1
    """
    settings = Settings.load()
    stages = tuple(name for name in STAGES if not stage or name in stage)
    with broker_for_run(settings) as bootstrap:
        ensure_topics(bootstrap, settings.kafka.prefix, settings.kafka.partitions)
        asyncio.run(_run(settings, bootstrap, stages, instance))


@contextlib.contextmanager
def broker_for_run(settings: Settings) -> Iterator[str]:
    """Yield the broker's address; an embedded one that this starts ends with the block."""
    if settings.kafka.bootstrap is not None:
        yield settings.kafka.bootstrap
        return
    broker = embedded_broker(settings)
    if broker.status().running:
        yield connect_broker(settings, start=True)
        return
    try:
        yield connect_broker(settings, start=True, on_progress=note)
    finally:
        note("stopping the embedded broker")
        broker.stop()


async def prepare_database(settings: Settings) -> None:
    """Bring an SQLite database to this release's schema; another one must have it already.

    A server's database may be served by workers of an older release: when it changes is for a person to say.
    """
    async with opened(settings) as database:
        if database.is_sqlite:
            await database.migrate()
        else:
            await require_schema(database)


async def _run(settings: Settings, bootstrap: str, stages: Sequence[Stage], instance: int) -> None:
    await prepare_database(settings)
    async with running(settings, bootstrap, stages, instance=instance) as children:
        stop_on_termination(children.supervisor)
        note(f"running {', '.join(stages)} on {bootstrap}; {children.url}/metrics and {children.url}/healthz")
        await children.ended


def stop_on_termination(supervisor: Supervisor) -> None:
    """Let SIGTERM and SIGHUP end the stages in order, with exit code 0; Ctrl-C cancels the program."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, supervisor.stop)


def migrate() -> None:
    """Bring the database to this release's schema.

    `run` does it by itself for SQLite. On a server's database, stop the workers of an older release first.

    Example: groundswell migrate
    """
    settings = Settings.load()

    async def migrated() -> tuple[str | None, str]:
        async with opened(settings) as database:
            before = await database.revision()
            await database.migrate()
            return before

    found, needed = asyncio.run(migrated())
    if found == needed:
        say(f"the database is at revision {needed} already")
    else:
        say(f"the database went from revision {found or 'none'} to {needed}")
