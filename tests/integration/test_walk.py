"""From archive lines to tickets: all three stages as real processes, on a real broker and a real database.

One walk on each kind of database runs for the whole file; each test has a space of its own in it. The last test ends
it.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from typing import Any

import pytest

from connectors.publisher import Publisher
from pipeline.broker import EmbeddedBroker
from pipeline.records import (
    Command,
    CommandName,
)
from tests.walk import ARCHIVE, REDELIVERED, Walk, check_books, running_walk

pytestmark = pytest.mark.timeout(300)

START = datetime(2026, 6, 1, 8, tzinfo=UTC)
EVENTS = 560
"""Of the archive: enough for a first ticket."""
NO_CONCERN = {None, "chatter", "question", "praise", "oneoff", "spam"}
SETTINGS = {
    # A few dozen messages are to be clustered, and looked at again, within seconds.
    "CLUSTERS__FIRST_FIT": "20",
    "CLUSTERS__FIT_MIN_NEW": "20",
    "CLUSTERS__FIT_GROWTH": "0.05",
    "CLUSTERS__MIN_CLUSTER_SIZE": "4",
    "CLUSTERS__ALL_KINDS": "true",
    "POLICY__MIN_PEOPLE": "3",
    "SPACE": "acme",
}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def walk(
    request: pytest.FixtureRequest, broker: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Walk]:
    """The stages, running."""
    server = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    yield from running_walk(broker, tmp_path_factory.mktemp("walk"), SETTINGS, server)


# -- what people say ----------------------------------------------------------------------------------------------


def concerns(labels: int = 3, each: int = 12) -> list[list[str]]:
    """Return texts of the shipped archive, by concern, most frequent first."""
    by_label: dict[str, list[str]] = {}
    with ARCHIVE.open(encoding="utf-8") as lines:
        for line in map(json.loads, lines):
            if line.get("text") and line.get("label") not in NO_CONCERN and not line.get("reply_to"):
                by_label.setdefault(line["label"], []).append(line["text"])
    frequent = sorted(by_label.values(), key=len, reverse=True)[:labels]
    return [texts[:each] for texts in frequent]


def said(texts: list[list[str]], mark: str, start: datetime = START) -> list[dict[str, Any]]:
    """Return archive lines: every text by an author of its own, with `mark` and its number in it."""
    numbers = count()
    return [
        {
            "id": f"{mark}{(number := next(numbers))}",
            "source": "forum",
            "channel": "talk",
            "author": f"{mark}-author{number}",
            "time": (start + timedelta(minutes=20 * number)).isoformat(),
            "text": f"{text} {mark}{number}x",
        }
        for row in zip(*texts, strict=False)
        for text in row
    ]


def biggest_cluster(walk: Walk, space: str) -> str | None:
    """Return the live cluster with most members."""
    found = walk.rows(
        "SELECT cluster_id FROM clusters WHERE space = ? AND merged_into IS NULL AND count >= 4 ORDER BY count DESC",
        space,
    )
    return str(found[0]["cluster_id"]) if found else None


def send(walk: Walk, space: str, name: CommandName, cluster_id: str, value: str | None = None, **more: str) -> Command:
    """Publish a person's decision through the topic."""
    command = Command(
        id=more.get("id", uuid.uuid4().hex),
        space=space,
        name=name,
        cluster_id=cluster_id,
        by="ann",
        time=datetime.now(UTC),
        value=value,
    )

    async def main() -> None:
        async with Publisher(walk.bootstrap, walk.prefix) as publisher:
            await publisher.send_command(command)

    asyncio.run(main())
    return command


def cluster(walk: Walk, space: str, cluster_id: str) -> Any:
    return walk.rows("SELECT * FROM clusters WHERE space = ? AND cluster_id = ?", space, cluster_id)[0]


def places_of(walk: Walk, words: str) -> list[str]:
    """Return every table and column of the database that holds `words`."""
    found = []
    for table in walk.tables():
        for row in walk.rows(f'SELECT * FROM "{table}"'):
            found += [f"{table}.{column}" for column in row.keys() if words in str(row[column])]
    return sorted(set(found))


def comment(walk: Walk, issue: str) -> str:
    return "".join(row["body"] for row in walk.rows("SELECT body FROM local_comments WHERE issue = ?", int(issue)))


def opened(walk: Walk, space: str, cluster_id: str) -> str | None:
    """Return the issue that a cluster's ticket is, once its comment quotes someone."""
    rows = walk.rows(
        "SELECT issue_id FROM tickets WHERE space = ? AND cluster_id = ? AND state = 'open' AND comment_id > ''",
        space,
        cluster_id,
    )
    return str(rows[0]["issue_id"]) if rows else None


# -- the archive --------------------------------------------------------------------------------------------------


def test_every_event_of_the_archive_is_accounted_for_and_tickets_open(walk: Walk) -> None:
    path = walk.folder / "first.jsonl"
    with ARCHIVE.open(encoding="utf-8") as lines:
        path.write_text("".join(islice(lines, EVENTS)), encoding="utf-8")
    tally = walk.publish(path, "archive")
    walk.until(lambda: walk.taken("archive").total() >= EVENTS, "all events taken", 200)
    walk.settle()
    taken = walk.taken("archive")
    del taken[REDELIVERED]
    expected = {kind.removeprefix("community.").removesuffix(".v1"): n for kind, n in tally.published.items()}
    assert dict(taken) == expected
    assert taken.total() + len(walk.dead()) == walk.published() == EVENTS
    books = check_books(walk, "archive")
    assert books["messages"] == expected["message.created"]
    assert books["tickets"] >= 1

    tables = ("messages", "clusters", "tickets", "reactions", "local_issues")
    before = {table: walk.one(f"SELECT count(*) FROM {table}") for table in tables}
    walk.publish(path, "archive")
    walk.until(lambda: walk.taken("archive").total() >= 2 * EVENTS, "all events taken again")
    walk.settle()
    assert {table: walk.one(f"SELECT count(*) FROM {table}") for table in tables} == before
    again = walk.taken("archive")
    del again[REDELIVERED]
    assert {kind: n for kind, n in again.items() if kind != "duplicate"} == dict(taken)
    assert again.total() == 2 * EVENTS
    assert check_books(walk, "archive")["tickets"] == books["tickets"]


