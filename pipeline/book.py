"""Where every message of a trial stands, and how far fits moved them: memory that evicts nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from pipeline.records import MessageRef
from pipeline.state import Changes, Lineage, Member

BLOCK_SHARE: Final = 0.25
"""From this share of a cluster's messages on, what leaves together is a split, not drift."""


@dataclass(frozen=True, slots=True)
class Moves:
    """What a fit did to the messages of clusters with a ticket."""

    messages: int = 0
    """How many there were."""
    moved: int = 0
    """Went to another cluster outside merges and splits."""
    to_pool: int = 0
    """Wait in the pool again, or expired."""
    in_blocks: int = 0
    """Went to another cluster in a split, or with a quarter of their cluster or more."""


@dataclass(slots=True)
class Book:
    """Messages by cluster."""

    newest: MessageRef | None = None
    """The message that came last."""
    oldest: datetime | None = None
    """When the earliest message was posted."""
    _places: dict[MessageRef, str | None] = field(default_factory=dict)
    _said: dict[MessageRef, tuple[tuple[str, str], datetime]] = field(default_factory=dict)
    _members: dict[str, dict[MessageRef, None]] = field(default_factory=dict)
    _merged: dict[str, str] = field(default_factory=dict)
    _days: dict[str, Counter[int]] = field(default_factory=dict)
    """Cluster → day → messages."""

    @property
    def posted(self) -> int:
        """How many messages there are, erased ones included."""
        return len(self._places)

    def size(self, cluster_id: str) -> int:
        """Return how many messages a cluster has, echoes included."""
        return len(self._members.get(cluster_id, ()))

    def members(self, cluster_id: str) -> tuple[MessageRef, ...]:
        """Return a cluster's messages, in the order in which they joined it."""
        return tuple(self._members.get(cluster_id, ()))

    def survivor(self, cluster_id: str) -> str:
        """Return the cluster that this one is part of now."""
        while cluster_id in self._merged:
            cluster_id = self._merged[cluster_id]
        return cluster_id

    def people_within(self, cluster_id: str, window: timedelta) -> int:
        """Return the authors within `window` before the cluster's newest message."""
        said = [self._said[ref] for ref in self._members.get(cluster_id, ())]
        last = max((at for _, at in said), default=None)
        return len({author for author, at in said if last is not None and at > last - window})

    def said(self, cluster_id: str) -> list[tuple[tuple[str, str], datetime]]:
        """Return who said something in a cluster, (platform, author), and when."""
        return [self._said[ref] for ref in self._members.get(cluster_id, ())]

    def lately(self, cluster_id: str, window: timedelta, newest: datetime | None) -> int:
        """Return at least as many messages as a cluster has in the `window` before its newest; cheap.

        Parameters
        ----------
        newest : datetime or None
            Of messages that are not in the book yet.
        """
        days = self._days.get(cluster_id, Counter())
        last = max((day for day, count in days.items() if count), default=0)
        if newest is not None:
            last = max(last, newest.toordinal())
        return sum(days[last - back] for back in range(window.days + 2))

    def update(self, changes: Changes, ticketed: Collection[str]) -> Moves:
        """Take in what was committed; return what it did to messages of `ticketed` clusters that were here before."""
        for event in changes.lineage:
            if event.what is Lineage.MERGED and event.other is not None:
                self._merged[event.cluster_id] = event.other
        before = Counter(self.survivor(name) for name in ticketed for _ in self._members.get(name, ()))
        for event in changes.lineage:
            if event.what is Lineage.MERGED and event.other is not None:
                for ref in self._members.pop(event.cluster_id, {}):
                    self._put(ref, event.other)
        gone: Counter[tuple[str, str | None]] = Counter()
        for member in sorted(changes.members.values(), key=lambda one: one.seq):
            was = self._places.get(member.ref)
            if was is not None and was in before and was != member.cluster_id:
                gone[was, member.cluster_id] += 1
            self._note(member)
        split = {(event.other, event.cluster_id) for event in changes.lineage if event.what is Lineage.SPLIT}
        moved = Counter[str]()
        for (was, now), count in gone.items():
            block = (was, now) in split or count >= BLOCK_SHARE * before[was]
            moved["to_pool" if now is None else "in_blocks" if block else "moved"] += count
        return Moves(before.total(), **moved)

    def _note(self, member: Member) -> None:
        if member.ref not in self._places:
            self._places[member.ref] = None
            self.newest = member.ref
        here = self._places[member.ref]
        if here is not None:
            self._days[here][self._day(member.ref)] -= 1
        self._said[member.ref] = ((member.ref.platform, member.author), member.at)
        if here is not None:
            self._days[here][self._day(member.ref)] += 1
        if self.oldest is None or member.at < self.oldest:
            self.oldest = member.at
        if self._places[member.ref] != member.cluster_id:
            self._put(member.ref, member.cluster_id)

    def _put(self, ref: MessageRef, cluster_id: str | None) -> None:
        was = self._places[ref]
        if was is not None:
            self._members.get(was, {}).pop(ref, None)
            self._days[was][self._day(ref)] -= 1
        self._places[ref] = cluster_id
        if cluster_id is not None:
            self._members.setdefault(cluster_id, {})[ref] = None
            self._days.setdefault(cluster_id, Counter())[self._day(ref)] += 1

    def _day(self, ref: MessageRef) -> int:
        return self._said[ref][1].toordinal()
