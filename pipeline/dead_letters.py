"""Dead letters on the broker: read them all, send some back to where they came from."""

from collections.abc import Iterable, Iterator

from pipeline.dead import RETRIED, DeadLetter
from pipeline.errors import RetriableError
from pipeline.kafka_edge import await_acks, discard_producer, hand_over, new_producer, read_to_end

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

    The letter itself stays where it is until retention ends: a second retry sends the same bytes again, which
    the stages take as the repeat it is.

    Raises
    ------
    SkippableError
        When one of them cannot be sent back (cut, or never on a topic); then nothing is sent.
    RetriableError
        When the broker is away; some may have been sent.
    """
    by_topic = [(letter.retry_topic(), letter) for letter in letters]
    if not by_topic:
        return 0
    producer = new_producer(bootstrap, {topic for topic, _ in by_topic})
    try:
        waiting = [
            hand_over(producer, topic, letter.key, letter.value, [(RETRIED, str(letter.retried + 1).encode())])
            for topic, letter in by_topic
        ]
        done, failure = await_acks(waiting, _ACK_TIMEOUT_S)
    finally:
        discard_producer(producer)
    if done < len(waiting):
        raise failure or RetriableError(f"the broker acknowledged {done} of {len(waiting)} letters; try again")
    return done
