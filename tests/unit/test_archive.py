"""The archive: what each line becomes, and that nothing in a file is lost or stops the rest."""

from __future__ import annotations

import asyncio
import gzip
import json
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.archive import ArchiveConnector
from connectors.archive_file import LINE_MAX_BYTES, OVERLONG_KEPT_BYTES
from connectors.archive_format import event_id
from connectors.contract import Published, Received, Refused
from pipeline.errors import FatalError
from pipeline.records import TEXT_MAX_CHARS, EventType, decode_event, encode

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def message(number: int = 1, **fields: Any) -> dict[str, Any]:
    return {"id": f"m{number}", "text": f"text {number}"} | fields


def write(path: Path, *lines: dict[str, Any] | bytes) -> Path:
    rows = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path.write_bytes(b"".join(row + b"\n" for row in rows))
    return path


def connector(path: Path) -> ArchiveConnector:
    return ArchiveConnector(path, "acme", clock=lambda: NOW)


def read(source: ArchiveConnector, after: str | None = None) -> list[Received]:
    async def gather() -> list[Received]:
        return [item async for item in source.receive({source.partition: after} if after else {})]

    return asyncio.run(gather())


def published(items: list[Received]) -> list[Published]:
    return [item for item in items if isinstance(item, Published)]


def refused(items: list[Received]) -> list[Refused]:
    return [item for item in items if isinstance(item, Refused)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "chat.jsonl"


def test_a_message_with_all_its_fields(file: Path) -> None:
    line = {
        "id": 17,
        "text": "it crashes",
        "time": "2026-05-01T12:00:00",
        "user": "u1",
        "source": "discord",
        "channel": "bugs",
        "reply_to": "16",
        "permalink": "https://example.org/17",
        "version": 2.5,
        "label": "secret answer",
        "type": "message",
    }
    source = connector(write(file, line))
    [item] = published(read(source))
    event = item.event
    assert event.id == "archive:discord:17:created"
    assert (event.type, event.space, event.container) == (EventType.CREATED, "acme", "discord/bugs")
    assert (event.time, event.origin) == (datetime(2026, 5, 1, 12, tzinfo=UTC), "backfill")
    assert event.data.model_dump(exclude_none=True) == {
        "platform": "discord",
        "message_id": "17",
        "text": "it crashes",
        "author": "u1",
        "channel": "bugs",
        "reply_to": "16",
        "permalink": "https://example.org/17",
        "version": "2.5",
    }
    assert b"secret answer" not in encode(event)
    assert source.notes() == ()
    assert decode_event(encode(event), NOW) == event


@pytest.mark.parametrize(
    ("given_time", "utc"),
    [
        ("2026-05-01", datetime(2026, 5, 1, tzinfo=UTC)),
        ("2026-05-01T02:00:00+02:00", datetime(2026, 5, 1, tzinfo=UTC)),
        ("2026-05-01T00:00:00Z", datetime(2026, 5, 1, tzinfo=UTC)),
        (1777593600, datetime(2026, 5, 1, tzinfo=UTC)),
        (1777593600.5, datetime(2026, 5, 1, 0, 0, 0, 500_000, tzinfo=UTC)),
    ],
)
def test_times_are_read_in_every_form(file: Path, given_time: object, utc: datetime) -> None:
    [item] = published(read(connector(write(file, message(time=given_time)))))
    assert item.event.time == utc


def test_lines_without_time_keep_the_order_of_the_file(file: Path) -> None:
    timed = "2026-05-01T00:00:00"
    write(file, message(1), message(2), message(3, time=timed), message(4), b"", message(5))
    times = [item.event.time for item in published(read(connector(file)))]
    first, anchor = datetime(2000, 1, 2, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC)
    second, micro = timedelta(seconds=1), timedelta(microseconds=1)
    assert times == [first + second, first + 2 * second, anchor, anchor + micro, anchor + 3 * micro]


def test_what_happens_to_a_message_follows_it_into_its_container(file: Path) -> None:
    time = "2026-05-01T00:00:00"
    write(
        file,
        message(1, channel="bugs", source="s", author="a"),
        {"type": "edit", "id": "m1", "source": "s", "text": "new", "time": time},
        {"type": "reaction", "id": "m1", "source": "s", "author": "b", "emoji": "👍", "time": time},
        {
            "type": "reaction",
            "id": "m1",
            "source": "s",
            "author": "b",
            "emoji": "👍",
            "time": time,
            "present": False,
        },
        {"type": "score", "id": "m1", "source": "s", "score": -3, "time": time},
        {"type": "delete", "id": "m1", "source": "s", "time": time, "channel": "elsewhere"},
        {"type": "delete", "id": "gone", "source": "s", "time": time},
        {"type": "erase_author", "author": "a", "source": "s", "time": time},
    )
    items = read(connector(file))
    events = [item.event for item in published(items)]
    assert len(events) == len(items) == 8
    assert [event.container for event in events] == ["s/bugs"] * 6 + ["s/-"] * 2
    assert [event.id for event in events] == [
        "archive:s:m1:created",
        "archive:s:m1:edited:20260501T000000.000000Z:11507a0e",
        "archive:s:m1:reaction:b:👍:true:20260501T000000.000000Z",
        "archive:s:m1:reaction:b:👍:false:20260501T000000.000000Z",
        "archive:s:m1:score:20260501T000000.000000Z:-3",
        "archive:s:m1:deleted:20260501T000000.000000Z",
        "archive:s:gone:deleted:20260501T000000.000000Z",
        "archive:s:erased:a:20260501T000000.000000Z",
    ]
    assert [decode_event(encode(event), NOW) for event in events] == events
    assert (events[1].data.text, events[3].data.present, events[4].data.score) == ("new", False, -3)


def test_messages_without_author_are_each_their_own(file: Path) -> None:
    items = read(connector(write(file, message(1), message(2), message(3, author=""), message(4, user=9))))
    authors = [item.event.data.author for item in published(items)]
    assert len(set(authors)) == 4
    assert authors[3] == "9"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{not json}", "broken JSON"),
        (b"[" * 100_000, "broken JSON"),
        (b'{"id": "a", "text": "x", "score": ' + b"9" * 5_000 + b"}", "broken JSON"),
        (b'"text"', "not an object"),
        (b"[1]", "not an object"),
        (b'{"id": "a", "text": "\xff"}', "not UTF-8"),
        ({"text": "x"}, "no id"),
        ({"id": "", "text": "x"}, "no id"),
        ({"id": True, "text": "x"}, "unusable id"),
        ({"id": {"a": 1}, "text": "x"}, "unusable id"),
        ({"id": "a\nb", "text": "x"}, "field out of bounds"),
        ({"id": "a" * 256, "text": "x"}, "field out of bounds"),
        ({"id": "a", "text": "x", "source": "s" * 200, "channel": "c" * 200}, "field out of bounds"),
        ({"id": "a"}, "no text"),
        ({"id": "a", "text": 5}, "no text"),
        ({"id": "a", "text": ""}, "empty text"),
        ({"id": "a", "text": " \n\t"}, "empty text"),
        ({"id": "a", "text": "\x00"}, "empty text"),
        ({"id": "a", "text": "x" * 1_000_000}, "text too long"),
        ({"id": "a", "text": "x", "time": "yesterday"}, "unreadable time"),
        ({"id": "a", "text": "x", "time": True}, "unreadable time"),
        ({"id": "a", "text": "x", "time": [1]}, "unreadable time"),
        ({"id": "a", "text": "x", "time": 1777593600000}, "unreadable time"),
        ({"id": "a", "text": "x", "time": float("nan")}, "unreadable time"),
        ({"id": "a", "text": "x", "time": "0001-01-01T00:00:00+14:00"}, "unreadable time"),
        ({"id": "a", "text": "x", "time": 0}, "impossible time"),
        ({"id": "a", "text": "x", "time": "2027-01-01"}, "impossible time"),
        ({"id": "a", "text": "x", "type": "poll"}, "unknown type"),
        ({"id": "a", "text": "x", "type": ["message"]}, "unknown type"),
        ({"id": "a", "type": "edit"}, "no text"),
        ({"id": "a", "type": "reaction", "emoji": "x"}, "no author"),
        ({"id": "a", "type": "reaction", "author": "b"}, "no emoji"),
        ({"id": "a", "type": "reaction", "author": "b", "emoji": "x", "present": 1}, "unusable present"),
        ({"id": "a", "type": "score"}, "unusable score"),
        ({"id": "a", "type": "score", "score": True}, "unusable score"),
        ({"id": "a", "type": "score", "score": 2**60}, "unusable score"),
        ({"type": "erase_author"}, "no author"),
    ],
)
def test_a_bad_line_is_refused_and_the_rest_goes_on(file: Path, line: dict[str, Any] | bytes, reason: str) -> None:
    items = read(connector(write(file, message(1), line, message(2))))
    assert [item.event.data.message_id for item in published(items)] == ["m1", "m2"]
    [bad] = refused(items)
    category, _, remedy = bad.reason.partition(": ")
    assert category == reason
    assert len(remedy) > 10
    assert len(bad.reason) < 400
    assert bad.where == f"{file}:2"
    assert bad.raw == file.read_bytes().split(b"\n")[1]


