"""What can never be read, put on the topics themselves: parked as it came, and nothing else is held up."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from pipeline.broker import EmbeddedBroker
from pipeline.dead_letters import retry
from pipeline.records import Event, EventType, Kinds, MessageData, Origin, Signal, encode, pack_vector
from pipeline.topics import CLUSTERS_CHANGED, EVENTS, SIGNALS
from tests.walk import Walk, running_walk

pytestmark = pytest.mark.timeout(240)

START = datetime(2026, 6, 1, 8, tzinfo=UTC)


@pytest.fixture(scope="module")
def walk(broker: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    """The stages, running."""
    yield from running_walk(broker, tmp_path_factory.mktemp("walk"), {})


NESTED = b"[" * 100_000


def an_event(**fields: Any) -> Event:
    return Event(
        **{
            "id": f"raw:{uuid.uuid4().hex}",
            "source": "raw",
            "type": EventType.CREATED,
            "time": START,
            "space": "bad",
            "container": "raw/room",
            "data": MessageData(platform="raw", message_id=uuid.uuid4().hex, text="a good message", author="ann"),
        }
        | fields
    )


def changed(**fields: Any) -> bytes:
    """Return a good event's bytes with some fields put to something bad, None to leave one out."""
    event = json.loads(encode(an_event()))
    for name, value in fields.items():
        target, key = (event["data"], name.removeprefix("data_")) if name.startswith("data_") else (event, name)
        target[key] = value
    return json.dumps({key: value for key, value in event.items() if value is not None}).encode()


def a_signal(event: Event, vector: str | None) -> bytes:
    kinds = Kinds(complaint=1.0, idea=0.0, question=0.0, praise=0.0, other=0.0, kind="complaint")
    signal = Signal(event=event, origin=Origin(partition=9, offset=1), kinds=kinds, model="m", vector=vector)
    return encode(signal)


def test_bad_input_on_the_topics_is_parked_as_it_came_and_the_rest_goes_through(walk: Walk) -> None:
    future = (datetime.now(UTC) + timedelta(days=400)).isoformat()
    good_vector = pack_vector(np.ones(384, np.float32) / 384**0.5)
    bad: dict[str, list[bytes | None]] = {
        EVENTS.name: [
            b'{"broken": ',
            b"",
            None,
            b"\xff\xfe not utf-8",
            NESTED,
            changed(space=None),
            changed(data_author=None),
            changed(container="a\x00b"),
            changed(data_text="  \x00 "),
            changed(data_text=""),
            changed(time="1970-01-01T00:00:00Z"),
            changed(time=future),
            changed(time="-9999"),
            changed(data_text="x" * 200_000),
            changed(type="groundswell.command.v1"),
        ],
        SIGNALS.name: [
            b'{"event": ',
            b"",
            None,
            NESTED,
            b'{"event":{}}',
            a_signal(an_event(), None),
            a_signal(an_event(), "!"),
            a_signal(an_event(), "AAA="),
            a_signal(an_event(time=datetime(1970, 1, 1, tzinfo=UTC)), good_vector),
            a_signal(an_event(time=datetime.now(UTC) + timedelta(days=400)), good_vector),
            a_signal(an_event(type=EventType.DELETED, data=MessageData(platform="raw")), None),
            b'{"id": "c", "space": "bad", "name": "explode", "cluster_id": "k", "by": "ann"}',
        ],
        CLUSTERS_CHANGED.name: [
            b"{",
            b"",
            None,
            b"[1, 2]",
            b'{"space": "bad"}',
            NESTED,
            b'{"space": "\\ud800", "cluster_id": "k"}',
        ],
    }
    before = {letter.id for letter in walk.dead()}
    walk.publish([{"id": "first", "text": "the stages are there", "time": START.isoformat()}], "good")
    walk.until(lambda: walk.taken("good")["message.created"] == 1, "the stages are there", 180)
    stages = {EVENTS.name: "embed", SIGNALS.name: "cluster", CLUSTERS_CHANGED.name: "file"}
    restarts = {stage: walk.status(stage).restarts for stage in stages.values()}
    for topic, values in bad.items():
        walk.produce(topic, values)
    nul = an_event(
        data=MessageData(platform="raw", message_id="nul", text="a\x00good message with a NUL", author="bob")
    )
    walk.produce(EVENTS.name, [encode(an_event()), encode(nul)])
    total = sum(map(len, bad.values()))
    walk.until(lambda: len({one.id for one in walk.dead()} - before) >= total, f"{total} dead letters", 60)
    walk.until(lambda: walk.taken("bad")["message.created"] >= 2, "the good ones are taken")
    walk.until(lambda: not any(walk.lags().values()), "no lag")
    letters = [letter for letter in walk.dead() if letter.id not in before]
    for topic, values in bad.items():
        mine = [letter for letter in letters if letter.topic == walk.prefix + topic]
        assert sorted(letter.value for letter in mine) == sorted(value or b"" for value in values)
        assert {letter.stage for letter in mine} == {stages[topic]}
        assert {letter.key for letter in mine} == {b"raw"}
        assert all(letter.reason and letter.error == "SkippableError" and not letter.cut for letter in mine)
        offsets = {(letter.from_partition, letter.from_offset) for letter in mine}
        assert len(offsets) == len(values)
        assert all(partition is not None and offset is not None for partition, offset in offsets)
    assert {stage: walk.status(stage).restarts for stage in stages.values()} == restarts
    stored = walk.rows("SELECT text FROM messages WHERE space = 'bad' ORDER BY text")
    assert [row["text"] for row in stored] == ["a good message", "agood message with a NUL"]
    assert walk.one("SELECT now FROM spaces WHERE space = 'bad'").startswith("2026-06-01")

    assert retry(walk.bootstrap, [next(letter for letter in letters if letter.value == b'{"broken": ')]) == 1
    back = walk.until(
        lambda: [one for one in walk.dead() if one.retried == 1 and one.value == b'{"broken": '], "it comes back"
    )
    assert (back[0].stage, back[0].topic) == ("embed", walk.prefix + EVENTS.name)
