"""The Jira adapter when the network and Jira misbehave: which error, and how many issues there are then."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from pipeline.errors import FatalError, PipelineError, RetriableError, SkippableError, UncertainError
from pipeline.trackers.jira import JiraSettings, JiraTracker
from pipeline.trackers.port import IssueDraft
from tests.standins.jira_faults import Fault, html_page
from tests.standins.jira_server import EMAIL, TOKEN, JiraServer

if TYPE_CHECKING:
    pass

DRAFT = IssueDraft("Login loops", "- 12 people", "complaint", "c0ffee")
MARK = "groundswell-c0ffee"


@pytest.fixture
def tracker(server: JiraServer) -> JiraTracker:
    return JiraTracker(server.settings())


def failure(tracker: JiraTracker, draft: IssueDraft = DRAFT) -> PipelineError:
    with pytest.raises(PipelineError) as caught:
        tracker.create(draft)
    return caught.value


@pytest.mark.parametrize(
    ("fault", "error", "issues"),
    [
        (Fault("drop_before"), UncertainError, 0),
        (Fault("drop_after"), UncertainError, 1),
        (Fault("answer_before", status=500, body="{}"), UncertainError, 0),
        (Fault("answer_after", status=503), UncertainError, 1),
        (Fault("answer_after", status=503, headers={"Retry-After": "9"}), UncertainError, 1),
        (Fault("answer_after", status=504), UncertainError, 1),
        (html_page("answer_before", 502), UncertainError, 0),
        (html_page("answer_after", 502), UncertainError, 1),
        (html_page("answer_after", 200), UncertainError, 1),
        (Fault("answer_after", status=201, body=""), UncertainError, 1),
        (Fault("answer_after", status=201, body="[]"), UncertainError, 1),
        (Fault("answer_after", status=201, body='{"key": "COM-1"}'), UncertainError, 1),
        (Fault("answer_after", status=500, body="null"), UncertainError, 1),
        (Fault("answer_before", status=429), RetriableError, 0),
        (Fault("answer_before", status=401), FatalError, 0),
        (Fault("answer_before", status=403), FatalError, 0),
        (Fault("answer_before", status=404), FatalError, 0),
        (Fault("answer_before", status=413), SkippableError, 0),
        (Fault("answer_before", status=415), FatalError, 0),
    ],
    ids=lambda value: f"{value.kind}-{value.status}" if isinstance(value, Fault) else None,
)
def test_a_create_is_posted_once_whatever_happens(
    server: JiraServer, fault: Fault, error: type[PipelineError], issues: int
) -> None:
    armed = server.faults.add(replace(fault, struck=0))
    tracker = JiraTracker(server.settings())

    assert type(failure(tracker)) is error
    assert server.state.created[MARK] == issues
    assert armed.struck == 1
    assert [method for method, _ in server.requests].count("POST") == 1


def test_a_create_whose_answer_is_too_slow_is_uncertain(server: JiraServer) -> None:
    server.faults.add(Fault("hang"))
    tracker = JiraTracker(server.settings(timeout_s=(5.0, 0.2)))

    assert type(failure(tracker)) is UncertainError
    assert server.state.created[MARK] == 1


def test_a_refused_connection_had_no_effect() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        tracker = JiraTracker(JiraSettings(url=url, email=EMAIL, token=SecretStr(TOKEN), project="COM"))

        assert type(failure(tracker)) is RetriableError


def test_a_connection_refused_later_had_no_effect() -> None:
    with JiraServer() as server:
        tracker = JiraTracker(server.settings())
        tracker.create(DRAFT)
    assert tracker._client is not None
    tracker._client._session.close()  # no connection of the pool is left to be reset

    assert type(failure(tracker)) is RetriableError


def test_a_name_that_does_not_resolve_had_no_effect() -> None:
    settings = JiraSettings(url="http://jira.invalid", email=EMAIL, token=SecretStr(TOKEN), project="COM")

    assert type(failure(JiraTracker(settings))) is RetriableError


def test_a_failing_first_connect_is_no_uncertain_create(server: JiraServer, tracker: JiraTracker) -> None:
    server.faults.add(Fault("drop_before", method="GET", path="/serverInfo"))

    assert type(failure(tracker)) is RetriableError
    assert server.state.created[MARK] == 0
    assert tracker.create(DRAFT).key == "COM-1"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 10.0),
        ({"Retry-After": "17"}, 17.0),
        ({"Retry-After": "0"}, 1.0),
        ({"Retry-After": "600"}, 600.0),
        ({"Retry-After": "999999"}, 3600.0),
        ({"Retry-After": "soon"}, 10.0),
        ({"Retry-After": "Fri, 31 Dec 2100 23:59:59 GMT"}, 3600.0),
        ({"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}, 1.0),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_how_long_to_wait_is_taken_from_the_answer(
    server: JiraServer, tracker: JiraTracker, headers: dict[str, str], seconds: float, status: int
) -> None:
    server.faults.add(Fault("answer_before", "GET", "/search", status=status, headers=headers))

    with pytest.raises(RetriableError) as caught:
        tracker.find("c0ffee")

    assert caught.value.retry_after_s == seconds


@pytest.mark.parametrize("fault", [Fault("drop_before"), Fault("answer_before", status=502), html_page(status=200)])
def test_reads_may_be_repeated(server: JiraServer, tracker: JiraTracker, fault: Fault) -> None:
    ref = tracker.create(DRAFT)
    server.faults.add(replace(fault, method="GET", path="/issue/", struck=0))

    with pytest.raises(RetriableError):
        tracker.read(ref.id)
    state = tracker.read(ref.id)

    assert state is not None
    assert state.summary == "Login loops"


@pytest.mark.parametrize("kind", ["drop_before", "drop_after"])
def test_a_lost_update_may_be_repeated(server: JiraServer, tracker: JiraTracker, kind: str) -> None:
    ref = tracker.create(DRAFT)
    server.faults.add(Fault("drop_after" if kind == "drop_after" else "drop_before", method="PUT"))
    grown = replace(DRAFT, description="- 40 people")

    with pytest.raises(RetriableError):
        tracker.update(ref.id, grown)
    tracker.update(ref.id, grown)

    assert server.state.edits == 1
    assert "40 people" in server.state.get(ref.id).fields["description"]


@pytest.mark.parametrize("kind", ["drop_before", "drop_after"])
def test_a_lost_comment_is_not_written_twice(server: JiraServer, tracker: JiraTracker, kind: str) -> None:
    ref = tracker.create(DRAFT)
    server.faults.add(Fault("drop_after" if kind == "drop_after" else "drop_before", path="/comment"))

    with pytest.raises(RetriableError):
        tracker.put_comment(ref.id, None, "a quote that is then deleted")
    tracker.put_comment(ref.id, None, "what may stay")

    assert [comment["body"].split("\n")[0] for comment in server.state.get(ref.id).comments] == ["what may stay"]


def test_a_persons_comment_that_looks_like_ours_is_left_alone(server: JiraServer, tracker: JiraTracker) -> None:
    ref = tracker.create(DRAFT)
    tracker.put_comment(ref.id, None, "a quote")
    copied = server.state.get(ref.id).comments[0]
    copied["author"] = {"accountId": "anna", "name": "anna", "key": "anna"}

    tracker.put_comment(ref.id, None, "another")

    assert copied["body"].startswith("a quote")
    assert len(server.state.get(ref.id).comments) == 2


def test_our_comment_is_found_among_many(server: JiraServer, tracker: JiraTracker) -> None:
    ref = tracker.create(DRAFT)
    for number in range(150):
        server.state.write_comment(ref.id, None, {"body": f"me too {number}"})
    ours = tracker.put_comment(ref.id, None, "a quote")

    assert tracker.put_comment(ref.id, None, "another") == ours
    assert len(server.state.get(ref.id).comments) == 151


def test_a_new_issue_is_found_when_the_index_has_seen_it(server: JiraServer, tracker: JiraTracker) -> None:
    server.state.lag_searches = 2
    ref = tracker.create(DRAFT)

    assert [tracker.find("c0ffee") for _ in range(3)] == [[], [], [ref]]


def test_an_index_that_lags_by_time_shows_nothing_yet(server: JiraServer, tracker: JiraTracker) -> None:
    server.state.lag_s = 3_600.0
    ref = tracker.create(DRAFT)

    assert tracker.find("c0ffee") == []
    assert tracker.read(ref.id) is not None


def test_a_moved_issue_keeps_its_id_and_is_still_found(server: JiraServer, tracker: JiraTracker) -> None:
    ref = tracker.create(DRAFT)
    server.state.move(ref.id, "OPS")

    state = tracker.read(ref.id)
    assert state is not None
    assert (state.ref.id, state.ref.key, state.ref.url) == (ref.id, "OPS-1", f"{server.url}/browse/OPS-1")
    assert tracker.find("c0ffee") == [state.ref]
    by_old_key = tracker.read("COM-1")
    assert by_old_key is not None
    assert by_old_key.ref == state.ref


def test_a_project_out_of_sight_is_no_deletion(server: JiraServer, tracker: JiraTracker) -> None:
    ref = tracker.create(DRAFT)
    server.state.visible.clear()

    with pytest.raises(FatalError, match="browse the project"):
        tracker.read(ref.id)


def test_a_project_that_does_not_exist_stops_the_sink(server: JiraServer) -> None:
    error = failure(JiraTracker(server.settings(project="NOPE")))

    assert type(error) is FatalError
    assert "valid project is required" in str(error)


def test_a_required_field_stops_the_sink_and_is_named(server: JiraServer, tracker: JiraTracker) -> None:
    server.state.required["customfield_10010"] = "Team"

    error = failure(tracker)

    assert type(error) is FatalError
    assert "customfield_10010: Team is required." in str(error)
    assert "make it optional" in str(error)


@pytest.mark.parametrize("field", ["labels", "description"])
def test_a_field_off_the_screen_stops_the_sink(server: JiraServer, tracker: JiraTracker, field: str) -> None:
    server.state.off_screen.add(field)

    error = failure(tracker)

    assert type(error) is FatalError
    assert field in str(error)


def test_an_unknown_issue_type_stops_the_sink(server: JiraServer) -> None:
    error = failure(JiraTracker(server.settings(issue_types={"complaint": "Incident"})))

    assert type(error) is FatalError
    assert "jira.issue_types" in str(error)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ('{"errorMessages": ["Field \'priority\' is required"], "errors": {}}', FatalError),
        ('{"errorMessages": [], "errors": {"summary": "Unzulässiges Zeichen"}}', SkippableError),
        ('{"errorMessages": [], "errors": {"customfield_7": "Feld Team ist erforderlich"}}', FatalError),
        ('{"errorMessages": ["Unexpected"], "errors": {}}', SkippableError),
        ("<html>", SkippableError),
    ],
)
def test_a_400_is_the_drafts_fault_or_the_projects(
    server: JiraServer, tracker: JiraTracker, body: str, error: type[PipelineError]
) -> None:
    server.faults.add(Fault("answer_before", status=400, body=body))

    assert type(failure(tracker)) is error


def test_people_who_removed_the_markers_keep_their_description(server: JiraServer, tracker: JiraTracker) -> None:
    ref = tracker.create(DRAFT)
    server.state.people_edit(ref.id, description="We know. Fixed in 2.5.")

    tracker.update(ref.id, replace(DRAFT, description="- 40 people", labels=("android",)))

    assert server.state.get(ref.id).fields["description"] == "We know. Fixed in 2.5."
    assert server.state.get(ref.id).fields["labels"] == [MARK, "android"]


def test_nothing_new_is_not_written(server: JiraServer, tracker: JiraTracker) -> None:
    ref = tracker.create(DRAFT)

    tracker.update(ref.id, DRAFT)

    assert server.state.edits == 0


def test_the_kind_chooses_the_issue_type(server: JiraServer, tracker: JiraTracker) -> None:
    kinds = {kind: tracker.create(replace(DRAFT, kind=kind)) for kind in ("complaint", "idea", "question")}

    types = {kind: server.state.get(ref.id).fields["issuetype"]["name"] for kind, ref in kinds.items()}
    assert types == {"complaint": "Bug", "idea": "Story", "question": "Task"}


def test_one_tracker_serves_many_threads(server: JiraServer, tracker: JiraTracker) -> None:
    drafts = [replace(DRAFT, label=f"cluster-{number}") for number in range(24)]

    with ThreadPoolExecutor(8) as pool:
        refs = list(pool.map(tracker.create, drafts))

    assert len({ref.id for ref in refs}) == 24
    assert set(server.state.created.values()) == {1}
    assert [path for _, path in server.requests].count("/rest/api/2/serverInfo") == 1
