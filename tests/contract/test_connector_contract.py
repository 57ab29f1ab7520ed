"""The connectors' contract, one suite for every connector (today: the archive, in three shapes of file)."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from connectors.archive import ArchiveConnector
from connectors.contract import Connector, Published, Received, Refused
from pipeline.records import EventType, decode_event, encode

NOW = datetime(2026, 11, 23, tzinfo=UTC)
UNICODE = ["naïve café", "日本語のメッセージ", "👩‍👩‍👧 🇪🇺 ☝🏽", "עברית", "a\u0301\u200b\u2028z"]
CHANNELS = ["général", "バグ", "-"]

Open = Callable[[], Connector]
"""Makes a new connector on the same source, as a restarted process would."""


def rows() -> list[dict[str, Any] | bytes]:
    """A source as every platform's suite should have one: all event types, several containers, bad input."""
    made: list[dict[str, Any] | bytes] = [b"{broken"]
    for number in range(30):
        base = {"id": f"m{number}", "source": "forum"}
        made.append(base | {"text": UNICODE[number % 5], "channel": CHANNELS[number % 3], "author": f"ü{number % 4}"})
        if number % 5 == 4:
            made.append({"id": f"m{number - 3}", "source": "forum", "type": "edit", "text": "edited ✏️"})
            made.append({"id": f"m{number - 2}", "source": "forum", "type": "delete"})
            made.append(base | {"type": "reaction", "author": "ü1", "emoji": "👍🏽"})
            made.append(base | {"type": "score", "score": number})
            made.append(b"")
            made.append({"text": "no id"})
    made.append({"type": "erase_author", "author": "ü1", "source": "forum"})
    return made


def encoded(end: bytes) -> bytes:
    lines = [row if isinstance(row, bytes) else json.dumps(row, ensure_ascii=False).encode() for row in rows()]
    return end.join(lines) + end


def plain(path: Path) -> None:
    path.write_bytes(encoded(b"\n"))


def packed(path: Path) -> None:
    path.write_bytes(gzip.compress(encoded(b"\n")))


def windows(path: Path) -> None:
    """A byte order mark, carriage returns, no end on the last line."""
    path.write_bytes(b"\xef\xbb\xbf" + encoded(b"\r\n").removesuffix(b"\r\n"))


@pytest.fixture(params=[plain, packed, windows], ids=["archive-plain", "archive-gzip", "archive-windows"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """A source with `rows()` in it."""
    path = tmp_path / "chat.jsonl"
    request.param(path)
    return lambda: ArchiveConnector(path, "acme", clock=lambda: NOW)


def receive(connector: Connector, after: dict[str, str] | None = None) -> list[Received]:
    async def gather() -> list[Received]:
        return [item async for item in connector.receive(after or {})]

    return asyncio.run(gather())


def same(one: Received) -> tuple[object, ...]:
    """What must not differ between two readings of one item."""
    if isinstance(one, Published):
        return (encode(one.event), one.cursor, one.partition)
    return (one.raw, one.reason, one.where, one.cursor, one.partition)


def test_everything_is_yielded_or_refused_with_its_bytes(opened: Open) -> None:
    items = receive(opened())
    refused = [item for item in items if isinstance(item, Refused)]
    assert len(items) == 62
    assert len(refused) == 7
    assert refused[0].raw == b"{broken"
    assert {bytes(item.raw) for item in refused[1:]} == {b'{"text": "no id"}'}
    assert all(item.where and ": " in item.reason for item in refused)


def test_a_cursor_resumes_exactly_after_its_item(opened: Open) -> None:
    items = receive(opened())
    for number, item in enumerate(items):
        rest = receive(opened(), {item.partition: item.cursor})
        assert list(map(same, rest)) == list(map(same, items[number + 1 :])), f"after item {number}"


def test_an_unknown_partition_in_the_checkpoints_is_no_reason_to_skip(opened: Open) -> None:
    items = receive(opened())
    assert len(receive(opened(), {"no such partition": items[-1].cursor})) == len(items)


def test_the_same_happening_has_the_same_id(opened: Open) -> None:
    first, second = receive(opened()), receive(opened())
    assert list(map(same, first)) == list(map(same, second))
    ids = [item.event.id for item in first if isinstance(item, Published)]
    assert len(set(ids)) == len(ids) == 55


def test_within_a_container_order_is_the_sources(opened: Open) -> None:
    seen: defaultdict[str, list[str]] = defaultdict(list)
    containers: dict[str | None, str] = {}
    for item in receive(opened()):
        if not isinstance(item, Published) or item.event.data.message_id is None:
            continue
        event = item.event
        if event.type is EventType.CREATED:
            seen[event.container].append(event.ref.message_id)
            containers[event.data.message_id] = event.container
        else:
            assert event.container == containers[event.data.message_id]
    assert sorted(seen) == ["forum/-", "forum/général", "forum/バグ"]
    for index, channel in enumerate(CHANNELS):
        assert seen[f"forum/{channel}"] == [f"m{number}" for number in range(index, 30, 3)]


def test_events_survive_their_bytes_with_their_unicode(opened: Open) -> None:
    events = [item.event for item in receive(opened()) if isinstance(item, Published)]
    assert [decode_event(encode(event), NOW) for event in events] == events
    texts = [event.data.text for event in events if event.type is EventType.CREATED]
    assert texts == UNICODE * 6


def test_cursors_and_partitions_are_short_printable_text(opened: Open) -> None:
    for item in receive(opened()):
        assert 0 < len(item.cursor) < 1_000
        assert item.cursor.isprintable()
        assert item.partition.encode("utf-8")
