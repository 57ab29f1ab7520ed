"""A tracker in memory, for trials: nothing leaves the process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any

from pipeline.trackers.port import IssueDraft, IssuePage, IssueRef, IssueState


@dataclass(slots=True)
class Recorder:
    """A tracker that keeps what is written to it."""

    name: str = "local"
    place: str = "dry run"
    search_lag_s: tuple[float, ...] = ()
    drafts: list[IssueDraft] = field(default_factory=list)
    comments: dict[str, str] = field(default_factory=dict)

    def create(self, draft: IssueDraft) -> IssueRef:
        """See `Tracker.create`."""
        self.drafts.append(draft)
        return self._ref(len(self.drafts))

    def preview(self, draft: IssueDraft, comment: str) -> Mapping[str, Any]:
        """See `Tracker.preview`."""
        return {"issue": asdict(draft), "comment": comment}

    def find(self, label: str) -> list[IssueRef]:
        """See `Tracker.find`."""
        return [self._ref(number) for number, draft in enumerate(self.drafts, start=1) if draft.label == label]

    def read(self, issue_id: str) -> IssueState | None:
        """See `Tracker.read`."""
        draft = self.drafts[int(issue_id) - 1]
        return IssueState(
            self._ref(int(issue_id)), draft.summary, draft.description, "open", done=False, updated_at=None,
            labels=(draft.label, *draft.labels),
        )  # fmt: skip

    def list_issues(
        self,
        window: timedelta,  # noqa: ARG002 (the port's)
        page: str | None = None,  # noqa: ARG002 (the port's)
        *,
        and_open: bool = False,  # noqa: ARG002 (the port's)
    ) -> IssuePage:
        """See `Tracker.list_issues`: people file nothing in a trial."""
        return IssuePage((), None)

    def update(self, issue_id: str, draft: IssueDraft) -> None:
        """See `Tracker.update`."""
        self.drafts[int(issue_id) - 1] = draft

    def put_comment(self, issue_id: str, comment_id: str | None, text: str) -> str:  # noqa: ARG002 (the port's)
        """See `Tracker.put_comment`."""
        self.comments[issue_id] = text
        return f"c{issue_id}" if text else ""

    def check(self) -> list[str]:
        """See `Tracker.check`."""
        return []

    def _ref(self, number: int) -> IssueRef:
        return IssueRef(str(number), f"DRY-{number}", "")
