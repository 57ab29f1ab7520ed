"""The one way kafka-python clients are made, read to the end and closed; its errors leave as ours."""

import contextlib
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from kafka import KafkaConsumer, KafkaProducer, TopicPartition  # type: ignore[import-untyped]
from kafka.errors import (  # type: ignore[import-untyped]
    AuthorizationError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    SaslAuthenticationFailedError,
    UnsupportedSaslMechanismError,
)

from pipeline.dead import Headers
from pipeline.errors import FatalError, PipelineError, RetriableError, SkippableError

_CONNECT_TIMEOUT_S: Final = 2.0
_CLIENT_TIMEOUT_MS: Final = 10_000
_DELIVERY_TIMEOUT_MS: Final = 30_000
"""After this long without an answer the producer is made anew rather than trusted to recover."""
_RECONNECT_MAX_MS: Final = 1_000
"""kafka-python's own 30 s would idle long after a broker is back."""
_LINGER_MS: Final = 5
_NO_LIMIT_BYTES: Final = 64 * 1024 * 1024
_RECORD_TOO_LARGE: Final = (MessageSizeTooLargeError, RecordListTooLargeError)
_NEED_A_PERSON: Final = (AuthorizationError, SaslAuthenticationFailedError, UnsupportedSaslMechanismError)


def port_answers(bootstrap: str) -> bool:
    """Whether any of the comma-separated `host:port` accepts a connection.

    Asked before each client is made: their constructors block for half a minute on a port nobody serves.
    """
    for address in bootstrap.split(","):
        host, _, port = address.strip().rpartition(":")
        if not host or not port.isdecimal():
            raise FatalError(f"{address!r} is no broker's address: write host:port")
        with (
            contextlib.suppress(OSError),
            socket.create_connection((host.strip("[]"), int(port)), _CONNECT_TIMEOUT_S),
        ):
            return True
    return False


@contextlib.contextmanager
def our_errors() -> Iterator[None]:
    """Turn kafka-python's errors into ours.

    RetriableError, unless the record is too large for its topic (SkippableError) or only a person can help
    (FatalError).
    """
    try:
        yield
    except KafkaError as exc:
        raise _our_error(exc) from exc


def _our_error(error: KafkaError) -> PipelineError:
    if isinstance(error, _RECORD_TOO_LARGE):
        return SkippableError(f"record too large for its topic: {error}")
    if isinstance(error, _NEED_A_PERSON):
        return FatalError(f"the broker refuses us: {error}; mend the rights or the credentials")
    return RetriableError(f"Kafka failed for now: {error}")


def new_producer(bootstrap: str, topics: Iterable[str]) -> Any:
    """Return an idempotent producer that knows where `topics` are, so that its `send` does not block.

    Raises
    ------
    RetriableError
        When no broker answers, or one of the topics is not there (yet).
    """
    if not port_answers(bootstrap):
        raise RetriableError(f"no Kafka broker answers at {bootstrap}")
    with our_errors():
        producer = KafkaProducer(
            bootstrap_servers=bootstrap,
            enable_idempotence=True,
            acks="all",
            linger_ms=_LINGER_MS,
            # No limit of the client's: the topics have theirs, and one answer to "too large" is enough.
            max_request_size=_NO_LIMIT_BYTES,
            max_block_ms=_CLIENT_TIMEOUT_MS,
            request_timeout_ms=_CLIENT_TIMEOUT_MS,
            delivery_timeout_ms=_DELIVERY_TIMEOUT_MS,
            bootstrap_timeout_ms=_CLIENT_TIMEOUT_MS,
            reconnect_backoff_max_ms=_RECONNECT_MAX_MS,
            allow_auto_create_topics=False,
        )
    try:
        for topic in topics:
            try:
                producer.partitions_for(topic)
            except KafkaError as exc:
                raise RetriableError(
                    f"topic {topic} is not to be had at {bootstrap}; is this the right broker and prefix?"
                ) from exc
    except BaseException:
        discard_producer(producer)
        raise
    return producer


def hand_over(producer: Any, topic: str, key: bytes | None, value: bytes, headers: Headers) -> Any:
    """Give a record to the producer; return its future, for `await_acks`."""
    with our_errors():
        return producer.send(topic, value=value, key=key, headers=headers)


def await_acks(futures: Sequence[Any], timeout_s: float) -> tuple[int, PipelineError | None]:
    """Return how many records, from the first on, are acknowledged, and why the next one failed for good.

    Blocks until that is known or `timeout_s` is over. None in the place of a future: it was never handed over.
    A record's error need not be its own: kafka-python fails all it has in hand with the error of one.
    """
    deadline = time.monotonic() + timeout_s
    for done, future in enumerate(futures):
        if future is None:
            return done, RetriableError("a record was not handed to the producer")
        try:
            future.get(max(0.0, deadline - time.monotonic()))
        except KafkaError:
            # get raises as well when only our own wait is over; then the future is not done.
            if not future.is_done:
                return done, None
            if future.exception is not None:
                return done, _our_error(future.exception)
    return len(futures), None


def discard_producer(producer: Any) -> None:
    """Close at once, without sending what still waits in it."""
    # close(timeout=0) raises while records wait, before it stops the thread that goes on sending them.
    producer._sender.force_close()
    with contextlib.suppress(KafkaError):
        producer.close(timeout=1)


def read_to_end(bootstrap: str, topic: str) -> Iterator[Any]:
    """Yield the records of a topic from the oldest to what was the newest when this was called.

    Raises
    ------
    RetriableError
        When the broker cannot be reached, has no such topic, or stops answering.
    """
    if not port_answers(bootstrap):
        raise RetriableError(f"no Kafka broker answers at {bootstrap}")
    with our_errors(), contextlib.closing(_new_consumer(bootstrap)) as consumer:
        places = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        if not places:
            raise RetriableError(f"no topic {topic} at {bootstrap}; is this the right broker and prefix?")
        consumer.assign(places)
        consumer.seek_to_beginning(*places)
        ends = consumer.end_offsets(places)
        while open_places := [place for place in places if consumer.position(place) < ends[place]]:
            batches = consumer.poll(timeout_ms=_CLIENT_TIMEOUT_MS)
            if not batches and all(consumer.position(place) < ends[place] for place in open_places):
                raise RetriableError(f"the broker at {bootstrap} does not answer while {topic} is read")
            for place, records in batches.items():
                yield from (record for record in records if record.offset < ends[place])


def _new_consumer(bootstrap: str) -> Any:
    return KafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        bootstrap_timeout_ms=_CLIENT_TIMEOUT_MS,
        allow_auto_create_topics=False,
    )
