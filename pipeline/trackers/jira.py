"""Jira, Cloud and Data Center, behind the tracker port. The only module that imports `jira`.

API v2 with wiki markup serves both. The library's own retries are off: it repeats the POST that creates
an issue after a reset, and then there are two (measured with 3.10.5). One client, one call at a time: its
session is not thread-safe.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from threading import Lock
from typing import Annotated, Any, Final, Literal, TypeVar, cast
from urllib.parse import urlsplit

import requests
import structlog
from jira import JIRA, JIRAError
from jira.resources import Comment, Issue
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    field_validator,
    model_validator,
)

from pipeline.errors import FatalError, PipelineError, SkippableError
from pipeline.trackers import wiki
from pipeline.trackers.jira_check import find_problems
from pipeline.trackers.jira_errors import from_response, from_silence, unreadable
from pipeline.trackers.jira_issues import WANTED, Position, issue_ref, issue_state, list_jql, page_of
from pipeline.trackers.port import IssueDraft, IssuePage, IssueRef, IssueState

COMMENT_MARK: Final = "kept up to date by groundswell, edits of this comment are overwritten"
"""Last line of our one comment: tells people, and finds it again when its id was lost on the way."""
_COMMENTS_MAX: Final = 5_000
"""Cloud allows no more on one issue."""
_COMMENT_PAGE: Final = 100
_HITS_MAX: Final = 50
_LIST_PAGE: Final = 100
_UNREADABLE: Final = (ValueError, KeyError, TypeError, AttributeError, NotImplementedError)
"""What the library raises over an answer of the wrong shape (an empty body, a list, a page of a proxy)."""


log = structlog.get_logger(__name__)
T = TypeVar("T")


class _GoneError(SkippableError):
    """404 for something in a project that can be seen: a person deleted it."""


class JiraSettings(BaseModel):
    """Where and as whom to write; `auth` follows the deployment."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: str
    email: str = ""
    """The account of the token; Cloud only."""
    token: SecretStr
    auth: Literal["cloud", "datacenter"] = "cloud"
    """cloud: e-mail and API token; datacenter: personal access token."""
    project: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]+$")]
    issue_types: Mapping[str, str] = Field(default_factory=lambda: {"complaint": "Bug", "idea": "Story"})
    """Kind of a cluster to name of an issue type."""
    default_issue_type: str = "Task"
    label_prefix: Annotated[str, StringConstraints(pattern=r"^[\w.:-]*$", max_length=64)] = "groundswell-"
    """Stands before the mark that names a cluster, so that people know whose it is."""
    timeout_s: tuple[float, float] = (5.0, 30.0)
    """To connect, and between two bytes of an answer."""

    @field_validator("url")
    @classmethod
    def _plain_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("must look like https://example.atlassian.net")
        if parts.username or parts.password:
            raise ValueError("must hold no user and password: use tracker.jira.email and tracker.jira.token")
        return url.rstrip("/")

    @field_validator("token")
    @classmethod
    def _clean_token(cls, token: SecretStr) -> SecretStr:
        # http.client repeats a malformed header, token and all, in its exception
        if not re.fullmatch(r"[\x21-\x7e]+", token.get_secret_value()):
            raise ValueError("must be printable ASCII without spaces or line ends")
        return token

    @model_validator(mode="after")
    def _email_for_cloud(self) -> JiraSettings:
        if self.auth == "cloud" and "@" not in self.email:
            raise ValueError("an e-mail is needed for Jira Cloud (or set auth to datacenter)")
        return self

    def issue_type(self, kind: str) -> str:
        """Return the name of the issue type for a kind of cluster."""
        return self.issue_types.get(kind, self.default_issue_type)


