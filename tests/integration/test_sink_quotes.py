"""The quotes comment follows the messages that it quotes, names nobody, and is people's once they delete it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pipeline.records import MessageRef
from tests.standins.jira_faults import Fault
from tests.standins.jira_server import JiraServer
from tests.standins.sink_world import SPACE, TEXTS, World, comments, jira


def writes(server: JiraServer) -> int:
    return sum(1 for method, path in server.requests if method != "GET" and "/comment" in path)


def comment(server: JiraServer) -> str:
    """Return the one comment as people see it: without escapes."""
    (body,) = comments(server)
    return body.replace("\\", "")


async def test_it_is_written_once(world: World, server: JiraServer) -> None:
    sink = world.sink(jira(server))
    await sink.consider(SPACE, "c1")
    for _ in range(2):
        await sink.consider(SPACE, "c1")
        await sink.sweep()

    assert writes(server) == 1
    quoted = await world.quoted()
    assert len(quoted) == 3
    for message_id in quoted:
        assert f"https://chat.test/{message_id}" in comment(server)


async def test_an_edited_message_is_quoted_anew(world: World, server: JiraServer) -> None:
    sink = world.sink(jira(server))
    await sink.consider(SPACE, "c1")
    first = sorted(await world.quoted())[0]
    old = world.details[first].text
    assert old in comment(server)

    await world.edit(first, "I take it back, the dark mode button works")
    await sink.sweep()
    await sink.sweep()

    assert old not in comment(server)
    assert writes(server) == 2


async def test_a_deleted_message_is_quoted_no_more_and_another_takes_its_place(
    world: World, server: JiraServer
) -> None:
    sink = world.sink(jira(server))
    await sink.consider(SPACE, "c1")
    first = sorted(await world.quoted())[0]
    old = world.details[first].text

    await world.erase(first)
    await sink.sweep()

    assert old not in comment(server)
    assert first not in comment(server)
    assert len(await world.quoted()) == 3


async def test_what_turns_out_to_be_a_raid_is_quoted_no_more(world: World, server: JiraServer) -> None:
    sink = world.sink(jira(server))
    await sink.consider(SPACE, "c1")
    first = sorted(await world.quoted())[0]

    await world.set_aside(first)
    await sink.sweep()

    assert first not in comment(server)


async def test_it_is_removed_when_nothing_is_left_to_quote(world: World, server: JiraServer) -> None:
    sink = world.sink(jira(server))
    await sink.consider(SPACE, "c1")

    for number in range(4):
        await world.erase(f"c1-m{number}")
        await sink.sweep()
    await sink.sweep()

    assert not comments(server)
    assert await world.quoted() == set()
    assert len(server.state.issues) == 1
    assert await sink.consider(SPACE, "c1") is None


async def test_a_comment_that_people_deleted_stays_deleted(world: World, server: JiraServer) -> None:
    sink = world.sink(jira(server))
    await sink.consider(SPACE, "c1")
    (issue,) = server.state.issues.values()
    issue.comments.clear()

    await world.erase(sorted(await world.quoted())[0])
    await sink.sweep()
    for person in range(4, 12):
        await world.say("c1", f"late{person}", f"person{person}", "dark mode button broken here too")
    await world.let_pass(timedelta(hours=25))
    await sink.consider(SPACE, "c1")
    await sink.sweep()

    assert not comments(server)
    assert (await world.ticket()).comment_id == ""
    assert "11 people" in issue.fields["description"]


async def test_a_comment_whose_id_was_lost_is_taken_up_again(world: World, server: JiraServer) -> None:
    server.faults.add(Fault("drop_after", path="/comment"))
    sink = world.sink(jira(server))
    with pytest.raises(Exception, match="could not change the comment"):
        await sink.consider(SPACE, "c1")
    assert (await world.ticket()).comment_id is None

    await sink.sweep()

    (issue,) = server.state.issues.values()
    assert [c["id"] for c in issue.comments] == [(await world.ticket()).comment_id]


async def test_an_issue_without_its_comment_gets_it_from_the_sweep_alone(world: World, server: JiraServer) -> None:
    sink = world.sink(jira(server))
    await sink.consider(SPACE, "c1")
    (issue,) = server.state.issues.values()
    issue.comments.clear()
    async with world.database.write() as connection:  # as a process that died before it left them
        await connection.exec_driver_sql("UPDATE tickets SET comment_id = NULL")
        await connection.exec_driver_sql("DELETE FROM quotes")

    await sink.sweep()

    assert len(comments(server)) == 1


async def test_a_deleted_issue_takes_no_comment_and_stops_nothing(world: World, server: JiraServer) -> None:
    sink = world.sink(jira(server))
    await sink.consider(SPACE, "c1")
    server.state.delete(next(iter(server.state.issues)))
    await world.erase(sorted(await world.quoted())[0])

    await sink.sweep()
    await sink.sweep()

    assert (await world.ticket()).comment_id == ""


async def test_it_names_nobody(world: World, server: JiraServer) -> None:
    await world.cluster("c2", 2, people=0)
    for person, name in enumerate(("<@81234>", "@jane.doe", "u/some-body", "@max:matrix.org")):
        text = f"{name} said the dark mode button is broken, number {'one two three four'.split()[person]}"
        await world.say("c2", f"x{person}", f"secretname{person}", text)
    await world.let_pass(timedelta(hours=2))

    await world.sink(jira(server)).consider(SPACE, "c2")

    body = comment(server)
    for name in ("81234", "jane", "some-body", "max", "matrix.org", "secretname", "discord/"):
        assert name not in body


async def test_echoes_are_people_without_words(world: World, server: JiraServer) -> None:
    for person in range(10, 14):
        follows = MessageRef("discord", "c1-m0")
        await world.say("c1", f"echo{person}", f"person{person}", "same here!!", follows=follows)

    await world.sink(jira(server)).consider(SPACE, "c1")

    assert (await world.ticket()).people == 8
    assert "same here" not in comment(server)
    assert any(text in comment(server) for text in TEXTS)
