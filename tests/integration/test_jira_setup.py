"""The Jira adapter before and around its work: settings, check, secrets, and the vendor's specification."""

from __future__ import annotations

import logging
import traceback
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import requests
from pydantic import ValidationError

from pipeline.errors import PipelineError
from pipeline.trackers.jira import JiraSettings, JiraTracker
from pipeline.trackers.port import IssueDraft
from tests.standins.jira_faults import Exchange, Fault, html_page
from tests.standins.jira_server import EMAIL, TOKEN, JiraServer
from tests.standins.jira_spec import JiraSpec, spec_path

if TYPE_CHECKING:
    pass

DRAFT = IssueDraft("Login loops", "- 12 people", "complaint", "c0ffee")


@pytest.fixture
def tracker(server: JiraServer) -> JiraTracker:
    return JiraTracker(server.settings())


def failure(tracker: JiraTracker, draft: IssueDraft = DRAFT) -> PipelineError:
    with pytest.raises(PipelineError) as caught:
        tracker.create(draft)
    return caught.value


def test_check_names_each_problem_with_its_remedy(server: JiraServer, tracker: JiraTracker) -> None:
    server.state.required["customfield_10010"] = "Team"
    server.state.off_screen.add("labels")
    server.state.denied.add("EDIT_ISSUES")

    problems = tracker.check()

    assert problems[0] == ("the account may not keep issues up to date in COM: give it the permission EDIT_ISSUES")
    assert (
        "field 'Team' (customfield_10010) is required for Bug: give it a default value or make it optional" in problems
    )
    assert "field labels is not on the create screen of Story: put it there" in problems
    assert len(problems) == 1 + 2 * 3
    assert server.state.issues == {}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"project": "NOPE"}, "jira.project"),
        ({"token": "wrong"}, "Make a new token"),
        ({"url": "http://127.0.0.1:9"}, "ConnectionError"),
        ({"issue_types": {"complaint": "Incident"}}, "has no issue type 'Incident'"),
    ],
)
def test_check_does_not_raise(server: JiraServer, changes: dict[str, str], said: str) -> None:
    problems = JiraTracker(server.settings(**changes)).check()

    assert len(problems) == 1
    assert said in problems[0]


def test_check_finds_the_wrong_deployment() -> None:
    with JiraServer("datacenter") as server:
        server.authorised = lambda header: header is not None  # type: ignore[method-assign]
        problems = JiraTracker(server.settings(auth="cloud", email=EMAIL)).check()

    assert problems == [f"{server.url} is Jira Data Center: set tracker.jira.auth to datacenter"]


