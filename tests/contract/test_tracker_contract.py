"""One suite for every tracker: the local one, and Jira Cloud and Data Center over real HTTP."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import pytest

from pipeline.errors import RetriableError, SkippableError
from pipeline.trackers import wiki
from pipeline.trackers.jira import JiraTracker
from pipeline.trackers.local import LocalTracker, issues
from pipeline.trackers.port import IssueDraft
from tests.standins.jira_server import JiraServer
from tests.standins.jira_spec import JiraSpec, spec_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.trackers.port import Tracker
    from tests.standins.jira_state import Flavour
    from tests.standins.postgres import PostgresCluster

DRAFT = IssueDraft(
    summary="Login loops after update",
    description="## Why now\n- 12 people on 2 platforms\n- since 2026-11-20\nby the rule for complaints",
    kind="complaint",
    label="c0ffee123456",
    labels=("login", "release 2.4"),
)
HOSTILE = (
    "{code}rm -rf{code} !http://x/y.png! [link|http://x] [~admin] @all |a|b| *b* _i_ {{m}} \\\\ C:\\x "
    "&lt; 100% ok? h1. no"
)


class Bench(Protocol):
    """A tracker, and what people do and see there."""

    @property
    def tracker(self) -> Tracker:
        """Return the tracker."""

    def people_write(self, issue_id: str, text: str) -> None:
        """Add a person's text below what stands there."""

    def comments(self, issue_id: str) -> list[str]:
        """Return the comments as a person reads them."""

    def delete_comment(self, issue_id: str, comment_id: str) -> None:
        """Let a person delete a comment."""

    def delete(self, issue_id: str) -> None:
        """Let a person delete the issue."""

    def finish(self, issue_id: str) -> None:
        """Let a person close the issue as done."""

    def age(self, issue_id: str, span: timedelta) -> None:
        """Let the issue's last change be so long ago."""


@dataclass
class LocalBench:
    tracker: LocalTracker

    def people_write(self, issue_id: str, text: str) -> None:
        self.tracker.set_notes(issue_id, text)

    def comments(self, issue_id: str) -> list[str]:
        text = self.tracker.comment(issue_id)
        return [] if text is None else [text]

    def delete_comment(self, issue_id: str, comment_id: str) -> None:
        self.tracker.put_comment(issue_id, comment_id, "")

    def delete(self, issue_id: str) -> None:
        self.tracker.delete(issue_id)

    def finish(self, issue_id: str) -> None:
        self.tracker.set_status(issue_id, "done")

    def age(self, issue_id: str, span: timedelta) -> None:
        then = (datetime.now(UTC) - span).isoformat()
        aged = issues.update().where(issues.c.number == int(issue_id)).values(updated_at=then)
        self.tracker._engine.write(lambda connection: connection.execute(aged))


@dataclass
class JiraBench:
    tracker: JiraTracker
    server: JiraServer

    def people_write(self, issue_id: str, text: str) -> None:
        stands = self.server.state.get(issue_id).fields["description"]
        self.server.state.people_edit(issue_id, description=f"{stands}\n{text}")

    def comments(self, issue_id: str) -> list[str]:
        return [comment["body"] for comment in self.server.state.get(issue_id).comments]

    def delete_comment(self, issue_id: str, comment_id: str) -> None:
        state = self.server.state
        state.get(issue_id).comments.remove(state.comment(issue_id, comment_id))

    def delete(self, issue_id: str) -> None:
        self.server.state.delete(issue_id)

    def finish(self, issue_id: str) -> None:
        self.server.state.set_status(issue_id, "Done")

    def age(self, issue_id: str, span: timedelta) -> None:
        self.server.state.age(issue_id, span)


@contextmanager
def jira_bench(flavour: Flavour) -> Iterator[JiraBench]:
    """Yield a bench, and hold everything that was said to the specification where it is at hand."""
    with JiraServer(flavour) as server:
        yield JiraBench(JiraTracker(server.settings()), server)
    path = spec_path()
    if flavour == "cloud" and path is not None:
        assert JiraSpec.load(path).violations(server.exchanges) == []


