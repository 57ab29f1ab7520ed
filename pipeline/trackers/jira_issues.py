"""Jira's JSON about issues, read; and the search that lists them, a page at a time. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Self

from pipeline.errors import RetriableError
from pipeline.trackers.port import IssuePage, IssueRef, IssueState

WANTED: Final = ("summary", "description", "status", "updated", "labels")
"""Fields that an `IssueState` is made of."""
_SHIFTED_WAIT_S: Final = 10.0


def issue_ref(url: str, raw: Mapping[str, Any]) -> IssueRef:
    """Return the reference of an issue; `url` is Jira's own, without a slash at its end."""
    key = str(raw["key"])
    return IssueRef(id=str(raw["id"]), key=key, url=f"{url}/browse/{key}")


def issue_state(url: str, raw: Mapping[str, Any]) -> IssueState:
    """Return an issue that was asked for with the fields `WANTED`."""
    fields = raw["fields"]
    return IssueState(
        ref=issue_ref(url, raw),
        summary=str(fields["summary"]),
        description=fields.get("description") or "",
        status=fields["status"]["name"],
        done=fields["status"]["statusCategory"]["key"] == "done",
        updated_at=datetime.fromisoformat(fields["updated"]) if fields.get("updated") else None,
        labels=tuple(fields.get("labels") or ()),
    )


def list_jql(project: str, window: timedelta, *, and_open: bool) -> str:
    """Return the search for a project's issues that changed within `window`, or are open, in order of their keys.

    Keys, not times: an issue that changes while the pages are read keeps its place among them.
    """
    minutes = max(1, math.ceil(window.total_seconds() / 60))
    wanted = f'updated >= "-{minutes}m"'
    if and_open:
        wanted = f"({wanted} OR statusCategory != Done)"
    return f'project = "{project}" AND {wanted} ORDER BY key ASC'


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page begins. Cloud hands out tokens; Data Center counts, and counting goes wrong when the list shifts."""

    token: str | None = None
    start: int = 0
    last: str | None = None
    """Id of the issue that stood at `start` when the page before was read."""

    @classmethod
    def parse(cls, page: str | None) -> Self:
        """Read what `as_text` wrote; None is the beginning."""
        return cls() if page is None else cls(*json.loads(page))

    def as_text(self) -> str:
        """Return it as the port's opaque `next_page`."""
        return json.dumps([self.token, self.start, self.last])


def page_of(url: str, position: Position, answer: Mapping[str, Any]) -> IssuePage:
    """Return the page that a search answered with.

    Raises
    ------
    RetriableError
        When the list is not what it was when the page before was read. Data Center's pages overlap by one issue, so
        that this is seen: an issue that left the list would have another one skipped.
    KeyError, TypeError, AttributeError, ValueError
        When the answer is not one of Jira's.
    """
    raw = list(answer["issues"])
    issues = [issue_state(url, one) for one in raw]
    if "total" not in answer:
        token = answer.get("nextPageToken")
        return IssuePage(tuple(issues), Position(token=str(token)).as_text() if token else None)
    if position.last is not None:
        if not issues or issues[0].ref.id != position.last:
            raise RetriableError("Jira: the list of issues shifted while it was read; begin again", _SHIFTED_WAIT_S)
        del issues[0]
    end = position.start + len(raw)
    if not issues or end >= int(answer["total"]):
        return IssuePage(tuple(issues), None)
    return IssuePage(tuple(issues), Position(start=end - 1, last=issues[-1].ref.id).as_text())
