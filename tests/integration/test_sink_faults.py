"""The sink when Jira and the network misbehave: never a second create, nothing lost, and the ledger says what is up."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from threading import Event

import pytest

from pipeline.decide import Action
from pipeline.errors import FatalError, RetriableError
from pipeline.issue_text import issue_label
from tests.standins.jira_faults import Fault, html_page
from tests.standins.jira_server import JiraServer
from tests.standins.sink_world import SPACE, World, comments, jira

LABEL = issue_label(SPACE, "c1")


def creates(server: JiraServer) -> int:
    return sum(1 for method, path in server.requests if (method, path) == ("POST", "/rest/api/2/issue"))


LOST = [
    Fault("drop_after"),
    Fault("answer_after", status=500, body="{}"),
    Fault("answer_after", status=503, headers={"Retry-After": "1"}),
    html_page("answer_after", 200),
    html_page("answer_after", 502),
    Fault("hang"),
]
NEVER_ARRIVED = [Fault("drop_before"), Fault("answer_before", status=503), html_page("answer_before", 502)]


@pytest.mark.parametrize("fault", LOST, ids=lambda f: f"{f.kind}-{f.status}")
async def test_a_create_whose_answer_was_lost_is_found_by_its_label(
    world: World, server: JiraServer, fault: Fault
) -> None:
    server.faults.add(replace(fault, struck=0, release=Event()))
    server.state.lag_searches = 1  # the first search does not see it yet
    sink = world.sink(jira(server))

    await sink.consider(SPACE, "c1")
    row = await world.ticket()
    assert (row.state, row.issue_id) == ("uncertain", None)
    assert row.problem
    for _ in range(3):
        await sink.sweep()

    row = await world.ticket()
    (issue,) = server.state.issues.values()
    assert (row.state, row.issue_id, row.issue_key, row.problem) == ("open", issue.id, issue.key, None)
    assert len(issue.comments) == 1  # the quotes came after all
    assert (await world.decision()).rule == "filed"
    assert creates(server) == 1


@pytest.mark.parametrize("fault", NEVER_ARRIVED, ids=lambda f: f"{f.kind}-{f.status}")
async def test_what_cannot_be_found_stays_uncertain_and_is_never_created_again(
    world: World, server: JiraServer, fault: Fault
) -> None:
    server.faults.add(replace(fault, struck=0, release=Event()))
    sink = world.sink(jira(server))

    for _ in range(6):
        await sink.consider(SPACE, "c1")
        await sink.sweep()
    await world.say("c1", "late", "someone else", "the dark mode button is still broken")
    decision = await sink.consider(SPACE, "c1")

    row = await world.ticket()
    assert row.state == "uncertain"
    assert "after 3 searches" in row.problem
    assert LABEL in row.problem
    assert decision is not None
    assert (decision.action, decision.rule) == (Action.SKIP, "uncertain")
    assert creates(server) == 1
    assert not server.state.issues


async def test_an_issue_that_shows_up_after_all_searches_is_still_taken_up(world: World, server: JiraServer) -> None:
    server.faults.add(Fault("drop_after"))
    server.state.lag_searches = 3
    sink = world.sink(jira(server))
    for _ in range(4):
        await sink.consider(SPACE, "c1")
    row = await world.ticket()
    assert "after 3 searches" in row.problem

    async with world.database.write() as connection:  # an hour later
        await connection.exec_driver_sql("UPDATE tickets SET next_find_at = '2026-01-01 00:00:00'")
    await sink.sweep()

    assert (await world.ticket()).state == "open"


async def test_the_searches_wait_as_long_as_the_tracker_says(world: World, server: JiraServer) -> None:
    server.faults.add(Fault("drop_after"))
    sink = world.sink(jira(server, lag_s=(0.4, 60.0)))
    await sink.consider(SPACE, "c1")

    await sink.sweep()
    assert not [path for _, path in server.requests if "/search" in path]

    await asyncio.sleep(0.45)
    await sink.sweep()
    assert (await world.ticket()).state == "open"


async def test_a_search_that_fails_is_no_answer(world: World, server: JiraServer) -> None:
    server.faults.add(Fault("drop_after"))
    failing = Fault("answer_before", "GET", "/search", times=9, status=503, headers={"Retry-After": "1"})
    server.faults.add(failing)
    sink = world.sink(jira(server))
    await sink.consider(SPACE, "c1")

    for _ in range(5):
        await sink.sweep()
    assert failing.struck == 1  # Retry-After is waited for
    row = await world.ticket()
    assert (row.state, row.finds) == ("uncertain", 0)

    failing.times = failing.struck
    await asyncio.sleep(1.05)
    await sink.sweep()
    assert (await world.ticket()).state == "open"


async def test_the_issue_is_not_doubted_again_by_a_sweep_that_waited_for_its_create(
    world: World, server: JiraServer
) -> None:
    held = server.faults.add(Fault("hang"))
    sink = world.sink(jira(server, lag_s=(9.0, 9.0), timeout_s=(5.0, 20.0)), patience_s=0.0)
    filing = asyncio.create_task(sink.consider(SPACE, "c1"))
    async with asyncio.timeout(10):
        while not held.struck:
            await asyncio.sleep(0.01)
    sweeping = asyncio.create_task(sink.sweep())  # reads the row while it is reserved
    await asyncio.sleep(0.1)
    held.release.set()
    await asyncio.gather(filing, sweeping)

    row = await world.ticket()
    assert (row.state, row.problem) == ("open", None)


async def test_429_asks_to_come_back_and_then_goes_through(world: World, server: JiraServer) -> None:
    server.faults.add(Fault("answer_before", status=429, headers={"Retry-After": "7"}))
    sink = world.sink(jira(server))

    with pytest.raises(RetriableError) as caught:
        await sink.consider(SPACE, "c1")
    assert caught.value.retry_after_s == 7.0
    row = await world.ticket()
    assert (row.state, row.next_find_at) == ("waiting", None)
    assert "429" in row.problem

    await sink.sweep()
    row = await world.ticket()
    assert (row.state, row.problem) == ("open", None)
    assert server.state.created[LABEL] == 1


async def test_a_429_for_the_comment_leaves_the_issue_and_brings_the_comment_later(
    world: World, server: JiraServer
) -> None:
    server.faults.add(Fault("answer_before", path="/comment", status=429, headers={"Retry-After": "7"}))
    sink = world.sink(jira(server))

    with pytest.raises(RetriableError):
        await sink.consider(SPACE, "c1")
    assert (await world.ticket()).state == "open"
    assert not comments(server)

    await sink.consider(SPACE, "c1")
    assert len(comments(server)) == 1
    assert server.state.created[LABEL] == 1


async def test_a_refused_draft_is_tried_again_only_when_the_cluster_changed(world: World, server: JiraServer) -> None:
    body = '{"errorMessages": [], "errors": {"summary": "This word is forbidden here."}}'
    server.faults.add(Fault("answer_before", status=400, body=body))
    sink = world.sink(jira(server))

    await sink.consider(SPACE, "c1")
    row = await world.ticket()
    assert row.state == "refused"
    assert "This word is forbidden here." in row.problem

    again = await sink.consider(SPACE, "c1")
    await sink.sweep()
    assert again is not None
    assert (again.action, again.rule) == (Action.SKIP, "refused")
    assert creates(server) == 1

    await world.say("c1", "late", "someone else", "the dark mode button is still broken")
    await sink.consider(SPACE, "c1")
    assert (await world.ticket()).state == "open"
    assert creates(server) == 2


@pytest.mark.parametrize("status", [401, 403])
async def test_what_only_a_person_can_cure_stops_the_sink_and_loses_nothing(
    world: World, server: JiraServer, status: int
) -> None:
    broken = server.faults.add(Fault("answer_before", status=status, times=99))
    sink = world.sink(jira(server))

    for _ in range(2):
        with pytest.raises(FatalError, match=str(status)):
            await sink.consider(SPACE, "c1")
    row = await world.ticket()
    assert row.state == "waiting"
    assert str(status) in row.problem

    broken.times = broken.struck  # cured
    await world.sink(jira(server)).sweep()
    assert (await world.ticket()).state == "open"
    assert server.state.created[LABEL] == 1


async def test_an_update_that_is_refused_is_said_and_stops_nothing(world: World, server: JiraServer) -> None:
    sink = world.sink(jira(server), min_update_gap=0)
    await sink.consider(SPACE, "c1")
    body = '{"errorMessages": [], "errors": {"description": "Too rude."}}'
    server.faults.add(Fault("answer_before", "PUT", "/issue", status=400, body=body))
    for person in range(4, 9):
        await world.say("c1", f"late{person}", f"person{person}", "dark mode button broken here too")

    await sink.consider(SPACE, "c1")
    assert "Too rude." in (await world.ticket()).problem

    for person in range(9, 19):
        await world.say("c1", f"late{person}", f"person{person}", "dark mode button broken here too")
    await sink.consider(SPACE, "c1")
    (issue,) = server.state.issues.values()
    assert "19 people" in issue.fields["description"]
    assert (await world.ticket()).problem is None
