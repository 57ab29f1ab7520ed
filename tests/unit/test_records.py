"""The door: what is well formed comes back as it went, and everything else is refused in words."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import SkippableError
from pipeline.records import (
    Command,
    CommandName,
    Event,
    EventType,
    Kinds,
    MessageData,
    Origin,
    Signal,
    decode_event,
    decode_signal,
    encode,
    pack_vector,
)

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
GOOD: dict[str, Any] = {
    "specversion": "1.0",
    "id": "e1",
    "source": "//discord/1",
    "type": "community.message.created.v1",
    "time": "2026-03-20T11:00:00Z",
    "space": "quillstone",
    "container": "general",
    "data": {"platform": "discord", "message_id": "m1", "text": "it crashes", "author": "ann"},
}


def raw(**change: Any) -> bytes:
    data = GOOD["data"] | change.pop("data", {})
    return json.dumps({**GOOD, "data": data, **change}).encode()


def test_the_good_one_passes_and_unknown_fields_are_ignored() -> None:
    event = decode_event(raw(shoe_size=43, data={"mood": "bad"}), NOW)
    assert (event.ref, event.data.text, event.time) == (("discord", "m1"), "it crashes", NOW - timedelta(hours=1))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "not an event"),
        (b"{", "not an event"),
        (raw()[:-20], "not an event"),
        (b"\xff\xfe", "not an event"),
        (b"[" * 100_000, "not an event"),
        (b"null", "not an event"),
        (raw().replace(b'"text": "it crashes", ', b""), "community.message.created.v1 without data.text"),
        (raw(data={"text": ""}), "empty text"),
        (raw(data={"text": " \n\x00\u3000"}), "empty text"),
        (raw(data={"text": "x" * 1_000_000}), "not an event: data.text: String should have at most 40000"),
        (raw(data={"text": "\ud800"}), "not an event"),
        (raw(data={"author": None}), "without data.author"),
        (raw(data={"message_id": "a\x00b"}), "not an event: data.message_id"),
        (raw(data={"permalink": "a\x00b"}), "not an event: data.permalink"),
        (raw(data={"version": "\x00"}), "not an event: data.version"),
        (raw(time="1970-01-01T00:00:00Z"), "lies before 2000"),
        (raw(time=0), "lies before 2000"),
        (raw(time="2026-03-20T12:15:01Z"), "lies in the future"),
        (raw(time="9999-12-31T23:59:59-12:00"), "not an event: time"),
        (raw(time="2026-03-20T11:00:00"), "not an event: time"),
        (raw(time=float("nan")), "not an event: time"),
        (raw(type="groundswell.command.v1"), "not an event of a platform"),
        (raw(type="community.message.eaten.v1"), "not an event: type"),
        (raw(space=""), "not an event: space"),
        (raw(type="community.reaction.set.v1", data={"emoji": "x"}), "without data.present"),
        (raw(type="community.score.snapshot.v1", data={"score": 2**60}), "not an event: data.score"),
    ],
)
def test_bad_input_is_refused_in_words(value: bytes, reason: str) -> None:
    with pytest.raises(SkippableError) as caught:
        decode_event(value, NOW)
    assert reason in str(caught.value)


def test_boundaries_pass() -> None:
    assert decode_event(raw(data={"text": "x" * 40_000}), NOW).data.text == "x" * 40_000
    assert decode_event(raw(data={"text": "a\x00b"}), NOW).data.text == "a\x00b"
    assert decode_event(raw(time="2026-03-20T12:15:00Z"), NOW).time == NOW + timedelta(minutes=15)
    assert decode_event(raw(time="2000-01-01T00:00:00Z"), NOW).time.year == 2000


UNICODE = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40)
TIMES = st.datetimes(datetime(2000, 1, 2), datetime(2026, 3, 19), timezones=st.just(UTC))  # noqa: DTZ001
EVENTS = st.builds(
    Event,
    id=NAMES,
    source=NAMES,
    type=st.sampled_from([EventType.CREATED, EventType.EDITED]),
    time=TIMES,
    space=NAMES,
    container=NAMES,
    data=st.builds(
        MessageData,
        platform=NAMES,
        message_id=NAMES,
        text=UNICODE.filter(lambda text: text.replace("\x00", "").strip()),
        author=NAMES,
        reply_to=st.none() | NAMES,
        score=st.none() | st.integers(-(2**53), 2**53),
    ),
)
KINDS = Kinds(complaint=0.1, idea=0.2, question=0.3, praise=0.15, other=0.25, kind="question", cues=("wish",))


@given(EVENTS)
def test_an_event_comes_back_as_it_went(event: Event) -> None:
    assert decode_event(encode(event), NOW) == event


@given(EVENTS, st.lists(st.floats(-1, 1, width=16), min_size=1, max_size=9))
def test_a_signal_comes_back_with_its_vector(event: Event, numbers: list[float]) -> None:
    signal = Signal(
        event=event,
        origin=Origin(cluster="k", partition=1, offset=2),
        kinds=KINDS,
        vector=pack_vector(np.array(numbers)),
    )
    back = decode_signal(encode(signal))
    assert back == signal
    assert isinstance(back, Signal)
    assert back.unit_vector().tolist() == numbers


@given(NAMES, NAMES, TIMES)
def test_a_command_comes_back(by: str, cluster_id: str, time: datetime) -> None:
    command = Command(id="c1", space="s", name=CommandName.TAG, cluster_id=cluster_id, by=by, time=time, value="vip")
    assert decode_signal(encode(command)) == command


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*GOOD, *GOOD["data"]]), inner),
    max_leaves=8,
)


PAIRS = st.tuples(st.sampled_from(sorted(GOOD.keys() - {"data"})), JSON)
BYTES = (
    st.binary()
    | JSON.map(lambda value: json.dumps(value).encode())
    | JSON.map(lambda value: raw(data={"text": value}))
    | PAIRS.map(lambda pair: raw(**{pair[0]: pair[1]}))
)


@given(BYTES)
def test_nothing_but_skippable_errors_leaves_the_doors(value: bytes) -> None:
    with contextlib.suppress(SkippableError):
        decode_event(value, NOW)
    with contextlib.suppress(SkippableError):
        decode_signal(value)
    with contextlib.suppress(SkippableError):
        decode_signal(b'{"event":' + value + b',"origin":{"partition":0,"offset":0}}')


def test_a_signal_is_checked_as_its_event_is() -> None:
    event = Event.model_validate(GOOD | {"data": {"platform": "discord"}, "type": EventType.DELETED})
    with pytest.raises(SkippableError, match=r"without data\.message_id"):
        decode_signal(encode(Signal(event=event, origin=Origin(partition=0, offset=0))))
