"""Stage 3: look at a changed cluster, decide, and write to the tracker what the ledger allows.

Reserve → create → confirm, each step in a transaction of its own. A process that dies between two of them leaves a
reserved row: the next one searches for the issue by its label and never creates it blindly. Several workers may look
at one cluster at once: what one of them reserved, the others leave to it for `PATIENCE`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog

from pipeline import metrics
from pipeline.backlog import FRESH, KnownIssues
from pipeline.commenting import Comments
from pipeline.decide import Action, ClusterFacts, Decision, Filed, Match, Mode, decide
from pipeline.drafting import Drafts
from pipeline.errors import FatalError, RetriableError, SkippableError, UncertainError
from pipeline.issue_text import fingerprint, issue_label
from pipeline.settings import PolicySettings
from pipeline.store import ledger
from pipeline.store.database import Database
from pipeline.store.facts import Said, cluster_facts
from pipeline.store.ledger import Ticket, TicketState
from pipeline.store.linking import link_issue, unlinked
from pipeline.trackers.port import IssueDraft, IssueRef, Tracker

log = structlog.get_logger()

PATIENCE: Final = timedelta(seconds=60)
"""A claim this old belongs to nobody any more; longer than a tracker's call can wait (the local one for 30 s)."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What would happen to a cluster."""

    decision: Decision
    ticket: Ticket | None
    writes: Mapping[str, Any]
    """What a new ticket would be, as the tracker would be sent it."""


