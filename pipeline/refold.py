"""A rebuild's fold: the messages of a journal under new readings and fresh fits, with the clusters' old ids.

Pure. The old journal is folded beside the new one, so that at each fit it is known where each message stood at that
time: decisions about a cluster then meet it in its place, merges and splits by people included.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

import numpy as np
import numpy.typing as npt

from models.clusterer import ClusterFit
from pipeline.carrying import waits
from pipeline.entries import Body, Commanded, Deleted, Entry, Features, Fitted, Posted, Rebuilt, Ticked, Vector
from pipeline.fold import SpaceState
from pipeline.records import CommandName, MessageRef
from pipeline.state import Cluster, FoldSettings, Status
from pipeline.tracking import MERGE_SHARE, MIN_SHARED, reconcile

Fit = Callable[[npt.NDArray[np.float32]], ClusterFit]
PROGRESS_EVERY: Final = 5_000


@dataclass(frozen=True, slots=True)
class Reading:
    """What the model makes of a message's text as it is now; `vector` (d,) float32, as read back from float16."""

    features: Features
    vector: Vector


@dataclass(slots=True)
class Before:
    """A space as its tables have it before the rebuild."""

    seq: int
    next_number: int
    clusters: Mapping[str, Cluster]
    homes: Mapping[MessageRef, str]
    """Cluster of each message that stands in one."""


@dataclass(slots=True)
class Refolded:
    """What a rebuild found; `state` has everything as changed."""

    state: SpaceState
    entries: list[Entry] = field(default_factory=list)
    seqs: dict[int, int] = field(default_factory=dict)
    """Entry of the old journal → its place in the new one."""
    fits: int = 0


def replay(entries: Iterable[Entry], space: str, settings: FoldSettings) -> SpaceState:
    """Fold a journal as it stands; nothing is evicted. The first entry may have any seq."""
    state = SpaceState(space, settings)
    for entry in entries:
        _follow(state, entry)
    return state


def refold(
    entries: Iterable[Entry],
    readings: Mapping[MessageRef, Reading],
    before: Before,
    settings: FoldSettings,
    fit: Fit,
    *,
    space: str,
    model: str,
    dimensions: int,
    say: Callable[[int], None] = lambda _: None,
) -> Refolded:
    """Fold a journal anew: each message as `readings` has it, and the fits that the fold asks for.

    Parameters
    ----------
    entries
        The old journal, in order. A message without a reading counts as deleted.
    readings
        Of every message that has a text; all revisions of a message get the reading of its newest.
    before
        Its ids, numbers and, at the end, memberships are what the new clusters are matched with.
    say
        Told every few thousand entries how many are done.

    Returns
    -------
    Refolded
        Its entries go on after `before.seq`: what is written under them is newer than anything that was there.
    """
    entries = list(entries)
    start = entries[0].at if entries else datetime.now(UTC)
    # Merged by a person: the messages were not alike, so each part keeps its own name until the decision meets it.
    apart = frozenset(
        entry.body.other
        for entry in entries
        if isinstance(entry.body, Commanded) and entry.body.name is CommandName.MERGE and entry.body.other is not None
    )
    work = _Refold(before, settings, fit, space, apart)
    known = sorted(before.clusters.values(), key=lambda c: c.number)
    ghosts = tuple((c.cluster_id, c.number, c.born_seq) for c in known)
    work.put(start, Rebuilt(model, dimensions, before.next_number, ghosts))
    for count, entry in enumerate(entries, 1):
        work.take(entry, _reread(entry.body, readings))
        if count % PROGRESS_EVERY == 0:
            say(count)
    work.finish(model, dimensions, start)
    return work.done


def _reread(body: Body, readings: Mapping[MessageRef, Reading]) -> Body | None:
    """Return what the new journal has instead of a body; None for what it has nothing instead of."""
    match body:
        case Posted():
            reading = readings.get(body.ref)
            return replace(body, features=reading.features, vector=reading.vector) if reading else Deleted(body.ref)
        case Fitted() | Rebuilt():
            return None
        case _:
            return body


def _follow(state: SpaceState, entry: Entry) -> None:
    if state.seq == 0:
        state.seq = entry.seq - 1
    state.apply(entry)


