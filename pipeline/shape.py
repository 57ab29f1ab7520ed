"""The one safe shape of an agent, and what guards it.

Faust 0.15.3 acknowledges on exceptions, swallows decode errors and may commit past a record in flight. Of all the
shapes tried on a real broker only this one lost nothing: raw bytes → `noack_take` → our own decoding (failure → dead
letter) → work off the event loop (failure → one by one, the guilty to the dead letter) → confirmed writes →
acknowledge each; anything else ends the process without an acknowledgement, and its parent starts it again.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, NoReturn, TypeVar

import faust
import structlog
from faust.transport.consumer import Consumer
from faust.types import TP

from pipeline import metrics
from pipeline.dead import dead_headers, dead_value
from pipeline.errors import FatalError, RetriableError, SkippableError
from pipeline.received import Received, Refusal

log = structlog.get_logger()

RESTART_EXIT_CODE: Final = 70
"""Software error, in sysexits' sense: the parent restarts a worker that ends with it."""
FATAL_EXIT_CODE: Final = 78
"""Configuration error, in sysexits' sense: only a person can cure it, a restart cannot."""
FROZEN_COMMIT_S: Final = 60.0
"""A commit that stands still behind processed offsets for this long never moves again (faust#596)."""

Record = TypeVar("Record")
Work = Callable[[Sequence[Received[Record]]], Awaitable[Sequence[Refusal]]]


