"""Who decides: modes, people's commands, merged clusters, kinds that make no tickets; and the owner's own clusters."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from pipeline.decide import Action, Mode
from pipeline.doors import Arrival
from pipeline.entries import Deleted, Features, Posted
from pipeline.fitter import InlineFitter
from pipeline.owner import Owner
from pipeline.received import Received
from pipeline.records import MessageRef
from pipeline.store import schema
from pipeline.store.spaces import MessageDetails
from pipeline.trackers.local import LocalTracker
from tests.standins.sink_world import SPACE, World
from tests.standins.space_stream import DIMENSIONS, SMALL, T0, clusterer, near


@pytest.fixture
def tracker(world: World) -> LocalTracker:
    return world.local()


def issues(tracker: LocalTracker) -> int:
    return sum(tracker.read(str(number)) is not None for number in range(1, 9))


async def looked(world: World, tracker: LocalTracker, mode: Mode = "auto") -> tuple[Action, str]:
    sink = world.sink(tracker, mode=mode)
    decision = await sink.consider(SPACE, "c1")
    await sink.sweep()
    assert decision is not None
    row = await world.decision()
    assert (row.action, row.rule, row.reason) == (decision.action, decision.rule, decision.reason)
    return decision.action, decision.rule


async def test_shadow_decides_and_writes_nothing(world: World, tracker: LocalTracker) -> None:
    assert await looked(world, tracker, "shadow") == (Action.SKIP, "shadow")
    assert "would open" in (await world.decision()).reason
    assert (issues(tracker), await world.tickets()) == (0, 0)


async def test_approve_proposes_until_a_person_promotes(world: World, tracker: LocalTracker) -> None:
    assert await looked(world, tracker, "approve") == (Action.PROPOSE, "people")
    assert (issues(tracker), await world.tickets()) == (0, 0)

    await world.change("c1", promoted=True)
    assert await looked(world, tracker, "approve") == (Action.OPEN, "promoted")
    assert await looked(world, tracker, "approve") == (Action.SKIP, "filed")
    assert issues(tracker) == 1


SILENT: list[tuple[dict[str, Any], str]] = [
    ({"muted": True}, "muted"),
    ({"merged_into": "c2"}, "merged"),
    ({"held_by": "c2"}, "held"),
    ({"established_seq": None}, "unconfirmed"),
]


@pytest.mark.parametrize(("changes", "rule"), SILENT, ids=lambda value: value if isinstance(value, str) else "")
async def test_these_open_nothing(world: World, tracker: LocalTracker, changes: dict[str, Any], rule: str) -> None:
    await world.cluster("c2", 2, people=0)
    await world.change("c1", **changes)

    assert await looked(world, tracker) == (Action.SKIP, rule)
    assert (issues(tracker), await world.tickets()) == (0, 0)


@pytest.mark.parametrize("kind", ["question", "praise", "other"])
async def test_kinds_that_make_no_tickets(world: World, tracker: LocalTracker, kind: str) -> None:
    await world.cluster("c3", 3, kind=kind)
    sink = world.sink(tracker)

    decision = await sink.consider(SPACE, "c3")
    assert decision is not None
    assert (decision.action, decision.rule) == (Action.SKIP, "kind")
    assert issues(tracker) == 0

    await world.change("c3", tags=("billing",))
    decision = await sink.consider(SPACE, "c3")
    assert decision is not None
    assert decision.action is Action.OPEN


@pytest.mark.parametrize("changes", [{"muted": True}, {"merged_into": "c2"}], ids=["muted", "merged"])
async def test_a_ticket_whose_cluster_is_muted_or_merged_is_frozen(
    world: World, tracker: LocalTracker, changes: dict[str, Any]
) -> None:
    await world.cluster("c2", 2, people=0)
    await looked(world, tracker)
    before = tracker.read("1")
    for person in range(4, 12):
        await world.say("c1", f"late{person}", f"person{person}", "dark mode button broken here too")
    await world.change("c1", **changes)
    await world.let_pass(timedelta(hours=25))

    assert (await looked(world, tracker))[0] is Action.SKIP
    assert tracker.read("1") == before
    assert issues(tracker) == 1


async def test_too_few_people_and_a_fresh_cluster_wait(world: World, tracker: LocalTracker) -> None:
    sink = world.sink(tracker, min_people=5)
    decision = await sink.consider(SPACE, "c1")
    assert decision is not None
    assert (decision.rule, decision.reason) == ("people", "4 of 5 people within 30 days")

    sink = world.sink(tracker, settle=timedelta(hours=3))
    decision = await sink.consider(SPACE, "c1")
    assert decision is not None
    assert decision.rule == "settling"
    await sink.sweep()
    assert issues(tracker) == 0

    await world.let_pass(timedelta(hours=1))
    await sink.sweep()  # time alone
    assert issues(tracker) == 1


async def test_a_cluster_that_nobody_is_in_or_that_is_not_there_is_nothing(world: World, tracker: LocalTracker) -> None:
    sink = world.sink(tracker)
    for number in range(4):
        await world.erase(f"c1-m{number}")

    assert await sink.consider(SPACE, "c1") is None
    assert await sink.consider(SPACE, "nobody") is None
    assert await sink.consider("elsewhere", "c1") is None


async def test_the_owners_own_cluster_becomes_a_ticket_that_follows_its_messages(database_url: str) -> None:
    """The whole way through the store: `Owner` folds, the sink files, a deletion reaches the comment."""
    world = await World(database_url).begin()
    settings = replace(SMALL, raid_authors=99)
    owner = Owner("one", world.database, settings, InlineFitter(clusterer()))
    rng = np.random.default_rng(7)
    offset = 0

    async def post(topic: int, number: int, text: str) -> None:
        nonlocal offset
        offset += 1
        vector = near(np.eye(DIMENSIONS)[topic] + 0.3, rng, 0.3)
        ref = MessageRef("discord", f"t{topic}n{number}")
        features = Features((0.9, 0.02, 0.02, 0.02, 0.04), "complaint", 6, echo=False, fingerprint=f"f{offset}")
        posted = Posted(ref, f"author{number}", T0, features, vector)
        details = MessageDetails(text, None, None, None, (), "model")
        arrival = Arrival("owned", "message.created", T0 + timedelta(minutes=offset), posted, None, details)
        await owner.take([Received(arrival, 0, offset, 0.0)])

    for number in range(30):
        await post(0, number, f"the dark mode button is broken, says {number}")
        await post(1, number, f"please add an export to csv, says {number}")
    tracker = world.local()
    sink = world.sink(tracker, settle=0)
    async with world.database.read() as connection:
        ids = [row.cluster_id for row in await connection.execute(select(schema.clusters))]
    for cluster_id in ids:
        await sink.consider("owned", cluster_id)
    summaries = {state.summary.lower() for n in range(1, 9) if (state := tracker.read(str(n))) is not None}
    assert len(summaries) == 2
    assert any("dark mode" in summary for summary in summaries)

    async with world.database.read() as connection:
        quote = (await connection.execute(select(schema.quotes))).first()
    assert quote is not None
    number = quote.message_id.partition("n")[2]
    before = tracker.comment("1") or "", tracker.comment("2") or ""
    assert any(f"says {number}”" in body for body in before)
    gone = Arrival(
        "owned", "message.deleted", T0 + timedelta(hours=3), Deleted(MessageRef("discord", quote.message_id)), None
    )
    await owner.take([Received(gone, 0, 99, 0.0)])
    await sink.sweep()

    row = await world.decision(quote.cluster_id)
    assert row.rule == "people"
    left = await world.quoted(quote.cluster_id)
    assert quote.message_id not in left
    assert len(left) == 3
    issue = next(n for n, body in enumerate(before, 1) if f"says {number}”" in body)
    assert f"says {number}”" not in (tracker.comment(str(issue)) or "")
    owner.close()
    await world.database.close()


async def test_a_merged_clusters_ticket_goes_on_with_its_survivor(world: World, tracker: LocalTracker) -> None:
    await looked(world, tracker)
    first = await world.ticket("c1")
    await world.cluster("c2", 2)
    await world.change("c1", merged_into="c2")

    decision = await world.sink(tracker).consider(SPACE, "c2")

    assert decision is not None
    assert (decision.action, decision.rule) == (Action.SKIP, "filed")
    assert (issues(tracker), await world.tickets()) == (1, 1)
    moved = await world.ticket("c2")
    assert (moved.issue_id, moved.label, moved.opened_at) == (first.issue_id, first.label, first.opened_at)


async def test_shadow_leaves_old_tickets_and_promotions_alone(world: World, tracker: LocalTracker) -> None:
    await looked(world, tracker)
    for person in range(20):
        await world.say("c1", f"more{person}", f"another{person}", f"the dark button again, number {person}")
    await world.let_pass(timedelta(days=3))
    assert await looked(world, tracker, "shadow") == (Action.SKIP, "shadow")
    assert "would update" in (await world.decision()).reason

    await world.cluster("c2", 2, people=1)
    await world.change("c2", promoted=True)
    decision = await world.sink(tracker, mode="shadow").consider(SPACE, "c2")
    assert decision is not None
    assert decision.rule == "shadow"
    assert issues(tracker) == 1
