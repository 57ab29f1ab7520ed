"""What people order about tickets: link and unlink, adopt and retry. The sink does the writing in the tracker."""

from __future__ import annotations

import asyncio

from pipeline.decide import Match
from pipeline.errors import FatalError
from pipeline.issue_text import issue_label
from pipeline.settings import PolicySettings
from pipeline.store import ledger
from pipeline.store.database import Database
from pipeline.store.facts import cluster_facts
from pipeline.store.ledger import Ticket, TicketState
from pipeline.store.linking import link_issue, part
from pipeline.trackers.port import IssueState, Tracker


class Desk:
    """Takes orders about the tickets of one space. Every method raises FatalError where an order makes no sense."""

    def __init__(self, database: Database, tracker: Tracker, policy: PolicySettings, space: str) -> None:
        self._database = database
        self._tracker = tracker
        self._policy = policy
        self._space = space

    async def link(self, cluster_id: str, key: str, by: str) -> IssueState:
        """Make the issue that people filed under `key` a cluster's ticket."""
        issue = await self._read(key)
        match = Match(
            issue.ref.id, issue.ref.key, issue.ref.url, issue.summary, issue.status, done=issue.done, score=None
        )
        async with self._database.write() as connection:
            found = await cluster_facts(connection, self._space, cluster_id, self._policy)
            if found is None:
                raise FatalError("nobody is left in this cluster: all its messages were deleted")
            row = await ledger.ticket(connection, self._space, cluster_id)
            label = issue_label(self._space, cluster_id)
            if any(name.endswith(label) for name in issue.labels):
                raise FatalError(
                    f"{issue.ref.key} is one that groundswell filed for this cluster: `jira adopt` takes it"
                )
            linked = await link_issue(
                connection,
                self._space,
                cluster_id,
                self._tracker.name,
                match,
                label,
                found[0],
                "a person linked it",
                by=by,
            )
        if not linked:
            raise FatalError(f"cannot link {issue.ref.key}: {_taken(row, issue)}")
        return issue

    async def unlink(self, cluster_id: str, by: str) -> tuple[str, bool]:
        """Say that the linked or proposed issue is another matter; return its key, and whether it was linked."""
        async with self._database.write() as connection:
            parted = await part(connection, self._space, cluster_id, by)
        if parted is None:
            raise FatalError("no issue that people filed is linked with this cluster, or proposed for it")
        return parted

    async def adopt(self, cluster_id: str, key: str) -> IssueState:
        """Say that `key` is the issue that a create whose answer was lost came to."""
        row = await self._doubtful(cluster_id)
        issue = await self._read(key)
        if not any(name.endswith(row.label) for name in issue.labels):
            raise FatalError(
                f"{issue.ref.key} does not carry the label {row.label}, so groundswell did not create it for this "
                f"cluster; `jira link` links an issue that people filed, once `jira retry` was said and nothing opened"
            )
        async with self._database.write() as connection:
            now = await ledger.space_now(connection, self._space)
            if not await ledger.confirm(connection, self._space, cluster_id, issue.ref, None, now):
                raise FatalError("it was found meanwhile: `groundswell why` says where it is")
        return issue

    async def retry(self, cluster_id: str) -> None:
        """Let a create be repeated: a person looked in the tracker, and there is no issue."""
        row = await self._doubtful(cluster_id)
        if row.state == TicketState.UNCERTAIN and row.finds < len(self._tracker.search_lag_s):
            raise FatalError(
                f"it is still being searched for by its label {row.label}: a create repeated now might be a second "
                f"one; try again in some minutes"
            )
        async with self._database.write() as connection:
            if not await ledger.retry(connection, self._space, cluster_id):
                raise FatalError("it changed meanwhile: `groundswell why` says how it stands")

    async def _doubtful(self, cluster_id: str) -> Ticket:
        async with self._database.read() as connection:
            row = await ledger.ticket(connection, self._space, cluster_id)
        if row is None:
            raise FatalError("this cluster has no ticket, nor was one tried: `groundswell why` says why")
        if row.state not in {TicketState.UNCERTAIN, TicketState.REFUSED}:
            raise FatalError(f"its ticket is {row.state}: only one that is uncertain or refused waits for a person")
        return row

    async def _read(self, key: str) -> IssueState:
        issue = await asyncio.to_thread(self._tracker.read, key)
        if issue is None:
            raise FatalError(f"there is no issue {key!r}, or the account may not see it")
        return issue


def _taken(row: Ticket | None, issue: IssueState) -> str:
    if row is not None and row.state in ledger.UNSETTLED:
        return "a create of its own has no known outcome yet: `jira adopt` or `jira retry` first"
    if row is not None and row.state == TicketState.UNLINKED:
        return "the comment on the issue that it was linked with goes first: try again when the file stage has run"
    if row is not None and row.state == TicketState.OPEN:
        return f"the cluster has the ticket {row.issue_key} already"
    return f"it is another cluster's ticket: `groundswell why {issue.ref.key}` names that, `merge` makes the two one"
