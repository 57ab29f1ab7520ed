"""Drafts from the database: shared words only, summaries that differ, a release, quotes by different people."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from pipeline.decide import Action, Decision
from pipeline.drafting import Drafts
from pipeline.store.facts import Said, cluster_facts
from pipeline.trackers.port import IssueDraft
from tests.standins.sink_world import POLICY, SPACE, TEXTS, World

OPEN = Decision(Action.OPEN, "people", "4 people within 30 days, 3 needed")


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    one = await World(database_url).begin()
    yield one
    await one.database.close()


async def drafted(world: World, cluster_id: str = "c1") -> tuple[IssueDraft, list[Said]]:
    async with world.database.read() as connection:
        found = await cluster_facts(connection, SPACE, cluster_id, POLICY)
    assert found is not None
    return await Drafts(world.database).draft(SPACE, cluster_id, found[0], OPEN)


async def test_a_draft_holds_words_that_three_share_and_its_quotes_beside_it(world: World) -> None:
    await world.cluster("c1")

    issue, quoted = await drafted(world)

    written = f"{issue.summary}\n{issue.description}".lower()
    assert "dark mode button" in written
    for own in ("furious", "support", "tablet", "paid", *TEXTS, "person", "chat.test"):
        assert own not in written.replace("4 people", "")
    assert OPEN.reason in issue.description
    assert len({item.author for item in quoted}) == len(quoted) == 3


async def test_two_clusters_of_the_same_words_get_different_summaries(world: World) -> None:
    await world.cluster("c1")
    await world.cluster("c2", 2)
    await world.sink(world.local()).consider(SPACE, "c1")

    issue, _ = await drafted(world, "c2")
    assert issue.summary.casefold() != (await world.ticket("c1")).summary.casefold()

    again, _ = await drafted(world, "c1")
    assert again.summary == (await world.ticket("c1")).summary


async def test_without_shared_words_the_summary_still_says_what_it_is(world: World) -> None:
    await world.cluster("c1", people=0)
    for number, text in enumerate(("alpha beta", "gamma delta", "epsilon zeta", "eta theta")):
        await world.say("c1", str(number), f"person{number}", text)

    issue, _ = await drafted(world)

    assert issue.summary == "Recurring complaint, cluster #1"
    assert "none that three of them used" in issue.description


async def test_the_release_they_name_is_said(world: World) -> None:
    await world.cluster("c1", people=0)
    for number in range(4):
        await world.say("c1", str(number), f"person{number}", "dark mode broken", release="2.1.0" if number else None)

    issue, _ = await drafted(world)

    assert "2.1.0" in issue.description


async def test_one_author_alone_brings_no_words(world: World) -> None:
    await world.cluster("c1", people=0)
    for number in range(9):
        await world.say("c1", str(number), "one", f"dark mode broken {number}")

    issue, quoted = await drafted(world)

    assert "dark mode" not in issue.description
    assert len(quoted) == 1