class JiraTracker:
    """The tracker port on one Jira project.

    Only `create` can be uncertain: updates and comments are idempotent, so theirs are retriable.
    An issue has one comment of ours: `put_comment(…, None, …)` takes it up again when it exists already.
    """

    name = "jira"
    # Cloud's index lags by "a few seconds to minutes" (search-and-reconcile): one empty answer proves nothing
    search_lag_s: tuple[float, ...] = (15.0, 60.0, 180.0)

    def __init__(self, settings: JiraSettings) -> None:
        self.settings = settings
        self.place = f"{settings.url} {settings.project}"
        self._client: JIRA | None = None
        self._me: str | None = None
        self._lock = Lock()

    def __repr__(self) -> str:
        """Name the project, never the token."""
        return f"JiraTracker(url={self.settings.url!r}, project={self.settings.project!r})"

    def create(self, draft: IssueDraft) -> IssueRef:
        """Create one issue by one POST, its mark among its labels; see the port for how it fails."""
        fields = self._fields(draft)
        return self._call(
            "create an issue", lambda jira: self._ref(jira.create_issue(fields, prefetch=False)), once=True
        )

    def preview(self, draft: IssueDraft, comment: str) -> Mapping[str, Any]:
        """Return the bodies of the two POSTs, by path."""
        requests = {"POST /rest/api/2/issue": {"fields": self._fields(draft)}}
        said = {"POST /rest/api/2/issue/ID/comment": {"body": _comment_body(comment)}} if comment else {}
        return requests | said

    def _fields(self, draft: IssueDraft) -> dict[str, Any]:
        return {
            "project": {"key": self.settings.project},
            "issuetype": {"name": self.settings.issue_type(draft.kind)},
            "summary": wiki.summary_line(draft.summary),
            "description": wiki.wrap(wiki.render(draft.description)),
            "labels": self._labels(draft),
        }

    def find(self, label: str) -> list[IssueRef]:
        """Every issue with `label` that the index has seen, moved ones too, oldest first, at most 50."""
        jql = f'labels = "{self._mark(label)}" ORDER BY created ASC'
        return self._call(
            "search for a label",
            lambda jira: [self._ref(hit) for hit in jira.search_issues(jql, maxResults=_HITS_MAX, fields=["labels"])],
        )

    def read(self, issue_id: str) -> IssueState | None:
        """Read the issue by id or key (old keys of moved issues too); None when it was deleted."""
        number, wanted = _path_part(issue_id), ",".join(WANTED)
        try:
            return self._existing(
                f"read issue {number}",
                lambda jira: issue_state(self.settings.url, jira.issue(number, fields=wanted).raw),
            )
        except _GoneError:
            return None

    def list_issues(self, window: timedelta, page: str | None = None, *, and_open: bool = False) -> IssuePage:
        """List the project's issues by key; times are relative, for JQL reads others in the account's time zone."""
        jql = list_jql(self.settings.project, window, and_open=and_open)
        position = Position.parse(page)
        if self.settings.auth == "cloud":
            answer = self._call(
                "list issues",
                lambda jira: jira.enhanced_search_issues(
                    jql, position.token, maxResults=_LIST_PAGE, fields=list(WANTED), json_result=True
                ),
            )
        else:
            answer = self._call(
                "list issues",
                lambda jira: jira.search_issues(
                    jql, position.start, maxResults=_LIST_PAGE, fields=list(WANTED), json_result=True
                ),
            )
        return _translated("list issues", lambda: page_of(self.settings.url, position, cast(Any, answer)))

    def update(self, issue_id: str, draft: IssueDraft) -> None:
        """Rewrite the machine-owned block and add labels; never the summary, which is people's by then.

        A description without our markers is left alone. SkippableError when the issue is gone.
        """
        number = _path_part(issue_id)
        issue = self._existing(f"read issue {number}", lambda jira: jira.issue(number, fields="description,labels"))
        existing = issue.raw["fields"].get("description") or ""
        merged = wiki.merge_block(existing, wiki.render(draft.description))
        if merged is None:
            log.info("description left alone", issue=number, reason="people removed the markers, or filled it")
        fields = {} if merged in (None, existing) else {"description": merged}
        missing = [label for label in self._labels(draft) if label not in (issue.raw["fields"].get("labels") or ())]
        changes = {"labels": [{"add": label} for label in missing]} if missing else {}
        if fields or changes:
            self._existing(f"update issue {number}", lambda _: issue.update(fields=fields, update=changes))

    def put_comment(self, issue_id: str, comment_id: str | None, text: str) -> str:
        """Create, rewrite or (empty text) delete our one comment, shown as plain text; returns its id.

        Returns "" when the comment is gone: deleted by this call, or by a person, whose deletion stands.
        SkippableError when the issue is gone.
        """
        number = _path_part(issue_id)
        wanted = None if comment_id is None else _path_part(comment_id)
        what = f"change the comment of issue {number}"
        try:
            if wanted is None:
                comment = self._lost_comment(number)
            else:
                comment = self._existing(what, lambda jira: jira.comment(number, wanted))
            if comment is None:
                if not text:
                    return ""
                return self._existing(what, lambda jira: str(jira.add_comment(number, _comment_body(text)).id))
            if not text:
                self._existing(what, lambda _: comment.delete())
            elif comment.raw["body"] != _comment_body(text):
                self._existing(what, lambda _: comment.update(body=_comment_body(text)))
        except _GoneError:
            if text and wanted is None:
                raise
            return ""
        return str(comment.id) if text else ""

    def check(self) -> list[str]:
        """Return the problems that would stop the sink, each with its remedy; empty when all is well."""
        try:
            return find_problems(self.settings, lambda what, ask: self._call(what, ask))
        except PipelineError as exc:
            return [str(exc)]

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        with self._lock:
            if self._client is not None:
                cast(Any, self._client).close()  # untyped in the library
                self._client = None

    def _mark(self, label: str) -> str:
        return wiki.label_slug(self.settings.label_prefix + label)

    def _labels(self, draft: IssueDraft) -> list[str]:
        return list(dict.fromkeys([self._mark(draft.label), *map(wiki.label_slug, draft.labels)]))

    def _ref(self, issue: Issue) -> IssueRef:
        return issue_ref(self.settings.url, issue.raw)

    def _lost_comment(self, number: str) -> Comment | None:
        """Find our comment when the ledger does not know its id: unlike search, comments do not lag."""
        if self._me is None:
            self._me = _account(self._call("see who I am", lambda jira: jira.myself()))
        for start in range(0, _COMMENTS_MAX, _COMMENT_PAGE):
            page = self._comments(number, start)
            for comment in page:
                ours = _account(comment.raw.get("author") or {}) == self._me
                if ours and str(comment.raw["body"]).rstrip().endswith(COMMENT_MARK):
                    return comment
            if len(page) < _COMMENT_PAGE:
                break
        return None

    def _comments(self, number: str, start: int) -> list[Comment]:
        return self._existing(
            f"read the comments of issue {number}",
            lambda jira: jira.comments(number, start_at=start, max_results=_COMMENT_PAGE),
        )

    def _connect(self) -> JIRA:
        if self._client is None:
            secret = self.settings.token.get_secret_value()
            cloud = self.settings.auth == "cloud"
            self._client = JIRA(
                self.settings.url,
                basic_auth=(self.settings.email, secret) if cloud else None,
                token_auth=None if cloud else secret,
                # without it the library takes Cloud for Data Center and searches a path that is gone (410)
                get_server_info=True,
                max_retries=0,
                timeout=self.settings.timeout_s,
                logging=False,
            )
        return self._client

    def _existing(self, what: str, ask: Callable[[JIRA], T]) -> T:
        """Like `_call`, for what stood there once: _GoneError when it no longer does.

        FatalError when the whole project is out of sight: Jira answers 404 then too, and nothing was deleted.
        """
        try:
            return self._call(what, ask, gone=_GoneError(f"Jira: could not {what}: it no longer exists"))
        except _GoneError:
            self._call("see the project", lambda jira: jira.project(self.settings.project))
            raise

    def _call(self, what: str, ask: Callable[[JIRA], T], *, once: bool = False, gone: PipelineError | None = None) -> T:
        """Return what `ask` returns, or raise one of our errors; `ask` is one request."""
        with self._lock:
            client = _translated("connect", self._connect)
            return _translated(what, lambda: ask(client), once=once, gone=gone)