class Sink:
    """Decides about clusters and files tickets, one cluster at a time."""

    def __init__(
        self,
        database: Database,
        tracker: Tracker,
        policy: PolicySettings,
        mode: Mode,
        *,
        patience: timedelta = PATIENCE,
        known: KnownIssues | None = None,
    ) -> None:
        self._database = database
        self._tracker = tracker
        self._policy = policy
        self._mode = mode
        self._patience = patience
        self._lock = asyncio.Lock()
        self._drafts = Drafts(database)
        self._comments = Comments(database, tracker, self._drafts, policy, patience)
        self._known = known

    async def consider(self, space: str, cluster_id: str) -> Decision | None:
        """Look at a cluster as it is now and do what the policy says; None when nothing is left of it.

        Raises
        ------
        RetriableError
            When the tracker asks to come back later.
        FatalError
            When nothing can be filed until a person acts.
        """
        async with self._lock:
            async with self._database.read() as connection:
                found = await cluster_facts(connection, space, cluster_id, self._policy)
                row = await ledger.ticket(connection, space, cluster_id)
                decided = await ledger.decided(connection, space, cluster_id)
            if row is not None and row.state in ledger.UNSETTLED and await self._settle(row):
                row = await self._ticket(space, cluster_id)
            if found is None:
                return None
            facts, version = found
            decision = decide(facts, _filed(row), self._policy, self._mode)
            if decision.action is Action.OPEN and row is None:
                row = await self._inherit(space, cluster_id)
                decision = decide(facts, _filed(row), self._policy, self._mode)
            if self._known is not None and _filed(row) is None:
                facts, decision = await self._compare(self._known, space, cluster_id, facts, decision)
            filing = decision.action in {Action.OPEN, Action.LINK}
            if filing and row is not None and row.state in ledger.UNSETTLED:
                decision = Decision(
                    Action.SKIP, "uncertain", "an earlier create has no known outcome yet; being searched for"
                )
            elif filing and row is not None and row.state == TicketState.UNLINKED:
                decision = Decision(
                    Action.SKIP, "unlinked", "our comment on the issue that it was linked to goes first"
                )
            elif decision.action is Action.OPEN and _refused(row) and decided == version:
                decision = Decision(Action.SKIP, "refused", "refused by the tracker, and unchanged since")
            elif decision.action is Action.OPEN:
                await self._open(space, cluster_id, facts, decision)
            elif decision.action is Action.LINK and facts.match is not None:
                await self._link(space, cluster_id, facts, decision, facts.match)
            elif decision.action is Action.UPDATE and row is not None:
                await self._update(space, cluster_id, facts, decision, row)
            elif row is not None and row.state == TicketState.OPEN and row.comment_id is None:
                await self._comments.write(space, cluster_id)
            await self._note(space, cluster_id, version, facts, decision)
            return decision

    async def _compare(
        self, known: KnownIssues, space: str, cluster_id: str, facts: ClusterFacts, decision: Decision
    ) -> tuple[ClusterFacts, Decision]:
        """Decide again about what would be filed, by what people filed already."""
        if decision.action not in {Action.OPEN, Action.PROPOSE} and decision.rule != "shadow":
            return facts, decision
        if not await known.known(space):
            facts = replace(facts, backlog_read=False)
        else:
            if decision.action is Action.OPEN:
                await known.refresh(space, FRESH)
            facts = replace(facts, match=await known.match(space, cluster_id))
        return facts, decide(facts, None, self._policy, self._mode)

    async def preview(self, space: str, cluster_id: str) -> Preview | None:
        """Return what would be decided about a cluster now, and what a ticket would say; writes nothing there.

        Raises
        ------
        RetriableError, FatalError
            When the tracker does not answer about what people filed.
        """
        async with self._database.read() as connection:
            found = await cluster_facts(connection, space, cluster_id, self._policy)
            row = await ledger.ticket(connection, space, cluster_id)
        if found is None:
            return None
        facts = found[0]
        decision = decide(facts, _filed(row), self._policy, self._mode)
        if self._known is not None and _filed(row) is None:
            facts, decision = await self._compare(self._known, space, cluster_id, facts, decision)
        # What opens nothing by itself would say that a person opened it.
        opening = decision.action in {Action.OPEN, Action.UPDATE}
        said = decision if opening else decide(replace(facts, promoted=True), None, self._policy, "auto")
        issue, quoted = await self._drafts.draft(space, cluster_id, facts, said)
        linked = row is not None and row.origin == ledger.LINKED
        comment = await self._comments.text(space, cluster_id, row.reason if row and linked else None, quoted)
        return Preview(decision, row, self._tracker.preview(issue, comment))

    async def read_backlog(self) -> None:
        """Read what people filed, for every space; long the first time, and beside all else."""
        if self._known is None:
            return
        async with self._database.read() as connection:
            spaces = await ledger.spaces(connection)
        for space in spaces:
            await self._known.refresh(space)

    async def _inherit(self, space: str, cluster_id: str) -> Ticket | None:
        """Take over the ticket of a cluster that merged into this one: one matter, one issue."""
        async with self._database.write() as connection:
            return await ledger.inherit(connection, space, cluster_id)

    async def sweep(self) -> None:
        """Come back to what no message will wake: uncertain creates, and decisions whose time has come."""
        async with self._database.read() as connection:
            unsettled = await ledger.unsettled(connection)
        for old in unsettled:
            async with self._lock:
                # Read again: whoever held the lock may have settled it.
                row = await self._ticket(old.space, old.cluster_id)
                settled = row is not None and row.state in ledger.UNSETTLED and await self._settle(row)
            if settled:
                await self.consider(old.space, old.cluster_id)
        async with self._database.read() as connection:
            stale = [*await ledger.stale_quotes(connection), *await ledger.uncommented(connection)]
            due = await ledger.due(connection)
            parted = await unlinked(connection, datetime.now(UTC))
        for row in parted:
            async with self._lock:
                await self._comments.take_away(row)
        for space, cluster_id in stale:
            async with self._lock:
                await self._comments.write(space, cluster_id)
        for space, cluster_id in due:
            await self.consider(space, cluster_id)

    # -- linking ----------------------------------------------------------------------------------------------

    async def _link(self, space: str, cluster_id: str, facts: ClusterFacts, decision: Decision, match: Match) -> None:
        """Make an issue that people filed the cluster's ticket; nothing but our comment is written there."""
        async with self._database.write() as connection:
            linked = await link_issue(
                connection,
                space,
                cluster_id,
                self._tracker.name,
                match,
                issue_label(space, cluster_id),
                facts,
                decision.reason,
                by=None,
            )
        if linked:
            metrics.TICKETS.labels("linked").inc()
            log.info("issue linked", space=space, cluster_id=cluster_id, issue=match.key, likeness=match.score)
            await self._comments.write(space, cluster_id)

    # -- creating ---------------------------------------------------------------------------------------------

    async def _open(self, space: str, cluster_id: str, facts: ClusterFacts, decision: Decision) -> None:
        issue, quoted = await self._drafts.draft(space, cluster_id, facts, decision)
        async with self._database.write() as connection:
            reserved = await ledger.reserve(
                connection, space, cluster_id, self._tracker.name, issue, facts, decision, datetime.now(UTC)
            )
        if reserved:
            await self._create(space, cluster_id, issue, quoted, facts.now)

    async def _create(self, space: str, cluster_id: str, issue: IssueDraft, quoted: list[Said], now: datetime) -> None:
        try:
            ref = await asyncio.to_thread(self._tracker.create, issue)
        except UncertainError as exc:
            await self._doubt(space, cluster_id, str(exc), finds=0)
            return
        except RetriableError as exc:
            metrics.TICKETS.labels("retried").inc()
            await self._state(space, cluster_id, TicketState.WAITING, str(exc))
            raise
        except SkippableError as exc:
            metrics.TICKETS.labels("refused").inc()
            await self._state(space, cluster_id, TicketState.REFUSED, str(exc))
            log.error("issue refused", space=space, cluster_id=cluster_id, reason=str(exc))
            return
        except FatalError as exc:
            await self._state(space, cluster_id, TicketState.WAITING, str(exc))
            raise
        await self._confirm(space, cluster_id, ref, fingerprint(issue), now)
        await self._comments.write(space, cluster_id, quoted)

    async def _confirm(self, space: str, cluster_id: str, ref: IssueRef, sent_hash: str | None, now: datetime) -> None:
        async with self._database.write() as connection:
            first = await ledger.confirm(connection, space, cluster_id, ref, sent_hash, now)
        if first:
            metrics.TICKETS.labels("opened").inc()
            log.info("issue opened", space=space, cluster_id=cluster_id, issue=ref.key)

    async def _settle(self, row: Ticket) -> bool:
        """Find out what became of a create, by its label, after waits that outlast the search's lag.

        Return whether that is known now: the ticket is open, or it may be created again.
        """
        now = datetime.now(UTC)
        if row.state == TicketState.RESERVED and now - row.reserved_at < self._patience:
            return False  # another worker may be creating it right now
        if row.next_find_at is not None and now < row.next_find_at:
            return False
        waits = self._tracker.search_lag_s
        if waits and row.finds == 0 and row.next_find_at is None:
            await self._doubt(row.space, row.cluster_id, row.problem or "a create was cut short", finds=0)
            return False
        try:
            found = await asyncio.to_thread(self._tracker.find, row.label)
        except (RetriableError, SkippableError) as exc:
            wait = timedelta(seconds=exc.retry_after_s) if isinstance(exc, RetriableError) else timedelta(hours=1)
            log.warning("cannot search", cluster_id=row.cluster_id, reason=str(exc))
            await self._state(row.space, row.cluster_id, TicketState.UNCERTAIN, str(exc), now + wait, row.finds)
            return False
        if found:
            if len(found) > 1:
                keys = ", ".join(ref.key for ref in found)
                log.error("several issues carry one cluster's label", cluster_id=row.cluster_id, issues=keys)
            async with self._database.read() as connection:
                event_time = await ledger.space_now(connection, row.space)
            await self._confirm(row.space, row.cluster_id, found[0], None, event_time)
            return True
        finds = row.finds + 1
        if not waits:
            # This tracker's search sees every write: nothing came of the create, so it may be repeated.
            await self._state(
                row.space, row.cluster_id, TicketState.WAITING, "a create was cut short before it was sent"
            )
            return True
        if finds >= len(waits):
            metrics.TICKETS.labels("uncertain").inc()
            problem = f"no issue with label {row.label} after {finds} searches: look in the tracker, and decide there"
            await self._state(
                row.space, row.cluster_id, TicketState.UNCERTAIN, problem, now + timedelta(hours=1), finds
            )
            log.error("issue uncertain", space=row.space, cluster_id=row.cluster_id, label=row.label)
            return False
        await self._doubt(row.space, row.cluster_id, row.problem or "", finds)
        return False

    async def _doubt(self, space: str, cluster_id: str, problem: str, finds: int) -> None:
        waits = self._tracker.search_lag_s
        at = datetime.now(UTC) + timedelta(seconds=waits[finds]) if waits else datetime.now(UTC)
        await self._state(space, cluster_id, TicketState.UNCERTAIN, problem, at, finds)

    async def _state(
        self,
        space: str,
        cluster_id: str,
        state: TicketState,
        problem: str,
        next_find_at: datetime | None = None,
        finds: int = 0,
    ) -> None:
        async with self._database.write() as connection:
            await ledger.set_state(connection, space, cluster_id, state, problem, next_find_at, finds)

    # -- updating ---------------------------------------------------------------------------------------------

    async def _update(self, space: str, cluster_id: str, facts: ClusterFacts, decision: Decision, row: Ticket) -> None:
        issue, quoted = await self._drafts.draft(space, cluster_id, facts, decision)
        sent: str | None = fingerprint(issue)
        problem = None
        if row.origin == ledger.LINKED:
            sent = None  # people's own issue: our comment is all that is written there
        elif sent != row.sent_hash:
            try:
                await asyncio.to_thread(self._tracker.update, row.issue_id, issue)
                metrics.TICKETS.labels("updated").inc()
                log.info("issue updated", space=space, cluster_id=cluster_id, issue=row.issue_key)
            except SkippableError as exc:
                # People deleted the issue, or the text is refused: asked again when the cluster has grown as much.
                metrics.TICKETS.labels("refused").inc()
                log.error("update refused", space=space, cluster_id=cluster_id, issue=row.issue_key, reason=str(exc))
                sent, problem = row.sent_hash, str(exc)
        async with self._database.write() as connection:
            await ledger.note_update(connection, space, cluster_id, facts, sent, facts.now, problem)
        await self._comments.write(space, cluster_id, quoted)

    # -- bookkeeping ------------------------------------------------------------------------------------------

    async def _ticket(self, space: str, cluster_id: str) -> Ticket | None:
        async with self._database.read() as connection:
            return await ledger.ticket(connection, space, cluster_id)

    async def _note(self, space: str, cluster_id: str, version: int, facts: ClusterFacts, decision: Decision) -> None:
        metrics.DECISIONS.labels(decision.action, decision.rule).inc()
        async with self._database.write() as connection:
            await ledger.note_decision(connection, space, cluster_id, version, decision, facts.now)


def _refused(row: Ticket | None) -> bool:
    return row is not None and row.state == TicketState.REFUSED


def _filed(row: Ticket | None) -> Filed | None:
    if row is None or row.state != TicketState.OPEN:
        return None
    return Filed(people=row.people, platforms=tuple(row.platforms), updated_at=row.updated_at)
