"""`publish`: archives into the broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from connectors.archive import ArchiveConnector
from connectors.contract import Received, Refused
from connectors.outgoing import Tally
from connectors.publisher import Publisher
from connectors.run import run
from pipeline.cli.context import connect_broker, embedded_broker
from pipeline.cli.screen import console, note, say
from pipeline.errors import FatalError
from pipeline.settings import Settings
from pipeline.topics import ensure_topics

SHOWN: Final = 20
"""Refused lines that are listed; all of them are in the dead-letter topic."""
_PATIENCE_S: Final = 60.0


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command("publish")(publish)


@dataclass(slots=True)
class Watched:
    """An archive that remembers what it refused."""

    inner: ArchiveConnector
    refused: list[tuple[str, str]] = field(default_factory=list)
    """The first refusals: where, why."""
    refusals: int = 0

    @property
    def name(self) -> str:
        """See `Connector.name`."""
        return self.inner.name

    @property
    def instance(self) -> str:
        """See `Connector.instance`."""
        return self.inner.instance

    async def receive(self, after: Mapping[str, str]) -> AsyncIterator[Received]:
        """See `Connector.receive`."""
        async for item in self.inner.receive(after):
            if isinstance(item, Refused):
                self.refusals += 1
                if len(self.refused) < SHOWN:
                    self.refused.append((item.where, item.reason))
            yield item


async def publish_file(
    path: Path,
    space: str,
    bootstrap: str,
    prefix: str,
    on_progress: Callable[[Tally], None] | None = None,
    *,
    resume: bool = True,
) -> tuple[Tally, Watched]:
    """Publish one archive; return what the broker acknowledged, and the archive with what it refused.

    Raises
    ------
    PipelineError
        When the file cannot be read, or no broker answers for a minute.
    """
    watched = Watched(ArchiveConnector(path, space))
    async with Publisher(bootstrap, prefix, patience_s=_PATIENCE_S) as publisher:
        tally = await run(watched, publisher, on_progress, every_s=1.0, resume=resume)
    return tally, watched


def publish(
    archive: Annotated[
        list[Path], typer.Argument(help="A .jsonl or .jsonl.gz file, or a folder of them.", show_default=False)
    ],
    *,
    again: Annotated[
        bool, typer.Option("--again", help="From the first line on, also what was published before.")
    ] = False,
) -> None:
    """Publish archives, from where the last time ended.

    One JSON object a line, at least {"id": …, "text": …}; also author, time, source (the platform), channel, reply_to.
    A line that cannot be used is named with its number and kept in the dead-letter topic; the rest goes through.

    Example: groundswell publish community.jsonl.gz

    Example: groundswell publish exports/ --again
    """
    settings = Settings.load()
    files = [file for path in archive for file in _files(path)]
    was_running = settings.kafka.bootstrap is not None or embedded_broker(settings).status().running
    bootstrap = connect_broker(settings, start=True, on_progress=note)
    ensure_topics(bootstrap, settings.kafka.prefix, settings.kafka.partitions)
    for file in files:
        _publish_one(settings, bootstrap, file, resume=not again)
    if not was_running:
        note(
            "the embedded broker goes on running: `groundswell run` works on what was published, "
            "`groundswell broker stop` ends it"
        )


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted({*path.glob("*.jsonl"), *path.glob("*.jsonl.gz")})
    if not found:
        raise FatalError(f"{path} holds no .jsonl or .jsonl.gz file: name the file itself")
    return found


def _publish_one(settings: Settings, bootstrap: str, file: Path, *, resume: bool) -> None:
    screen = console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    bar = Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal)
    with bar:
        task = bar.add_task(f"publishing {file.name}", total=None)

        def show(tally: Tally) -> None:
            counts = f"{tally.published.total():,} events, {tally.refused.total():,} refused"
            bar.update(task, description=f"publishing {file.name}: {counts}")

        tally, watched = asyncio.run(
            publish_file(file, settings.space, bootstrap, settings.kafka.prefix, show, resume=resume)
        )
    _report(file, tally, watched)


def _report(file: Path, tally: Tally, watched: Watched) -> None:
    lines, total = watched.inner.lines, tally.published.total() + tally.refused.total()
    before = lines - total - watched.inner.blank
    say(f"{file}: {lines:,} lines, {tally.published.total():,} events published")
    for name, count in tally.published.most_common():
        say(f"  {count:>8,} {name.removeprefix('community.').removesuffix('.v1')}")
    if before > 0:
        say(f"  {before:>8,} published before (--again publishes them once more)")
    for text in watched.inner.notes():
        say(f"  {text}", style="yellow")
    if tally.refused.total():
        say(f"  {tally.refused.total():,} refused, kept as dead letters (groundswell dead list):", style="yellow")
        for where, reason in watched.refused:
            say(f"    {where}: {reason}", style="yellow")
        if watched.refusals > len(watched.refused):
            say(f"    and {watched.refusals - len(watched.refused):,} more", style="yellow")
