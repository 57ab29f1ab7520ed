"""The walk: topics and agents in message order.

    community.events ─▶ embed ─▶ community.signals ─▶ cluster ─▶ database ─ relay ─▶ clusters.changed
                                                                   clusters.changed ─▶ file_issues ─▶ tracker

Each stage is a Faust app of its own, with its own consumer group, so that it scales and fails alone. Every agent has
the one safe shape (`pipeline.shape`); what can never succeed goes to `community.dead`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import faust
import numpy as np

from pipeline import metrics
from pipeline.doors import Arrival, arrival_of
from pipeline.embed import Reader
from pipeline.entries import Posted
from pipeline.errors import SkippableError
from pipeline.file_issues import Sink
from pipeline.learning import LOOK_S, Learner
from pipeline.owner import Owner
from pipeline.received import Received, Refusal
from pipeline.records import Event, Origin, check_time, decode_event, decode_signal, encode
from pipeline.relay import decode_wake_up, relay
from pipeline.settings import Settings, Stage
from pipeline.shape import SafeAgent, never_commit_past_unacked, watch_commits
from pipeline.store.database import Database
from pipeline.store.leases import LeaseLostError
from pipeline.topics import CLUSTERS_CHANGED, DEAD, EVENTS, SIGNALS, Topic

T = TypeVar("T")
UNIT_TOLERANCE: Final = 0.01
"""Of the length of a vector cast to float16; what is not a number is outside as well."""
CLUSTER_BATCH: Final = 500
CLUSTER_WITHIN_S: Final = 0.5
FILE_BATCH: Final = 2_000
FILE_WITHIN_S: Final = 1.0
"""A cluster that grows by the second is looked at once in this time, not with each message."""
TICK_S: Final = 2.0
SWEEP_S: Final = 5.0
BACKLOG_S: Final = 15.0


def group_id(settings: Settings, stage: Stage) -> str:
    """Return the consumer group of a stage."""
    return f"{settings.kafka.prefix}groundswell-{stage}"


# -- embed: community.events → community.signals ------------------------------------------------------------------


def embed_app(
    settings: Settings, bootstrap: str, reader: Reader, broker_id: str, member: str, learner: Learner | None = None
) -> faust.App:
    """Stage 1, any number of workers: reads texts, publishes signals keyed by space.

    Parameters
    ----------
    learner : Learner, optional
        Keeps `reader` up to date with people's corrections.
    """
    app = _app(settings, "embed", bootstrap, member)
    signals = _topic(app, settings, SIGNALS)
    # The model works on one batch while the one before it is classified and sent: one thread and one turn each.
    model = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
    classifier = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kinds")
    turn = asyncio.Lock()

    def decode(value: bytes) -> Event:
        return decode_event(value, datetime.now(UTC))

    async def work(received: Sequence[Received[Event]]) -> Sequence[Refusal]:
        events = [item.record for item in received]
        origins = [Origin(cluster=broker_id, partition=item.partition, offset=item.offset) for item in received]
        loop = asyncio.get_running_loop()
        encoded = await loop.run_in_executor(model, reader.encoded, events)
        async with turn:
            read = await loop.run_in_executor(classifier, reader.signals, events, origins, encoded)
            await _send_all(signals, [(signal.event.space, encode(signal)) for signal in read])
        metrics.RECORDS_OUT.labels("embed").inc(len(read))
        return ()

    dead = _topic(app, settings, DEAD)
    agent = SafeAgent("embed", decode, work, dead, batch=settings.model.batch, within_s=0.2, abreast=2)
    _attach(app, agent, _topic(app, settings, EVENTS))
    if learner is not None:
        app.task(agent.guard(_every(app, LOOK_S, learner.look_again)))
        app.on_before_shutdown.connect(_signalled(learner.close), weak=False)
    return app


# -- cluster: community.signals → database → clusters.changed -----------------------------------------------------


def cluster_app(settings: Settings, bootstrap: str, owner: Owner, database: Database, member: str) -> faust.App:
    """Stage 2, one owner a space: folds signals and commands into clusters, and relays the outbox."""
    app = _app(settings, "cluster", bootstrap, member)
    changed = _topic(app, settings, CLUSTERS_CHANGED)
    languages = frozenset(settings.model.languages)

    def decode(value: bytes) -> Arrival:
        arrival = arrival_of(decode_signal(value), languages)
        # The space's clock is the newest time it is given: one from the future would never be caught up with.
        check_time(arrival.at, datetime.now(UTC))
        if isinstance(arrival.body, Posted) and not abs(np.linalg.norm(arrival.body.vector) - 1.0) < UNIT_TOLERANCE:
            raise SkippableError("not a unit vector: damaged, or written by another program than the embed stage?")
        return arrival

    async def work(received: Sequence[Received[Arrival]]) -> Sequence[Refusal]:
        refusals = await _unless_fenced(owner.take(received))
        metrics.RECORDS_OUT.labels("cluster").inc(len(received) - len(refusals))
        return refusals

    async def send(space: str, value: bytes) -> None:
        await _send_all(changed, [(space, value)])

    agent = SafeAgent(
        "cluster", decode, work, _topic(app, settings, DEAD), batch=CLUSTER_BATCH, within_s=CLUSTER_WITHIN_S
    )
    _attach(app, agent, _topic(app, settings, SIGNALS))
    app.task(agent.guard(lambda: relay(database, owner.committed, send, lambda: app.should_stop)))
    app.task(agent.guard(_every(app, TICK_S, lambda: _unless_fenced(owner.tick()))))
    app.on_partitions_revoked.connect(_signalled(owner.release), weak=False)
    app.on_before_shutdown.connect(_signalled(owner.release), weak=False)
    return app


async def _unless_fenced(call: Awaitable[T]) -> T:
    """Await the owner; a lease lost in the midst of it ends the process, for what it has in memory is void.

    It is a RetriableError where a space is taken; here, tried again, it would fail for ever.
    """
    try:
        return await call
    except LeaseLostError as exc:
        raise RuntimeError(f"fenced: {exc}") from exc


# -- file_issues: clusters.changed → tracker ----------------------------------------------------------------------


def file_app(settings: Settings, bootstrap: str, sink: Sink, member: str) -> faust.App:
    """Stage 3: decides about changed clusters and writes tickets."""
    app = _app(settings, "file", bootstrap, member)

    async def work(received: Sequence[Received[tuple[str, str]]]) -> Sequence[Refusal]:
        for space, cluster_id in dict.fromkeys(item.record for item in received):
            await sink.consider(space, cluster_id)
            metrics.RECORDS_OUT.labels("file").inc()
        return ()

    agent = SafeAgent(
        "file", decode_wake_up, work, _topic(app, settings, DEAD), batch=FILE_BATCH, within_s=FILE_WITHIN_S
    )
    _attach(app, agent, _topic(app, settings, CLUSTERS_CHANGED))
    app.task(agent.guard(_every(app, SWEEP_S, sink.sweep)))
    app.task(agent.guard(_every(app, BACKLOG_S, sink.read_backlog)))
    return app


# -- what the three share -----------------------------------------------------------------------------------------


def _app(settings: Settings, stage: Stage, bootstrap: str, member: str) -> faust.App:
    never_commit_past_unacked()
    return faust.App(
        group_id(settings, stage),
        broker=f"kafka://{bootstrap}",
        consumer_group_instance_id=f"{settings.kafka.prefix}{member}",
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=10.0,
        broker_heartbeat_interval=3.0,
        broker_commit_interval=1.0,
        broker_max_poll_records=500,
        producer_acks=-1,
        producer_linger=0.005,
        producer_max_batch_size=131_072,
        producer_max_request_size=SIGNALS.max_message_bytes * 2,
        topic_disable_leader=True,
        topic_allow_declare=False,
        table_standby_replicas=0,
        store="memory://",
        web_enabled=False,
        worker_redirect_stdouts=False,
        datadir=str(settings.data_dir / "faust"),
    )


def _topic(app: faust.App, settings: Settings, topic: Topic) -> faust.TopicT:
    return app.topic(
        settings.kafka.prefix + topic.name,
        key_type=bytes,
        value_type=bytes,
        key_serializer="raw",
        value_serializer="raw",
    )


def _attach(app: faust.App, agent: SafeAgent[Any], topic: faust.TopicT) -> None:
    """Let `agent` consume `topic`, with its guards."""

    async def consume(stream: faust.StreamT[bytes]) -> None:
        await agent.run(stream)

    async def beat() -> None:
        metrics.HEARTBEAT.labels(agent.stage).set(time.time())

    app.agent(topic, name=agent.stage)(consume)
    app.on_partitions_revoked.connect(_signalled(agent.forget_positions), weak=False)
    app.task(agent.guard(lambda: watch_commits(app, agent)))
    app.task(agent.guard(_every(app, 1.0, beat)))


async def _send_all(topic: faust.TopicT, records: Sequence[tuple[str, bytes]]) -> None:
    """Publish in order and return once the broker has every record."""
    sent = [await topic.send(key=key.encode(), value=value) for key, value in records]
    await asyncio.gather(*sent)


def _every(app: faust.App, seconds: float, call: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    async def loop() -> None:
        while not app.should_stop:
            await call()
            await app.sleep(seconds)

    return loop


def _signalled(call: Callable[[], Awaitable[None]]) -> Any:
    """Return a handler for Faust's signals, whose arguments say nothing that is needed."""

    async def handler(*_: Any, **__: Any) -> None:
        await call()

    return handler
