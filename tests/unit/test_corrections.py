"""Corrections of kinds: kept, found again, gone with their message; told on the command line."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from pipeline.cli.main import main
from pipeline.errors import FatalError
from pipeline.fitter import InlineFitter
from pipeline.owner import Owner
from pipeline.records import EventType, MessageRef
from pipeline.store.corrections import correct, corrections, count, fingerprint
from pipeline.store.database import Database
from tests.standins.space_stream import SMALL, SPACE, T0, Stream, clusterer, near, received

LATER = T0 + timedelta(days=1)


class Chat:
    """Messages m0, m1, … in a database, by a real owner."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.owner = Owner("one", database, SMALL, InlineFitter(clusterer()))
        self.stream = Stream(4)

    async def say(self, message_id: str, text: str, at: datetime, kind: EventType = EventType.CREATED) -> None:
        stream = self.stream
        data = {"platform": "discord", "message_id": message_id, "author": "kim", "text": text}
        vector = near(stream.centres[0], stream.rng, 0.2)
        arrival = stream.add(stream.signal(kind, data, at, **stream.reading(vector)))
        assert await self.owner.take(received([arrival])) == []

    async def erase(self, message_id: str) -> None:
        data = {"platform": "discord", "message_id": message_id}
        arrival = self.stream.add(self.stream.signal(EventType.DELETED, data, LATER))
        assert await self.owner.take(received([arrival])) == []


@pytest_asyncio.fixture
async def chat(database_url: str) -> AsyncIterator[Chat]:
    database = Database(database_url)
    one = Chat(database)
    for number in range(3):
        await one.say(f"m{number}", f"words {number}", T0 + timedelta(minutes=number))
    yield one
    one.owner.close()
    await database.close()


async def test_a_correction_is_kept_changed_and_taken_back(chat: Chat) -> None:
    database = chat.database
    first = await correct(database, SPACE, "discord/m1", "idea", "kim", LATER)
    assert (first.ref, first.called, first.before) == (MessageRef("discord", "m1"), "complaint", None)
    one = await fingerprint(database, SPACE)
    assert (await correct(database, SPACE, "m1", "praise", "lee", LATER)).before == "idea"
    await correct(database, SPACE, "m0", "other", "lee", LATER)
    assert await fingerprint(database, SPACE) != one
    found = await corrections(database, SPACE, 10)
    assert [(c.ref.message_id, c.kind, c.text) for c in found] == [
        ("m0", "other", "words 0"),
        ("m1", "praise", "words 1"),
    ]
    assert await count(database, SPACE) == 2
    assert (await correct(database, SPACE, "m1", None, "lee", LATER)).before == "praise"
    assert (await correct(database, SPACE, "m1", None, "lee", LATER)).before is None
    assert [c.ref.message_id for c in await corrections(database, SPACE, 10)] == ["m0"]


async def test_the_newest_are_taken(chat: Chat) -> None:
    for number in (2, 0, 1):
        await correct(chat.database, SPACE, f"m{number}", "idea", "kim", LATER - timedelta(minutes=number))
    assert [c.ref.message_id for c in await corrections(chat.database, SPACE, 2)] == ["m0", "m1"]


async def test_a_correction_goes_with_its_message_and_none_can_come_after(chat: Chat) -> None:
    await correct(chat.database, SPACE, "m1", "idea", "kim", LATER)
    await correct(chat.database, SPACE, "m2", "idea", "kim", LATER)
    await chat.erase("m1")
    assert await count(chat.database, SPACE) == 1
    with pytest.raises(FatalError, match="discord/m1 was erased"):
        await correct(chat.database, SPACE, "m1", "idea", "kim", LATER)
    with pytest.raises(FatalError, match="no message 'm9' in space"):
        await correct(chat.database, SPACE, "m9", "idea", "kim", LATER)
    assert await count(chat.database, SPACE) == 1


async def test_what_was_said_of_other_words_teaches_nothing(chat: Chat) -> None:
    await correct(chat.database, SPACE, "m1", "idea", "kim", LATER)
    await chat.say("m1", "quite other words", LATER + timedelta(minutes=1), EventType.EDITED)
    assert await corrections(chat.database, SPACE, 10) == []
    assert await fingerprint(chat.database, SPACE) == []
    await correct(chat.database, SPACE, "m1", "praise", "kim", LATER + timedelta(minutes=2))
    assert [(c.kind, c.text) for c in await corrections(chat.database, SPACE, 10)] == [("praise", "quite other words")]


async def test_another_space_has_none_of_it(chat: Chat) -> None:
    await correct(chat.database, SPACE, "m1", "idea", "kim", LATER)
    assert await corrections(chat.database, "elsewhere", 10) == []
    assert await count(chat.database, "elsewhere") == 0
    with pytest.raises(FatalError, match="in space elsewhere"):
        await correct(chat.database, "elsewhere", "m1", "idea", "kim", LATER)


@pytest.fixture
def groundswell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[int, str, str]]]:
    async def fill() -> None:
        database = Database(f"sqlite+aiosqlite:///{tmp_path / 'groundswell.db'}")
        await database.migrate()
        one = Chat(database)
        await one.say("m0", "words", T0)
        one.owner.close()
        await database.close()

    asyncio.run(fill())
    monkeypatch.setenv("GROUNDSWELL_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("GROUNDSWELL_SPACE", SPACE)
    monkeypatch.chdir(tmp_path)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(list(arguments))
        out, err = capsys.readouterr()
        return int(left.value.code or 0), out, err

    yield run
    for number, handler in before.items():
        signal.signal(number, handler)


def test_on_the_command_line(groundswell: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    assert T0 < datetime.now(UTC)
    code, out, err = groundswell("correct", "discord/m0", "idea", "--by", "kim")
    assert (code, out) == (0, "message discord/m0: idea; it had been called complaint\n")
    assert "kinds.learn_from_corrections is off" in err
    assert "1 messages whose kind was corrected, and nothing learns" in " ".join(groundswell("check")[1].split())
    monkeypatch.setenv("GROUNDSWELL_KINDS__LEARN_FROM_CORRECTIONS", "true")
    code, out, err = groundswell("correct", "m0", "praise")
    assert (code, out, err) == (0, "message discord/m0: praise; it had been called idea\n", "")
    code, out, _ = groundswell("correct", "m0", "--clear")
    assert (code, out) == (0, "message discord/m0: no longer praise\n")
    code, out, _ = groundswell("correct", "m0", "--clear")
    assert (code, out) == (0, "message discord/m0 was not corrected\n")
    code, _, err = groundswell("correct", "m7", "idea")
    assert (code, "no message 'm7'" in err) == (1, True)
