"""The demonstration: the shipped archive through a broker, all stages and a local tracker, to a table of tickets.

Its state is a folder with a settings file of its own, so that every other command works on it as well:
`GROUNDSWELL_CONFIG=FOLDER/groundswell.toml groundswell why 3`.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final, Protocol

from connectors.archive import ArchiveConnector
from connectors.archive_file import read_lines
from connectors.publisher import Publisher
from connectors.run import run
from pipeline.background import in_daemon_thread
from pipeline.broker import EmbeddedBroker
from pipeline.broker_jars import default_cache_dir
from pipeline.broker_view import end_offsets
from pipeline.errors import FatalError, RetriableError
from pipeline.in_flight import on_broker
from pipeline.running import Running, ended_or, only_one, running
from pipeline.settings import ENV_PREFIX, FILE_VARIABLE, STAGES, Settings
from pipeline.store.database import Database
from pipeline.store.reports import Progress, Ticket, progress, ticket_list
from pipeline.topics import EVENTS, SIGNALS, ensure_topics

SPACE: Final = "quillstone"
ARCHIVE: Final = "quillstone.jsonl"
LIMIT_S: Final = 300.0
"""From the start of the stages; fetching Kafka does not count."""
POLL_S: Final = 0.5
STILL_S: Final = 12.0
"""Nothing changed for so long: the space counts as silent (`owner.QUIET`) and was fitted. A fit takes a second here."""
GRACE_S: Final = 8.0
"""From SIGTERM to SIGKILL; a stage loses nothing by it, and Ctrl-C is to be quick."""
PATIENCE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Step:
    """How far the demonstration is: counts of events, then of clusters and tickets."""

    lines: int
    """Lines of the archive."""
    published: int
    embedded: int
    clustered: int
    """Events that the database has."""
    events: int
    """Events that there will be; equals `published` once publishing is over."""
    clusters: int
    decided: int
    tickets: int
    restarts: int


class Show(Protocol):
    """Where the demonstration is seen."""

    def say(self, text: str) -> None:
        """Say what begins."""

    def begin(self) -> None:
        """Show progress from here on: the stages run."""

    def update(self, step: Step) -> None:
        """Show how far it is."""

    def end(self) -> None:
        """No more progress follows."""

    def tickets(self, found: list[Ticket], seconds: float, home: Path, *, again: bool) -> None:
        """Show the result; `again` when there were tickets before."""

    def keeping(self, home: Path, bootstrap: str, url: str) -> None:
        """Say what to try while all runs on."""


class Demo:
    """One run of the demonstration in a folder."""

    def __init__(self, home: Path, show: Show, *, keep: bool = False) -> None:
        self._home = home
        self._show = show
        self._keep = keep

    def run(self) -> None:
        """Run it; at the end, however it comes, no process of it is left.

        Raises
        ------
        FatalError
            When it is not done within five minutes, or another demonstration runs in the same folder.
        KeyboardInterrupt
            After Ctrl-C, with everything ended.
        """
        began = time.monotonic()
        taken = f"a demo runs in {self._home} already: end that one, or give this one a folder with --data-dir"
        with only_one(self._home / "lock", taken):
            settings = own_settings(self._home)
            broker = EmbeddedBroker(self._home / "broker", default_cache_dir())
            try:
                # Not in a thread: Ctrl-C must reach it.
                broker.start(on_progress=self._show.say)
                ensure_topics(broker.bootstrap, "", settings.kafka.partitions)
                asyncio.run(self._through(settings, broker.bootstrap, began))
            finally:
                self._show.end()
                broker.stop()

    async def _through(self, settings: Settings, bootstrap: str, began: float) -> None:
        database = Database(settings.database_url)
        try:
            await database.migrate()
            before = await ticket_list(database, SPACE)
            self._show.say("starting the stages")
            logs = self._home / "logs"
            async with running(settings, bootstrap, STAGES, logs=logs, grace_s=GRACE_S) as children:
                self._show.begin()
                walk = asyncio.create_task(self._walk(database, bootstrap, children))
                try:
                    async with asyncio.timeout(LIMIT_S):
                        await ended_or(children, walk)
                except TimeoutError as exc:
                    raise FatalError(
                        f"not done within {LIMIT_S:.0f} s: run it again, it goes on where it stopped. "
                        f"What the stages did is in {logs}"
                    ) from exc
                self._show.end()
                found = await ticket_list(database, SPACE)
                self._show.tickets(found, time.monotonic() - began, self._home, again=bool(before))
                if self._keep:
                    self._show.keeping(self._home, bootstrap, children.url)
                    await children.ended
        finally:
            await database.close()

    async def _walk(self, database: Database, bootstrap: str, children: Running) -> None:
        """Publish, and watch until everything published is accounted for and no decision is open."""
        archive = shipped_archive()
        lines = await in_daemon_thread(lambda: sum(1 for _ in read_lines(archive)))
        publishing = asyncio.create_task(_publish(archive, bootstrap))
        try:
            await self._watch(database, bootstrap, children, lines, publishing)
        finally:
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)

    async def _watch(
        self, database: Database, bootstrap: str, children: Running, lines: int, publishing: asyncio.Task[None]
    ) -> None:
        last: tuple[Step, Progress] | None = None
        since = time.monotonic()
        while True:
            if publishing.done():
                publishing.result()
            try:
                on_topic = await in_daemon_thread(lambda: _counts(bootstrap))
            except RetriableError:
                # A busy machine's broker may not answer in time; a broker that is gone ends the demonstration itself.
                await asyncio.sleep(POLL_S)
                continue
            state = await progress(database, SPACE)
            step = _step(on_topic, state, children, lines, publishing=not publishing.done())
            self._show.update(step)
            if last != (step, state):
                last, since = (step, state), time.monotonic()
            elif time.monotonic() - since >= STILL_S and publishing.done() and _settled(state):
                broker = await on_broker(database, bootstrap, "")
                if broker.in_flight == 0 and broker.taken + broker.dead >= broker.published:
                    return
            await asyncio.sleep(POLL_S)


def own_settings(home: Path) -> Settings:
    """Write the demonstration's settings file, and make it, alone, what this process and its children read."""
    home.mkdir(parents=True, exist_ok=True)
    file = home / "groundswell.toml"
    # A JSON string is a TOML one too, whatever the path holds.
    file.write_text(
        f"space = {json.dumps(SPACE)}\ndata_dir = {json.dumps(str(home))}\n\n"
        # small batches: progress is seen, and no pause between two of them is a silence
        f'[tracker]\nkind = "local"\n\n[policy]\nmode = "auto"\n\n[metrics]\nport = 0\n\n[model]\nbatch = 64\n',
        encoding="utf-8",
    )
    for name in [name for name in os.environ if name.startswith(ENV_PREFIX) and name != f"{ENV_PREFIX}DEBUG"]:
        del os.environ[name]
    os.environ[FILE_VARIABLE] = str(file)
    return Settings.load()