@dataclass(slots=True)
class SafeAgent(Generic[Record]):
    """One stage's loop: decode, work, acknowledge, in batches.

    Parameters
    ----------
    stage : str
        Name in metrics, logs and dead letters.
    decode : callable
        Bytes to a record; SkippableError parks the record.
    work : callable
        Takes a batch and returns once all its effects are durable; returns the records it refuses. RetriableError
        repeats the batch; SkippableError makes it go one by one; anything else ends the process.
    dead : faust topic
        Where refused records are parked.
    abreast : int
        Batches in work at a time. Above 1, `work` sees to the order of its effects itself; batches are acknowledged in
        order whatever it does.
    """

    stage: str
    decode: Callable[[bytes], Record]
    work: Work[Record]
    dead: faust.TopicT
    batch: int
    within_s: float
    abreast: int = 1
    processed: dict[TP, int] = field(default_factory=dict)
    """Next offset after the last that was worked off, by partition."""
    _next: dict[TP, int] = field(default_factory=dict)

    async def run(self, stream: faust.StreamT[bytes]) -> None:
        """Consume `stream` until the worker stops: the next batch is gathered while this one is worked off."""
        room = asyncio.Semaphore(self.abreast)
        running: set[asyncio.Task[None]] = set()
        last: asyncio.Task[None] | None = None
        try:
            async for events in stream.noack_take(self.batch, within=self.within_s):  # type: ignore[attr-defined]
                self._check_continuity(events)
                await room.acquire()
                last = asyncio.create_task(self._work_off(events, stream, last, room))
                running.add(last)
                last.add_done_callback(running.discard)
        except asyncio.CancelledError:
            for task in running:
                task.cancel()
            raise
        except BaseException as exc:  # noqa: BLE001 (Faust would acknowledge what failed)
            end_process(self.stage, exc)

    async def _work_off(
        self,
        events: Sequence[Any],
        stream: faust.StreamT[bytes],
        before: asyncio.Task[None] | None,
        room: asyncio.Semaphore,
    ) -> None:
        """Process a batch, and acknowledge it once the one before it is."""
        try:
            await self._process(events)
            if before is not None:
                await before
            for event in events:
                self.processed[event.message.tp] = event.message.offset + 1
                await stream.ack(event)
            room.release()
        except asyncio.CancelledError:
            raise
        except BaseException as exc:  # noqa: BLE001 (as above)
            end_process(self.stage, exc)

    def guard(self, task: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        """Wrap a background task of the stage: what it raises ends the process, as in the agent."""

        async def guarded() -> None:
            while True:
                try:
                    await task()
                    return
                except RetriableError as exc:
                    metrics.FAILURES.labels(self.stage).inc()
                    log.warning("waiting", stage=self.stage, reason=str(exc), seconds=round(exc.retry_after_s, 1))
                    await asyncio.sleep(exc.retry_after_s)
                except asyncio.CancelledError:
                    raise
                except BaseException as exc:  # noqa: BLE001 (a background task that dies silently is a stage half dead)
                    end_process(self.stage, exc)

        return guarded

    async def forget_positions(self) -> None:
        """Partitions were taken away: where they go on next is not ours to know."""
        self._next.clear()
        self.processed.clear()

    async def _process(self, events: Sequence[Any]) -> None:
        started = time.monotonic()
        received: list[Received[Record]] = []
        for event in events:
            message = event.message
            try:
                record = self.decode(message.value if message.value is not None else b"")
            except SkippableError as exc:
                await self._park(event, exc)
                continue
            except (ValueError, RecursionError) as exc:
                # Decoding is pure: what fails once fails for ever, and ending the process would end each restart too.
                await self._park(event, SkippableError(f"cannot be decoded: {exc}"))
                continue
            received.append(Received(record, message.partition, message.offset, message.timestamp))
        by_place = {(event.message.partition, event.message.offset): event for event in events}
        if received:
            for refusal in await self._work(received):
                await self._park(by_place[refusal.partition, refusal.offset], SkippableError(refusal.reason))
        metrics.BATCH_SECONDS.labels(self.stage).observe(time.monotonic() - started)
        metrics.RECORDS_IN.labels(self.stage).inc(len(events))
        now = time.time()
        for item in received:
            metrics.AGE_SECONDS.labels(self.stage).observe(max(0.0, now - item.written_at))

    async def _work(self, received: Sequence[Received[Record]]) -> list[Refusal]:
        while True:
            try:
                return list(await self.work(received))
            except RetriableError as exc:
                metrics.FAILURES.labels(self.stage).inc()
                log.warning("waiting", stage=self.stage, reason=str(exc), seconds=round(exc.retry_after_s, 1))
                await asyncio.sleep(exc.retry_after_s)
            except SkippableError as exc:
                if len(received) == 1:
                    return [Refusal(received[0].partition, received[0].offset, str(exc))]
                return [refusal for item in received for refusal in await self._work([item])]

    async def _park(self, event: Any, error: SkippableError) -> None:
        message = event.message
        raw = message.value if message.value is not None else b""
        headers = dead_headers(
            self.stage,
            type(error).__name__,
            str(error),
            message.topic,
            message.partition,
            message.offset,
            raw=raw,
            came_with=_header_list(message.headers),
        )
        await (await self.dead.send(key=message.key, value=dead_value(raw), headers=headers))
        metrics.DEAD_LETTERS.labels(self.stage).inc()
        log.warning("parked", stage=self.stage, offset=message.offset, partition=message.partition, reason=str(error))

    def _check_continuity(self, events: Sequence[Any]) -> None:
        """End before anything is acknowledged when records were jumped over: our topics have no gaps."""
        for event in events:
            tp, offset = event.message.tp, event.message.offset
            expected = self._next.get(tp)
            if expected is not None and offset > expected:
                raise RuntimeError(f"{tp.topic}[{tp.partition}] jumped from offset {expected} to {offset}")
            self._next[tp] = offset + 1


async def watch_commits(app: faust.App, agent: SafeAgent[Any]) -> None:
    """End the process when a committed offset stands still behind what was processed, or its consumer left the group.

    Runs until cancelled.
    """
    since: dict[TP, tuple[int | None, float]] = {}
    while not app.should_stop:
        await app.sleep(FROZEN_COMMIT_S / 12)
        failure = group_failure(app.consumer._thread._consumer)  # type: ignore[attr-defined]
        if failure is not None:
            end_process(agent.stage, failure)
        committed = app.consumer._committed_offset  # type: ignore[attr-defined]
        now = time.monotonic()
        for tp, done in list(agent.processed.items()):
            at = committed.get(tp)
            seen = since.get(tp)
            if (at is not None and at >= done) or seen is None or seen[0] != at:
                since[tp] = (at, now)
            elif now - seen[1] > FROZEN_COMMIT_S:
                end_process(agent.stage, RuntimeError(f"commit of {tp} frozen at {at}, processed up to {done}"))


def group_failure(consumer: Any) -> BaseException | None:
    """Return why an aiokafka consumer takes no part in its group any more, or None while it does.

    An error that its coordination does not know ends that for good, and the consumer waits for ever: seen with a
    broker that had just started and named no brokers yet.
    """
    task = getattr(getattr(consumer, "_coordinator", None), "_coordination_task", None)
    return task.exception() if task is not None and task.done() and not task.cancelled() else None


def end_process(stage: str, error: BaseException) -> NoReturn:
    """Leave at once and acknowledge nothing; the parent starts the stage again."""
    if isinstance(error, FatalError):
        print(f"{stage}: {error}", file=sys.stderr, flush=True)  # noqa: T201 (the parent shows this line to a person)
        os._exit(FATAL_EXIT_CODE)
    log.critical(
        "stage ends and will be restarted", stage=stage, error=f"{type(error).__name__}: {error}", exc_info=error
    )
    os._exit(RESTART_EXIT_CODE)


def _header_list(headers: Any) -> list[tuple[str, bytes]]:
    if not headers:
        return []
    return list(headers.items()) if hasattr(headers, "items") else list(headers)


def never_commit_past_unacked() -> None:
    """Carry the clamp of faust's open pull request 707: an offset in flight is never committed over.

    `Consumer._new_offset` takes a missing offset at the head of the acknowledged run for a gap of compaction when it
    is exactly one wide, and for a new group always. Withholding what lies beyond the first unacknowledged message
    leaves nothing to misjudge. To be dropped when a release of faust-streaming has the fix.
    """
    original = Consumer._new_offset
    if getattr(original, "clamped", False):
        return

    def clamped(self: Any, tp: TP) -> int | None:
        acked: list[int] = self._acked[tp]
        in_flight = min((m.offset for m in list(self._unacked_messages) if m.tp == tp and not m.acked), default=None)
        if in_flight is None:
            return original(self, tp)
        withheld = [offset for offset in acked if offset >= in_flight]
        acked[:] = [offset for offset in acked if offset < in_flight]
        try:
            return original(self, tp)
        finally:
            acked.extend(withheld)

    clamped.clamped = True  # type: ignore[attr-defined]
    Consumer._new_offset = clamped  # type: ignore[method-assign]
