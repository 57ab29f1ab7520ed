"""What is parked in `community.dead`: how its value and headers are made, and how they are read again. Pure.

The value is the bytes as they came. Headers, all UTF-8 text, say where and why:

| header | |
|---|---|
| dlq.stage | publish, embed, cluster, file_issues … |
| dlq.error | class of the error |
| dlq.reason | "what is wrong: what to do" |
| dlq.topic, dlq.partition, dlq.offset | where the record was read; absent for what never was on a topic |
| dlq.where | the place at the source, for a person: file and line, link |
| dlq.length, dlq.sha256 | of the whole value, only where it was cut |

A record that `dead retry` has sent back to its topic carries `dlq.retried`: how many times.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pipeline.errors import SkippableError

Headers = list[tuple[str, bytes]]

WHOLE_MAX_BYTES: Final = 512 * 1024
"""Twice what a record of `community.events` may have: every record that was on a topic is kept whole."""
CUT_BYTES: Final = 64 * 1024
REASON_MAX_CHARS: Final = 2_000
RETRIED: Final = "dlq.retried"


def dead_value(raw: bytes | None) -> bytes:
    """Return what is kept of a value: all of it, or its first 64 KiB when it is above `WHOLE_MAX_BYTES`."""
    raw = raw or b""
    return raw if len(raw) <= WHOLE_MAX_BYTES else raw[:CUT_BYTES]


def dead_headers(
    stage: str,
    error: str,
    reason: str,
    topic: str | None = None,
    partition: int | None = None,
    offset: int | None = None,
    *,
    where: str | None = None,
    raw: bytes | None = None,
    came_with: Iterable[tuple[str, bytes]] = (),
) -> Headers:
    """Return the headers of a dead letter.

    error : name of the error's class.
    raw : the value as it came, for `dlq.length` and `dlq.sha256` when `dead_value` cuts it.
    came_with : the record's own headers; only the count of retries is carried on.
    """
    texts = {
        "dlq.stage": stage,
        "dlq.error": error,
        "dlq.reason": reason if len(reason) <= REASON_MAX_CHARS else reason[: REASON_MAX_CHARS - 1] + "…",
        "dlq.topic": topic,
        "dlq.partition": partition,
        "dlq.offset": offset,
        "dlq.where": where,
    }
    headers = [(name, _encoded(str(text))) for name, text in texts.items() if text is not None]
    if raw is not None and len(raw) > WHOLE_MAX_BYTES:
        headers.append(("dlq.length", str(len(raw)).encode()))
        headers.append(("dlq.sha256", hashlib.sha256(raw).hexdigest().encode()))
    headers.extend((name, value) for name, value in came_with if name == RETRIED)
    return headers


_OTHER_MODEL: Final = "embedded by another model: "


def other_model(space: str, found: str, expected: str) -> str:
    """Return the reason for which a signal is refused whose vector is not of its space's model."""
    return (
        f"{_OTHER_MODEL}{found}, and space {space} is of {expected}: set model.name back to the space's, or move the "
        f"space to the new model by `groundswell rebuild`; then `groundswell dead retry --all` reads the message anew"
    )


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One record of `community.dead`, read back.

    `partition` and `offset` are its place in the dead-letter topic, `at` is when it came there by the
    broker's clock; where it came from is `topic`, `from_partition`, `from_offset`, None if it never was on a topic.
    """

    partition: int
    offset: int
    at: datetime
    key: bytes | None
    value: bytes
    stage: str
    error: str
    reason: str
    topic: str | None
    from_partition: int | None
    from_offset: int | None
    where: str | None
    length: int
    sha256: str | None
    retried: int

    @property
    def id(self) -> str:
        """Names it in commands: "partition/offset"."""
        return f"{self.partition}/{self.offset}"

    @property
    def cut(self) -> bool:
        """Whether `value` is only the beginning of what came."""
        return self.length > len(self.value)

    @classmethod
    def decode(
        cls,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]],
        *,
        partition: int,
        offset: int,
        timestamp_ms: int,
    ) -> "DeadLetter":
        """Read a record of `community.dead`; whatever it lacks or garbles, it can be shown."""
        texts = {name: (text or b"").decode("utf-8", "replace") for name, text in headers}
        value = value or b""
        return cls(
            partition=partition,
            offset=offset,
            at=datetime.fromtimestamp(max(timestamp_ms, 0) / 1000, UTC),
            key=key,
            value=value,
            stage=texts.get("dlq.stage", "unknown"),
            error=texts.get("dlq.error", "unknown"),
            reason=texts.get("dlq.reason", "no reason given"),
            topic=texts.get("dlq.topic") or None,
            from_partition=_number(texts.get("dlq.partition")),
            from_offset=_number(texts.get("dlq.offset")),
            where=texts.get("dlq.where"),
            length=_number(texts.get("dlq.length")) or len(value),
            sha256=texts.get("dlq.sha256"),
            retried=_number(texts.get(RETRIED)) or 0,
        )

    @property
    def of_another_model(self) -> bool:
        """Whether its vector was refused: sent back as it is, it would be again."""
        return self.reason.startswith(_OTHER_MODEL)

    def retry_topic(self) -> str:
        """Return the topic to send it back to.

        Raises
        ------
        SkippableError
            When it cannot be sent back: it was cut, or never was on a topic.
        """
        if self.cut:
            raise SkippableError(f"dead letter {self.id} is cut: {len(self.value)} of {self.length} bytes are left")
        if self.topic is None:
            source = self.where or "its source"
            raise SkippableError(f"dead letter {self.id} never was on a topic: mend {source} and read it again")
        return self.topic


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdecimal() and len(text) < 20 else None
