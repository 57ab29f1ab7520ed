"""The owner of a space: turns a batch of signals and commands into one transaction.

Each batch: bring back what it touches → fold it, entry by entry → write journal, changes and outbox in one
transaction guarded by the lease. If the transaction fails, memory is void and the process ends: a restart folds on
from what was committed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Final, Protocol

import structlog

from models.clusterer import ClusterFit
from pipeline import metrics
from pipeline.dead import other_model
from pipeline.doors import Arrival
from pipeline.entries import Body, Commanded, Entry, Posted, Reacted, Ticked
from pipeline.errors import RetriableError
from pipeline.fitter import Fitter
from pipeline.fold import SpaceState
from pipeline.received import Received, Refusal
from pipeline.records import CommandName, Event
from pipeline.state import Changes, FoldSettings
from pipeline.store import leases
from pipeline.store.accounts import add_counts, offsets, repeated, save_reactions
from pipeline.store.commands import save_commands
from pipeline.store.database import Database
from pipeline.store.spaces import MessageDetails, load_state, prefetch, save, space_model

log = structlog.get_logger()

QUIET: Final = timedelta(seconds=5)
"""What is on its way through the stages arrives within this time; only after it can a space be silent."""
IDLE_TICK: Final = timedelta(minutes=10)
"""With nothing to fit, a tick this rarely keeps a quiet space's clock going."""


class Watcher(Protocol):
    """Looks on while a space is folded; a dry run decides where live the outbox wakes the sink."""

    def stops(self, state: SpaceState) -> bool:
        """Tell, after each arrival, whether to commit here. In the fold's thread; changes nothing."""

    async def look(self, state: SpaceState, changes: Changes) -> None:
        """See what was committed."""


@dataclass(slots=True)
class Held:
    """A space this process owns."""

    state: SpaceState
    epoch: int
    running: Future[ClusterFit] | None = None
    dimensions: int | None = None
    """Length of the space's vectors, once there is one."""
    model: str | None = None
    """What embedded the space's messages, once there is one."""
    resumed: bool = False
    """Taken up at start to finish what was begun, and given back after that: its signals may come to another."""
    silent: bool = False
    """A tick said so since the last arrival."""
    last_entry_at: datetime = field(default_factory=lambda: datetime.now(UTC))


