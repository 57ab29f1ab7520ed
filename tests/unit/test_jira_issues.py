"""Listing Jira's issues: no text of anybody's gets into JQL, and an answer that is none of Jira's is no page."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from pipeline.errors import RetriableError
from pipeline.trackers import wiki
from pipeline.trackers.jira import JiraSettings
from pipeline.trackers.jira_issues import Position, list_jql, page_of

CHANGED = r'updated >= "-\d+m"'
JQL = re.compile(
    rf'project = "[A-Z][A-Z0-9_]+" AND ({CHANGED}|\({CHANGED} OR statusCategory != Done\)) ORDER BY key ASC'
)
URL = "https://jira.test"


def issue(number: int) -> dict[str, Any]:
    fields = {"summary": "s", "status": {"name": "To Do", "statusCategory": {"key": "new"}}}
    return {"id": str(number), "key": f"COM-{number}", "fields": fields}


def counted(*numbers: int, total: int) -> dict[str, Any]:
    return {"total": total, "issues": [issue(number) for number in numbers]}


@given(st.text(max_size=40))
def test_a_project_is_a_key_or_is_refused(project: str) -> None:
    try:
        settings = JiraSettings(url=URL, email="a@b.c", token=SecretStr("t"), project=project)
    except ValidationError:
        return
    assert JQL.fullmatch(list_jql(settings.project, timedelta(hours=1), and_open=True))


@given(st.timedeltas(min_value=timedelta(seconds=-5), max_value=timedelta(days=9_999)), st.booleans())
def test_a_window_is_whole_minutes_and_never_shorter_than_asked(window: timedelta, both: bool) -> None:  # noqa: FBT001
    jql = list_jql("COM", window, and_open=both)

    assert JQL.fullmatch(jql)
    minutes = re.findall(r"-(\d+)m", jql)
    assert timedelta(minutes=int(minutes[0])) >= window
    assert ("statusCategory" in jql) == both


@given(st.text(max_size=100))
def test_a_label_cannot_end_its_quotes(text: str) -> None:
    assert not re.search(r'["\\\s]', wiki.label_slug(text))


def test_counted_pages_overlap_by_one_issue() -> None:
    first = page_of(URL, Position.parse(None), counted(1, 2, total=3))
    second_at = Position.parse(first.next_page)
    second = page_of(URL, second_at, counted(2, 3, total=3))

    assert (second_at.start, second_at.last) == (1, "2")
    assert [one.ref.key for one in (*first.issues, *second.issues)] == ["COM-1", "COM-2", "COM-3"]
    assert second.next_page is None


@pytest.mark.parametrize("answer", [counted(3, 4, total=9), counted(total=9)])
def test_a_list_that_shifted_is_begun_again(answer: dict[str, Any]) -> None:
    with pytest.raises(RetriableError, match="shifted"):
        page_of(URL, Position(start=1, last="2"), answer)


def test_tokens_lead_from_page_to_page() -> None:
    first = page_of(URL, Position.parse(None), {"isLast": False, "nextPageToken": 't"1', "issues": [issue(1)]})

    assert Position.parse(first.next_page).token == 't"1'
    assert page_of(URL, Position.parse(first.next_page), {"isLast": True, "issues": []}).next_page is None


@pytest.mark.parametrize("answer", [{}, {"issues": [{"id": "1"}]}, {"issues": None}, {"issues": [1]}])
def test_an_answer_of_another_shape_is_no_page(answer: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError)):
        page_of(URL, Position(), answer)
