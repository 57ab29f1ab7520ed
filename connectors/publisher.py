"""Connectors' way into Kafka: `Publisher` owns the producer and the checkpoints; `connectors.run` drives it.

Records are kept, in the order they were given, until the broker has acknowledged them. When the producer
fails for good (expired deliveries, a lost producer id) it is made anew and all that is kept is sent again,
from the oldest unacknowledged record on: order holds, nothing is lost, and the repeats carry the same ids. A
cursor is written to `connector.checkpoints` only after everything up to it was acknowledged.
"""

import asyncio
import time
from collections import deque
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

import structlog

from connectors import outgoing
from connectors.checkpoints import checkpoint_key, read_cursors
from connectors.contract import Refused
from connectors.outgoing import Mark, Outgoing, Tally
from pipeline.errors import PipelineError, RetriableError, SkippableError
from pipeline.kafka_edge import await_acks, discard_producer, hand_over, new_producer
from pipeline.records import Command, Event
from pipeline.topics import CHECKPOINTS, DEAD, EVENTS, SIGNALS

WINDOW: Final = 2_000
"""Records that may wait for an acknowledgement; a connector is held back beyond."""
_SLICE_S: Final = 0.5
"""How long a thread waits for acknowledgements at a stretch: what a cancellation waits for at most."""
_SAY_AGAIN_S: Final = 10.0

log = structlog.get_logger(__name__)


