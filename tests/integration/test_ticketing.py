"""What people order about tickets, and what a preview shows, against the Jira stand-in."""

from __future__ import annotations

import pytest

from pipeline.cli.ticketing import _visible
from pipeline.decide import Action
from pipeline.errors import FatalError, SkippableError
from pipeline.settings import PolicySettings
from pipeline.ticketing import Desk
from tests.standins.jira_faults import Fault
from tests.standins.jira_server import JiraServer
from tests.standins.sink_world import SPACE, World, comments, jira

POLICY = PolicySettings(min_people=3)


@pytest.fixture
def desk(world: World, server: JiraServer) -> Desk:
    return Desk(world.database, jira(server), POLICY, SPACE)


def by_hand(server: JiraServer) -> str:
    fields = {"project": {"key": "COM"}, "issuetype": {"name": "Bug"}, "summary": "No dark mode", "labels": ["ui"]}
    return server.state.create({"fields": fields}).key


async def uncertain(world: World, server: JiraServer, *, created: bool) -> None:
    """Lose the answer to a create, and search in vain."""
    server.faults.add(Fault("drop_after" if created else "drop_before"))
    server.state.lag_searches = 99
    sink = world.sink(jira(server))
    await sink.consider(SPACE, "c1")
    for _ in range(4):
        await sink.sweep()
    assert ((await world.ticket()).state, (await world.ticket()).finds) == ("uncertain", 3)


async def test_a_person_links_an_issue_and_it_gets_one_comment(world: World, server: JiraServer, desk: Desk) -> None:
    key = by_hand(server)
    before = dict(server.state.get(key).fields)

    assert (await desk.link("c1", key, "anna")).ref.key == key
    sink = world.sink(jira(server))
    for _ in range(2):
        await sink.sweep()
        await sink.consider(SPACE, "c1")

    (comment,) = comments(server)
    assert "4 people have said this" in comment
    assert "a person linked it" in comment
    assert "anna" not in comment
    assert dict(server.state.get(key).fields) == before
    assert len(server.state.issues) == 1
    assert (await world.decision()).rule == "filed"


async def test_a_cluster_and_an_issue_have_one_partner_each(world: World, server: JiraServer, desk: Desk) -> None:
    first, second = by_hand(server), by_hand(server)
    await world.cluster("c2", 2)
    await desk.link("c1", first, "anna")

    with pytest.raises(FatalError, match=f"the cluster has the ticket {first} already"):
        await desk.link("c1", second, "anna")
    with pytest.raises(FatalError, match="it is another cluster's ticket"):
        await desk.link("c2", first, "anna")
    assert await world.tickets() == 1


@pytest.mark.parametrize("key", ["COM-99", "../../serverInfo", 'COM-1" OR project = OPS', "COM-1?expand=x"])
async def test_a_key_of_nothing_links_nothing(world: World, desk: Desk, key: str) -> None:
    with pytest.raises((FatalError, SkippableError), match=r"no issue|not the id or key"):
        await desk.link("c1", key, "anna")
    assert await world.tickets() == 0


async def test_our_own_issue_is_adopted_and_not_linked(world: World, server: JiraServer, desk: Desk) -> None:
    await uncertain(world, server, created=True)
    (issue,) = server.state.issues.values()

    with pytest.raises(FatalError, match="jira adopt"):
        await desk.link("c1", issue.key, "anna")
    with pytest.raises(FatalError, match="does not carry the label"):
        await desk.adopt("c1", by_hand(server))
    await desk.adopt("c1", issue.key)
    await world.sink(jira(server)).sweep()

    row = await world.ticket()
    assert (row.state, row.issue_key, row.origin) == ("open", issue.key, "created")
    assert len(issue.comments) == 1
    assert server.state.created[row.label] == 1


async def test_a_create_that_came_to_nothing_is_retried_when_a_person_says_so(
    world: World, server: JiraServer, desk: Desk
) -> None:
    await uncertain(world, server, created=False)
    assert len(server.state.issues) == 0

    await desk.retry("c1")
    server.state.lag_searches = 0
    await world.sink(jira(server)).sweep()

    row = await world.ticket()
    assert row.state == "open"
    assert server.state.created[row.label] == 1


async def test_what_is_still_being_searched_for_is_not_retried(world: World, server: JiraServer, desk: Desk) -> None:
    server.faults.add(Fault("drop_after"))
    await world.sink(jira(server, lag_s=(60.0, 60.0, 60.0))).consider(SPACE, "c1")

    with pytest.raises(FatalError, match="still being searched for"):
        await desk.retry("c1")
    assert (await world.ticket()).state == "uncertain"


async def test_orders_that_make_no_sense_say_so(world: World, server: JiraServer, desk: Desk) -> None:
    with pytest.raises(FatalError, match="has no ticket"):
        await desk.adopt("c1", by_hand(server))
    with pytest.raises(FatalError, match="no issue that people filed is linked"):
        await desk.unlink("c1", "anna")
    await world.sink(jira(server)).consider(SPACE, "c1")
    with pytest.raises(FatalError, match="its ticket is open"):
        await desk.retry("c1")
    with pytest.raises(FatalError, match="no issue that people filed is linked"):
        await desk.unlink("c1", "anna")


async def test_a_preview_is_what_is_sent(world: World, server: JiraServer) -> None:
    sink = world.sink(jira(server))

    preview = await sink.preview(SPACE, "c1")
    assert preview is not None
    assert server.state.issues == {}
    assert await world.tickets() == 0
    assert preview.decision.action is Action.OPEN
    await sink.consider(SPACE, "c1")

    create, comment = (one for one in server.exchanges if one.method == "POST")
    assert list(preview.writes.values()) == [create.request, comment.request]
    assert [f"POST {path}" for path in (create.path, comment.path.replace(create.response["id"], "ID"))] == list(
        preview.writes
    )


async def test_a_preview_of_what_waits_is_what_promoting_it_sends(world: World, server: JiraServer) -> None:
    sink = world.sink(jira(server), mode="approve")

    preview = await sink.preview(SPACE, "c1")
    assert preview is not None
    assert preview.decision.action is Action.PROPOSE
    await world.change("c1", promoted=True)
    await sink.consider(SPACE, "c1")

    assert [one.request for one in server.exchanges if one.method == "POST"] == list(preview.writes.values())


def test_what_cannot_be_seen_is_shown_as_json_escapes_it() -> None:
    assert _visible('a\u2060\x1b[2J"\n\u0434\U000e0041') == 'a\\u2060\\u001b[2J"\n\u0434\\udb40\\udc41'