def _translated(what: str, request: Callable[[], T], *, once: bool = False, gone: PipelineError | None = None) -> T:
    error: PipelineError
    try:
        return request()
    except JIRAError as exc:
        if exc.response is None:
            error = FatalError(f"Jira: could not {what}: {exc.text}")
        elif exc.status_code == 404 and gone is not None:
            error = gone
        else:
            error = from_response(exc.response, what, once=once)
    except requests.exceptions.JSONDecodeError:
        error = unreadable(what, once=once)
    except requests.RequestException as exc:
        error = from_silence(exc, what, once=once)
    except _UNREADABLE:
        error = unreadable(what, once=once)
    # Outside the `except`, so that nothing hangs on it: the library's exception holds the request, with the
    # token in its headers, and its text is the whole answer.
    raise error


def _comment_body(text: str) -> str:
    return f"{wiki.clip(wiki.escape(text), wiki.TEXT_MAX - len(COMMENT_MARK) - 2)}\n\n{COMMENT_MARK}"


def _account(user: Mapping[str, Any]) -> str:
    return str(user.get("accountId") or user.get("key") or user.get("name") or "")


def _path_part(identifier: str) -> str:
    """Return an id or key, safe as a part of a URL: people type them (`jira adopt`)."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,255}", identifier):
        raise SkippableError(f"not the id or key of an issue or comment: {identifier[:40]!r}")
    return identifier
