"""The sink and its ledger when nothing fails: one issue per cluster, what it says, when it is written again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from threading import Event

import pytest

from pipeline.decide import Action
from pipeline.issue_text import issue_label
from pipeline.settings import Settings
from pipeline.store import ledger
from pipeline.store.ledger import TicketState
from pipeline.trackers.factory import new_tracker
from pipeline.trackers.port import IssueDraft, IssueRef, Tracker
from tests.standins.jira_server import JiraServer
from tests.standins.sink_world import SPACE, TEXTS, World, ended, jira, start

LABEL = issue_label(SPACE, "c1")


@pytest.fixture
def server() -> Iterator[JiraServer]:
    with JiraServer("cloud") as one:
        yield one


@pytest.fixture(params=["local", "cloud", "datacenter"])
def tracker(request: pytest.FixtureRequest, world: World) -> Iterator[Tracker]:
    if request.param == "local":
        yield world.local()
        return
    with JiraServer(request.param) as one:
        yield jira(one)


async def test_an_issue_is_reserved_created_confirmed_once(world: World, tracker: Tracker) -> None:
    sink = world.sink(tracker)

    first = await sink.consider(SPACE, "c1")
    again = await sink.consider(SPACE, "c1")
    await sink.sweep()

    assert first is not None
    assert again is not None
    assert (first.action, again.action, again.rule) == (Action.OPEN, Action.SKIP, "filed")
    (ref,) = tracker.find(LABEL)
    row = await world.ticket()
    assert (row.state, row.issue_id, row.issue_key, row.url) == ("open", ref.id, ref.key, ref.url)
    assert (row.people, row.messages, row.platforms, row.problem) == (4, 4, ["discord"], None)
    assert (row.opened_at, row.updated_at) == (world.now, world.now)
    assert row.comment_id
    assert len(await world.quoted()) == 3
    assert (await world.decision()).rule == "filed"


async def test_summary_and_description_hold_no_sentence_and_no_name(world: World, tracker: Tracker) -> None:
    await world.sink(tracker).consider(SPACE, "c1")

    (ref,) = tracker.find(LABEL)
    state = tracker.read(ref.id)
    assert state is not None
    said = f"{state.summary}\n{state.description}".lower()
    assert "dark mode" in said
    assert "4 people" in said
    for own in ("furious", "support never answered", "old tablet", "paid for this", *TEXTS, "person0", "person3"):
        assert own not in said


async def test_the_decision_and_its_numbers_stand_in_ticket_and_ledger(world: World, tracker: Tracker) -> None:
    decision = await world.sink(tracker).consider(SPACE, "c1")

    assert decision is not None
    assert "4 people within 30 days, 3 needed" in decision.reason
    assert (await world.ticket()).reason == decision.reason
    state = tracker.read(tracker.find(LABEL)[0].id)
    assert state is not None
    assert "4 people within 30 days, 3 needed" in state.description


async def test_growth_and_a_new_platform_update_it_but_not_within_the_gap(world: World, tracker: Tracker) -> None:
    sink = world.sink(tracker)
    await sink.consider(SPACE, "c1")
    (ref,) = tracker.find(LABEL)
    for person in range(4, 8):
        await world.say("c1", f"late{person}", f"person{person}", "dark mode button broken here too")

    held = await sink.consider(SPACE, "c1")
    assert held is not None
    assert (held.action, held.rule) == (Action.SKIP, "gap")
    assert "4 people have said" in _description(tracker, ref.id)

    await world.let_pass(timedelta(hours=25))
    await sink.sweep()  # nothing changed since: time alone made it due
    assert "8 people have said" in _description(tracker, ref.id)
    row = await world.ticket()
    assert (row.people, row.messages, row.updated_at) == (8, 8, world.now)

    await world.say("c1", "t1", "someone", "dark mode button broken", platform="telegram")
    await world.let_pass(timedelta(hours=25))
    moved = await sink.consider(SPACE, "c1")
    assert moved is not None
    assert (moved.action, moved.rule) == (Action.UPDATE, "platform")
    assert "discord, telegram" in _description(tracker, ref.id)
    assert len(tracker.find(LABEL)) == 1


async def test_less_than_twice_the_people_updates_nothing(world: World, tracker: Tracker) -> None:
    sink = world.sink(tracker)
    await sink.consider(SPACE, "c1")
    for person in range(4, 7):
        await world.say("c1", f"late{person}", f"person{person}", "dark mode button broken here too")
    await world.let_pass(timedelta(hours=25))

    decision = await sink.consider(SPACE, "c1")

    assert decision is not None
    assert decision.rule == "filed"
    assert (await world.ticket()).people == 4


async def test_peoples_edits_and_labels_stay(world: World, server: JiraServer) -> None:
    sink = world.sink(jira(server))
    await sink.consider(SPACE, "c1")
    (issue,) = server.state.issues.values()
    issue.fields["labels"].append("checkout")
    before = issue.fields["description"]
    server.state.people_edit(issue.id, summary="Dark mode: sprint 12", description=f"Seen by QA.\n{before}\nMax: mine.")
    for person in range(4, 9):
        await world.say("c1", f"late{person}", f"person{person}", "dark mode button broken here too")
    await world.let_pass(timedelta(hours=25))

    await sink.consider(SPACE, "c1")

    text = issue.fields["description"]
    assert text.startswith("Seen by QA.")
    assert text.rstrip().endswith("Max: mine.")
    assert "9 people have said" in text
    assert issue.fields["summary"] == "Dark mode: sprint 12"
    assert "checkout" in issue.fields["labels"]
    assert LABEL in issue.fields["labels"]


async def test_an_issue_that_people_deleted_is_not_created_anew_and_stops_nothing(
    world: World, server: JiraServer
) -> None:
    sink = world.sink(jira(server))
    await sink.consider(SPACE, "c1")
    (issue,) = list(server.state.issues.values())
    server.state.delete(issue.id)
    for person in range(4, 9):
        await world.say("c1", f"late{person}", f"person{person}", "dark mode button broken here too")
    await world.let_pass(timedelta(hours=25))

    await sink.consider(SPACE, "c1")
    await sink.sweep()

    assert not server.state.issues
    assert "no longer exists" in (await world.ticket()).problem
    assert server.state.created[LABEL] == 1


async def test_two_sinks_at_once_create_one_issue_each(world: World, tracker: Tracker) -> None:
    for number in range(2, 6):
        await world.cluster(f"c{number}", number)
    sinks = [world.sink(tracker) for _ in range(2)]

    for _ in range(2):
        await asyncio.gather(*(sink.consider(SPACE, f"c{n}") for sink in sinks for n in range(1, 6)))
        await asyncio.gather(*(sink.sweep() for sink in sinks))

    for number in range(1, 6):
        assert len(tracker.find(issue_label(SPACE, f"c{number}"))) == 1
        row = await world.ticket(f"c{number}")
        assert row.state == "open"
        assert row.comment_id


async def test_a_create_that_takes_its_time_is_not_overtaken(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, begun, go = world.local(), Event(), Event()
    create = slow.create

    def wait_and_create(draft: IssueDraft) -> IssueRef:
        begun.set()
        go.wait(10)
        return create(draft)

    monkeypatch.setattr(slow, "create", wait_and_create)
    filing = asyncio.create_task(world.sink(slow).consider(SPACE, "c1"))
    await asyncio.to_thread(begun.wait, 10)
    other = world.sink(world.local())
    for _ in range(2):
        await other.consider(SPACE, "c1")
        await other.sweep()
    go.set()
    await filing

    assert len(slow.find(LABEL)) == 1


@pytest.mark.parametrize("kind", ["local", "jira"])
async def test_two_processes_create_one_issue_each(world: World, server: JiraServer, tmp_path: Path, kind: str) -> None:
    names = ["c1", *(f"c{number}" for number in range(2, 9))]
    for number, name in enumerate(names[1:], 2):
        await world.cluster(name, number)
    world.local()
    go = tmp_path / "go"
    reached = server if kind == "jira" else None
    workers = [start(world, names, reached, go=go) for _ in range(2)]
    async with asyncio.timeout(60):
        while len(list(tmp_path.glob("go.*"))) < 2:
            await asyncio.sleep(0.01)
    go.touch()

    codes = [await ended(worker) for worker in workers]

    assert codes == [0, 0]
    tracker: Tracker = jira(server) if kind == "jira" else world.local()
    for name in names:
        assert len(tracker.find(issue_label(SPACE, name))) == 1
        assert (await world.ticket(name)).state == "open"
    assert all(len(issue.comments) == 1 for issue in server.state.issues.values())


async def test_the_factorys_trackers_file_under_the_ledgers_label(
    world: World, server: JiraServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    login = {"url": server.url, "email": "bot@example.com", "token": "s3cr3t-Token-0123456789", "project": "COM"}
    settings = Settings.load(tracker={"kind": "jira", "jira": login}, data_dir=tmp_path)

    await world.sink(new_tracker(settings)).consider(SPACE, "c1")

    assert server.state.created[(await world.ticket()).label] == 1


async def test_a_worker_that_comes_late_changes_nothing_of_an_open_ticket(world: World) -> None:
    await world.sink(world.local()).consider(SPACE, "c1")
    before = await world.ticket()
    soon = world.now + timedelta(days=999)

    async with world.database.write() as connection:
        await ledger.set_state(connection, SPACE, "c1", TicketState.UNCERTAIN, "late", soon)
        again = await ledger.confirm(connection, SPACE, "c1", IssueRef("9", "GS-9", "u"), None, world.now)
        claimed = await ledger.claim_comment(connection, SPACE, "c1", world.now, soon)

    assert (again, claimed) == (False, False)
    assert await world.ticket() == before


async def test_the_first_comment_has_one_writer_until_the_claim_runs_out(world: World) -> None:
    await world.sink(world.local()).consider(SPACE, "c1")
    first, later = world.now, world.now + timedelta(seconds=60)
    async with world.database.write() as connection:
        await connection.exec_driver_sql("UPDATE tickets SET comment_id = NULL")
        claims = [
            await ledger.claim_comment(connection, SPACE, "c1", first, later),
            await ledger.claim_comment(connection, SPACE, "c1", first, later),
            await ledger.claim_comment(connection, SPACE, "c1", later, later + timedelta(seconds=60)),
        ]
    assert claims == [True, False, True]


def _description(tracker: Tracker, issue_id: str) -> str:
    state = tracker.read(issue_id)
    assert state is not None
    return state.description
