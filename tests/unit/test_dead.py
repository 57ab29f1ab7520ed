"""Dead letters: whatever came is kept as it came, or cut by the rule, and can be read back."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.dead import (
    CUT_BYTES,
    REASON_MAX_CHARS,
    WHOLE_MAX_BYTES,
    DeadLetter,
    dead_headers,
    dead_value,
    other_model,
)
from pipeline.dead_letters import as_sent
from pipeline.errors import SkippableError
from pipeline.records import Event, EventType, MessageData, Origin, Signal, decode_event, encode
from pipeline.topics import DEAD, EVENTS


def decode(key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]) -> DeadLetter:
    return DeadLetter.decode(key, value, headers, partition=0, offset=41, timestamp_ms=1_777_593_600_000)


def test_a_letter_says_where_it_came_from_and_why() -> None:
    headers = dead_headers("embed", "SkippableError", "not an event: é", "p.community.events", 3, 0)
    letter = decode(b"key", b"\xff\x00raw", headers)
    assert letter == DeadLetter(
        partition=0,
        offset=41,
        at=datetime(2026, 5, 1, tzinfo=UTC),
        key=b"key",
        value=b"\xff\x00raw",
        stage="embed",
        error="SkippableError",
        reason="not an event: é",
        topic="p.community.events",
        from_partition=3,
        from_offset=0,
        where=None,
        length=5,
        sha256=None,
        retried=0,
    )
    assert (letter.id, letter.cut, letter.retry_topic()) == ("0/41", False, "p.community.events")


def test_the_rule_of_cutting_is_twice_what_an_event_may_have() -> None:
    assert WHOLE_MAX_BYTES == 2 * EVENTS.max_message_bytes
    assert WHOLE_MAX_BYTES < DEAD.max_value_bytes
    whole = bytes(WHOLE_MAX_BYTES)
    assert dead_value(whole) == whole
    assert [name for name, _ in dead_headers("s", "e", "r", raw=whole)] == [
        "dlq.stage",
        "dlq.error",
        "dlq.reason",
    ]


def test_a_cut_letter_says_so_and_is_not_sent_back() -> None:
    raw = b"x" * (WHOLE_MAX_BYTES + 1)
    letter = decode(b"k", dead_value(raw), dead_headers("publish", "E", "too large", "events", raw=raw))
    assert letter.value == raw[:CUT_BYTES]
    assert (letter.cut, letter.length) == (True, WHOLE_MAX_BYTES + 1)
    assert letter.sha256 == hashlib.sha256(raw).hexdigest()
    with pytest.raises(SkippableError, match="65536 of 524289 bytes"):
        letter.retry_topic()


def test_what_never_was_on_a_topic_is_not_sent_back() -> None:
    letter = decode(None, b"{", dead_headers("publish", "E", "broken JSON: …", where="chat.jsonl:7"))
    with pytest.raises(SkippableError, match=r"mend chat\.jsonl:7"):
        letter.retry_topic()


def test_reasons_fit_and_always_encode() -> None:
    letter = decode(None, b"", dead_headers("s", "e", "\ud800" + "r" * 5_000))
    assert len(letter.reason) == REASON_MAX_CHARS
    assert letter.reason.startswith("?r")
    assert letter.reason.endswith("r…")


def test_the_count_of_retries_is_carried_on_and_nothing_else() -> None:
    came_with = [("dlq.retried", b"2"), ("dlq.reason", b"old"), ("trace", b"x")]
    headers = dead_headers("s", "e", "new", came_with=came_with)
    assert decode(None, b"", headers).retried == 2
    assert [value for name, value in headers if name == "dlq.reason"] == [b"new"]
    assert "trace" not in dict(headers)


@given(
    raw=st.none() | st.binary(max_size=200),
    reason=st.text(max_size=300),
    topic=st.none() | st.text(min_size=1, max_size=20, alphabet="abc.-"),
    place=st.none() | st.tuples(st.integers(0, 999), st.integers(0, 2**62)),
)
def test_headers_and_value_come_back(
    raw: bytes | None, reason: str, topic: str | None, place: tuple[int, int] | None
) -> None:
    partition, offset = place or (None, None)
    letter = decode(None, dead_value(raw), dead_headers("s", "e", reason, topic, partition, offset, raw=raw))
    assert (letter.value, letter.reason, letter.topic) == (raw or b"", reason, topic)
    assert (letter.from_partition, letter.from_offset) == (partition, offset)
    assert not letter.cut


@given(
    value=st.none() | st.binary(max_size=50),
    headers=st.lists(
        st.tuples(
            st.sampled_from(["dlq.stage", "dlq.length", "dlq.partition", "dlq.offset", "dlq.retried", "other"]),
            st.binary(max_size=30),
        ),
        max_size=5,
    ),
)
def test_anything_on_the_topic_can_be_shown(value: bytes | None, headers: list[tuple[str, bytes]]) -> None:
    letter = decode(None, value, headers)
    assert letter.value == (value or b"")
    assert letter.stage == dict(headers).get("dlq.stage", b"unknown").decode("utf-8", "replace")


def test_a_signal_refused_for_its_model_goes_back_as_the_event_it_was_made_of() -> None:
    """Sent back as it is, it would be refused again: its vector stays what it is."""
    event = Event(
        id="e1", source="//t", type=EventType.CREATED, time=datetime(2026, 5, 1, tzinfo=UTC), space="s",
        container="c/1", data=MessageData(platform="discord", message_id="m1", text="hi all", author="ann"),
    )  # fmt: skip
    value = encode(Signal(event=event, origin=Origin(partition=0, offset=3), model="old@1", vector="AAA="))
    reason = other_model("s", "old@1", "new@2")
    headers = dead_headers("cluster", "SkippableError", reason, "p.community.signals", 0, 3)
    topic, key, sent = as_sent(decode(b"s", value, headers))
    assert (topic, key, decode_event(sent, datetime.now(UTC))) == ("p.community.events", b"c/1", event)
    assert all(part in reason for part in ("old@1", "new@2", "groundswell rebuild", "groundswell dead retry"))

    otherwise = dead_headers("cluster", "SkippableError", "not a unit vector", "p.community.signals", 0, 3)
    assert as_sent(decode(b"s", value, otherwise)) == ("p.community.signals", b"s", value)
