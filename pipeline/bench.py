"""How fast the walk is, as a ratio to the model alone on the same texts in the same run.

Absolute figures of a shared machine mean little; the ratio says what Kafka, Faust, the database and the fits cost on
top of what cannot be avoided. The model alone is measured before and after, and the two are averaged.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from connectors.archive import ArchiveConnector
from connectors.contract import Published
from connectors.publisher import Publisher
from models.embedder import SentenceEmbedder
from models.text import strip_for_embedding
from pipeline.background import in_daemon_thread
from pipeline.broker_view import end_offsets
from pipeline.errors import FatalError
from pipeline.kafka_edge import read_to_end
from pipeline.records import Event, EventType, MessageData
from pipeline.running import running
from pipeline.settings import Settings, Stage
from pipeline.store.database import Database
from pipeline.store.reports import progress
from pipeline.topics import SIGNALS, delete_topics, ensure_topics

BATCH_SIZES: Final = (16, 32, 64, 128)
SAMPLE: Final = 400
"""Texts on which the model's best batch size is found."""
SPACE: Final = "bench"
POLL_S: Final = 0.5
TOPIC_POLL_S: Final = 3.0
"""Asking the broker costs a connection; the figure comes from the records' own times."""
LIMIT_S: Final = 1_800.0


@dataclass(frozen=True, slots=True)
class BenchResult:
    """Messages per second, and each ÷ the model alone."""

    messages: int
    batch_size: int
    """The bare model's best."""
    bare_per_s: float
    bare_before_per_s: float
    bare_after_per_s: float
    embed_per_s: float
    end_to_end_per_s: float

    @property
    def embed_ratio(self) -> float:
        """The embed stage's rate over the bare model's."""
        return self.embed_per_s / self.bare_per_s

    @property
    def end_to_end_ratio(self) -> float:
        """The rate of all three stages, fits and tickets included, over the bare model's."""
        return self.end_to_end_per_s / self.bare_per_s


async def bench(
    settings: Settings, bootstrap: str, archive: Path, count: int, say: Callable[[str], None]
) -> BenchResult:
    """Measure on the first `count` different texts of an archive, or on all when it has fewer.

    Raises
    ------
    FatalError
        When the archive has no message, or a stage does not get done.
    """
    texts = await _texts(archive, count)
    read = [strip_for_embedding(text) for text in texts]
    say(f"the model alone on {len(texts):,} texts")
    embedder = await in_daemon_thread(
        lambda: SentenceEmbedder.load(settings.model.name, threads=settings.model.threads)
    )
    best = await in_daemon_thread(lambda: _best_batch_size(embedder, read[:SAMPLE]))
    before = await in_daemon_thread(lambda: _bare_rate(embedder, read, best))
    say("the embed stage")
    embed_rate = await _measure(settings, bootstrap, texts, ("embed",))
    say("all three stages")
    whole_rate = await _measure(settings, bootstrap, texts, ("embed", "cluster", "file"))
    say("the model alone again")
    after = await in_daemon_thread(lambda: _bare_rate(embedder, read, best))
    bare = 2 * before * after / (before + after)
    return BenchResult(len(texts), best, bare, before, after, embed_rate, whole_rate)


async def _texts(archive: Path, count: int) -> list[str]:
    # Different ones: the embed stage reads a repeated text once, which the model alone does not.
    found: dict[str, None] = {}
    async for item in _items(archive):
        if item.event.type is EventType.CREATED and item.event.data.text:
            found[item.event.data.text] = None
        if len(found) == count:
            break
    if not found:
        raise FatalError(f"{archive} holds no message")
    return list(found)


async def _items(archive: Path) -> AsyncIterator[Published]:
    async for item in ArchiveConnector(archive, SPACE).receive({}):
        if isinstance(item, Published):
            yield item


def _best_batch_size(embedder: SentenceEmbedder, texts: Sequence[str]) -> int:
    rates = {size: _bare_rate(embedder, texts, size) for size in BATCH_SIZES}
    return max(rates, key=lambda size: rates[size])