def test_the_longest_text_passes(file: Path) -> None:
    [item] = published(read(connector(write(file, message(text="\x01" * TEXT_MAX_CHARS)))))
    assert item.event.data.text == "\x01" * TEXT_MAX_CHARS


def test_repairs_and_unread_fields_are_noted_once(file: Path) -> None:
    write(
        file,
        message(1, mood="grim"),
        message(2, mood="gay", text="a\x00b"),
        b'{"id": "m3", "text": "raw\x00\ttab"}',
        b'{"id": "m4", "text": "half \\ud83d end", "author": "\\udc00"}',
        b'{"id": "m5", "text": "whole \\ud83d\\ude00"}',
        message(6, version="v" * 65, channel="a\nb"),
        message(7, version={"major": 1}),
    )
    source = connector(file)
    items = read(source)
    assert refused(items) == []
    assert [item.event.data.text for item in published(items)] == [
        "text 1",
        "ab",
        "raw\ttab",
        "half \ufffd end",
        "whole 😀",
        "text 6",
        "text 7",
    ]
    assert published(items)[3].event.data.author == "\ufffd"
    assert published(items)[5].event.container == "archive/-"
    assert [encode(item.event) for item in published(items)]
    notes = [note.removeprefix(f"{file}: ") for note in source.notes()]
    assert notes == [
        "line 1: unknown field 'mood' is not read",
        "line 2: NUL characters are taken out of text",
        "line 4: halves of surrogate pairs in text became U+FFFD",
        "line 4: halves of surrogate pairs in author became U+FFFD",
        "line 6: channel left out: not one line of at most 255 characters",
        "line 6: version left out: not one line of at most 64 characters",
    ]