class Owner:
    """Owns the spaces whose signals reach this process.

    Parameters
    ----------
    name : str
        Stable name of this worker; a restart under the same name takes its leases back at once.
    watcher : Watcher, optional
        Looks on; batch edges, and so its stops, change no result.
    quiet : timedelta
        Wall-clock time without an arrival before which no space counts as silent.
    """

    def __init__(
        self,
        name: str,
        database: Database,
        settings: FoldSettings,
        fitter: Fitter,
        *,
        watcher: Watcher | None = None,
        quiet: timedelta = QUIET,
    ) -> None:
        self.name = name
        self._database = database
        self._settings = settings
        self._fitter = fitter
        self._watcher = watcher
        self._quiet = quiet
        self._held: dict[str, Held] = {}
        self._lock = asyncio.Lock()
        self._looked_back = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="fold")
        self.committed = asyncio.Event()
        """Set after each transaction that wrote to the outbox; the relay clears it."""

    async def take(self, received: Sequence[Received[Arrival]]) -> list[Refusal]:
        """Apply a batch, in order, space by space; return what does not fit the space."""
        refusals: list[Refusal] = []
        async with self._lock:
            by_space: dict[str, list[Arrival]] = {}
            for item in received:
                held = await self._hold(item.record.space)
                reason = _misfit(item.record, held)
                if reason is None:
                    by_space.setdefault(item.record.space, []).append(item.record)
                else:
                    refusals.append(Refusal(item.partition, item.offset, reason))
            for space, own in by_space.items():
                self._held[space].resumed = self._held[space].silent = False
                async with self._void_on_failure(space):
                    for part in _parts(own):
                        while part:
                            part = part[await self._take(space, part) :]
        return refusals

    async def tick(self) -> None:
        """Let time pass where nothing arrives: finish and begin fits, renew leases."""
        async with self._lock:
            if not self._looked_back:
                await self._look_back()
            for space, held in list(self._held.items()):
                if held.resumed and not held.state.unfinished:
                    await self._give_back(space)
                    continue
                at = _tick_time(held, datetime.now(UTC), self._quiet)
                async with self._void_on_failure(space):
                    if at is not None:
                        await self._tick(space, held, at)
                    else:
                        async with self._database.write() as connection:
                            await leases.hold(connection, space, held.epoch)

    async def finish(self, space: str) -> None:
        """Bring a space up to date as a silence would, at once: no more is to come."""
        async with self._lock:
            held = await self._hold(space)
            async with self._void_on_failure(space):
                await self._tick(space, held, None)

    async def release(self) -> None:
        """Give every space back; the next owner need not wait."""
        async with self._lock:
            for space in list(self._held):
                await self._give_back(space)

    def close(self) -> None:
        """Free the fold's thread and the fitter's process."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._fitter.close()

    @asynccontextmanager
    async def _void_on_failure(self, space: str) -> AsyncIterator[None]:
        """Forget what memory holds of a space when its transaction failed: the next try loads what was committed."""
        try:
            yield
        except BaseException:
            self._held.pop(space, None)
            raise

    async def _give_back(self, space: str) -> None:
        held = self._held.pop(space)
        try:
            async with self._database.write() as connection:
                await leases.release(connection, space, held.epoch)
        except RetriableError as exc:
            # It runs out by itself; a worker that stops, or gives partitions back, need not wait for a database.
            log.warning("lease not given back", space=space, reason=str(exc))

    async def _look_back(self) -> None:
        """Take up the spaces that this worker owned last and left unfitted: no signal may ever come to wake them."""
        async with self._database.read() as connection:
            left = await leases.unfitted(connection, self.name, self._settings.idle_min_new)
        for space in left:
            if space not in self._held:
                (await self._hold(space)).resumed = True
        self._looked_back = True

    # -- one space --------------------------------------------------------------------------------------------

    async def _hold(self, space: str) -> Held:
        if space not in self._held:
            while True:
                try:
                    async with self._database.write() as connection:
                        epoch = await leases.acquire(connection, space, self.name)
                        state = await load_state(connection, space, self._settings)
                        model = await space_model(connection, space)
                    break
                except leases.LeaseLostError as exc:
                    await asyncio.sleep(min(exc.retry_after_s, 1.0))
            self._held[space] = Held(state, epoch, dimensions=_dimensions(state), model=model)
        return self._held[space]

    async def _take(self, space: str, arrivals: Sequence[Arrival]) -> int:
        """Fold up to all of `arrivals` and commit; return how many."""
        held = await self._hold(space)
        needs = held.state.needs(arrival.body for arrival in arrivals if arrival.body is not None)
        async with self._database.read() as connection:
            await prefetch(connection, held.state, needs)
            batch = _Batch(await offsets(connection, space), await repeated(connection, space, arrivals))
        taken: int = await self._in_thread(self._fold, held, arrivals, batch)
        arrivals = arrivals[:taken]
        async with self._database.write() as connection:
            await leases.hold(connection, space, held.epoch)
            changes = held.state.drain()
            await save(connection, held.state, changes, batch.entries, batch.details)
            await save_commands(connection, held.state, arrivals, batch.entries)
            await save_reactions(connection, space, arrivals)
            await add_counts(connection, space, batch.counts, batch.offsets)
        await self._done(held, changes)
        return taken

    async def _tick(self, space: str, held: Held, at: datetime | None) -> None:
        """Tick at `at`, or (None) bring all up to date."""
        state = held.state
        entries: list[Entry] = []

        def fold() -> None:
            if at is None:
                self._catch_up(held, entries)
                return
            self._finish_fit(held, entries)
            self._apply(held, Ticked(), at, entries)

        await self._in_thread(fold)
        async with self._database.write() as connection:
            await leases.hold(connection, space, held.epoch)
            changes = state.drain()
            await save(connection, state, changes, entries, {})
        await self._done(held, changes)

    async def _done(self, held: Held, changes: Changes) -> None:
        held.state.evict()
        held.last_entry_at = datetime.now(UTC)
        if changes.clusters:
            self.committed.set()
        if self._watcher is not None:
            await self._watcher.look(held.state, changes)

    async def _in_thread(self, function: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)

    # -- in the fold's thread ---------------------------------------------------------------------------------

    def _fold(self, held: Held, arrivals: Sequence[Arrival], batch: _Batch) -> int:
        """Fold until the watcher stops it; return how many arrivals were taken."""
        foreseen: int | None = None
        for taken, arrival in enumerate(arrivals):
            stale = arrival.body is not None and held.state.stale(arrival.body)
            if arrival.body is not None and not stale and self._before(held, arrival.body, arrival.at, batch.entries):
                return taken
            if foreseen != held.state.fitted_seq:  # at first, and again after a fit: it moves the centroids
                foreseen = held.state.fitted_seq
                rest = (other.body for other in arrivals[taken:])
                held.state.centroids.foresee([body.vector for body in rest if isinstance(body, Posted)])
            batch.count(arrival, stale=stale)
            if arrival.body is None or stale:
                continue
            self._apply(held, arrival.body, arrival.at, batch.entries)
            if arrival.details is not None and isinstance(arrival.body, Posted):
                batch.details[held.state.seq] = arrival.details
            if self._watcher is not None and self._watcher.stops(held.state):
                return taken + 1
        return len(arrivals)

    def _before(self, held: Held, body: Body, at: datetime, entries: list[Entry]) -> bool:
        """Apply what is due before an entry; return whether the watcher wants to see that first."""
        request = held.state.fit
        if held.state.was_silent(body, at) and held.state.unfinished:
            self._catch_up(held, entries)
        elif request is not None and held.state.seq >= request.due_seq:
            self._finish_fit(held, entries)
        else:
            return False
        return self._watcher is not None and self._watcher.stops(held.state)

    def _catch_up(self, held: Held, entries: list[Entry]) -> None:
        """Let a silence pass: apply the fit under way, then fit what is new."""
        if held.state.now is None:
            return
        at = held.state.now + self._settings.idle_gap
        self._finish_fit(held, entries)
        self._apply(held, Ticked(), at, entries)
        if held.state.fit is not None:
            self._finish_fit(held, entries)
            self._apply(held, Ticked(), at, entries)

    def _apply(self, held: Held, body: Body, at: datetime, entries: list[Entry]) -> None:
        state = held.state
        entry = Entry(state.seq + 1, at, body)
        before = state.fit
        state.apply(entry)
        entries.append(entry)
        if state.fit is not None and state.fit is not before:
            held.running = self._fitter.submit(state.fit.vectors)

    def _finish_fit(self, held: Held, entries: list[Entry]) -> None:
        """Wait for the running fit and journal its result at this place."""
        request = held.state.fit
        if request is None:
            return
        assert held.running is not None
        assert held.state.now is not None
        fit = held.running.result()
        held.running = None
        metrics.FITS.labels(held.state.space).inc()
        self._apply(held, request.result(fit.labels, fit.view), held.state.now, entries)


def _tick_time(held: Held, now: datetime, quiet: timedelta) -> datetime | None:
    """Return the event time of the tick that is due, or None.

    A silence is the same in an archive and live: `idle_gap` of event time without an entry. Live it is over when the
    wall clock is that far beyond the space's own, and nothing of it is still on its way.
    """
    state, passed = held.state, now - held.last_entry_at
    base = state.now if state.now is not None else now
    if held.running is not None and not held.running.done():
        return None
    if held.silent and held.running is not None:
        return base + passed
    if not held.silent and state.unfinished and passed >= quiet and base + state.settings.idle_gap <= now:
        held.silent = True
        return base + state.settings.idle_gap
    return base + passed if passed >= IDLE_TICK else None


@dataclass(slots=True)
class _Batch:
    offsets: dict[tuple[str, int], int]
    repeated: set[str]
    """Ids of reactions and votes that say what is known; they count as duplicates, and change nothing anyway."""
    entries: list[Entry] = field(default_factory=list)
    details: dict[int, MessageDetails] = field(default_factory=dict)
    counts: dict[tuple[str, int], Counter[str]] = field(default_factory=dict)

    def count(self, arrival: Arrival, *, stale: bool) -> None:
        """Count each record of `community.events` once, however often Kafka delivers it."""
        if arrival.origin is None:
            return
        key = (arrival.origin.cluster, arrival.origin.partition)
        counts = self.counts.setdefault(key, Counter())
        if arrival.origin.offset <= self.offsets.get(key, -1):
            counts["redelivered"] += 1
            return
        self.offsets[key] = arrival.origin.offset
        event = arrival.record
        repeat = isinstance(event, Event) and event.id in self.repeated
        counts["duplicate" if stale or repeat else arrival.type] += 1
        if isinstance(event, Event) and isinstance(arrival.body, Reacted):
            self.repeated.add(event.id)


def _parts(arrivals: Sequence[Arrival]) -> list[Sequence[Arrival]]:
    """Cut before each command that takes one back: what it needs in memory is known once all before it is stored."""
    marks = [
        index
        for index, arrival in enumerate(arrivals)
        if isinstance(arrival.body, Commanded) and arrival.body.name is CommandName.UNDO
    ]
    edges = sorted({0, *marks, len(arrivals)})
    return [arrivals[start:end] for start, end in pairwise(edges)]


def _dimensions(state: SpaceState) -> int | None:
    if state.centroids.view is not None:
        return len(state.centroids.view.mean)
    return next((len(m.vector) for m in state.members.values() if m.vector is not None), None)


def _misfit(arrival: Arrival, held: Held) -> str | None:
    """Return why a vector cannot be compared with the space's others, or None; the first one sets the measure."""
    if not isinstance(arrival.body, Posted):
        return None
    found, model = len(arrival.body.vector), arrival.details.model if arrival.details is not None else ""
    held.dimensions = held.dimensions or found
    held.model = held.model or model or None
    if model and model != held.model:
        return other_model(arrival.space, model, held.model or "")
    if found != held.dimensions:
        theirs = f"{model or 'another model'} ({found} numbers)"
        return other_model(arrival.space, theirs, f"{held.model or 'one'} of {held.dimensions}")
    return None