def _bare_rate(embedder: SentenceEmbedder, texts: Sequence[str], batch_size: int) -> float:
    started = time.monotonic()
    embedder.encode_bare(texts, batch_size)
    return len(texts) / (time.monotonic() - started)


async def _measure(settings: Settings, bootstrap: str, texts: Sequence[str], stages: Sequence[Stage]) -> float:
    """Return messages per second in steady state: loading the model happens once in a worker's life."""
    home = Path(tempfile.mkdtemp(prefix="groundswell-bench-"))
    prefix = f"bench-{uuid.uuid4().hex[:8]}."
    own = settings.model_copy(
        update={
            "space": SPACE,
            "data_dir": home,
            "database": settings.database.model_copy(update={"url": None}),
            "kafka": settings.kafka.model_copy(update={"bootstrap": bootstrap, "prefix": prefix}),
            "metrics": settings.metrics.model_copy(update={"port": 0}),
            "tracker": settings.tracker.model_copy(update={"kind": "local"}),
        }
    )
    database = Database(own.database_url)
    try:
        ensure_topics(bootstrap, prefix, settings.kafka.partitions)
        await database.migrate()
        await _publish(bootstrap, prefix, texts)
        async with running(own, bootstrap, stages, logs=home / "logs", environment=_variables(own)) as children:
            async with asyncio.timeout(LIMIT_S):
                done_at = await _until_done(database, bootstrap, prefix, len(texts), stages)
            if any(status.restarts for status in children.supervisor.status()):
                raise FatalError(
                    f"a stage ended and was restarted while it was measured; its log is in {home / 'logs'}"
                )
        written = await in_daemon_thread(lambda: _append_times(bootstrap, prefix))
    finally:
        await database.close()
        delete_topics(bootstrap, prefix)
    shutil.rmtree(home, ignore_errors=True)
    first = written[0]
    in_first_batch = sum(at == first for at in written)
    return (len(texts) - in_first_batch) / ((done_at if len(stages) > 1 else written[-1]) - first)


def _variables(settings: Settings) -> Mapping[str, str]:
    return {
        "GROUNDSWELL_SPACE": settings.space,
        "GROUNDSWELL_DATA_DIR": str(settings.data_dir),
        "GROUNDSWELL_DATABASE__URL": settings.database_url,
        "GROUNDSWELL_KAFKA__PREFIX": settings.kafka.prefix,
        "GROUNDSWELL_TRACKER__KIND": "local",
        "GROUNDSWELL_POLICY__MODE": "auto",
    }


async def _publish(bootstrap: str, prefix: str, texts: Sequence[str]) -> None:
    start = datetime.now(UTC) - timedelta(minutes=len(texts))
    async with Publisher(bootstrap, prefix) as publisher:
        for number, text in enumerate(texts):
            data = MessageData(platform="bench", message_id=str(number), text=text, author=f"author {number}")
            await publisher.publish(
                Event(
                    id=f"bench:{number}",
                    source="bench://texts",
                    type=EventType.CREATED,
                    time=start + timedelta(minutes=number),
                    space=SPACE,
                    container=f"bench/{number % 8}",
                    data=data,
                )
            )


async def _until_done(database: Database, bootstrap: str, prefix: str, count: int, stages: Sequence[Stage]) -> float:
    """Return when (seconds since 1970) the last message was embedded, or clustered and decided about."""
    while True:
        if len(stages) == 1:
            ends = await in_daemon_thread(lambda: end_offsets(bootstrap, prefix + SIGNALS.name))
            if sum(ends.values()) >= count:
                return time.time()
            await asyncio.sleep(TOPIC_POLL_S)
            continue
        state = await progress(database, SPACE)
        if state.events >= count and state.outbox == 0 and state.undecided == 0:
            return time.time()
        await asyncio.sleep(POLL_S)


def _append_times(bootstrap: str, prefix: str) -> list[float]:
    """Return when the broker appended each signal, seconds since 1970, ascending."""
    return sorted(record.timestamp / 1000 for record in read_to_end(bootstrap, prefix + SIGNALS.name))
