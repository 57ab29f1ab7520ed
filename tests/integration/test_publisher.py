"""The way into Kafka on a real broker: nothing lost, in order, whatever is killed."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import textwrap
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiokafka.partitioner import DefaultPartitioner  # type: ignore[import-untyped]
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient  # type: ignore[import-untyped]

from connectors.archive import ArchiveConnector
from connectors.contract import Published, Received, Refused
from connectors.outgoing import Tally
from connectors.publisher import Publisher
from connectors.run import run
from pipeline.broker import EmbeddedBroker
from pipeline.broker_jars import default_cache_dir
from pipeline.dead import CUT_BYTES, WHOLE_MAX_BYTES, dead_headers
from pipeline.dead_letters import read_dead, retry
from pipeline.errors import FatalError, RetriableError, SkippableError
from pipeline.kafka_edge import discard_producer, new_producer, read_to_end
from pipeline.records import (
    Command,
    CommandName,
    Event,
    EventType,
    MessageData,
    decode_event,
    decode_signal,
    encode,
)
from pipeline.topics import CHECKPOINTS, DEAD, EVENTS, SIGNALS, ensure_topics

TIME = datetime(2026, 5, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 23, tzinfo=UTC)

pytestmark = pytest.mark.timeout(180)


def event(number: int, **fields: Any) -> Event:
    data = MessageData(**{"platform": "test", "message_id": str(number), "text": "x", "author": "a"} | fields)
    return Event(
        id=f"test:{number}",
        source="test",
        type=EventType.CREATED,
        time=TIME,
        space="acme",
        container=f"room {number % 5}",
        data=data,
    )


class Scripted:
    """A connector whose items, and what happens between them, a test writes down as a generator."""

    name = "scripted"
    instance = "one/two"

    def __init__(self, script: Callable[[str | None], AsyncIterator[Received]]) -> None:
        self._script = script

    def receive(self, after: Mapping[str, str]) -> AsyncIterator[Received]:
        return self._script(after.get("p"))


def item(number: int, *, settle: bool = False) -> Published:
    return Published(event(number), str(number), "p", settle=settle)


def on_topic(bootstrap: str, topic: str) -> list[Any]:
    return list(read_to_end(bootstrap, topic))


def ids(bootstrap: str, prefix: str) -> list[str]:
    return [decode_event(record.value, NOW).id for record in on_topic(bootstrap, prefix + EVENTS.name)]


def first_seen(bootstrap: str, prefix: str) -> dict[str, list[int]]:
    """Numbers of the events of each container, in order, repeats left out."""
    seen: dict[str, dict[int, None]] = defaultdict(dict)
    for record in on_topic(bootstrap, prefix + EVENTS.name):
        one = decode_event(record.value, NOW)
        assert record.key == one.container.encode()
        seen[one.container][int(one.ref.message_id.removeprefix("m"))] = None
    return {container: list(numbers) for container, numbers in seen.items()}


def in_order(count: int) -> dict[str, list[int]]:
    return {f"room {room}": list(range(room, count, 5)) for room in range(5)}


def publish_script(bootstrap: str, topics: str, script: Callable[[str | None], AsyncIterator[Received]]) -> Tally:
    async def main() -> Tally:
        async with Publisher(bootstrap, topics) as publisher:
            return await run(Scripted(script), publisher)

    return asyncio.run(main())


def cursor(bootstrap: str, topics: str) -> str | None:
    async def main() -> str | None:
        async with Publisher(bootstrap, topics) as publisher:
            return (await publisher.load_checkpoints("scripted", "one/two")).get("p")

    return asyncio.run(main())


def archive(path: Path, count: int) -> Path:
    rows = [{"id": f"m{n}", "text": f"text {n}", "channel": f"{n % 5}", "source": "room "} for n in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_an_archive_is_published_refused_and_not_read_twice(bootstrap: str, topics: str, tmp_path: Path) -> None:
    path = archive(tmp_path / "chat.jsonl", 500)
    bad = b'{"id": "\xff\xfe\x00"'
    path.write_bytes(path.read_bytes() + bad + b"\n\n" + b'{"id": "e"}\n')

    async def main() -> tuple[Tally, Tally]:
        async with Publisher(bootstrap, topics) as publisher:
            first = await run(ArchiveConnector(path, "acme"), publisher, every_records=120)
            with path.open("ab") as file:
                file.write(b'{"id": "late", "text": "late"}\n')
        async with Publisher(bootstrap, topics) as publisher:
            return first, await run(ArchiveConnector(path, "acme"), publisher)

    first, second = asyncio.run(main())
    assert first.published == {EventType.CREATED: 500}
    assert first.refused == {"not UTF-8": 1, "no text": 1}
    assert (second.published, second.refused) == ({EventType.CREATED: 1}, {})
    assert sorted(ids(bootstrap, topics)) == sorted(
        [f"archive:room :m{n}:created" for n in range(500)] + ["archive:archive:late:created"]
    )
    letters = sorted(read_dead(bootstrap, topics + DEAD.name), key=lambda letter: letter.where or "")
    assert [letter.value for letter in letters] == [bad, b'{"id": "e"}']
    assert [letter.where for letter in letters] == [f"{path}:501", f"{path}:503"]
    assert [(one.stage, one.error, one.topic, one.cut) for one in letters] == [
        ("publish", "SkippableError", None, False)
    ] * 2
    assert letters[1].reason == "no text: the line needs a text"


def test_keys_are_spread_as_faust_spreads_them(bootstrap: str, topics: str) -> None:
    async def script(_: str | None) -> AsyncIterator[Received]:
        for number in range(40):
            one = event(number)
            yield Published(one.model_copy(update={"container": f"raum {number} ü"}), str(number), "p")

    publish_script(bootstrap, topics, script)
    records = on_topic(bootstrap, topics + EVENTS.name)
    assert len({record.partition for record in records}) == 2
    for record in records:
        assert record.partition == DefaultPartitioner()(record.key, [0, 1], [0, 1])


def test_a_command_is_there_when_the_call_returns(bootstrap: str, topics: str) -> None:
    command = Command(id="c1", space="acme", name=CommandName.MUTE, cluster_id="k", by="ann", time=TIME)

    async def main() -> None:
        async with Publisher(bootstrap, topics) as publisher:
            await publisher.send_command(command)
            [record] = await asyncio.to_thread(on_topic, bootstrap, topics + SIGNALS.name)
            assert record.key == b"acme"
            assert decode_signal(record.value) == command

    asyncio.run(main())


def test_checkpoints_are_told_apart_and_the_last_one_counts(bootstrap: str, topics: str) -> None:
    async def main() -> list[dict[str, str]]:
        async with Publisher(bootstrap, topics) as publisher:
            for key, value in [("a/b/p/q", "1"), ("a/b/p/q", "2"), ("a/bc/p", "3"), ("a/b%2Fp/q", "4")]:
                await publisher.publish(event(1), (key, value))
                await publisher.checkpoint()
            return [await publisher.load_checkpoints("a", instance) for instance in ("b", "bc", "b/p", "none")]

    assert asyncio.run(main()) == [{"p/q": "2"}, {"p": "3"}, {"q": "4"}, {}]
    values = [json.loads(record.value) for record in on_topic(bootstrap, topics + CHECKPOINTS.name)]
    assert [value["cursor"] for value in values] == ["1", "2", "3", "4"]
    assert all(datetime.fromisoformat(value["at"]).tzinfo for value in values)


def test_a_foreign_record_among_the_checkpoints_is_fatal(bootstrap: str, topics: str) -> None:
    producer = new_producer(bootstrap, [topics + CHECKPOINTS.name])
    producer.send(topics + CHECKPOINTS.name, key=b"scripted/one%2Ftwo/p", value=b"?").get(10)
    discard_producer(producer)
    with pytest.raises(FatalError, match="holds no cursor"):
        cursor(bootstrap, topics)


def test_a_run_that_is_cancelled_saves_what_is_acknowledged(bootstrap: str, topics: str) -> None:
    silent = asyncio.Event()

    async def script(after: str | None) -> AsyncIterator[Received]:
        for number in range(int(after or -1) + 1, 100):
            yield item(number)
        silent.set()
        await asyncio.Event().wait()

    async def main() -> None:
        async with Publisher(bootstrap, topics) as publisher:
            running = asyncio.create_task(run(Scripted(script), publisher, every_s=3600))
            await silent.wait()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert publisher.tally.published == {EventType.CREATED: 100}

    asyncio.run(main())
    assert first_seen(bootstrap, topics) == in_order(100)
    assert cursor(bootstrap, topics) == "99"


def test_a_silent_source_is_checkpointed_all_the_same(bootstrap: str, topics: str) -> None:
    async def script(_: str | None) -> AsyncIterator[Received]:
        yield item(7)
        await asyncio.Event().wait()

    async def main() -> dict[str, str]:
        async with Publisher(bootstrap, topics) as publisher:
            saved = asyncio.Event()
            running = asyncio.create_task(run(Scripted(script), publisher, lambda _: saved.set(), every_s=0.05))
            await saved.wait()
            cursors = await publisher.load_checkpoints("scripted", "one/two")
            running.cancel()
            await asyncio.wait({running})
            return cursors

    assert asyncio.run(main()) == {"p": "7"}


def test_a_source_that_asks_is_not_asked_on_before_the_checkpoint(bootstrap: str, topics: str) -> None:
    seen: list[str | None] = []

    async def script(_: str | None) -> AsyncIterator[Received]:
        for number in range(3):
            yield item(number, settle=number != 1)
            seen.append(await asyncio.to_thread(cursor, bootstrap, topics))

    publish_script(bootstrap, topics, script)
    assert seen == ["0", "0", "2"]


def test_a_source_that_fails_has_its_own_error_and_loses_nothing(bootstrap: str, topics: str) -> None:
    async def script(after: str | None) -> AsyncIterator[Received]:
        for number in range(int(after or -1) + 1, 10):
            yield item(number)
            if number == 4:
                raise RetriableError("platform away")

    with pytest.raises(RetriableError, match="platform away"):
        publish_script(bootstrap, topics, script)
    assert cursor(bootstrap, topics) == "4"
    publish_script(bootstrap, topics, script)
    assert sorted(ids(bootstrap, topics)) == [f"test:{number}" for number in range(10)]


def test_no_more_than_the_window_waits_for_acknowledgement(bootstrap: str, topics: str) -> None:
    async def main() -> int:
        most = 0
        async with Publisher(bootstrap, topics, window=50) as publisher:
            for number in range(1_000):
                await publisher.publish(event(number))
                most = max(most, len(publisher._sent))
        return most

    assert asyncio.run(main()) == 50
    assert first_seen(bootstrap, topics) == in_order(1_000)


def too_large() -> Event:
    return event(3, text="\x01" * 40_000, permalink="\x01" * 2_000, reason="\x01" * 2_000)


def test_an_event_too_large_becomes_a_dead_letter(bootstrap: str, topics: str) -> None:
    whole = encode(too_large())
    assert EVENTS.max_value_bytes < len(whole) < WHOLE_MAX_BYTES
    huge = b"\x00\xff" * WHOLE_MAX_BYTES

    async def script(_: str | None) -> AsyncIterator[Received]:
        for number in range(6):
            yield Published(too_large(), "3", "p") if number == 3 else item(number)
        yield Refused(huge, "line too long: really", "file:1", "6", "p")

    tally = publish_script(bootstrap, topics, script)
    assert (tally.published, tally.refused) == (
        {EventType.CREATED: 5},
        {"event too large": 1, "line too long": 1},
    )
    assert first_seen(bootstrap, topics).get("room 3") is None
    letters = sorted(read_dead(bootstrap, topics + DEAD.name), key=lambda letter: letter.length)
    assert letters[0].value == whole
    assert (letters[0].key, letters[0].topic, letters[0].cut) == (b"room 3", topics + EVENTS.name, False)
    assert letters[1].value == huge[:CUT_BYTES]
    assert (letters[1].length, letters[1].cut) == (len(huge), True)


def test_an_event_that_the_broker_finds_too_large_stops_nothing(bootstrap: str, topics: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    limit = {"max.message.bytes": "2000"}
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topics + EVENTS.name, limit)])
    admin.close()

    async def script(_: str | None) -> AsyncIterator[Received]:
        for number in range(200):
            yield Published(event(number, text="y" * (3_000 if number == 77 else 10)), str(number), "p")

    tally = publish_script(bootstrap, topics, script)
    assert (tally.published, tally.refused) == ({EventType.CREATED: 199}, {"event too large": 1})
    expected = in_order(200)
    expected["room 2"].remove(77)
    assert first_seen(bootstrap, topics) == expected
    [letter] = read_dead(bootstrap, topics + DEAD.name)
    assert letter.value == encode(event(77, text="y" * 3_000))
    assert cursor(bootstrap, topics) == "199"


def test_a_dead_letter_goes_back_as_it_came(bootstrap: str, topics: str) -> None:
    dead, events = topics + DEAD.name, topics + EVENTS.name
    producer = new_producer(bootstrap, [dead])
    for retried in ([], [("dlq.retried", b"1")]):
        headers = dead_headers("embed", "E", "bad: luck", events, 1, 5, came_with=retried)
        producer.send(dead, key=b"k\xff", value=b"\x00raw", headers=headers).get(10)
    producer.send(dead, value=b"x", headers=dead_headers("publish", "E", "r", where="f:1")).get(10)
    discard_producer(producer)
    letters = sorted(read_dead(bootstrap, dead), key=lambda letter: (letter.stage, letter.retried))
    with pytest.raises(SkippableError, match="never was on a topic"):
        retry(bootstrap, letters)
    assert on_topic(bootstrap, events) == []
    assert retry(bootstrap, letters[:2]) == 2
    back = on_topic(bootstrap, events)
    assert [(record.key, record.value) for record in back] == [(b"k\xff", b"\x00raw")] * 2
    assert [record.headers for record in back] == [[("dlq.retried", b"1")], [("dlq.retried", b"2")]]


PUBLISH = """
    import asyncio, sys
    from pathlib import Path
    from connectors.archive import ArchiveConnector
    from connectors.publisher import Publisher
    from connectors.run import run

    async def main():
        bootstrap, prefix, path = sys.argv[1:]
        async with Publisher(bootstrap, prefix) as publisher:
            say = lambda tally: print(sum(tally.published.values()), flush=True)
            await run(ArchiveConnector(Path(path), "acme"), publisher, say, every_records=200)

    asyncio.run(main())
