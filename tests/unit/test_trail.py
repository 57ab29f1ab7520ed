"""The way of single messages through the clusters, from tables that a real owner wrote; and the cut of a split."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from pipeline.cli.main import main
from pipeline.errors import FatalError
from pipeline.fitter import InlineFitter
from pipeline.owner import Owner
from pipeline.records import Command, CommandName, EventType, MessageRef
from pipeline.settings import PolicySettings
from pipeline.state import Status
from pipeline.store import schema
from pipeline.store.database import Database
from pipeline.store.explain import why
from pipeline.store.reports import account
from pipeline.store.spaces import load_state
from pipeline.store.trail import named_messages, propose_halves, trail
from tests.standins.space_stream import SMALL, SPACE, T0, Stream, clusterer, near, received, rows


class Community:
    """A stream folded by a real owner into a real database, a batch an arrival or all at once."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.owner = Owner("one", database, SMALL, InlineFitter(clusterer()))
        self.stream = Stream(4)
        self.taken = 0

    def say(self, group: int, count: int) -> None:
        for _ in range(count):
            number = self.stream.count
            self.stream.count += 1
            data = {"platform": "discord", "message_id": f"m{number}", "author": f"who{number}"}
            data["text"] = f"words of group {group} in message {number}"
            vector = near(self.stream.centres[group], self.stream.rng, 0.2)
            at = T0 + timedelta(minutes=number)
            self.stream.add(self.stream.signal(EventType.CREATED, data, at, **self.stream.reading(vector)))

    def order(self, name: CommandName, cluster_id: str, **more: Any) -> str:
        command_id = f"k{len(self.stream.commands)}"
        command = Command(
            id=command_id, space=SPACE, name=name, cluster_id=cluster_id, by="kim", time=T0, **more
        )  # fmt: skip
        self.stream.commands.append(command)
        self.stream.add(command)
        return command_id

    def home(self, name: str) -> str:
        found = self.stream.oracle.state.members[MessageRef("discord", name)].cluster_id
        assert found is not None
        return found

    async def write(self) -> None:
        arrivals = self.stream.arrivals[self.taken :]
        self.taken = len(self.stream.arrivals)
        assert await self.owner.take(received(arrivals)) == []


@pytest_asyncio.fixture
async def community(database_url: str) -> AsyncIterator[Community]:
    database = Database(database_url)
    one = Community(database)
    one.say(0, 12)
    one.say(1, 12)
    for _ in range(12):
        one.say(2, 1)
        one.say(0, 1)
    await one.write()
    yield one
    one.owner.close()
    await database.close()


async def test_a_message_s_way_is_told_move_by_move_and_goes_with_it(community: Community) -> None:
    first, second = community.home("m0"), community.home("m12")
    assert first != second
    merged = community.order(CommandName.MERGE, first, other=second)
    undone = community.order(CommandName.UNDO, first, value=merged)
    split = community.order(
        CommandName.SPLIT, second, messages=(MessageRef("discord", "m12"), MessageRef("discord", "m13"))
    )
    await community.write()
    way = await trail(community.database, SPACE, "m12")
    assert (way.status, way.placed_by, way.text) == ("clustered", split, "words of group 1 in message 12")
    assert [(stop.why, stop.detail, stop.by) for stop in way.stops[1:]] == [
        ("merge", merged, "kim"),
        ("command", undone, "kim"),
        ("split", split, "kim"),
    ]
    numbers = [(stop.from_number, stop.to_number) for stop in way.stops]
    assert all(before[1] == after[0] for before, after in pairwise(numbers))
    assert numbers[-1][1] == way.number
    assert (await trail(community.database, SPACE, "discord/m12")) == way
    data = {"platform": "discord", "message_id": "m12"}
    community.stream.add(community.stream.signal(EventType.DELETED, data, T0 + timedelta(days=1)))
    await community.write()
    gone = await trail(community.database, SPACE, "m12")
    assert (gone.status, gone.text, gone.stops) == ("erased", "", ())
    with pytest.raises(FatalError, match="no message 'm999' in space"):
        await trail(community.database, SPACE, "m999")


async def test_the_moves_of_what_left_memory_are_recorded_with_a_merge(community: Community) -> None:
    """The window holds forty messages: the first of a cluster leave memory, and are merged by the database alone."""
    community.say(1, 60)
    await community.write()
    held = community.owner._held[SPACE].state
    assert MessageRef("discord", "m12") not in held.members
    ended, survivor = community.home("m12"), community.home("m0")
    merged = community.order(CommandName.MERGE, survivor, other=ended)
    await community.write()
    messages = {row.message_id: row for row in await rows(community.database, schema.messages)}
    assert (messages["m12"].cluster_id, messages["m12"].via) == (survivor, merged)
    moves = [row for row in await rows(community.database, schema.moves) if row.detail == merged]
    count = community.stream.oracle.state.clusters[ended].count
    assert count == 0
    assert {row.message_id for row in moves} >= {f"m{number}" for number in range(12, 20)}
    assert len({row.message_id for row in moves}) == len(moves)
    undone = community.order(CommandName.UNDO, survivor, value=merged)
    await community.write()
    state = community.stream.oracle.state
    async with community.database.read() as connection:
        loaded = await load_state(connection, SPACE, SMALL)
    assert loaded.clusters[ended].total.tobytes() == state.clusters[ended].total.tobytes()
    assert loaded.clusters[ended].count == len(moves)
    assert loaded.calibration == state.calibration
    assert set(loaded.effects) == {undone}


