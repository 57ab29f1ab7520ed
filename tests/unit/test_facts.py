"""A cluster's facts: who counts as one person, since when, which release, which messages are typical."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import insert, update

from pipeline.decide import ClusterFacts
from pipeline.records import MessageRef
from pipeline.settings import PolicySettings, WatchSettings
from pipeline.store import schema
from pipeline.store.facts import Said, background, cluster_facts, evidence, release_after, typical
from pipeline.store.lists import talks
from pipeline.store.rates import find_rising
from tests.standins.sink_world import SPACE, START, World

WINDOW = timedelta(days=30)


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    one = await World(database_url).begin()
    await one.cluster("c1", people=0)
    yield one
    await one.database.close()


async def facts(world: World, cluster_id: str = "c1") -> ClusterFacts:
    async with world.database.read() as connection:
        found = await cluster_facts(connection, SPACE, cluster_id, PolicySettings())
    assert found is not None
    assert found[1] == world.state.clusters[cluster_id].version
    return found[0]


async def test_a_person_is_an_author_on_a_platform(world: World) -> None:
    await world.say("c1", "1", "ann", "broken")
    await world.say("c1", "2", "ann", "broken again")
    await world.say("c1", "3", "ann", "broken there too", platform="telegram")
    await world.say("c1", "4", "bob", "broken")

    found = await facts(world)

    assert (found.people, found.messages, found.platforms) == (3, 4, ("discord", "telegram"))


async def test_the_window_ends_with_the_newest_message_and_leaves_out_its_edge(world: World) -> None:
    last = START + timedelta(days=40)
    await world.say("c1", "1", "ann", "broken", at=last)
    await world.say("c1", "2", "bob", "broken", at=last - WINDOW + timedelta(seconds=1))
    await world.say("c1", "3", "eve", "broken", at=last - WINDOW)
    await world.say("c1", "4", "joe", "broken", at=START)

    found = await facts(world)

    assert (found.people, found.people_in_window) == (4, 2)
    assert (found.first_at, found.last_at) == (START, last)


async def test_what_was_deleted_or_set_aside_counts_no_more(world: World) -> None:
    for number, author in enumerate(("ann", "bob", "eve")):
        await world.say("c1", str(number), author, "broken")
    await world.erase("0")
    await world.set_aside("1")

    assert (await facts(world)).people == 1


async def test_an_echo_is_a_person_and_no_evidence(world: World) -> None:
    await world.say("c1", "1", "ann", "broken")
    await world.say("c1", "2", "bob", "same here", follows=MessageRef("discord", "1"))

    assert (await facts(world)).people == 2
    async with world.database.read() as connection:
        said = await evidence(connection, SPACE, "c1")
    assert [(item.author, item.text) for item in said] == [("discord/ann", "broken")]
    assert said[0].vector is not None
    assert said[0].seq == world.members["1"].seq


async def test_kind_state_and_neighbours_come_from_the_cluster(world: World) -> None:
    await world.cluster("c2", 2, kind="idea")
    await world.change("c2", held_by="c1", muted=True, promoted=True, tags=("billing",), established_seq=None)

    found = await facts(world, "c2")

    assert (found.number, found.kind, found.held_by, found.merged_into) == (2, "idea", 1, None)
    assert (found.muted, found.promoted, found.tags, found.established) == (True, True, ("billing",), False)
    assert found.now == world.now


async def test_a_merged_cluster_has_facts_though_nobody_is_left(world: World) -> None:
    await world.cluster("c2", 2, people=0)
    await world.change("c2", merged_into="c1")

    found = await facts(world, "c2")

    assert (found.merged_into, found.people) == (1, 0)


async def test_the_background_is_the_newest_of_what_was_not_erased(world: World) -> None:
    for number in range(4):
        await world.say("c1", str(number), "ann", f"text {number}")
    await world.erase("3")

    async with world.database.read() as connection:
        assert await background(connection, SPACE, 2) == ["text 2", "text 1"]


def said(number: int, *, author: str = "", text: str = "", release: str | None = None, angle: float | None = 0) -> Said:
    vector = None if angle is None else np.array([np.cos(angle), np.sin(angle)], np.float32)
    return Said(
        ref=MessageRef("discord", str(number)),
        seq=number,
        author=author or f"person{number}",
        text=text or f"text {number}",
        at=START,
        permalink=None,
        release=release,
        vector=vector,
    )


def chosen(items: list[Said], count: int = 3) -> list[int]:
    return [item.seq for item in typical(items, count)]


def test_typical_is_nearest_to_the_middle_first() -> None:
    assert chosen([said(1, angle=1.2), said(2, angle=0.1), said(3, angle=0.0), said(4, angle=-0.9)]) == [2, 3, 4]


def test_typical_quotes_nobody_twice_and_no_text_twice() -> None:
    items = [said(1, author="ann", angle=0.2), said(2, author="ann"), said(3, text="text 1"), said(4, angle=0.6)]

    assert chosen(items) == [1, 4]


def test_typical_without_vectors_or_messages_is_nothing() -> None:
    assert typical([], 3) == []
    assert chosen([said(1, angle=None)]) == []
    assert chosen([said(1, angle=None), said(2)], 1) == [2]


def named(*releases: str | None) -> list[Said]:
    return [said(number, release=release) for number, release in enumerate(releases)]


@pytest.mark.parametrize(
    ("messages", "release"),
    [
        (named("2.1", "2.1", "2.1", None, None, None, None, None, None, None), "2.1"),
        (named("2.1", "2.1", None), None),
        (named(*["2.1"] * 3, *"abcdef"), "2.1"),
        (named(*["2.1"] * 3, *"abcdefg"), None),
        ([said(n, author="ann", release="2.1") for n in range(5)], None),
        ([*named(*["2.1"] * 3), *(said(n, author="eve", release=str(n)) for n in range(20, 30))], "2.1"),
        ([], None),
    ],
    ids=["three", "two", "a third", "less", "one person", "one person names many", "none"],
)
def test_the_release_that_a_third_of_those_who_name_one_name(messages: list[Said], release: str | None) -> None:
    assert release_after(messages) == release


async def test_those_who_repeat_a_long_text_word_for_word_are_counted_apart(world: World) -> None:
    for number, author in enumerate(("ann", "bob", "eve")):
        await world.say("c1", f"copy{number}", author, "please bring the offline mode back", words=5, fingerprint="x")
    for number, author in enumerate(("joe", "kim")):
        await world.say("c1", f"short{number}", author, "add dark mode", words=3, fingerprint="y")
    await world.say("c1", "own", "eve", "I want offline mode on my tablet again", words=6)

    found = await facts(world)

    assert (found.people_in_window, found.copied, found.repeats) == (5, (2,), ((2, 1),))


async def test_only_a_clear_message_of_ones_own_makes_a_person_clear(world: World) -> None:
    await world.say("c1", "1", "ann", "broken", kind="unsure")
    await world.say("c1", "2", "bob", "broken", kind="complaint")
    await world.say("c1", "3", "eve", "same here", kind="other", follows=MessageRef("discord", "2"))

    assert (await facts(world)).clear_people == 1


async def test_who_reacts_is_counted_once_and_authors_and_thumbs_down_are_not(world: World) -> None:
    await world.say("c1", "1", "ann", "broken")
    await world.say("c1", "2", "bob", "broken")
    await world.say("c1", "3", "eve", "broken", platform="reddit")
    async with world.database.write() as connection:
        for message_id, author, emoji, present in (
            ("1", "kim", "👍", True),
            ("2", "kim", "🔥", True),
            ("1", "bob", "👍", True),
            ("1", "joe", "👎", True),
            ("1", "lee", "👍", False),
            ("2", "max", "vote:1", True),
        ):
            row = {"space": SPACE, "platform": "discord", "message_id": message_id, "author": author}
            await connection.execute(insert(schema.reactions).values(**row, emoji=emoji, present=present, at=world.now))
        await connection.execute(update(schema.messages).where(schema.messages.c.message_id == "3").values(score=12))

    assert (await facts(world)).reacting == 2 + 11


async def _a_quiet_month_then(world: World, people: int) -> datetime:
    """Let one person a week speak in the cluster and five a day beside it, then `people` at once."""
    await world.cluster("else", 2, people=0)
    for day in range(30):
        at = START + timedelta(days=day)
        for person in range(5):
            release = "5.3" if day >= 29 else "5.2"
            await world.say("else", f"e{day}-{person}", f"other{person}", "hello", at=at, release=release)
        if day % 7 == 0:
            await world.say("c1", f"c{day}", f"early{day}", "broken", at=at)
    last = START + timedelta(days=30)
    for person in range(people):
        at = last - timedelta(minutes=person)
        await world.say("c1", f"now{person}", f"late{person}", "broken", at=at, platform="telegram")
    return last


async def test_a_rise_is_found_with_its_release_and_its_new_platform(world: World) -> None:
    await _a_quiet_month_then(world, people=7)

    rising = (await facts(world)).rising

    assert rising is not None
    assert rising.rise.recent == 7
    assert rising.rise.expected < 1
    assert rising.new_platforms == ("telegram",)
    assert (rising.release, rising.release_at) == ("5.3", START + timedelta(days=29))


async def test_no_rise_is_found_in_few_people_nor_without_a_past(world: World) -> None:
    await _a_quiet_month_then(world, people=3)
    assert (await facts(world)).rising is None

    await world.cluster("new", 3, people=9)
    async with world.database.read() as connection:
        young = await find_rising(connection, SPACE, "new", START + timedelta(days=5), WatchSettings())
    assert young is None


async def test_lists_for_people(world: World) -> None:
    await world.cluster("asks", 2, kind="question", people=4)
    await world.cluster("says", 3, people=1)
    assert [(talk.number, talk.kind, talk.people) for talk in await talks(world.database, SPACE)] == [
        (2, "question", 4),
        (3, "complaint", 1),
    ]
    asked = await talks(world.database, SPACE, kind="question")
    assert [talk.cluster_id for talk in asked] == ["asks"]
    assert "dark mode button" in asked[0].quote
    assert await talks(world.database, SPACE, actions=("watch",)) == []
