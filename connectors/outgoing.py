"""What a connector's records are on their way to Kafka: topic, bytes, and what their acknowledgement means. Pure."""

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from connectors.contract import Refused
from pipeline.dead import Headers, dead_headers, dead_value
from pipeline.errors import FatalError
from pipeline.records import Command, Event, encode
from pipeline.topics import CHECKPOINTS, DEAD, EVENTS, SIGNALS, Topic

Mark = tuple[str, str]
"""Key and cursor of the checkpoint that a record's acknowledgement allows."""


@dataclass(slots=True)
class Tally:
    """What the broker has acknowledged: events by type, refusals by their reason up to its colon."""

    published: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Outgoing:
    """One record; `future` is the producer's, None until it was handed over."""

    topic: Topic
    key: bytes | None
    value: bytes
    headers: Headers = field(default_factory=list)
    mark: Mark | None = None
    published: str | None = None
    refused: str | None = None
    future: Any = None

    def count(self, tally: Tally) -> None:
        """Add an acknowledged record to the tally; commands and checkpoints are not counted."""
        if self.published is not None:
            tally.published[self.published] += 1
        if self.refused is not None:
            tally.refused[self.refused] += 1


def of_event(event: Event, mark: Mark | None, prefix: str) -> Outgoing:
    """Return an event as it travels, or the dead letter it becomes when it is too large for its topic."""
    value = encode(event)
    record = Outgoing(EVENTS, event.container.encode(), value, mark=mark, published=event.type.value)
    return record if len(value) <= EVENTS.max_value_bytes else as_too_large(record, prefix)


def of_refused(refused: Refused, mark: Mark | None) -> Outgoing:
    """Return the dead letter of what a connector could not make an event of."""
    headers = dead_headers("publish", "SkippableError", refused.reason, where=refused.where, raw=refused.raw)
    value = dead_value(refused.raw)
    return Outgoing(DEAD, None, value, headers, mark, refused=_category(refused.reason))


def of_command(command: Command) -> Outgoing:
    """Return a person's decision as it travels."""
    return Outgoing(SIGNALS, command.space.encode(), encode(command))


def of_checkpoint(mark: Mark, at: datetime) -> Outgoing:
    """Return a cursor as it is kept."""
    key, cursor = mark
    return Outgoing(CHECKPOINTS, key.encode(), json.dumps({"cursor": cursor, "at": at.isoformat()}).encode())


def as_too_large(record: Outgoing, prefix: str) -> Outgoing:
    """Return the dead letter of an event that its topic does not take.

    Raises
    ------
    FatalError
        When it is no event: what else is sent is small, so the topic's limit is wrong.
    """
    name, size = prefix + record.topic.name, len(record.value)
    if record.topic is not EVENTS:
        raise FatalError(f"{name} does not take {size} bytes: raise its max.message.bytes")
    reason = f"event too large: {size} bytes are more than {name} takes; split the message at its source"
    headers = dead_headers("publish", "MessageSizeTooLargeError", reason, name, raw=record.value)
    return Outgoing(DEAD, record.key, dead_value(record.value), headers, record.mark, refused=_category(reason))


def _category(reason: str) -> str:
    """Return the part of a reason that does not name the one record."""
    return reason.partition(":")[0]