class Publisher:
    """Sends events, refusals, commands and checkpoints, and loses none while the broker is away.

    Use as an asynchronous context manager: leaving it flushes, unless an error leaves it. Methods may be called
    from several tasks of one loop.

    prefix : before each topic's name.
    patience_s : how long a missing broker is waited for; None: for ever. Then RetriableError.
    """

    def __init__(
        self, bootstrap: str, prefix: str = "", *, window: int = WINDOW, patience_s: float | None = None
    ) -> None:
        self._bootstrap = bootstrap
        self._prefix = prefix
        self._window = window
        self._patience_s = patience_s
        self._producer: Any = None
        self._sent: deque[Outgoing] = deque()
        self._marks: dict[str, str] = {}
        self._turn = asyncio.Lock()
        self.tally = Tally()

    async def __aenter__(self) -> "Publisher":
        async with self._turn:
            await self._connect()
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                await self.flush()
        finally:
            if self._producer is not None:
                await asyncio.to_thread(discard_producer, self._producer)

    async def publish(self, event: Event, mark: Mark | None = None) -> None:
        """Send an event, waiting while the window is full; one too large for its topic is a dead letter.

        mark : (checkpoint key, cursor) that `checkpoint` writes once this and all before is acknowledged.
        """
        await self._send(outgoing.of_event(event, mark, self._prefix))

    async def refuse(self, refused: Refused, mark: Mark | None = None) -> None:
        """Send what a connector could not make an event of to the dead letters."""
        await self._send(outgoing.of_refused(refused, mark))

    async def send_command(self, command: Command) -> None:
        """Send a person's decision, and return when the broker has it."""
        await self._send(outgoing.of_command(command))
        await self.flush()

    async def flush(self) -> None:
        """Return when everything sent so far is acknowledged."""
        async with self._turn:
            await self._settle(0)

    async def checkpoint(self) -> None:
        """Await all acknowledgements, then write the cursors they allow, then await those."""
        async with self._turn:
            await self._settle(0)
            marks = dict(self._marks)
            for mark in marks.items():
                self._sent.append(outgoing.of_checkpoint(mark, datetime.now(UTC)))
                await self._transmit(self._sent[-1])
            await self._settle(0)
            for key in marks:
                del self._marks[key]

    async def load_checkpoints(self, name: str, instance: str) -> dict[str, str]:
        """Return the cursor of each partition of a connector, from the checkpoints' topic read to its end."""
        topic, prefix = self._prefix + CHECKPOINTS.name, checkpoint_key(name, instance)
        since = time.monotonic()
        while True:
            try:
                return await asyncio.to_thread(read_cursors, self._bootstrap, topic, prefix)
            except RetriableError as exc:
                self._still_waiting(str(exc), time.monotonic() - since)
                await asyncio.sleep(exc.retry_after_s)

    async def _send(self, record: Outgoing) -> None:
        async with self._turn:
            if len(self._sent) >= self._window:
                await self._settle(self._window // 2)
            self._sent.append(record)
            await self._transmit(record)

    async def _transmit(self, record: Outgoing) -> None:
        """Hand one of the kept records to the producer."""
        try:
            self._hand_over(record)
        except RetriableError as exc:
            log.warning("producer failed, sending again", why=str(exc), records=len(self._sent))
            await self._resend()

    def _hand_over(self, record: Outgoing) -> None:
        topic = self._prefix + record.topic.name
        record.future = hand_over(self._producer, topic, record.key, record.value, record.headers)

    async def _settle(self, at_most: int) -> None:
        """Return when at most `at_most` records wait for their acknowledgement. Holds `_turn`."""
        since = said = time.monotonic()
        while (excess := len(self._sent) - at_most) > 0:
            futures = [record.future for record in islice(self._sent, excess)]
            done, failure = await asyncio.to_thread(await_acks, futures, _SLICE_S)
            for _ in range(done):
                self._acknowledged(self._sent.popleft())
            if failure is not None:
                await self._first_failed(failure)
            now = time.monotonic()
            if done or failure is not None:
                since = said = now
            elif now - said > _SAY_AGAIN_S:
                said = now
                self._still_waiting("no acknowledgement", now - since)

    def _acknowledged(self, record: Outgoing) -> None:
        record.count(self.tally)
        if record.mark is not None:
            key, cursor = record.mark
            self._marks[key] = cursor

    async def _first_failed(self, failure: PipelineError) -> None:
        """Deal with the oldest unacknowledged record, whose delivery has failed for good."""
        if isinstance(failure, SkippableError):
            await self._find_too_large()
        elif isinstance(failure, RetriableError):
            log.warning("producer failed, sending again", why=str(failure), records=len(self._sent))
            await self._resend()
        else:
            raise failure

    async def _find_too_large(self) -> None:
        """Put a dead letter in the place of the record that the broker finds too large; send the rest again.

        kafka-python fails everything it has in hand with the one record's error, so each is tried alone.
        """
        log.warning("a record is too large for the broker, looking for it", records=len(self._sent))
        await self._reconnect()
        failure = None
        while self._sent and failure is None:
            await self._transmit(self._sent[0])
            done = 0
            while not done and failure is None:
                done, failure = await asyncio.to_thread(await_acks, [self._sent[0].future], _SLICE_S)
            if done:
                self._acknowledged(self._sent.popleft())
        if isinstance(failure, SkippableError):
            # In its own place: its cursor must not be written before the dead letter is acknowledged.
            self._sent[0] = outgoing.as_too_large(self._sent[0], self._prefix)
        await self._resend()

    async def _resend(self) -> None:
        """Make a new producer and send, in order, all that is not known to be acknowledged."""
        while True:
            await self._reconnect()
            try:
                for record in self._sent:
                    self._hand_over(record)
            except RetriableError as exc:
                log.warning("producer failed again", why=str(exc), records=len(self._sent))
            else:
                return

    async def _reconnect(self) -> None:
        if self._producer is not None:
            await asyncio.to_thread(discard_producer, self._producer)
        await self._connect()

    async def _connect(self) -> None:
        """Make a producer, waiting for the broker as long as patience lasts."""
        topics = [self._prefix + topic.name for topic in (EVENTS, DEAD, SIGNALS, CHECKPOINTS)]
        since = time.monotonic()
        said: float | None = None
        while True:
            try:
                self._producer = await asyncio.to_thread(new_producer, self._bootstrap, topics)
            except RetriableError as exc:
                now = time.monotonic()
                if said is None or now - said > _SAY_AGAIN_S or self._out_of_patience(now - since):
                    said = now
                    self._still_waiting(str(exc), now - since)
                await asyncio.sleep(exc.retry_after_s)
            else:
                if said is not None:
                    log.info("broker answers again", bootstrap=self._bootstrap)
                return

    def _still_waiting(self, why: str, waited_s: float) -> None:
        """Say what is waited for; RetriableError once patience is over."""
        if self._out_of_patience(waited_s):
            raise RetriableError(f"{why} (waited {waited_s:.0f} s); start the broker or mend its address")
        log.warning(
            "waiting for Kafka",
            why=why,
            bootstrap=self._bootstrap,
            waited_s=round(waited_s),
            records=len(self._sent),
        )

    def _out_of_patience(self, waited_s: float) -> bool:
        return self._patience_s is not None and waited_s > self._patience_s
