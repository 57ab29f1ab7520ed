"""A sink killed by SIGKILL at each of its steps, and started again: one issue, everything completed."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from datetime import timedelta

import pytest

from pipeline.issue_text import issue_label
from pipeline.trackers.port import Tracker
from tests.standins.jira_faults import Fault
from tests.standins.jira_server import JiraServer
from tests.standins.sink_world import SPACE, STEPS, World, comments, ended, jira, start

LABEL = issue_label(SPACE, "c1")
LEFT = {"reserved": "reserved", "created": "reserved", "confirmed": "open", "commented": "open"}


@pytest.fixture
def server() -> Iterator[JiraServer]:
    with JiraServer("cloud") as one:
        yield one


@pytest.mark.parametrize("kind", ["local", "jira"])
@pytest.mark.parametrize("step", STEPS)
async def test_killed_at_any_step_it_completes_one_issue(
    world: World, server: JiraServer, step: str, kind: str
) -> None:
    tracker: Tracker = jira(server) if kind == "jira" else world.local()
    worker = start(world, ["c1"], server if kind == "jira" else None, step)
    assert await ended(worker) == -signal.SIGKILL
    assert (await world.ticket()).state == LEFT[step]

    sink = world.sink(tracker, patience_s=0.0)
    for _ in range(4):  # nothing wakes it but time
        await sink.sweep()

    row = await world.ticket()
    found = tracker.find(LABEL)
    if (kind, step) == ("jira", "reserved"):
        # It cannot know that the create was never sent: a person decides.
        assert not found
        assert row.state == "uncertain"
        assert "look in the tracker" in row.problem
        return
    assert [ref.id for ref in found] == [row.issue_id]
    assert row.state == "open"
    assert row.comment_id
    assert len(await world.quoted()) == 3
    if kind == "jira":
        assert len(comments(server)) == 1


async def test_killed_while_the_create_is_on_its_way(world: World, server: JiraServer) -> None:
    held = server.faults.add(Fault("hang"))
    worker = start(world, ["c1"], server)
    async with asyncio.timeout(30):
        while not held.struck:
            await asyncio.sleep(0.01)
    worker.kill()
    await ended(worker)
    held.release.set()

    sink = world.sink(jira(server), patience_s=0.0)
    for _ in range(3):
        await sink.sweep()

    assert (await world.ticket()).state == "open"
    assert server.state.created[LABEL] == 1
    assert len(comments(server)) == 1


async def test_what_another_worker_reserved_is_left_to_it_for_a_while(world: World) -> None:
    worker = start(world, ["c1"], None, "reserved")
    await ended(worker)

    hasty = world.sink(world.local())
    decision = await hasty.consider(SPACE, "c1")
    await hasty.sweep()

    assert decision is not None
    assert decision.rule == "uncertain"
    assert (await world.ticket()).state == "reserved"
    assert not world.local().find(LABEL)


async def test_words_that_may_stand_in_a_comment_are_known_before_it_is_written(
    world: World, server: JiraServer
) -> None:
    """Killed after a comment was rewritten: what it quotes and the ledger does not note would stay for ever."""
    await world.sink(jira(server)).consider(SPACE, "c1")
    for person in range(4, 12):
        await world.say("c1", f"late{person}", f"person{person}", f"dark mode button broken, number {person}")
    await world.let_pass(timedelta(hours=25))
    worker = start(world, ["c1"], server, "commented")
    assert await ended(worker) == -signal.SIGKILL
    (body,) = comments(server)
    new = [number for number in range(4, 12) if f"number {number}”" in body]
    assert new, body

    await world.erase(f"late{new[0]}")
    await world.sink(jira(server), patience_s=0.0).sweep()

    (body,) = comments(server)
    assert f"number {new[0]}”" not in body
    assert f"late{new[0]}" not in await world.quoted()