class _Refold:
    """The work of `refold`."""

    def __init__(self, before: Before, settings: FoldSettings, fit: Fit, space: str, apart: frozenset[str]) -> None:
        self._before = before
        self._fit = fit
        self._apart = apart
        self._old = SpaceState(space, settings)
        new = SpaceState(space, settings)
        new.seq = before.seq
        self.done = Refolded(new)

    def put(self, at: datetime, body: Body) -> None:
        """Append an entry to the new journal and fold it."""
        state = self.done.state
        entry = Entry(state.seq + 1, at, body)
        state.apply(entry)
        self.done.entries.append(entry)

    def take(self, entry: Entry, body: Body | None) -> None:
        """Fold one entry of the old journal, and what the new one has instead of it."""
        state = self.done.state
        if state.fit is not None and (state.seq >= state.fit.due_seq or isinstance(body, Ticked)):
            self._finish_fit()
        _follow(self._old, entry)
        if body is not None:
            self.put(entry.at, body)
            self.done.seqs[entry.seq] = state.seq

    def finish(self, model: str, dimensions: int, at: datetime) -> None:
        """Look at what no fit has seen, and match what is left over with what the tables had."""
        state = self.done.state
        at = state.now or at
        while state.fit is not None or state.seen_since_fit >= state.settings.idle_min_new:
            if state.fit is not None:
                self._finish_fit()
            else:
                self.put(at, Ticked())
        names, merged = self._left_over()
        self.put(at, Rebuilt(model, dimensions, self._before.next_number, names=names, merged=merged))

    def _finish_fit(self) -> None:
        state = self.done.state
        request = state.fit
        assert request is not None
        assert state.now is not None
        fit = self._fit(request.vectors)
        fitted = request.result(fit.labels, fit.view)
        self.done.fits += 1
        self.put(state.now, replace(fitted, names=self._names(request.refs, fitted.labels)))

    def _names(self, refs: tuple[MessageRef, ...], labels: npt.NDArray[np.int32]) -> tuple[tuple[int, str], ...]:
        """Return for each label the cluster from before that it most shares its messages with, if nobody has it yet."""
        old = self._old.members
        stood = [old[ref].cluster_id if ref in old else None for ref in refs]
        previous = [self._lasting(cluster_id) if cluster_id is not None else None for cluster_id in stood]
        plan = reconcile(labels, previous, self._order())
        state = self.done.state
        return tuple((label, name) for label, name in sorted(plan.continued.items()) if waits(state, name))

    def _order(self) -> dict[str, int]:
        return {cluster_id: cluster.number for cluster_id, cluster in self._before.clusters.items()}

    def _lasting(self, cluster_id: str) -> str | None:
        """Return the cluster that one was part of in the end; one that a person merged stays itself until then."""
        clusters = self._before.clusters
        found = clusters.get(cluster_id)
        while found is not None and found.merged_into is not None and found.cluster_id not in self._apart:
            found = clusters.get(found.merged_into)
        return found.cluster_id if found is not None else None

    def _left_over(self) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
        """Return names for new clusters by where their messages stood last, and where the rest went."""
        state, clusters = self.done.state, self._before.clusters
        shared: dict[str, Counter[str]] = {}
        for ref, home in self._before.homes.items():
            member = state.members.get(ref)
            if member is not None and member.status is not Status.ERASED:
                shared.setdefault(home, Counter())[member.cluster_id or ""] += 1
        order = self._order()
        waiting = sorted((name for name in clusters if waits(state, name)), key=lambda name: order[name])
        new = sorted(
            (c for c in state.clusters.values() if c.live and c.cluster_id not in clusters), key=lambda c: c.number
        )
        row = {cluster.cluster_id: label for label, cluster in enumerate(new)}
        labels: list[int] = []
        previous: list[str | None] = []
        for name in waiting:
            for cluster_id, count in sorted(shared.get(name, Counter()).items()):
                labels += [row.get(cluster_id, -1)] * count
                previous += [name] * count
        # A new cluster's other messages count as well: a name needs a quarter of the smaller side.
        for ref, member in state.members.items():
            if member.cluster_id in row and self._before.homes.get(ref) not in waiting:
                labels.append(row[member.cluster_id])
                previous.append(None)
        plan = reconcile(np.array(labels, np.int32), previous, order)
        names = {name: new[label].cluster_id for label, name in plan.continued.items()}
        named = {cluster_id: name for name, cluster_id in names.items()}
        merged = {}
        for name in waiting:
            if name not in names and (into := self._most(name, shared.get(name, Counter()))) is not None:
                merged[name] = named.get(into, into)
        return tuple((new_id, name) for name, new_id in sorted(names.items())), tuple(sorted(merged.items()))

    def _most(self, name: str, shares: Counter[str]) -> str | None:
        """Return the cluster that most messages of a cluster are in now, or the one it was part of before."""
        ended = self._before.clusters[name].merged_into
        if ended is not None:
            return self._lasting(ended)
        into, count = max(((c, n) for c, n in shares.items() if c), key=lambda pair: pair[1], default=("", 0))
        return into if count >= MIN_SHARED and count >= MERGE_SHARE * shares.total() else None
