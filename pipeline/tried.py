"""What comes of a trial, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pipeline.book import Moves
from pipeline.records import MessageRef
from pipeline.store.assignments import Assignment


@dataclass(slots=True)
class TriedTicket:
    """A ticket that would have been filed, as it was when it opened."""

    cluster_id: str
    """The cluster that bears it at the end; another than at its opening where that one merged into it."""
    kind: str
    summary: str
    description: str
    opened_at: datetime
    """Event time."""
    opened_at_message: MessageRef | None
    """The newest message then."""
    opened_after: int
    """How many messages had been posted then."""
    messages: int
    authors: int
    platforms: tuple[str, ...]
    reason: str
    members: tuple[MessageRef, ...]
    """The cluster's messages then."""
    opened_as: str
    """The cluster then."""
    quotes: tuple[str, ...] = ()
    merged_into: str | None = None
    """The cluster that took this one in and has a ticket of its own: live, this issue is linked to that as its
    duplicate."""


@dataclass(slots=True)
class TriedWatch:
    """A watch as it was when it began: more people said it of late than before, and it was no ticket yet."""

    cluster_id: str
    """The cluster that it is part of at the end."""
    watched_as: str
    """The cluster then."""
    kind: str
    summary: str
    at: datetime
    """Event time."""
    at_message: MessageRef | None
    """The newest message then."""
    after: int
    """How many messages had been posted then."""
    messages: int
    authors: int
    platforms: tuple[str, ...]
    recent: int
    """Distinct people within the last `window`."""
    expected: float
    """People to be expected in it."""
    chance: float
    """Probability of such a rise by chance."""
    window: timedelta
    new_platforms: tuple[str, ...]
    release: str | None
    """The release that came out shortly before."""
    reason: str
    quotes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of a trial."""

    tickets: list[TriedTicket]
    assignments: list[Assignment]
    """One a message, in order of their arrival."""
    moves: list[Moves]
    """One a fit, from the first ticket on."""
    watches: list[TriedWatch] = field(default_factory=list)
    """In order of their beginning; a cluster whose rate rose twice has two."""


@dataclass(frozen=True, slots=True)
class OnBoard:
    """A live cluster as people see it while a trial runs: what `groundswell clusters` lists."""

    cluster_id: str
    number: int
    messages: tuple[MessageRef, ...]
    """In the order in which they joined."""
    held_by: str | None
    """The established cluster beside which it waits ("close to #12")."""
    ticket: bool