async def test_answers_and_constraints_survive_a_restart(community: Community) -> None:
    one, two = community.home("m0"), community.home("m12")
    community.order(CommandName.SEPARATE, one, other=two)
    community.order(CommandName.NOT_FEEDBACK, two)
    community.order(CommandName.RENAME, one, value="Exports")
    await community.write()
    async with community.database.read() as connection:
        loaded = await load_state(connection, SPACE, SMALL)
    state = community.stream.oracle.state
    assert loaded.constraints() == state.constraints()
    assert loaded.constraints().parted(one, two)
    assert (loaded.calibration, loaded.effects) == (state.calibration, state.effects)
    assert loaded.calibration.different == 1
    assert (await account(community.database, SPACE)).no_feedback == state.clusters[two].count > 0
    assert (loaded.clusters[one].name, loaded.clusters[two].rejected) == ("Exports", True)
    told = await why(community.database, SPACE, one, PolicySettings())
    assert told.facts.name == "Exports"
    assert [(order.name, order.other) for order in told.commands] == [
        ("separate", state.clusters[two].number),
        ("rename", None),
    ]


async def test_fits_are_counted(community: Community) -> None:
    found = sorted(await rows(community.database, schema.fits), key=lambda row: row.seq)
    assert len(found) >= 2
    assert (found[0].clustered, found[0].born > 0) == (0, True)
    assert found[-1].clustered > 0


async def test_a_mixed_cluster_is_cut_where_its_matters_meet(community: Community) -> None:
    one, two = community.home("m0"), community.home("m12")
    state = community.stream.oracle.state
    expected = {m.ref for m in state.members.values() if m.cluster_id == two and m.status is Status.CLUSTERED}
    community.order(CommandName.MERGE, one, other=two)
    await community.write()
    halves = await propose_halves(community.database, SPACE, one)
    assert set(halves.named) == expected
    assert {text.split(" in ")[0] for text in halves.leaving} == {"words of group 1"}
    assert "words of group 1" not in {text.split(" in ")[0] for text in halves.staying}
    assert await named_messages(community.database, SPACE, one, ["m12", "discord/m12", "m0"]) == (
        MessageRef("discord", "m12"),
        MessageRef("discord", "m0"),
    )
    other = next(m.ref.message_id for m in state.members.values() if m.cluster_id not in {None, one})
    with pytest.raises(FatalError, match="is not in this cluster"):
        await named_messages(community.database, SPACE, one, [other])


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Path]:
    async def fill() -> None:
        database = Database(f"sqlite+aiosqlite:///{tmp_path / 'groundswell.db'}")
        await database.migrate()
        community = Community(database)
        community.say(0, 12)
        community.say(1, 12)
        community.say(2, 12)
        await community.write()
        community.owner.close()
        await database.close()

    asyncio.run(fill())
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    yield tmp_path
    for number, handler in before.items():
        signal.signal(number, handler)


def test_split_shows_both_halves_and_does_nothing_without_a_yes(
    filled: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GROUNDSWELL_DATA_DIR", str(filled))
    monkeypatch.setenv("GROUNDSWELL_SPACE", SPACE)
    monkeypatch.setenv("GROUNDSWELL_KAFKA__BOOTSTRAP", "127.0.0.1:9")
    monkeypatch.chdir(filled)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(list(arguments))
        out, err = capsys.readouterr()
        return int(left.value.code or 0), out, err

    monkeypatch.setattr("builtins.input", lambda _="": "n")
    code, out, err = run("split", "1")
    assert code == 1
    assert "messages would be a cluster of their own, like:" in out
    assert "would stay, like:" in out
    assert "Split it so?" in out + err
    code, out, err = run("split", "1", "m999")
    assert (code, "no message 'm999'" in err) == (1, True)
    code, out, err = run("merge", "1", "#1")
    assert (code, "are one cluster: merge takes two" in err) == (1, True)
    code, out, _ = run("why", "--message", "m0")
    assert code == 0
    assert "put by a fit into #" in out
    code, out, _ = run("why", "--message", "m0", "--json")
    assert (code, '"message_id": "m0"' in out) == (0, True)
