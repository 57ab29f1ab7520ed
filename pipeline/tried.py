"""What comes of a trial, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

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


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of a trial."""

    tickets: list[TriedTicket]
    assignments: list[Assignment]
    """One a message, in order of their arrival."""
    moves: list[Moves]
    """One a fit, from the first ticket on."""


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