def shipped_archive() -> Path:
    """Return the archive's file. Always by the same name: the connector's cursor is kept under it.

    Raises
    ------
    FatalError
        When the installation lacks it.
    """
    path = Path(str(resources.files("connectors"))) / "data" / ARCHIVE
    if not path.is_file():
        raise FatalError(f"the shipped archive {path} is missing: install groundswell again")
    return path


async def _publish(archive: Path, bootstrap: str) -> None:
    async with Publisher(bootstrap, patience_s=PATIENCE_S) as publisher:
        await run(ArchiveConnector(archive, SPACE), publisher, every_s=1.0)


def _counts(bootstrap: str) -> tuple[int, int]:
    """Return how many events and how many signals the broker has had."""
    return sum(end_offsets(bootstrap, EVENTS.name).values()), sum(end_offsets(bootstrap, SIGNALS.name).values())


def _step(on_topic: tuple[int, int], state: Progress, children: Running, lines: int, *, publishing: bool) -> Step:
    published, embedded = on_topic
    return Step(
        lines=lines,
        published=published,
        embedded=min(embedded, published),
        clustered=state.events,
        events=max(lines, published) if publishing else published,
        clusters=state.clusters,
        decided=state.clusters - state.undecided,
        tickets=state.tickets,
        restarts=sum(status.restarts for status in children.supervisor.status()),
    )


def _settled(state: Progress) -> bool:
    return state.seen_since_fit < 10 and state.undecided == 0 and state.outbox == 0 and state.unsettled == 0