# -- people's decisions -------------------------------------------------------------------------------------------


def test_commands_act_on_their_cluster_and_are_taken_back(walk: Walk) -> None:
    walk.publish(said(concerns(), "cmd"), "commands")
    mine = walk.until(lambda: biggest_cluster(walk, "commands"), "a cluster", 90)
    walk.settle()
    mine = biggest_cluster(walk, "commands") or ""
    others = "SELECT muted, promoted, tags FROM clusters WHERE space = 'commands' AND cluster_id <> ?"
    before = [tuple(row) for row in walk.rows(others, mine)]
    muted = send(walk, "commands", CommandName.MUTE, mine)
    send(walk, "commands", CommandName.TAG, mine, "roadmap")
    walk.until(lambda: cluster(walk, "commands", mine)["tags"] == '["roadmap"]', "tagged")
    assert cluster(walk, "commands", mine)["muted"] == 1
    rule = "SELECT rule FROM decisions WHERE space = 'commands' AND cluster_id = ?"
    walk.until(lambda: walk.one(rule, mine) == "muted", "decided: muted")
    send(walk, "commands", CommandName.UNDO, mine, muted.id)
    walk.until(lambda: cluster(walk, "commands", mine)["muted"] == 0, "no longer muted")
    assert cluster(walk, "commands", mine)["tags"] == '["roadmap"]'
    send(walk, "commands", CommandName.PROMOTE, mine)
    walk.until(lambda: cluster(walk, "commands", mine)["promoted"] == 1, "promoted")
    walk.until(lambda: opened(walk, "commands", mine), "its ticket is open")
    assert [tuple(row) for row in walk.rows(others, mine)] == before
    check_books(walk, "commands")


# -- edits, deletions, erasure ------------------------------------------------------------------------------------


def test_what_is_edited_deleted_or_erased_is_gone_everywhere(walk: Walk) -> None:
    lines = said(concerns(), "gone")
    walk.publish(lines, "care")
    walk.until(lambda: biggest_cluster(walk, "care"), "a cluster", 90)
    walk.settle()
    mine = biggest_cluster(walk, "care") or ""
    send(walk, "care", CommandName.PROMOTE, mine)
    issue = walk.until(lambda: opened(walk, "care", mine), "its ticket quotes people")
    quoted = [line for line in lines if f"{line['id']}x" in comment(walk, issue)]
    assert len(quoted) == 3

    def word(line: dict[str, Any]) -> str:
        return f"{line['id']}x"

    def not_quoted(line: dict[str, Any], what: str) -> None:
        since = time.monotonic()
        walk.until(lambda: word(line) not in comment(walk, issue), what, 20)
        assert time.monotonic() - since <= 10.0

    later = (START + timedelta(days=3)).isoformat()
    deleted, edited, erased = quoted
    message = "SELECT text, author, status FROM messages WHERE space = 'care' AND message_id = ?"

    walk.publish([{"type": "delete", "id": deleted["id"], "source": "forum", "time": later}], "care")
    walk.until(lambda: tuple(walk.rows(message, deleted["id"])[0]) == ("", "", "erased"), "deleted", 15)
    not_quoted(deleted, "the deleted message is not quoted")
    assert places_of(walk, word(deleted)) == []
    assert walk.one("SELECT count(*) FROM vectors WHERE message_id = ?", deleted["id"]) == 0

    new = f"{edited['text'].rpartition(' ')[0]} changedword"
    walk.publish([{"type": "edit", "id": edited["id"], "source": "forum", "time": later, "text": new}], "care")
    walk.until(lambda: walk.rows(message, edited["id"])[0]["text"] == new, "edited", 15)
    not_quoted(edited, "the edited message's old words are not quoted")
    assert places_of(walk, word(edited)) == []

    walk.publish([{"type": "erase_author", "author": erased["author"], "source": "forum", "time": later}], "care")
    walk.until(lambda: tuple(walk.rows(message, erased["id"])[0]) == ("", "", "erased"), "erased", 15)
    not_quoted(erased, "the erased author is not quoted")
    assert places_of(walk, word(erased)) == []
    assert places_of(walk, erased["author"]) == ["erased_authors.author", "journal.author"]

    # What the platform delivers again stays gone.
    walk.publish(lines, "care")
    walk.until(lambda: walk.taken("care")["duplicate"] >= len(lines), "the repeats are taken")
    walk.settle()
    assert places_of(walk, word(deleted)) == places_of(walk, word(edited)) == places_of(walk, word(erased)) == []
    assert check_books(walk, "care")["messages"] == len(lines)


# -- the end ------------------------------------------------------------------------------------------------------


def test_at_the_end_nothing_lags_and_sigterm_ends_every_stage(walk: Walk) -> None:
    walk.until(walk.quiet, "everything is done")
    assert walk.lags() == {"embed": 0, "cluster": 0, "file": 0}
    since = time.monotonic()
    assert walk.stop() == {"embed": 0, "cluster": 0, "file": 0}
    assert time.monotonic() - since < 20.0
