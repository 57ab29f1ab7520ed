"""Dead letters on the broker: read them all, send some back to where they came from."""

from collections.abc import Iterable, Iterator

from pipeline.dead import RETRIED, DeadLetter
from pipeline.errors import RetriableError
from pipeline.kafka_edge import await_acks, discard_producer, hand_over, new_producer, read_to_end
from pipeline.records import Signal, decode_signal, encode
from pipeline.topics import EVENTS, SIGNALS

_ACK_TIMEOUT_S = 60.0


def read_dead(bootstrap: str, topic: str) -> Iterator[DeadLetter]:
    """Yield the dead letters that are in `topic` now, oldest first of each partition.

    Raises
    ------
    RetriableError
        When the broker or the topic is not there.
    """
    for record in read_to_end(bootstrap, topic):
        yield DeadLetter.decode(
            record.key,
            record.value,
            record.headers,
            partition=record.partition,
            offset=record.offset,
            timestamp_ms=record.timestamp,
        )


def retry(bootstrap: str, letters: Iterable[DeadLetter]) -> int:
    """Send the bytes of each letter, under its key, back to its topic; return how many, once all are there.

    A signal that was refused for its model goes back as the event that it was made of, to be embedded anew.

    The letter itself stays where it is until retention ends: a second retry sends the same bytes again, which
    the stages take as the repeat it is.

    Raises
    ------
    SkippableError
        When one of them cannot be sent back (cut, or never on a topic); then nothing is sent.
    RetriableError
        When the broker is away; some may have been sent.
    """
    records = [(*as_sent(letter), letter) for letter in letters]
    if not records:
        return 0
    producer = new_producer(bootstrap, {topic for topic, *_ in records})
    try:
        waiting = [
            hand_over(producer, topic, key, value, [(RETRIED, str(letter.retried + 1).encode())])
            for topic, key, value, letter in records
        ]
        done, failure = await_acks(waiting, _ACK_TIMEOUT_S)
    finally:
        discard_producer(producer)
    if done < len(waiting):
        raise failure or RetriableError(f"the broker acknowledged {done} of {len(waiting)} letters; try again")
    return done


def as_sent(letter: DeadLetter) -> tuple[str, bytes | None, bytes]:
    """Return topic, key and value under which a letter goes back."""
    topic = letter.retry_topic()
    if not letter.of_another_model:
        return topic, letter.key, letter.value
    signal = decode_signal(letter.value)
    if not isinstance(signal, Signal):
        return topic, letter.key, letter.value
    events = topic.removesuffix(SIGNALS.name) + EVENTS.name
    return events, signal.event.container.encode(), encode(signal.event)