def test_notes_are_bounded(file: Path) -> None:
    source = connector(write(file, message(1, **{f"field{n}": n for n in range(500)})))
    read(source)
    assert len(source.notes()) == 51


def test_an_id_used_twice_is_refused_unless_it_is_the_same_message(file: Path) -> None:
    write(
        file,
        message(1, author="a"),
        message(1, author="a", label="x"),
        message(1, author="b"),
        message(1, author="a", source="other"),
        message(1, author="a", text="later version"),
    )
    items = read(connector(file))
    ids = [item.event.id for item in published(items)]
    assert ids == ["archive:archive:m1:created"] * 2 + ["archive:other:m1:created"]
    assert [bad.where.rpartition(":")[2] for bad in refused(items)] == ["3", "5"]
    assert all("line 1 has other content" in bad.reason for bad in refused(items))


def test_two_edits_in_one_second_are_two_events(file: Path) -> None:
    edit = {"type": "edit", "id": "m1", "time": "2026-05-01"}
    write(file, message(), edit | {"text": "one"}, edit | {"text": "two"}, edit | {"text": "two"})
    ids = [item.event.id for item in published(read(connector(file)))]
    assert len(set(ids[1:])) == 2
    assert ids[2] == ids[3]


@pytest.mark.parametrize(
    ("one", "other"), [(("a:b", "c"), ("a", "b:c")), (("a%3A", "b"), ("a:", "b")), (("a", ""), ("a",))]
)
def test_different_parts_never_make_the_same_id(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert event_id(*one) != event_id(*other)


def test_long_ids_fit_into_an_event(file: Path) -> None:
    line = {"type": "reaction", "id": "i" * 255, "author": "a" * 255, "emoji": "e" * 128, "source": "s" * 200}
    [item] = published(read(connector(write(file, line))))
    assert item.event.id.startswith("archive:sha256:")


def test_a_line_above_the_limit_is_refused_in_bounded_memory(file: Path) -> None:
    long = b'{"id": "long", "text": "' + b"x" * (2 * LINE_MAX_BYTES) + b'"}'
    items = read(connector(write(file, message(1), long, message(2))))
    assert len(published(items)) == 2
    [bad] = refused(items)
    assert bad.reason.startswith(f"line too long: {len(long)} bytes")
    assert bad.raw == long[:OVERLONG_KEPT_BYTES]
    whole = b'{"id": "m", "text": "' + b"x" * (LINE_MAX_BYTES - 23) + b'"}'
    assert len(whole) == LINE_MAX_BYTES
    assert refused(read(connector(write(file, whole))))[0].raw == whole


def test_half_a_line_at_the_end_is_refused_and_read_again_when_it_is_whole(file: Path) -> None:
    whole = json.dumps(message(2)).encode()
    write(file, message(1))
    file.write_bytes(file.read_bytes() + whole[:10])
    items = read(connector(file))
    assert refused(items)[0].reason.startswith("half a line")
    assert refused(items)[0].cursor == items[0].cursor
    file.write_bytes(file.read_bytes() + whole[10:] + b"\n")
    [again] = published(read(connector(file), refused(items)[0].cursor))
    assert again.event.data.message_id == "m2"


def test_a_last_line_without_end_is_read_and_the_file_may_go_on(file: Path) -> None:
    file.write_bytes(json.dumps(message(1)).encode())
    [first] = read(connector(file))
    file.write_bytes(file.read_bytes() + b"\n" + json.dumps(message(2)).encode())
    source = connector(file)
    [second] = published(read(source, first.cursor))
    assert second.event.data.message_id == "m2"
    assert source.notes() == ()


def test_a_file_that_changed_is_read_from_its_beginning_and_says_so(file: Path) -> None:
    items = read(connector(write(file, message(1), message(2), message(3))))
    write(file, message(1, text="other"), message(2), message(3))
    source = connector(file)
    assert len(read(source, items[1].cursor)) == 3
    assert "changed before line 2" in source.notes()[0]
    write(file, message(1))
    assert len(read(connector(file), items[2].cursor)) == 1
    write(file, message(1), message(2), message(3, text="other"), message(4))
    assert len(read(connector(file), items[1].cursor)) == 2
    assert len(read(connector(file), "nonsense")) == 4


def test_a_resumed_file_still_knows_the_channels_and_ids_before_the_cursor(file: Path) -> None:
    write(file, message(1, channel="bugs"), {"type": "delete", "id": "m1"}, message(1, channel="other"))
    source = connector(file)
    first = read(source)[0]
    deletion, double = read(connector(file), first.cursor)
    assert isinstance(deletion, Published)
    assert deletion.event.container == "archive/bugs"
    assert isinstance(double, Refused)
    assert "line 1 has other content" in double.reason


def test_gzip_and_byte_order_mark_and_carriage_returns(tmp_path: Path) -> None:
    rows = "\ufeff" + "\r\n".join(json.dumps(message(n)) for n in (1, 2)) + "\r\n"
    (tmp_path / "plain.jsonl").write_bytes(rows.encode())
    (tmp_path / "packed.jsonl.gz").write_bytes(gzip.compress(rows.encode()))
    (tmp_path / "two.gz").write_bytes(gzip.compress(rows.encode()[:30]) + gzip.compress(rows.encode()[30:]))
    (tmp_path / "plain.gz").write_bytes(rows.encode())
    for name in ("plain.jsonl", "packed.jsonl.gz", "two.gz", "plain.gz"):
        items = read(connector(tmp_path / name))
        assert [item.event.data.message_id for item in published(items)] == ["m1", "m2"], name
        assert len(items) == 2


def packed(count: int) -> bytes:
    rows = [json.dumps(message(n, text=f"{n * 7919 % 1000003:x} " * 9)).encode() + b"\n" for n in range(count)]
    return gzip.compress(b"".join(rows), mtime=0)


def test_a_gzip_cut_short_gives_what_is_there_and_can_be_resumed(tmp_path: Path) -> None:
    whole = packed(5_000)
    path = tmp_path / "chat.jsonl.gz"
    path.write_bytes(whole[: len(whole) // 2])
    items = read(connector(path))
    assert 1_000 < len(published(items)) < 4_000
    [bad] = refused(items)
    assert bad is items[-1]
    assert bad.reason.startswith("gzip cut short")
    assert bad.cursor == items[-2].cursor
    path.write_bytes(whole)
    assert len(published(items)) + len(read(connector(path), bad.cursor)) == 5_000


def test_a_gzip_with_a_wrong_checksum_gives_all_and_says_so(tmp_path: Path) -> None:
    whole = bytearray(packed(100))
    whole[-6] ^= 0xFF
    path = tmp_path / "chat.jsonl.gz"
    path.write_bytes(whole)
    items = read(connector(path))
    assert len(published(items)) == 100
    assert [bad.reason.partition(":")[0] for bad in refused(items)] == ["damaged gzip"]
    assert refused(items)[0].where == f"{path}:101"


def test_files_of_another_kind_are_refused_once(tmp_path: Path) -> None:
    cases = {
        "not.gz": (b"PK\x03\x04" * 500, "not gzip"),
        "wide.jsonl": (json.dumps(message()).encode("utf-16"), "UTF-16 file"),
    }
    for name, (content, reason) in cases.items():
        (tmp_path / name).write_bytes(content)
        [bad] = refused(read(connector(tmp_path / name)))
        assert bad.reason.startswith(reason)


def test_two_files_or_two_spaces_share_no_checkpoint(tmp_path: Path) -> None:
    sources = [ArchiveConnector(tmp_path / name, space) for name in ("a", "b") for space in ("x", "y")]
    assert len({(source.name, source.instance, source.partition) for source in sources}) == 4
    assert connector(tmp_path / "a").partition == str(tmp_path / "a")
    assert connector(tmp_path / "\udcff").partition.encode().endswith(b"\\udcff")


def test_an_empty_file_is_said_and_is_no_error(file: Path) -> None:
    file.touch()
    source = connector(file)
    assert read(source) == []
    assert source.notes() == (f"{file}: the file is empty",)


def test_a_missing_file_or_a_folder_is_fatal_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(FatalError, match="no such file"):
        read(connector(tmp_path / "none.jsonl"))
    with pytest.raises(FatalError, match="name a file"):
        read(connector(tmp_path))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)
NAMES = st.sampled_from(
    "type source time id text author user channel reply_to permalink version emoji present score odd".split()
)
TYPE_NAMES = st.sampled_from(["message", "edit", "delete", "reaction", "score", "erase_author"])
ROWS = st.one_of(
    st.binary(max_size=60).map(lambda raw: raw.replace(b"\n", b"")),
    st.dictionaries(NAMES, JSON_VALUES, max_size=6).map(lambda row: json.dumps(row).encode()),
    st.builds(
        lambda row, kind: json.dumps({"id": "a", "text": "x", "type": kind, "author": "b"} | row).encode(),
        st.dictionaries(NAMES, JSON_VALUES, max_size=2),
        TYPE_NAMES,
    ),
)


@settings(max_examples=400, deadline=None)
@given(rows=st.lists(ROWS, max_size=12), ended=st.booleans())
def test_any_bytes_are_accounted_for(rows: list[bytes], ended: bool) -> None:  # noqa: FBT001
    content = b"\n".join(rows) + (b"\n" if ended and rows else b"")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any.jsonl"
        path.write_bytes(content)
        source = connector(path)
        items = read(source)
        assert len(items) + source.blank == source.lines
        if not content.startswith((b"\xff\xfe", b"\xfe\xff", b"\x1f\x8b")):
            text = content.removeprefix(b"\xef\xbb\xbf")
            assert source.lines == text.count(b"\n") + (not text.endswith(b"\n") and text != b"")
        for item in published(items):
            assert decode_event(encode(item.event), NOW) == item.event
        again = connector(path)
        assert read(again) == items
