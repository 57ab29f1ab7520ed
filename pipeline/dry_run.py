"""`groundswell dry-run`: the tickets that these settings would have made on an archive.

The parts that run live, in one process and in one order: the archive's connector, the reader of the embed stage, the
door of the cluster stage, and a `Trial` with owner and sink. No broker, no server, no tracker, and no clock: the same
archive and settings give the same result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from connectors.archive import ArchiveConnector
from connectors.archive_file import read_lines
from connectors.contract import Refused
from models.clusterer import DensityClusterer
from models.embedder import Embedder, ModelFilesError, SentenceEmbedder, model_name
from models.kinds import train_kinds
from pipeline.background import in_daemon_thread
from pipeline.doors import Arrival, arrival_of
from pipeline.embed import Reader
from pipeline.errors import FatalError, SkippableError
from pipeline.records import Event, Origin
from pipeline.settings import Settings
from pipeline.trial import trying
from pipeline.tried import Tried
from pipeline.vector_cache import FILE, CachedEmbedder

CHUNK: Final = 512
"""Events read at once."""
REFUSALS: Final = 20
"""Refused lines that are remembered with their reasons."""
ALL_KINDS: Final = ("complaint", "idea", "question", "praise", "other", "unsure")


class Progress(Protocol):
    """Where a dry run is seen."""

    def begin(self, lines: int) -> None:
        """Say how many lines the archive has."""

    def update(self, lines: int, tickets: int) -> None:
        """Say how far it is."""


@dataclass(slots=True)
class Reading:
    """What was met while reading an archive."""

    lines: int = 0
    events: Counter[str] = field(default_factory=Counter)
    """By type, as `status` names them."""
    notes: tuple[str, ...] = ()
    refused: list[tuple[str, str]] = field(default_factory=list)
    """The first lines that could not be used: where, why."""
    refusals: int = 0
    late: int = 0
    """Events with a time before that of an earlier line."""
    timed: bool = True
    """Whether the archive begins with times; else a line is a second."""

    def refuse(self, where: str, reason: str) -> None:
        """Note a line that cannot be used."""
        self.refusals += 1
        if len(self.refused) < REFUSALS:
            self.refused.append((where, reason))


@dataclass(frozen=True, slots=True)
class DryRun:
    """The result, and what it was read from."""

    tried: Tried
    reading: Reading


def for_all_kinds(settings: Settings) -> Settings:
    """Return the settings under which questions, praise and chatter make tickets too."""
    return settings.model_copy(
        update={
            "clusters": settings.clusters.model_copy(update={"all_kinds": True}),
            "policy": settings.policy.model_copy(update={"kinds": ALL_KINDS}),
        }
    )


def with_options(settings: Settings, *, all_kinds: bool, min_people: int | None) -> Settings:
    """Return the settings as a command's options change them; None leaves `policy.min_people` as it is."""
    if min_people is not None:
        settings = settings.model_copy(update={"policy": settings.policy.model_copy(update={"min_people": min_people})})
    return for_all_kinds(settings) if all_kinds else settings


def load_reader(settings: Settings, *, cache: bool = True) -> Reader:
    """Return the reader of the settings' model, which is loaded when a text comes that the cache does not know.

    Raises
    ------
    FatalError
        When model files are missing or not the expected ones, or the cache cannot be used.
    """
    embedder = lazy_embedder(settings, cache=cache)
    return Reader(embedder, train_kinds(embedder))


def lazy_embedder(settings: Settings, *, cache: bool = True) -> CachedEmbedder:
    """Return the settings' model, which is loaded when a text comes that the cache does not know.

    Raises
    ------
    FatalError
        When model files are missing or not the expected ones, or the cache cannot be used.
    """
    model = settings.model

    def load() -> Embedder:
        try:
            return SentenceEmbedder.load(model.name, model.sha256, threads=model.threads)
        except ModelFilesError as exc:
            raise FatalError(str(exc)) from exc

    try:
        name = model_name(model.name, model.sha256)
    except ModelFilesError as exc:
        raise FatalError(str(exc)) from exc
    return CachedEmbedder(name, load, settings.cache_dir / FILE if cache else None)


async def dry_run(settings: Settings, archive: Path, reader: Reader, progress: Progress | None = None) -> DryRun:
    """Run an archive through all that makes tickets.

    Raises
    ------
    FatalError
        When the archive cannot be read, or holds no message.
    """
    if progress is not None:
        progress.begin(await in_daemon_thread(lambda: sum(1 for _ in read_lines(archive))))
    connector = ArchiveConnector(archive, settings.space)
    reading = Reading()
    chunks = read_archive(connector, reader, frozenset(settings.model.languages), reading)
    arrivals: list[Arrival] = await anext(chunks, [])
    policy, fold = settings.policy, settings.clusters.fold()
    if not reading.timed:
        # A second a line is an order, not an age: nothing can be said of what asks for hours, or for minutes.
        policy = policy.model_copy(update={"settle": timedelta(0)})
        fold = replace(fold, raid_window=timedelta(0))
    clusterer = DensityClusterer(min_cluster_size=settings.clusters.min_cluster_size)
    async with trying(settings.space, fold, policy, clusterer) as trial:
        while arrivals:
            for arrival, refusal in await trial.feed(arrivals):
                reading.refuse(f"{archive}: {arrival.type} of {arrival.at.isoformat()}", refusal.reason)
            if progress is not None:
                progress.update(reading.lines, len(trial.tickets))
            arrivals = await anext(chunks, [])
        tried = await trial.end()
    if not tried.assignments:
        why = f"; line refused: {reading.refused[0][0]}: {reading.refused[0][1]}" if reading.refused else ""
        raise FatalError(f'{archive} holds no message: each line is {{"id": …, "text": …}}{why}')
    return DryRun(tried, reading)


async def read_archive(
    connector: ArchiveConnector, reader: Reader, languages: frozenset[str], reading: Reading
) -> AsyncIterator[list[Arrival]]:
    """Yield what the cluster stage would be given, in chunks of at most `CHUNK`; `reading` fills up meanwhile."""
    offset = 0
    async for events in _chunks(connector, reading):
        reading.timed = reading.timed and (offset > 0 or connector.timed)
        yield await in_daemon_thread(partial(_read, reader, events, offset, languages, reading))
        offset += len(events)


async def _chunks(connector: ArchiveConnector, reading: Reading) -> AsyncIterator[list[Event]]:
    events: list[Event] = []
    newest: datetime | None = None
    async for item in connector.receive({}):
        reading.lines = connector.lines
        if isinstance(item, Refused):
            reading.refuse(item.where, item.reason)
            continue
        events.append(item.event)
        reading.late += newest is not None and item.event.time < newest
        newest = item.event.time if newest is None else max(newest, item.event.time)
        if len(events) == CHUNK:
            yield events
            events = []
    reading.lines, reading.notes = connector.lines, connector.notes()
    if events:
        yield events


def _read(
    reader: Reader, events: Sequence[Event], offset: int, languages: frozenset[str], reading: Reading
) -> list[Arrival]:
    origins = [Origin(cluster="dry-run", partition=0, offset=offset + number) for number in range(len(events))]
    arrivals = []
    for signal in reader.signals(events, origins, reader.encoded(events)):
        try:
            arrivals.append(arrival_of(signal, languages))
        except SkippableError as exc:
            reading.refuse(signal.event.id, str(exc))
        else:
            reading.events[arrivals[-1].type] += 1
    return arrivals
