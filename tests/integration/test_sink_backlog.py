"""What people filed already: it is proposed or linked, not repeated, and nothing of theirs is touched."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
from sqlalchemy import select

from pipeline.backlog import KnownIssues
from pipeline.decide import Action, Decision, Mode
from pipeline.errors import RetriableError
from pipeline.file_issues import Sink
from pipeline.settings import BacklogSettings
from pipeline.store import schema
from pipeline.store.linking import part
from pipeline.trackers.jira import JiraTracker
from pipeline.trackers.local import LocalTracker
from pipeline.trackers.port import IssueDraft
from tests.standins.jira_faults import Fault
from tests.standins.jira_server import JiraServer
from tests.standins.sink_world import SPACE, World, comments, jira

DARK = "Dark mode button does nothing"
OTHER = "Invoices arrive twice"
PERSONS = IssueDraft(DARK, "Since 2.4 the button is dead.", "complaint", "filed-by-a-person")
AGES = BacklogSettings(refresh=timedelta(0), full=timedelta(days=1))


class Meanings:
    """Texts about the dark mode mean what the clusters of `World` say; every other text something of its own."""

    name = "model"
    dimensions = 4
    languages: frozenset[str] | None = None

    def __init__(self) -> None:
        self.read: list[str] = []

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        self.read += texts
        rows = [(1.0, 0.03, 0.1, 0.0) if "ark mode" in text else (0.1, 0.0, 0.0, 1.0) for text in texts]
        vectors = np.array(rows, np.float32).reshape(-1, 4)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def file_by_hand(server: JiraServer, summary: str = DARK, description: str = "Since 2.4 the button is dead.") -> str:
    """Let a person file an issue; return its key."""
    fields = {"project": {"key": "COM"}, "issuetype": {"name": "Bug"}, "summary": summary, "description": description}
    return server.state.create({"fields": fields}).key


class Desk:
    """A sink that knows what people filed."""

    def __init__(self, world: World, tracker: JiraTracker | LocalTracker, mode: Mode = "auto", **backlog: Any) -> None:
        self.settings = AGES.model_copy(update=backlog)
        self.meanings = Meanings()
        self.known = KnownIssues(world.database, tracker, self.meanings, self.settings)
        policy: dict[str, Any] = {"min_people": 3, "backlog": self.settings}
        self.sink: Sink = world.sink(tracker, mode=mode, known=self.known, **policy)

    async def look(self, *, read: bool = True) -> Decision:
        if read:
            await self.sink.read_backlog()
        decision = await self.sink.consider(SPACE, "c1")
        await self.sink.sweep()
        assert decision is not None
        return decision


async def rows(world: World, table: str) -> list[Any]:
    async with world.database.read() as connection:
        return list((await connection.execute(select(schema.metadata.tables[table]))).all())


async def test_what_people_filed_is_proposed_and_not_repeated(world: World, server: JiraServer) -> None:
    key = file_by_hand(server)
    file_by_hand(server, OTHER)
    desk = Desk(world, jira(server))

    decision = await desk.look()

    assert (decision.action, decision.rule) == (Action.PROPOSE, "match")
    assert f"perhaps people filed it already: {key} (likeness 0." in decision.reason
    assert f"`jira link 1 {key}` links it, `promote 1` opens one of its own" in decision.reason
    assert len(server.state.issues) == 2
    assert comments(server) == []
    (likely,) = await rows(world, "likenesses")
    assert (likely.issue_key, likely.summary, likely.verdict) == (key, DARK, "likely")
    assert 0.33 <= likely.score <= 1


async def test_what_nobody_filed_opens(world: World, server: JiraServer) -> None:
    file_by_hand(server, OTHER)

    decision = await Desk(world, jira(server)).look()

    assert decision.action is Action.OPEN
    assert len(server.state.issues) == 2


async def test_nothing_opens_before_the_trackers_issues_were_read(world: World, server: JiraServer) -> None:
    file_by_hand(server)
    desk = Desk(world, jira(server))
    server.faults.add(Fault("answer_before", "GET", "/search", status=429, headers={"Retry-After": "1"}))

    unread = await desk.look()
    assert (unread.action, unread.rule) == (Action.SKIP, "backlog")
    assert len(server.state.issues) == 1

    asked = len(server.requests)
    await desk.sink.read_backlog()
    assert len(server.requests) == asked  # not before the time that Jira named
    desk.known._not_before -= timedelta(seconds=1)
    await desk.sink.read_backlog()
    await desk.sink.sweep()
    assert (await world.decision()).rule == "match"


async def test_a_promoted_cluster_opens_all_the_same_and_says_what_it_is_like(world: World, server: JiraServer) -> None:
    key = file_by_hand(server)
    desk = Desk(world, jira(server))
    await desk.look()

    await world.change("c1", promoted=True)
    decision = await desk.look()

    assert (decision.action, decision.rule) == (Action.OPEN, "promoted")
    ticket = await world.ticket()
    description = server.state.get(ticket.issue_key).fields["description"].replace("\\", "")
    assert f"Perhaps the same as {key}, which people filed" in description
    assert DARK not in description


async def test_a_sure_match_is_linked_by_itself_and_gets_one_comment_and_nothing_else(
    world: World, server: JiraServer
) -> None:
    key = file_by_hand(server)
    fields = dict(server.state.get(key).fields)
    desk = Desk(world, jira(server), link=0.4)

    decision = await desk.look()
    assert (decision.action, decision.rule) == (Action.LINK, "match")
    for _ in range(2):
        await desk.look()
    for person in range(4, 14):
        await world.say("c1", f"late{person}", f"person{person}", "dark mode button broken here too")
    await world.let_pass(timedelta(hours=25))
    grown = await desk.look()

    assert grown.action is Action.UPDATE
    assert len(server.state.issues) == 1
    (comment,) = comments(server)
    assert "14 people have said this in 14 messages" in comment
    assert "https://chat.test/c1-m" in comment
    assert dict(server.state.get(key).fields) == fields
    assert [path for method, path in server.requests if method == "PUT" and "/comment/" not in path] == []
    ticket = await world.ticket()
    assert (ticket.origin, ticket.issue_key, ticket.state, ticket.summary) == ("linked", key, "open", DARK)


@pytest.mark.parametrize("kind", ["drop_before", "drop_after"])
async def test_a_comment_whose_answer_was_lost_is_written_once(
    world: World, server: JiraServer, kind: Literal["drop_before", "drop_after"]
) -> None:
    key = file_by_hand(server)
    desk = Desk(world, jira(server), link=0.4)
    server.faults.add(Fault(kind, path="/comment"))

    with pytest.raises(RetriableError):
        await desk.look()
    assert (await world.ticket()).state == "open"
    for _ in range(2):
        await desk.look()

    assert len(comments(server)) == 1
    assert len(server.state.get(key).comments) == 1
    assert (await world.ticket()).comment_id == server.state.get(key).comments[0]["id"]


@pytest.mark.parametrize("answer", ['{"issues": [{"id": "1"}]}', "[]", "<html>"])
async def test_an_answer_that_is_none_of_jiras_reads_nothing(world: World, server: JiraServer, answer: str) -> None:
    file_by_hand(server)
    desk = Desk(world, jira(server))
    server.faults.add(Fault("answer_before", "GET", "/search", status=200, body=answer, times=9))

    assert (await desk.look()).rule == "backlog"
    assert await rows(world, "backlog") == []


@pytest.mark.parametrize(("mode", "action"), [("approve", Action.PROPOSE), ("shadow", Action.SKIP)])
async def test_only_mode_auto_links_by_itself(world: World, server: JiraServer, mode: Mode, action: Action) -> None:
    file_by_hand(server)

    decision = await Desk(world, jira(server), mode, link=0.4).look()

    assert decision.action is action
    if mode == "shadow":
        assert "would link" in decision.reason
    assert await world.tickets() == 0
    assert comments(server) == []


async def test_an_issue_that_is_done_is_proposed_however_alike(world: World, server: JiraServer) -> None:
    key = file_by_hand(server)
    server.state.set_status(key, "Done")

    decision = await Desk(world, jira(server), link=0.4).look()

    assert decision.action is Action.PROPOSE
    assert "on, done)" in decision.reason


async def test_an_issue_that_is_long_done_is_not_read(world: World, server: JiraServer) -> None:
    key = file_by_hand(server)
    server.state.set_status(key, "Done")
    server.state.age(key, timedelta(days=91))

    assert (await Desk(world, jira(server)).look()).action is Action.OPEN


async def test_our_own_tickets_are_nobodys_complaint(world: World, server: JiraServer) -> None:
    desk = Desk(world, jira(server))
    await desk.look()
    await world.cluster("c2", 2)
    await desk.sink.read_backlog()
    server.state.people_edit((await world.ticket()).issue_key, labels=[])
    await desk.sink.read_backlog()

    decision = await desk.sink.consider(SPACE, "c2")

    assert decision is not None
    assert decision.action is Action.OPEN


async def test_an_issue_that_is_a_clusters_ticket_is_no_second_ones(world: World, server: JiraServer) -> None:
    key = file_by_hand(server)
    desk = Desk(world, jira(server), link=0.4)
    await desk.look()
    await world.cluster("c2", 2)

    decision = await desk.sink.consider(SPACE, "c2")

    assert decision is not None
    assert (decision.action, decision.rule) == (Action.PROPOSE, "match")
    assert f"perhaps the same as {key}" in decision.reason
    assert "`merge 1 2`" in decision.reason
    assert await world.tickets() == 1


async def test_a_deleted_issue_is_not_proposed(world: World, server: JiraServer) -> None:
    key = file_by_hand(server)
    desk = Desk(world, jira(server))
    await desk.sink.read_backlog()
    server.state.delete(key)

    decision = await desk.look(read=False)

    assert decision.action is Action.OPEN
    assert await rows(world, "likenesses") == []


async def test_an_issue_filed_meanwhile_is_seen_before_a_ticket_opens(world: World, server: JiraServer) -> None:
    desk = Desk(world, jira(server), refresh=timedelta(hours=1))
    await desk.sink.read_backlog()
    async with world.database.write() as connection:
        reads = schema.backlog_reads
        earlier = reads.c.read_at
        old = (await connection.execute(select(earlier))).scalar_one() - timedelta(minutes=2)
        await connection.execute(reads.update().values(read_at=old))
    file_by_hand(server)

    assert (await desk.look()).action is Action.PROPOSE


async def test_what_a_person_calls_another_matter_is_not_proposed_again(world: World, server: JiraServer) -> None:
    key = file_by_hand(server)
    desk = Desk(world, jira(server))
    await desk.look()

    async with world.database.write() as connection:
        assert await part(connection, SPACE, "c1", "anna") == (key, False)
    await desk.sink.sweep()

    assert (await world.ticket()).origin == "created"
    assert len(server.state.issues) == 2


async def test_an_unlinked_issue_loses_our_comment_and_the_cluster_opens_its_own(
    world: World, server: JiraServer
) -> None:
    key = file_by_hand(server)
    desk = Desk(world, jira(server), link=0.4)
    await desk.look()
    assert len(server.state.get(key).comments) == 1

    async with world.database.write() as connection:
        assert await part(connection, SPACE, "c1", "anna") == (key, True)
    await desk.sink.sweep()
    await desk.sink.sweep()

    assert server.state.get(key).comments == []
    ticket = await world.ticket()
    assert (ticket.origin, ticket.state) == ("created", "open")
    assert ticket.issue_key != key
    (verdict,) = await rows(world, "likenesses")
    assert (verdict.issue_key, verdict.verdict, verdict.by) == (key, "distinct", "anna")


async def test_an_erased_quote_leaves_a_linked_issue_too(world: World, server: JiraServer) -> None:
    file_by_hand(server)
    desk = Desk(world, jira(server), link=0.4)
    await desk.look()
    first = sorted(await world.quoted())[0]
    old = world.details[first].text
    assert old in comments(server)[0]

    await world.erase(first)
    await desk.sink.sweep()

    (comment,) = comments(server)
    assert old not in comment
    assert "3 people have said this" in comment


# -- reading ----------------------------------------------------------------------------------------------------------


async def test_only_what_changed_is_read_again_and_no_text_twice(world: World, server: JiraServer) -> None:
    keys = [file_by_hand(server), file_by_hand(server, OTHER)]
    desk = Desk(world, jira(server))
    await desk.sink.read_backlog()
    assert len(desk.meanings.read) == 2
    server.state.age(keys[0], timedelta(hours=2))
    before = len(server.requests)

    await desk.sink.read_backlog()
    assert len(desk.meanings.read) == 2
    searches = [path for _, path in server.requests[before:] if "/search" in path]
    assert len(searches) == 1
    assert "statusCategory" not in searches[0]

    server.state.people_edit(keys[1], summary="Invoices arrive three times")
    await desk.sink.read_backlog()
    assert desk.meanings.read[2:] == ["Invoices arrive three times. Since 2.4 the button is dead."]
    assert {row.issue_key: row.text_hash for row in await rows(world, "backlog")}.keys() == set(keys)


async def test_what_the_index_showed_late_is_read_with_the_next_pass(world: World, server: JiraServer) -> None:
    file_by_hand(server, OTHER)
    desk = Desk(world, jira(server))
    await desk.sink.read_backlog()
    late = file_by_hand(server)
    server.state.lag_searches = 1
    await desk.sink.read_backlog()
    assert len(await rows(world, "backlog")) == 1
    server.state.lag_searches = 0
    server.state.age(late, timedelta(minutes=10))

    await desk.sink.read_backlog()

    assert late in {row.issue_key for row in await rows(world, "backlog")}


async def test_a_new_issue_is_compared_at_once_and_the_others_stay_as_they_were(
    world: World, server: JiraServer
) -> None:
    for number in range(40):
        file_by_hand(server, f"{OTHER} {number}")
    desk = Desk(world, jira(server))
    assert (await desk.look()).action is Action.OPEN
    before = desk.known._loaded[SPACE]
    key = file_by_hand(server)
    await world.cluster("c2", 2)
    await desk.sink.read_backlog()

    decision = await desk.sink.consider(SPACE, "c2")

    assert decision is not None
    assert f"people filed it already: {key}" in decision.reason
    after = desk.known._loaded[SPACE]
    assert (len(before.ids), len(after.ids), before.whole, after.whole) == (40, 41, 40, 40)


async def test_no_text_of_theirs_is_kept(world: World, server: JiraServer) -> None:
    file_by_hand(server, "xylophone-summary", "xylophone-description")

    await Desk(world, jira(server)).look()

    (row,) = await rows(world, "backlog")
    assert b"xylophone" not in repr(tuple(row)).encode()


async def test_a_pass_that_is_cut_short_is_begun_again_and_keeps_what_it_read(world: World, server: JiraServer) -> None:
    for number in range(5):
        file_by_hand(server, f"{OTHER} {number}")
    file_by_hand(server)
    server.state.page_max = 2
    desk = Desk(world, jira(server))
    # the third page's request is the one that fails
    searched = 0
    real = desk.known._tracker.list_issues

    def list_twice(*arguments: Any, **named: Any) -> Any:
        nonlocal searched
        searched += 1
        if searched == 3:
            server.faults.add(Fault("drop_before", method="GET", path="/search"))
        return real(*arguments, **named)

    desk.known._tracker.list_issues = list_twice  # type: ignore[method-assign]
    cut = await desk.look()
    assert cut.rule == "backlog"
    read = len(desk.meanings.read)
    assert 0 < read < 6
    assert await rows(world, "backlog_reads") == []

    desk.known._not_before -= timedelta(hours=1)
    assert (await desk.look()).rule == "match"
    assert len(desk.meanings.read) == 6
    assert len(await rows(world, "backlog")) == 6


async def test_a_pass_over_everything_forgets_what_is_gone(world: World, server: JiraServer) -> None:
    gone, stays = file_by_hand(server), file_by_hand(server, OTHER)
    desk = Desk(world, jira(server), full=timedelta(0))
    await desk.sink.read_backlog()
    server.state.delete(gone)
    await desk.sink.read_backlog()

    assert [row.issue_key for row in await rows(world, "backlog")] == [stays]


async def test_another_project_is_read_anew(world: World, server: JiraServer) -> None:
    file_by_hand(server)
    await Desk(world, jira(server)).sink.read_backlog()
    elsewhere = jira(server, project="OPS")

    decision = await Desk(world, elsewhere).look()

    assert decision.action is Action.OPEN
    assert await rows(world, "backlog") == []


async def test_the_local_tracker_is_read_as_well(world: World) -> None:
    tracker = world.local()
    ref = tracker.create(PERSONS)

    decision = await Desk(world, tracker).look()

    assert decision.action is Action.PROPOSE
    assert ref.key in decision.reason