def test_the_token_shows_nowhere(server: JiraServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    tracker = JiraTracker(server.settings())
    texts = [repr(tracker), str(tracker.settings), repr(tracker.settings)]
    faults = [
        Fault("answer_before", status=status, body=f'{{"errorMessages": ["no {status}"]}}')
        for status in (400, 401, 403, 404, 500)
    ]
    for fault in [*faults, Fault("drop_before"), html_page(status=200)]:
        server.faults.add(fault)
        error = failure(tracker)
        texts.append("".join(traceback.format_exception(error)))
        assert error.__context__ is None
        assert error.__cause__ is None

    assert TOKEN not in "".join(texts) + caplog.text
    assert requests.auth._basic_auth_str(EMAIL, TOKEN) not in "".join(texts) + caplog.text


@pytest.mark.parametrize(
    "changes",
    [
        {"token": "line\nend-s3cr3t"},
        {"token": "s3cr3t with spaces"},
        {"url": "https://user:s3cr3t@example.com"},
        {"url": "example.com"},
        {"project": "lower s3cr3t"},
        {"email": "nobody", "token": "s3cr3t"},
    ],
)
def test_bad_settings_are_refused_without_repeating_them(changes: dict[str, str]) -> None:
    good = {"url": "https://example.atlassian.net", "email": EMAIL, "token": TOKEN, "project": "COM"}
    JiraSettings.model_validate(good)

    with pytest.raises(ValidationError) as caught:
        JiraSettings.model_validate(good | changes)

    assert "s3cr3t" not in str(caught.value)


def test_the_stand_in_is_as_strict_as_jira(server: JiraServer) -> None:
    issue = {"project": {"key": "COM"}, "issuetype": {"name": "Bug"}, "summary": "s"}
    login = {"auth": (EMAIL, TOKEN)} if server.flavour == "cloud" else {"headers": {"Authorization": f"Bearer {TOKEN}"}}

    def post(changes: dict[str, object], **how: object) -> int:
        url = f"{server.url}/rest/api/2/issue"
        return requests.post(url, json={"fields": issue | changes}, timeout=5, **(login | how)).status_code  # type: ignore[arg-type]

    assert post({}) == 201
    assert post({"summary": ""}) == 400
    assert post({"summary": "x" * 256}) == 400
    assert post({"summary": "a\nb"}) == 400
    assert post({"description": "x" * 32_768}) == 400
    assert post({"labels": ["two words"]}) == 400
    assert post({"labels": ["x" * 256]}) == 400
    assert post({"issuetype": {"name": "Epos"}}) == 400
    assert post({"nonsense": 1}) == 400
    assert post({}, auth=("x", "y"), headers={}) == 401
    assert requests.post(f"{server.url}/rest/api/2/issue", data="{}", timeout=5, **login).status_code == 415
    assert server.state.created.total() == 0
    assert len(server.state.issues) == 1


def spec() -> JiraSpec:
    path = spec_path()
    if path is None:
        reason = "Jira's specification is not beside the checkout: neither client nor stand-in were held to it"
        warnings.warn(reason, stacklevel=2)
        pytest.skip(reason)
    return JiraSpec.load(path)


def test_client_and_stand_in_keep_to_the_specification() -> None:
    """Data Center has no published one; its paths are the same but for search and the issue types' fields."""
    vendor = spec()
    with JiraServer("cloud") as server:
        tracker = JiraTracker(server.settings())
        assert tracker.check() == []
        ref = tracker.create(replace(DRAFT, labels=("login",)))
        assert tracker.find("c0ffee") == [ref]
        tracker.update(ref.id, replace(DRAFT, description="- 40 people", labels=("android",)))
        comment = tracker.put_comment(ref.id, None, "a quote")
        tracker.put_comment(ref.id, comment, "another")
        tracker.put_comment(ref.id, None, "a third")
        tracker.put_comment(ref.id, comment, "")
        server.state.required["customfield_10010"] = "Team"
        failure(tracker)
        server.state.delete(ref.id)
        assert tracker.read(ref.id) is None

    assert vendor.violations(server.exchanges) == []
    said = {(exchange.method, exchange.path.split("/")[4], exchange.status) for exchange in server.exchanges}
    assert said >= {
        ("POST", "issue", 201),
        ("POST", "issue", 400),
        ("PUT", "issue", 204),
        ("GET", "search", 200),
    }
    assert said >= {
        ("GET", "issue", 200),
        ("GET", "issue", 404),
        ("DELETE", "issue", 204),
        ("GET", "myself", 200),
    }


def test_the_specification_finds_what_is_wrong() -> None:
    vendor = spec()
    issue = "/rest/api/2/issue"
    wrong = [
        Exchange("POST", issue, {}, {"fields": [], "update": {}}, 201, {"id": "1", "key": "A-1"}),
        Exchange("POST", issue, {}, {"fields": {}}, 201, {"id": 1, "key": "A-1"}),
        Exchange("POST", issue, {}, {"fields": {}}, 418, {}),
        Exchange("GET", "/rest/api/2/search/jql", {"startAt": ["0"]}, None, 200, {"issues": []}),
        Exchange("GET", "/rest/api/2/nothing", {}, None, 200, {}),
    ]

    assert [len(vendor.violations([exchange])) for exchange in wrong] == [1, 1, 1, 1, 1]