"""


def process(bootstrap: str, topics: str, path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(PUBLISH), bootstrap, topics, str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def test_a_publisher_killed_twice_loses_nothing(bootstrap: str, topics: str, tmp_path: Path) -> None:
    path = archive(tmp_path / "chat.jsonl", 20_000)
    for _ in range(2):
        one = process(bootstrap, topics, path)
        assert one.stdout is not None
        counts = [int(one.stdout.readline()) for _ in range(5)]
        one.kill()
        one.communicate()
        assert counts[0] >= 200
    last = process(bootstrap, topics, path)
    counts = [int(line) for line in last.communicate()[0].split()]
    assert last.returncode == 0
    # The third one did not begin at the beginning, and repeats are few: a window and a checkpoint for each kill.
    assert 5_000 < counts[-1] <= 18_000
    published = ids(bootstrap, topics)
    assert set(published) == {f"archive:room :m{number}:created" for number in range(20_000)}
    assert len(published) < 20_000 + 2 * 2_500
    assert {container[-1]: numbers for container, numbers in first_seen(bootstrap, topics).items()} == {
        room[-1]: numbers for room, numbers in in_order(20_000).items()
    }


def test_a_publisher_that_is_interrupted_loses_and_repeats_nothing(bootstrap: str, topics: str, tmp_path: Path) -> None:
    path = archive(tmp_path / "chat.jsonl", 10_000)
    one = process(bootstrap, topics, path)
    assert one.stdout is not None
    one.stdout.readline()
    one.send_signal(signal.SIGINT)
    one.communicate()
    assert one.returncode == -signal.SIGINT
    at_the_interrupt = len(ids(bootstrap, topics))
    assert 200 <= at_the_interrupt < 10_000
    last = process(bootstrap, topics, path)
    counts = [int(line) for line in last.communicate()[0].split()]
    assert counts[-1] == 10_000 - at_the_interrupt
    assert len(set(ids(bootstrap, topics))) == len(ids(bootstrap, topics)) == 10_000


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    """A broker that the test may kill."""
    one = EmbeddedBroker(tmp_path / "broker", default_cache_dir())
    one.start()
    yield one
    one.stop()


def test_a_broker_that_dies_and_comes_back_is_waited_for(own_broker: EmbeddedBroker) -> None:
    ensure_topics(own_broker.bootstrap, "x.", partitions=2)

    async def script(_: str | None) -> AsyncIterator[Received]:
        back: asyncio.Future[Any] | None = None
        for number in range(6_000):
            if number in (1_500, 4_000):
                await asyncio.to_thread(own_broker.kill)
                back = asyncio.ensure_future(asyncio.to_thread(own_broker.start))
            yield item(number)
        assert back is not None
        await back

    tally = publish_script(own_broker.bootstrap, "x.", script)
    assert tally.published == {EventType.CREATED: 6_000}
    assert first_seen(own_broker.bootstrap, "x.") == in_order(6_000)
    assert cursor(own_broker.bootstrap, "x.") == "5999"


def test_deliveries_that_expire_are_sent_again_in_order(
    own_broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.kafka_edge._CLIENT_TIMEOUT_MS", 1_000)
    monkeypatch.setattr("pipeline.kafka_edge._DELIVERY_TIMEOUT_MS", 1_500)
    ensure_topics(own_broker.bootstrap, "x.", partitions=2)
    expired = asyncio.Event()
    resend = Publisher._resend

    async def told(publisher: Publisher) -> None:
        expired.set()
        await resend(publisher)

    monkeypatch.setattr(Publisher, "_resend", told)

    async def script(_: str | None) -> AsyncIterator[Received]:
        async def come_back() -> None:
            await expired.wait()
            await asyncio.to_thread(own_broker.start)

        async with asyncio.TaskGroup() as tasks:
            for number in range(5_000):
                if number == 1_500:
                    await asyncio.to_thread(own_broker.kill)
                    tasks.create_task(come_back())
                yield item(number)

    tally = publish_script(own_broker.bootstrap, "x.", script)
    assert expired.is_set()
    assert tally.published == {EventType.CREATED: 5_000}
    assert first_seen(own_broker.bootstrap, "x.") == in_order(5_000)
    assert cursor(own_broker.bootstrap, "x.") == "4999"


def test_a_broker_that_is_not_there_is_said_once_patience_ends(own_broker: EmbeddedBroker) -> None:
    own_broker.stop()

    async def main() -> None:
        async with Publisher(own_broker.bootstrap, patience_s=0.1):
            raise AssertionError("connected to a stopped broker")

    with pytest.raises(RetriableError, match=f"no Kafka broker answers at {own_broker.bootstrap}"):
        asyncio.run(main())


def test_an_address_that_is_none_is_fatal() -> None:
    async def main() -> None:
        async with Publisher("localhost"):
            raise AssertionError("connected to nowhere")

    with pytest.raises(FatalError, match="write host:port"):
        asyncio.run(main())
