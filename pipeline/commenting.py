"""Our one comment on an issue: typical messages, and on an issue that people filed the figures too."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import structlog

from pipeline.drafting import Drafts
from pipeline.errors import FatalError, RetriableError, SkippableError
from pipeline.issue_text import Quote, linked_comment, quotes_comment
from pipeline.settings import PolicySettings
from pipeline.store import ledger
from pipeline.store.database import Database
from pipeline.store.facts import Said, cluster_facts
from pipeline.store.ledger import Ticket, TicketState
from pipeline.store.linking import remove
from pipeline.trackers.port import Tracker

log = structlog.get_logger()


class Comments:
    """Writes comments, and remembers whose words may stand there before they leave."""

    def __init__(
        self, database: Database, tracker: Tracker, drafts: Drafts, policy: PolicySettings, patience: timedelta
    ) -> None:
        self._database = database
        self._tracker = tracker
        self._drafts = drafts
        self._policy = policy
        self._patience = patience

    async def write(self, space: str, cluster_id: str, quoted: list[Said] | None = None) -> None:
        """Quote what is typical now; when that fails or is cut short, `Sink.sweep` comes back to it.

        Parameters
        ----------
        quoted : list of Said, optional
            What is typical now, where it is known.
        """
        row = await self._ticket(space, cluster_id)
        if row is None or row.state != TicketState.OPEN or row.comment_id == "":
            return
        if quoted is None:
            quoted = await self._drafts.quotes(space, cluster_id)
        linked = row.reason if row.origin == ledger.LINKED else None
        text = await self.text(space, cluster_id, linked, quoted)
        if not text and row.comment_id is None:
            return
        refs = [(item.ref, item.seq) for item in quoted]
        now = datetime.now(UTC)
        async with self._database.write() as connection:
            if row.comment_id is None and not await ledger.claim_comment(
                connection, space, cluster_id, now, now + self._patience
            ):
                return
            # Before the words leave: what dies after this still knows whose words may stand there.
            await ledger.intend_quotes(connection, space, cluster_id, refs)
        try:
            written = await asyncio.to_thread(self._tracker.put_comment, row.issue_id, row.comment_id, text)
        except SkippableError as exc:
            log.error("quotes refused", space=space, cluster_id=cluster_id, reason=str(exc))
            written = ""
        except (RetriableError, FatalError):
            if row.comment_id is None:
                async with self._database.write() as connection:
                    await ledger.release_comment(connection, space, cluster_id)
            raise
        async with self._database.write() as connection:
            await ledger.note_comment(connection, space, cluster_id, written, refs)

    async def take_away(self, row: Ticket) -> None:
        """Delete our comment on an issue that turned out to be another matter, and forget the issue."""
        if row.comment_id != "":
            await asyncio.to_thread(self._tracker.put_comment, row.issue_id, row.comment_id, "")
        async with self._database.write() as connection:
            await remove(connection, row.space, row.cluster_id)
        log.info("issue unlinked", space=row.space, cluster_id=row.cluster_id, issue=row.issue_key)

    async def text(self, space: str, cluster_id: str, linked: str | None, quoted: list[Said]) -> str:
        """Return what the comment says now; empty when there is nothing to say.

        Parameters
        ----------
        linked : str or None
            Why it stands on an issue that people filed, where it does.
        """
        quotes = [Quote(item.text, item.permalink) for item in quoted]
        if linked is None:
            return quotes_comment(quotes)
        async with self._database.read() as connection:
            found = await cluster_facts(connection, space, cluster_id, self._policy)
        return "" if found is None else linked_comment(space, cluster_id, found[0], linked, quotes)

    async def _ticket(self, space: str, cluster_id: str) -> Ticket | None:
        async with self._database.read() as connection:
            return await ledger.ticket(connection, space, cluster_id)
