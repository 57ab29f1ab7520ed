"""The dry run: what it files, when, and what it makes of archives that are strange."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from pipeline.dry_run import DryRun, dry_run, for_all_kinds
from pipeline.errors import FatalError
from pipeline.settings import ClusterSettings, PolicySettings, Settings
from pipeline.trial_files import compare, read_tickets, write_files
from tests.standins.readers import word_reader

TOPICS = ("sync", "login", "export", "battery", "colour", "search")


def settings_of(**policy: Any) -> Settings:
    return for_all_kinds(
        Settings(
            space="acme",
            clusters=ClusterSettings(first_fit=40, fit_min_new=20, fit_growth=0.2),
            policy=PolicySettings(min_people=6, **policy),
        )
    )


def written(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def run(path: Path, settings: Settings | None = None) -> DryRun:
    return asyncio.run(dry_run(settings or settings_of(), path, word_reader()))


def word(rng: random.Random) -> str:
    """Return a word that nobody else uses."""
    return "".join(rng.choices("abcdefghiklmnoprstuvz", k=9))


def archive(count: int = 300, seed: int = 0) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    return [
        {"id": f"m{number}", "text": f"{rng.choice(TOPICS)} does not work on my machine {word(rng)}"}
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> DryRun:
    return run(written(tmp_path_factory.mktemp("plain") / "a.jsonl", archive()))


def test_each_topic_gets_one_ticket_of_its_own(plain: DryRun) -> None:
    tickets = plain.tried.tickets
    by_id = {row["id"]: row["text"].split()[0] for row in archive()}
    topics = [Counter(by_id[ref.message_id] for ref in one.members) for one in tickets]
    assert all(len(counts) == 1 for counts in topics)
    assert sorted(next(iter(counts)) for counts in topics) == sorted(TOPICS)
    assert {one.merged_into for one in tickets} == {None}
    ends = {(by_id[one.ref.message_id], one.cluster_id) for one in plain.tried.assignments if one.cluster_id}
    assert {cluster_id for _, cluster_id in ends} == {one.cluster_id for one in tickets}
    assert len(ends) == len(TOPICS)


def test_every_message_has_one_line_in_order_of_arrival(plain: DryRun) -> None:
    assert [one.ref.message_id for one in plain.tried.assignments] == [row["id"] for row in archive()]


def test_a_ticket_opens_at_the_message_that_was_missing(tmp_path: Path) -> None:
    """Six topics that are sure; one speaks with five authors, and the sixth opens its ticket at once."""
    rows = archive()
    authors = iter(range(10_000))
    for row in rows:
        if row["text"].startswith("sync"):
            row["author"] = f"author{next(authors) % 5}"
    rows += [{"id": "last", "text": "sync does not work for me either", "author": "another"}]
    rows += [{"id": f"after{n}", "text": f"sync does not work {n}", "author": f"late{n}"} for n in range(5)]
    tried = run(written(tmp_path / "a.jsonl", rows)).tried
    ticket = next(one for one in tried.tickets if "sync" in one.summary.lower())
    assert ticket.opened_at_message is not None
    assert (ticket.opened_at_message.message_id, ticket.opened_after) == ("last", len(archive()) + 1)
    assert (ticket.authors, ticket.messages) == (6, len(ticket.members))
    assert "6 people within 30 days, 6 needed" in ticket.reason
    assert len(ticket.quotes) == 3


def test_the_settle_time_is_waited_for_when_the_archive_has_times(tmp_path: Path) -> None:
    rows = [row | {"time": 1_700_000_000 + 10 * number} for number, row in enumerate(archive())]
    path = written(tmp_path / "a.jsonl", rows)
    eager, patient = run(path, settings_of(settle=0)).tried, run(path, settings_of(settle=2_000)).tried
    assert len(eager.tickets) == len(patient.tickets) == len(TOPICS)
    assert min(one.opened_at.timestamp() for one in eager.tickets) < 1_700_001_500
    # the first of each topic is among the first dozens of messages
    assert all(0 <= one.opened_at.timestamp() - 1_700_002_000 < 400 for one in patient.tickets)
    assert eager.assignments == patient.assignments
    # without a message after, time alone brings it
    short = run(written(tmp_path / "b.jsonl", rows[:150]), settings_of(settle=3_600)).tried
    assert len(short.tickets) >= 4
    assert {one.opened_after for one in short.tickets} == {150}


@examples(max_examples=6, deadline=None)
@given(label=st.one_of(st.none(), st.text(max_size=5), st.integers()))
def test_labels_are_never_looked_at(plain: DryRun, tmp_path_factory: pytest.TempPathFactory, label: object) -> None:
    rows = [row | {"label": label} for row in archive()]
    again = run(written(tmp_path_factory.mktemp("labels") / "a.jsonl", rows))
    assert again.tried == plain.tried


def test_questions_make_no_tickets_unless_asked_for(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", archive())
    none = settings_of()
    none = none.model_copy(update={"policy": none.policy.model_copy(update={"kinds": ()})})
    result = run(path, none)
    assert result.tried.tickets == []
    assert sum(one.cluster_id is not None for one in result.tried.assignments) > 200


# -- files --------------------------------------------------------------------------------------------------------


def test_the_files_hold_what_they_promise(plain: DryRun, tmp_path: Path) -> None:
    write_files(tmp_path / "out", plain.tried)
    rows = [json.loads(line) for line in (tmp_path / "out" / "tickets.jsonl").read_text().splitlines()]
    wanted = "cluster_id kind summary opened_at opened_at_message messages authors platforms reason quotes".split()
    assert all(list(row)[: len(wanted)] == wanted for row in rows)
    assert [row["messages"] for row in rows] == [len(row["message_ids"]) for row in rows]
    places = [json.loads(line) for line in (tmp_path / "out" / "assignments.jsonl").read_text().splitlines()]
    assert [list(row)[:3] for row in places] == [["message_id", "cluster_id", "kind"]] * 300
    assert {row["cluster_id"] for row in rows} <= {row["cluster_id"] for row in places}


def test_a_comparison_pairs_by_messages_and_not_by_id(plain: DryRun, tmp_path: Path) -> None:
    write_files(tmp_path / "before", plain.tried)
    rows = [row for row in archive() if not row["text"].startswith("colour")]
    new = [{"id": f"n{n}", "text": f"printer does not print {word(random.Random(n))}"} for n in range(60)]
    rows = [row for pair in itertools.zip_longest(rows, new) for row in pair if row is not None]
    write_files(tmp_path / "now", run(written(tmp_path / "b.jsonl", rows)).tried)
    for name in ("assignments.jsonl", "tickets.jsonl"):
        file = tmp_path / "now" / name
        file.write_text(file.read_text().replace('"cluster_id": "', '"cluster_id": "other-'))
    found = compare(read_tickets(tmp_path / "before"), read_tickets(tmp_path / "now"))
    colour = {row["id"] for row in archive() if row["text"].startswith("colour")}
    assert [{name for _, name in one.ids} <= colour for one in found.gone] == [True]
    assert [{name[0] for _, name in one.ids} for one in found.new] == [{"n"}]
    assert len(found.same) == 5
    assert all(len(was.ids & now.ids) > 0.9 * len(was.ids | now.ids) for was, now in found.same)
    assert all(was.cluster_id != now.cluster_id for was, now in found.same)
    assert (found.moved <= 3, found.messages) == (True, len(rows))
    same = compare(read_tickets(tmp_path / "before"), read_tickets(tmp_path / "before"))
    assert (same.gone, same.new, same.moved) == ([], [], 0)


def test_a_folder_without_a_dry_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(FatalError, match=r"assignments\.jsonl is missing: name the folder"):
        read_tickets(tmp_path)


# -- bad input ----------------------------------------------------------------------------------------------------


def test_an_empty_archive_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("")
    with pytest.raises(FatalError, match=r"a\.jsonl holds no message"):
        run(tmp_path / "a.jsonl")
    with pytest.raises(FatalError, match=r"holds no message.*:1: no text"):
        run(written(tmp_path / "b.jsonl", [{"id": "1"}]))


def test_one_message_waits_in_the_pool(tmp_path: Path) -> None:
    tried = run(written(tmp_path / "a.jsonl", archive(1))).tried
    assert (tried.tickets, [one.status for one in tried.assignments]) == ([], ["pool"])


def test_one_author_makes_no_ticket(tmp_path: Path) -> None:
    tried = run(written(tmp_path / "a.jsonl", [row | {"author": "me"} for row in archive()])).tried
    assert tried.tickets == []
    assert sum(one.cluster_id is not None for one in tried.assignments) > 200


def test_identical_texts_are_one_raid_or_one_cluster(tmp_path: Path) -> None:
    rows = [
        {"id": str(n), "text": "login shows a blank page after update", "time": 1_700_000_000 + n} for n in range(200)
    ]
    raid = run(written(tmp_path / "a.jsonl", rows)).tried
    assert {(one.status, one.reason) for one in raid.assignments} == {("aside", "raid")}
    slow = [row | {"time": 1_700_000_000 + 900 * number} for number, row in enumerate(rows)]
    one = run(written(tmp_path / "b.jsonl", slow)).tried
    # five at most count of those who only repeat one text
    assert one.tickets == []
    assert len({place.cluster_id for place in one.assignments}) == 1


def test_noise_makes_no_ticket(tmp_path: Path) -> None:
    rng = random.Random(1)
    rows = [{"id": str(n), "text": f"{word(rng)} {word(rng)} {word(rng)}"} for n in range(400)]
    assert run(written(tmp_path / "a.jsonl", rows)).tried.tickets == []


def test_a_text_too_long_is_reported_and_the_rest_goes_on(tmp_path: Path) -> None:
    rows = [*archive(), {"id": "long", "text": "word " * 100_000}, {"id": "late", "text": "sync is late"}]
    found = run(written(tmp_path / "a.jsonl", rows))
    assert found.reading.refusals == 1
    where, reason = found.reading.refused[0]
    assert where.endswith(":301")
    assert "text too long: 500000 characters" in reason
    assert found.tried.assignments[-1].ref.message_id == "late"
    assert len(found.tried.tickets) == len(TOPICS)


def test_time_that_runs_backwards_is_taken_in_the_order_of_the_file(tmp_path: Path) -> None:
    rows = [row | {"time": 1_700_000_000 - 3_600 * number} for number, row in enumerate(archive())]
    found = run(written(tmp_path / "a.jsonl", rows))
    assert found.reading.late == 299
    assert [one.ref.message_id for one in found.tried.assignments] == [row["id"] for row in rows]
    assert len(found.tried.assignments) == 300


def test_right_to_left_and_emoji_only_texts(tmp_path: Path) -> None:
    rows = archive()
    rows += [{"id": f"e{n}", "text": "😀🔥" * (1 + n % 5)} for n in range(40)]
    rows += [{"id": f"r{n}", "text": f"المزامنة لا تعمل على جهازي رقم {n} منذ التحديث"} for n in range(40)]
    tried = run(written(tmp_path / "a.jsonl", rows)).tried
    assert len(tried.assignments) == 380
    foreign = [one for one in tried.assignments if one.ref.message_id.startswith("r")]
    assert {(one.status, one.reason) for one in foreign} == {("aside", "language ar")}
    assert sum(bool(set(ref.message_id[0] for ref in one.members) & {"r"}) for one in tried.tickets) == 0
