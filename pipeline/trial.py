"""A space folded in one process: the real owner, the real sink, a database in a folder that goes away.

What live does over Kafka in its own time happens here at once: whenever a cluster could open, what was folded is
committed and the sink looks. So a ticket opens at the message that made it due, and no clock has a say.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from models.clusterer import Clusterer
from pipeline.answers import Calibration
from pipeline.book import Book, Moves
from pipeline.decide import Action, could_open
from pipeline.doors import Arrival
from pipeline.file_issues import Sink
from pipeline.fitter import InlineFitter
from pipeline.fold import SpaceState
from pipeline.lookout import Lookout, newest_of
from pipeline.owner import Owner
from pipeline.received import Received, Refusal
from pipeline.settings import PolicySettings
from pipeline.state import Changes, Cluster, FoldSettings
from pipeline.store import ledger
from pipeline.store.assignments import assignments
from pipeline.store.database import Database
from pipeline.trackers.recorder import Recorder
from pipeline.tried import OnBoard, Tried, TriedTicket

BATCH: Final = 250
"""Arrivals that go to the owner at once; it stops within them where something is to be seen."""
_QUOTE: Final = re.compile(r"^- “(.*)”", re.MULTILINE)


class Trial:
    """One run. Made by `trying`; `feed` it, then `end` it."""

    def __init__(
        self, space: str, database: Database, fold: FoldSettings, policy: PolicySettings, clusterer: Clusterer
    ) -> None:
        self.space = space
        self.tickets: list[TriedTicket] = []
        self._database = database
        self._policy = policy
        self._fold = fold
        self._tracker = Recorder()
        self._sink = Sink(database, self._tracker, policy, "auto")
        self._owner = Owner("trial", database, fold, InlineFitter(clusterer), watcher=self)
        self._book = Book()
        self._lookout = Lookout(space, database, policy, self._book)
        self._moves: list[Moves] = []
        self._offset = 0
        self._by_label: dict[str, TriedTicket] = {}
        self._ticketed: set[str] = set()
        self._state: SpaceState | None = None
        # of the look before
        self._seen_seq = 0
        self._fitted_seq = 0
        self._counts: dict[str, int] = {}
        self._echoes: dict[str, int] = {}
        self._wait: dict[str, int] = {}
        self._due: dict[str, datetime] = {}
        self._settling: set[str] = set()
        """Of those due, what nothing but time brings."""

    async def feed(self, arrivals: Sequence[Arrival]) -> list[tuple[Arrival, Refusal]]:
        """Fold arrivals, and file what is due meanwhile; return those that were refused."""
        refused = []
        for start in range(0, len(arrivals), BATCH):
            batch = arrivals[start : start + BATCH]
            first = self._offset
            received = [Received(arrival, 0, first + number, 0.0) for number, arrival in enumerate(batch)]
            self._offset += len(batch)
            refused += [(batch[one.offset - first], one) for one in await self._owner.take(received)]
        return refused

    @property
    def fitted_seq(self) -> int:
        """Entry of the latest fit that was committed."""
        return self._fitted_seq

    def board(self) -> list[OnBoard]:
        """Return the live clusters as they stand after what was committed, muted and rejected ones left out."""
        state = self._state
        if state is None:
            return []
        live = [c for c in state.clusters.values() if c.live and not c.muted and not c.rejected]
        return [
            OnBoard(
                cluster.cluster_id,
                cluster.number,
                self._book.members(cluster.cluster_id),
                cluster.held_by,
                cluster.cluster_id in self._ticketed,
            )
            for cluster in live
        ]

    def thresholds(self) -> Calibration | None:
        """Return the space's thresholds as people's answers have them now; None before the first message."""
        return self._state.calibration if self._state is not None else None

    async def end(self) -> Tried:
        """Let a silence pass, and what waits for its time; return the result."""
        if self._book.posted:
            await self._owner.finish(self.space)
            for _ in range(int(self._policy.settle / self._fold.idle_gap) + 1):
                if not self._settling:
                    break
                await self._owner.finish(self.space)
        for ticket in self.tickets:
            survivor = self._book.survivor(ticket.cluster_id)
            if survivor != ticket.cluster_id and survivor not in self._ticketed:
                self._ticketed.add(survivor)
                ticket.cluster_id = survivor
            elif survivor != ticket.cluster_id:
                ticket.merged_into = survivor
        for watch in self._lookout.watches:
            watch.cluster_id = self._book.survivor(watch.cluster_id)
        return Tried(self.tickets, await assignments(self._database, self.space), self._moves, self._lookout.watches)

    def close(self) -> None:
        """Free the owner's thread."""
        self._owner.close()

    # -- what the owner asks ------------------------------------------------------------------------------------------

    def stops(self, state: SpaceState) -> bool:
        """See `Watcher.stops`."""
        touched = state.touched(self._seen_seq)
        self._seen_seq = state.seq
        if (newest := newest_of(state.members, state.seq)) is not None:
            self._lookout.arrived(newest)
        if state.fitted_seq != self._fitted_seq:
            return True
        found = False
        for cluster in touched:
            if cluster.cluster_id in self._ticketed:
                continue
            # Touched and no bigger: perhaps one more echo, which counts as a person. And some may have waited for this.
            more = state.came_along + (cluster.count == self._counts.get(cluster.cluster_id, 0))
            self._echoes[cluster.cluster_id] = self._echoes.get(cluster.cluster_id, 0) + more
            self._counts[cluster.cluster_id] = cluster.count
            found = found or self._may_open(cluster) or self._lookout.may_rise(cluster.cluster_id)
        return found or any(state.now >= at for at in self._due.values() if state.now is not None)

    async def look(self, state: SpaceState, changes: Changes) -> None:
        """See `Watcher.look`."""
        self._state = state
        fitted = state.fitted_seq != self._fitted_seq
        self._fitted_seq, self._seen_seq = state.fitted_seq, state.seq
        moves = self._book.update(changes, self._ticketed)
        self._lookout.committed(sum(cluster.live for cluster in state.clusters.values()))
        if fitted:
            # What a fit changed may be anything: wait for nothing any more.
            self._wait.clear()
            if self._ticketed:
                self._moves.append(moves)
        for cluster in changes.clusters.values():
            self._counts[cluster.cluster_id] = cluster.count
            self._echoes[cluster.cluster_id] = max(0, self._book.size(cluster.cluster_id) - cluster.count)
        due = [name for name, at in self._due.items() if state.now is not None and state.now >= at]
        wanted = {c.cluster_id: c for c in changes.clusters.values() if self._may_open(c)}
        wanted |= {name: state.clusters[name] for name in due}
        wanted |= {
            name: cluster
            for name, cluster in changes.clusters.items()
            if name not in self._ticketed and cluster.live and self._lookout.may_rise(name)
        }
        for cluster in sorted(wanted.values(), key=lambda one: one.number):
            await self._consider(cluster)

    def _may_open(self, cluster: Cluster) -> bool:
        name = cluster.cluster_id
        messages = cluster.count + self._echoes.get(name, 0)
        if name in self._ticketed or name in self._settling or messages < self._wait.get(name, 0):
            return False
        return could_open(cluster, messages, self._policy)

    async def _consider(self, cluster: Cluster) -> None:
        name = cluster.cluster_id
        self._due.pop(name, None)
        self._settling.discard(name)
        before = len(self._tracker.drafts)
        decision = await self._sink.consider(self.space, name)
        async with self._database.read() as connection:
            row = await ledger.ticket(connection, self.space, name)
            now = await ledger.space_now(connection, self.space)
        await self._lookout.decided(name, decision, now)
        if row is not None:
            self._ticketed.add(name)
        if row is not None and len(self._tracker.drafts) > before:
            self._opened(name, row, now)
        elif row is not None and row.label in self._by_label:
            self._by_label[row.label].cluster_id = name
        elif decision is not None and decision.due_at is not None:
            self._due[name] = decision.due_at
            if decision.action is not Action.WATCH:
                self._settling.add(name)
        elif decision is not None and decision.rule == "people":
            # Reactions may bring it before messages do.
            silent = self._policy.reaction_share * self._policy.min_people
            missing = self._policy.min_people - silent - self._book.people_within(name, self._policy.window)
            self._wait[name] = self._book.size(name) + max(0, int(missing))

    def _opened(self, name: str, row: ledger.Ticket, now: datetime) -> None:
        draft = self._tracker.drafts[-1]
        ticket = TriedTicket(
            cluster_id=name,
            kind=row.kind,
            summary=row.summary,
            description=draft.description,
            opened_at=now,
            opened_at_message=self._book.newest,
            opened_after=self._book.posted,
            messages=row.messages,
            authors=row.people,
            platforms=tuple(row.platforms),
            reason=row.reason,
            members=self._book.members(name),
            opened_as=name,
            quotes=tuple(_QUOTE.findall(self._tracker.comments.get(row.issue_id, ""))),
        )
        self.tickets.append(ticket)
        self._by_label[row.label] = ticket


@contextlib.asynccontextmanager
async def trying(space: str, fold: FoldSettings, policy: PolicySettings, clusterer: Clusterer) -> AsyncIterator[Trial]:
    """Open a trial with a database of its own, which is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="groundswell-dry-") as folder:
        database = Database(f"sqlite+aiosqlite:///{Path(folder) / 'groundswell.db'}")
        await database.migrate()
        trial = Trial(space, database, fold, policy, clusterer)
        try:
            yield trial
        finally:
            trial.close()
            await database.close()
