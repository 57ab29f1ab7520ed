"""What a Jira remembers and what it refuses: the rules, without HTTP."""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

Flavour = Literal["cloud", "datacenter"]
TEXT_MAX = 32_767
ISSUE_TYPES = {"10001": "Bug", "10002": "Story", "10003": "Task"}
STATUSES = {
    "To Do": ("10100", "new", 2),
    "Done": ("10102", "done", 3),
}


class RefusedError(Exception):
    """Jira's answer to what it does not do."""

    def __init__(self, status: int, *messages: str, **errors: str) -> None:
        super().__init__(status, messages, errors)
        self.status = status
        self.body = {"errorMessages": list(messages), "errors": errors}


def units(text: str) -> int:
    """Return the length that Java sees."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


@dataclass
class Issue:
    """One issue; `born` counts the searches before it."""

    id: str
    key: str
    fields: dict[str, Any]
    born: int
    born_at: float
    comments: list[dict[str, Any]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)


class JiraState:
    """Issues of the projects COM and OPS in memory, with Jira's validation.

    Settings for tests: `lag_searches` and `lag_s` hide new issues from search; `required` adds required
    fields (id to name); `off_screen` takes fields off the screens; `denied` takes permissions away; `visible`
    is what the account may browse; `page_max` is the most that a search answers with at once.
    """

    def __init__(self, flavour: Flavour, base_url: str = "") -> None:
        self.flavour = flavour
        self.base_url = base_url
        self.issues: dict[str, Issue] = {}
        self.created: Counter[str] = Counter()
        self.edits = 0
        self.lag_searches = 0
        self.page_max = 5_000
        self.lag_s = 0.0
        self.required: dict[str, str] = {}
        self.off_screen: set[str] = set()
        self.denied: set[str] = set()
        self.visible = {"COM", "OPS"}
        self._searches = 0
        self._last = 10_000
        self._numbers: Counter[str] = Counter()

    def create(self, body: Any) -> Issue:
        """Create an issue from a request's body, or refuse it as Jira does."""
        given = dict(self._object(self._object(body).get("fields")))
        project = self._object(given.pop("project", None)).get("key")
        if project not in self.visible:
            raise RefusedError(400, project="valid project is required")
        kind = self._object(given.pop("issuetype", None)).get("name")
        if kind not in ISSUE_TYPES.values():
            raise RefusedError(400, issuetype="Specify a valid issue type")
        if not given.get("summary"):
            raise RefusedError(400, summary="You must specify a summary of the issue.")
        for required, name in self.required.items():
            if required not in given:
                raise RefusedError(400, **{required: f"{name} is required."})
        self._validate(given)
        self._last += 1
        self._numbers[project] += 1
        now = _now()
        type_id = next(number for number, name in ISSUE_TYPES.items() if name == kind)
        fields = {"description": None, "labels": [], "created": now, "updated": now} | given
        fields["issuetype"] = {"id": type_id, "name": kind, "subtask": False}
        fields["status"] = self._status("To Do")
        issue = Issue(
            id=str(self._last),
            key=f"{project}-{self._numbers[project]}",
            fields=fields,
            born=self._searches,
            born_at=time.monotonic(),
        )
        self.issues[issue.id] = issue
        self.created.update(fields["labels"])
        return issue

    def get(self, id_or_key: str) -> Issue:
        """Return an issue by id, key or former key."""
        for issue in self.issues.values():
            named = id_or_key in (issue.id, issue.key) or id_or_key in issue.keys
            if named and issue.key.split("-")[0] in self.visible:
                return issue
        raise RefusedError(404, "Issue does not exist or you do not have permission to see it.")

    def edit(self, id_or_key: str, body: Any) -> None:
        """Apply `fields` and `update` of a request."""
        issue = self.get(id_or_key)
        given = dict(self._object(body).get("fields") or {})
        labels = list(issue.fields["labels"])
        for name, operations in (self._object(body).get("update") or {}).items():
            if name != "labels":
                raise RefusedError(400, **{name: f"Field '{name}' cannot be set."})
            for operation in operations:
                if "add" in operation and operation["add"] not in labels:
                    labels.append(operation["add"])
                if "remove" in operation:
                    labels.remove(operation["remove"])
            given["labels"] = labels
        self._validate(given)
        issue.fields |= given
        issue.fields["updated"] = _now()
        self.edits += 1

    def search(self, jql: str) -> list[Issue]:
        """Return the issues the index knows for one of the two queries that groundswell asks."""
        wanted = self._labelled(jql) or self._listed(jql)
        if wanted is None:
            raise RefusedError(400, f"Error in the JQL Query: {jql}")
        self._searches += 1
        return [
            issue
            for issue in self.issues.values()
            if wanted(issue)
            and self._searches - issue.born > self.lag_searches
            and time.monotonic() - issue.born_at >= self.lag_s
        ]

    @staticmethod
    def _labelled(jql: str) -> Callable[[Issue], bool] | None:
        found = re.fullmatch(r'labels = "([^"\\]+)" ORDER BY created ASC', jql)
        return None if found is None else lambda issue: found[1] in issue.fields["labels"]

    @staticmethod
    def _listed(jql: str) -> Callable[[Issue], bool] | None:
        changed = r'updated >= "-(\d+)m"'
        either = rf"(?:{changed}|\({changed} OR (statusCategory != Done)\))"
        form = rf'project = "([A-Z][A-Z0-9_]+)" AND {either} ORDER BY key ASC'
        found = re.fullmatch(form, jql)
        if found is None:
            return None
        since = datetime.now(UTC) - timedelta(minutes=int(found[2] or found[3]))

        def wanted(issue: Issue) -> bool:
            recent = datetime.fromisoformat(issue.fields["updated"]) >= since
            done = issue.fields["status"]["statusCategory"]["key"] == "done"
            return issue.key.startswith(f"{found[1]}-") and (recent or (found[4] is not None and not done))

        return wanted

    def write_comment(self, id_or_key: str, comment_id: str | None, body: Any) -> dict[str, Any]:
        """Add (None) or rewrite a comment."""
        issue = self.get(id_or_key)
        text = self._object(body).get("body")
        if not isinstance(text, str) or not text.strip():
            raise RefusedError(400, comment="Comment body can not be empty!")
        if units(text) > TEXT_MAX:
            raise RefusedError(400, comment=f"The entered text is too long. It exceeds {TEXT_MAX} characters.")
        if comment_id is not None:
            comment = self.comment(id_or_key, comment_id)
            comment |= {"body": text, "updated": _now()}
            return comment
        self._last += 1
        where = f"{self.base_url}/rest/api/2/issue/{issue.id}/comment/{self._last}"
        now = _now()
        comment = {"self": where, "id": str(self._last), "author": self.me(), "body": text}
        comment |= {"created": now, "updated": now}
        issue.comments.append(comment)
        return comment

    def comment(self, id_or_key: str, comment_id: str) -> dict[str, Any]:
        """Return one comment."""
        for comment in self.get(id_or_key).comments:
            if comment["id"] == comment_id:
                return comment
        raise RefusedError(404, f"Can not find a comment for the id: {comment_id}.")

    def me(self) -> dict[str, Any]:
        """Return the account that asks."""
        if self.flavour == "cloud":
            return {"accountId": "5b10a2844c20165700ede21g", "displayName": "groundswell", "active": True}
        return {"name": "groundswell", "key": "JIRAUSER10100", "displayName": "groundswell", "active": True}

    def people_edit(self, id_or_key: str, **fields: Any) -> None:
        """Do what a person does in the browser, whose text areas send CRLF."""
        for name, value in fields.items():
            issue = self.get(id_or_key)
            issue.fields[name] = value.replace("\n", "\r\n") if name == "description" else value
            issue.fields["updated"] = _now()

    def delete(self, id_or_key: str) -> None:
        """Delete an issue, as a person does."""
        del self.issues[self.get(id_or_key).id]

    def move(self, id_or_key: str, project: str) -> None:
        """Move an issue: its key changes, its id does not, the old key still leads to it."""
        issue = self.get(id_or_key)
        issue.keys.add(issue.key)
        self._numbers[project] += 1
        issue.key = f"{project}-{self._numbers[project]}"

    def set_status(self, id_or_key: str, name: str) -> None:
        """Let a person drag the issue to another column."""
        self.get(id_or_key).fields |= {"status": self._status(name), "updated": _now()}

    def age(self, id_or_key: str, span: timedelta) -> None:
        """Let an issue's last change be so long ago."""
        self.get(id_or_key).fields["updated"] = _now(span)

    def _status(self, name: str) -> dict[str, Any]:
        number, category, category_id = STATUSES[name]
        return {"id": number, "name": name, "statusCategory": {"id": category_id, "key": category}}

    def _validate(self, fields: dict[str, Any]) -> None:
        for name, value in fields.items():
            if name in self.off_screen:
                reason = "It is not on the appropriate screen, or unknown."
                raise RefusedError(400, **{name: f"Field '{name}' cannot be set. {reason}"})
            if name == "summary":
                if "\n" in value or "\r" in value:
                    raise RefusedError(400, summary="The summary is invalid: it contains newline characters.")
                if units(value) > 255:
                    raise RefusedError(400, summary="Summary must be less than 255 characters.")
            elif name == "description":
                if not isinstance(value, str):
                    raise RefusedError(400, description="Operation value must be a string")
                if units(value) > TEXT_MAX:
                    reason = f"It exceeds the allowed limit of {TEXT_MAX} characters."
                    raise RefusedError(400, description=f"The entered text is too long. {reason}")
            elif name == "labels":
                for label in value:
                    if re.search(r"\s", label):
                        raise RefusedError(400, labels=f"The label '{label}' contains spaces which is invalid.")
                    if not 0 < units(label) <= 255:
                        raise RefusedError(400, labels="The label exceeds the maximum of 255 characters.")
            elif name not in self.required:
                raise RefusedError(400, **{name: f"Field '{name}' cannot be set. It is unknown."})

    @staticmethod
    def _object(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise RefusedError(400, "Invalid request payload. Refer to the REST API documentation and try again.")
        return value


def _now(ago: timedelta = timedelta(0)) -> str:
    return (datetime.now(UTC) - ago).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"