@pytest.fixture(params=["local", "local on postgresql", "cloud", "datacenter"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    if not request.param.startswith("local"):
        with jira_bench(request.param) as one:
            yield one
        return
    if request.param == "local":
        tracker = LocalTracker(f"sqlite+aiosqlite:///{tmp_path / 'groundswell.db'}")
    else:
        cluster: PostgresCluster = request.getfixturevalue("postgres")
        tracker = LocalTracker(cluster.url(cluster.create()))
    tracker.ensure()
    yield LocalBench(tracker)
    tracker.close()


def marked(bench: Bench, label: str) -> str:
    """Return `label` as this tracker shows it."""
    return label if isinstance(bench, LocalBench) else f"groundswell-{label}"


def test_a_created_issue_is_found_by_its_label_and_reads_as_it_was_written(bench: Bench) -> None:
    ref = bench.tracker.create(DRAFT)
    other = bench.tracker.create(replace(DRAFT, label="deadbeef0000"))
    state = bench.tracker.read(ref.id)

    assert bench.tracker.find(DRAFT.label) == [ref]
    assert bench.tracker.find("deadbeef0000") == [other]
    assert state is not None
    assert state.ref == ref
    assert state.summary == "Login loops after update"
    assert "12 people on 2 platforms" in state.description
    assert state.labels == (marked(bench, "c0ffee123456"), "login", "release-2.4")
    assert not state.done
    assert state.updated_at is not None
    assert abs(datetime.now(UTC) - state.updated_at) < timedelta(minutes=1)


def test_the_reference_names_the_issue_for_people(bench: Bench) -> None:
    ref = bench.tracker.create(DRAFT)

    assert ref.key in ("GS-1", "COM-1")
    assert ref.url.endswith(f"/browse/{ref.key}") or ref.url == f"local:{ref.key}"
    by_key = bench.tracker.read(ref.key)
    assert by_key is not None
    assert by_key.ref.id == ref.id


def test_two_issues_with_one_label_are_both_found_oldest_first(bench: Bench) -> None:
    first, second = bench.tracker.create(DRAFT), bench.tracker.create(DRAFT)

    assert bench.tracker.find(DRAFT.label) == [first, second]


def test_nothing_is_found_for_a_label_nobody_carries(bench: Bench) -> None:
    bench.tracker.create(DRAFT)

    assert bench.tracker.find("c0ffee") == []


def test_an_update_rewrites_our_part_and_keeps_peoples_text_and_labels(bench: Bench) -> None:
    ref = bench.tracker.create(DRAFT)
    bench.people_write(ref.id, "Anna: I can reproduce this on *Android*.")
    grown = replace(DRAFT, summary="Another", description="## Why now\n- 40 people", labels=("android",))

    bench.tracker.update(ref.id, grown)

    state = bench.tracker.read(ref.id)
    assert state is not None
    assert "40 people" in state.description
    assert "12 people" not in state.description
    assert state.description.rstrip().endswith("Anna: I can reproduce this on *Android*.")
    assert state.labels == (marked(bench, "c0ffee123456"), "login", "release-2.4", "android")
    assert state.summary == "Login loops after update"


def test_an_update_twice_is_an_update_once(bench: Bench) -> None:
    ref = bench.tracker.create(DRAFT)
    grown = replace(DRAFT, description="- 40 people")

    bench.tracker.update(ref.id, grown)
    once = bench.tracker.read(ref.id)
    bench.tracker.update(ref.id, grown)
    twice = bench.tracker.read(ref.id)

    assert once is not None
    assert twice is not None
    assert (once.description, once.labels) == (twice.description, twice.labels)
    assert once.description.count("40 people") == 1


def test_a_closed_issue_reads_as_done(bench: Bench) -> None:
    ref = bench.tracker.create(DRAFT)

    bench.finish(ref.id)

    state = bench.tracker.read(ref.id)
    assert state is not None
    assert state.done
    assert state.status.lower() == "done"


def test_a_comment_is_created_rewritten_and_deleted(bench: Bench) -> None:
    ref = bench.tracker.create(DRAFT)

    comment = bench.tracker.put_comment(ref.id, None, "It loops for me too\nand for my brother")
    assert len(bench.comments(ref.id)) == 1
    assert bench.comments(ref.id)[0].startswith("It loops for me too\nand for my brother")

    assert bench.tracker.put_comment(ref.id, comment, "It loops") == comment
    assert len(bench.comments(ref.id)) == 1
    assert "brother" not in bench.comments(ref.id)[0]

    assert bench.tracker.put_comment(ref.id, comment, "") == ""
    assert bench.comments(ref.id) == []
    assert bench.tracker.put_comment(ref.id, comment, "") == ""


def test_a_comment_whose_id_was_lost_is_taken_up_again(bench: Bench) -> None:
    ref = bench.tracker.create(DRAFT)
    lost = bench.tracker.put_comment(ref.id, None, "said by someone who then deleted it")

    assert bench.tracker.put_comment(ref.id, None, "what may stay") == lost
    assert len(bench.comments(ref.id)) == 1
    assert "deleted" not in bench.comments(ref.id)[0]


def test_a_comment_whose_id_was_lost_can_be_deleted(bench: Bench) -> None:
    ref = bench.tracker.create(DRAFT)
    bench.tracker.put_comment(ref.id, None, "said by someone who then deleted it")

    assert bench.tracker.put_comment(ref.id, None, "") == ""
    assert bench.comments(ref.id) == []


def test_a_comment_that_people_deleted_stays_deleted(bench: Bench) -> None:
    ref = bench.tracker.create(DRAFT)
    comment = bench.tracker.put_comment(ref.id, None, "a quote")
    bench.delete_comment(ref.id, comment)

    assert bench.tracker.put_comment(ref.id, comment, "a quote again") == ""
    assert bench.comments(ref.id) == []


def test_no_text_makes_no_comment(bench: Bench) -> None:
    ref = bench.tracker.create(DRAFT)

    assert bench.tracker.put_comment(ref.id, None, "") == ""
    assert bench.comments(ref.id) == []


def test_a_deleted_issue_reads_as_none_and_refuses_the_rest(bench: Bench) -> None:
    ref = bench.tracker.create(DRAFT)
    bench.delete(ref.id)

    assert bench.tracker.read(ref.id) is None
    assert bench.tracker.find(DRAFT.label) == []
    with pytest.raises(SkippableError, match="no longer exists"):
        bench.tracker.update(ref.id, DRAFT)
    with pytest.raises(SkippableError, match="no longer exists"):
        bench.tracker.put_comment(ref.id, None, "a quote")
    assert bench.tracker.put_comment(ref.id, "4711", "") == ""
    assert bench.tracker.put_comment(ref.id, "4711", "a quote") == ""
    assert bench.tracker.put_comment(ref.id, None, "") == ""


def test_a_deleted_issues_name_is_not_given_again(bench: Bench) -> None:
    ref = bench.tracker.create(DRAFT)
    bench.delete(ref.id)

    again = bench.tracker.create(DRAFT)

    assert again.id != ref.id
    assert again.key != ref.key


@pytest.mark.parametrize("line", [HOSTILE, "a\u202eb\x00c\x07d", "h1. not a heading", "bq. no", "# no", "|x|"])
def test_hostile_text_arrives_as_plain_text(bench: Bench, line: str) -> None:
    draft = replace(DRAFT, summary=f"{line}\nsecond line", description=f"- {line}\n{line}")

    ref = bench.tracker.create(draft)
    bench.tracker.put_comment(ref.id, None, line)

    state = bench.tracker.read(ref.id)
    assert state is not None
    shown = wiki.clean(line) if isinstance(bench, LocalBench) else wiki.escape(line)
    assert state.description.count(shown) == 2
    assert bench.comments(ref.id)[0].split("\n")[0] == shown
    assert "\n" not in state.summary
    assert not set(state.summary + state.description) & set("\u202e\x00\x07")


def test_texts_above_the_limits_are_cut_not_refused(bench: Bench) -> None:
    faces = "\U0001f926\U0001f3fd\u200d\u2642\ufe0f" * 200
    draft = replace(DRAFT, summary=faces, description="_[x]_\n" * 20_000, labels=("w x " * 200,))

    ref = bench.tracker.create(draft)
    bench.tracker.update(ref.id, draft)
    bench.tracker.put_comment(ref.id, None, faces * 100)

    state = bench.tracker.read(ref.id)
    assert state is not None
    assert wiki.length(state.summary) <= 255
    assert state.summary.rstrip("…").endswith("\u2642\ufe0f")
    assert 30_000 < wiki.length(state.description) <= wiki.TEXT_MAX
    assert "more lines" in state.description
    assert all(0 < len(label) <= 255 and " " not in label for label in state.labels)
    assert wiki.length(bench.comments(ref.id)[0]) <= wiki.TEXT_MAX


def listed(bench: Bench, window: timedelta, *, and_open: bool = False) -> list[str]:
    """Return the keys of all pages."""
    keys, page = [], None
    while True:
        found = bench.tracker.list_issues(window, page, and_open=and_open)
        keys += [issue.ref.key for issue in found.issues]
        page = found.next_page
        if page is None:
            return keys


HOUR = timedelta(hours=1)


def test_the_open_and_the_recent_are_listed_as_they_read(bench: Bench) -> None:
    refs = [bench.tracker.create(replace(DRAFT, label=f"{number:012x}")) for number in range(4)]
    for ref in (refs[0], refs[1]):
        bench.finish(ref.id)
    for ref in (refs[0], refs[2]):
        bench.age(ref.id, timedelta(days=2))

    page = bench.tracker.list_issues(HOUR, and_open=True)

    assert [issue.ref for issue in page.issues] == refs[1:]
    assert page.next_page is None
    assert [issue.done for issue in page.issues] == [True, False, False]
    assert page.issues[1] == bench.tracker.read(refs[2].id)
    assert listed(bench, timedelta(days=3)) == [ref.key for ref in refs]
    assert listed(bench, HOUR) == [refs[1].key, refs[3].key]


def test_what_people_changed_since_is_listed_again(bench: Bench) -> None:
    first, second = bench.tracker.create(DRAFT), bench.tracker.create(DRAFT)
    for ref in (first, second):
        bench.age(ref.id, timedelta(days=2))
    assert listed(bench, HOUR) == []

    bench.people_write(second.id, "it happens on Android too")
    bench.finish(first.id)

    assert listed(bench, HOUR) == [first.key, second.key]
    changed = bench.tracker.list_issues(HOUR).issues
    assert changed[0].done
    assert "on Android too" in changed[1].description


def two_on_a_page(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a tracker list two issues on a page."""
    monkeypatch.setattr("pipeline.trackers.local.PAGE", 2)
    if isinstance(bench, JiraBench):
        bench.server.state.page_max = 2


def test_all_pages_together_hold_each_issue_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    two_on_a_page(bench, monkeypatch)
    refs = [bench.tracker.create(DRAFT) for _ in range(5)]

    assert listed(bench, HOUR) == [ref.key for ref in refs]


def test_an_issue_that_changes_or_comes_while_pages_are_read_leaves_no_other_out(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_on_a_page(bench, monkeypatch)
    refs = [bench.tracker.create(DRAFT) for _ in range(3)]
    first = bench.tracker.list_issues(HOUR, and_open=True)
    bench.people_write(refs[0].id, "seen on Android")
    late = bench.tracker.create(DRAFT)

    rest, page = [], first.next_page
    while page is not None:
        found = bench.tracker.list_issues(HOUR, page, and_open=True)
        rest += [issue.ref for issue in found.issues]
        page = found.next_page

    assert [issue.ref for issue in first.issues] + rest == [*refs, late]


def test_an_issue_that_goes_while_pages_are_read_leaves_no_other_out_unseen(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_on_a_page(bench, monkeypatch)
    refs = [bench.tracker.create(DRAFT) for _ in range(4)]
    first = bench.tracker.list_issues(HOUR, and_open=True)
    bench.delete(refs[0].id)

    if isinstance(bench, JiraBench) and bench.server.flavour == "datacenter":
        with pytest.raises(RetriableError, match="shifted"):
            bench.tracker.list_issues(HOUR, first.next_page, and_open=True)
        assert listed(bench, HOUR, and_open=True) == [ref.key for ref in refs[1:]]
    else:
        second = bench.tracker.list_issues(HOUR, first.next_page, and_open=True)
        assert [issue.ref for issue in second.issues] == refs[2:]


def test_a_preview_writes_nothing_and_shows_what_is_escaped(bench: Bench) -> None:
    shown = json.dumps(bench.tracker.preview(replace(DRAFT, summary=HOSTILE, description=HOSTILE), HOSTILE))

    assert bench.tracker.find(DRAFT.label) == []
    text = wiki.clean(HOSTILE) if isinstance(bench, LocalBench) else wiki.escape(HOSTILE)
    assert shown.count(json.dumps(text)[1:-1]) >= 2
    assert "comment" in shown
    assert "comment" not in json.dumps(bench.tracker.preview(DRAFT, ""))


def test_a_place_names_where_it_is(bench: Bench) -> None:
    where = bench.tracker.place
    assert where == "local" if isinstance(bench, LocalBench) else where.endswith(" COM")


@pytest.mark.parametrize("identifier", ["../../serverInfo", "1?x=y", "", "GS-1/comment"])
def test_an_identifier_that_is_none_is_refused_unasked(bench: Bench, identifier: str) -> None:
    with pytest.raises(SkippableError, match="not the id or key"):
        bench.tracker.read(identifier)


def test_a_tracker_that_is_set_up_has_no_problems(bench: Bench) -> None:
    assert bench.tracker.check() == []
