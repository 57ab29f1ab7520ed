"""The port to an issue tracker: what the sink needs, and how a call may fail.

Every adapter passes one contract suite. All calls may block and are made off the event loop. They raise

- `RetriableError` when the same call may succeed later and had no effect (429, refused connection, a 5xx of a read);
- `UncertainError` when a create may have happened (reset, timeout or 5xx after the request was sent); the other
  writes are idempotent, so a lost answer is a `RetriableError` for them;
- `SkippableError` when this draft can never be accepted (the tracker's own words are in the message);
- `FatalError` when nothing can succeed until a person acts (401, 403, no such project, a required field).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class IssueDraft:
    """What is to be written: plain text, escaped by the adapter for its own markup."""

    summary: str
    description: str
    """The machine-owned part, lines of plain text in the mark-up of `issue_text` (headings and bullets only)."""
    kind: str
    """complaint | idea | question: the adapter maps it to an issue type."""
    label: str
    """Short mark that names the cluster; atomic with creation, and all that `find` looks for."""
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class IssueRef:
    """An issue that exists: `id` never changes, `key` may (a moved issue)."""

    id: str
    key: str
    url: str


@dataclass(frozen=True, slots=True)
class IssueState:
    """What people see of an issue now."""

    ref: IssueRef
    summary: str
    description: str
    status: str
    done: bool
    updated_at: datetime | None
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IssuePage:
    """Some of the issues that were asked for."""

    issues: tuple[IssueState, ...]
    next_page: str | None
    """What to ask for next, opaque; None: these were the last."""


class Tracker(Protocol):
    """Creates, updates and lists issues. Stateless between calls: the ledger remembers."""

    name: str
    """ "local" or "jira", as the ledger stores it."""
    place: str
    """Names where it writes; what was listed in one place says nothing of another."""
    search_lag_s: tuple[float, ...]
    """How long to wait before each `find` after an uncertain create; empty when `find` sees every write at once."""

    def create(self, draft: IssueDraft) -> IssueRef:
        """Create one issue. Called at most once per cluster unless a `find` proved that nothing came of it."""

    def preview(self, draft: IssueDraft, comment: str) -> Mapping[str, Any]:
        """Return what `create` and then `put_comment` would write, letter by letter, as JSON has it; writes nothing."""

    def find(self, label: str) -> list[IssueRef]:
        """Every issue that carries `label`, oldest first."""

    def read(self, issue_id: str) -> IssueState | None:
        """Read the issue as it is, or None when it was deleted."""

    def list_issues(self, window: timedelta, page: str | None = None, *, and_open: bool = False) -> IssuePage:
        """List the issues that changed within `window` before now, whoever filed them, a page at a time.

        An issue that changes while pages are read may come twice, and is left out by none.

        Parameters
        ----------
        page : str or None
            `next_page` of the page before; None begins. The other arguments stay the same for all pages.
        and_open : bool
            Also those that did not change and are not done.

        Raises
        ------
        RetriableError
            Also when the list shifted while it was read: begin again.
        """

    def update(self, issue_id: str, draft: IssueDraft) -> None:
        """Rewrite the machine-owned part and add labels; summary and what people wrote stay. Idempotent."""

    def put_comment(self, issue_id: str, comment_id: str | None, text: str) -> str:
        """Create (None) or rewrite the issue's one comment of quotes, plain text; returns its id.

        An empty text deletes it and returns "". A non-empty text that returns "" means that people deleted the
        comment: that stands.
        """

    def check(self) -> list[str]:
        """Return the problems that would stop the sink, each with its remedy; empty when all is well."""
