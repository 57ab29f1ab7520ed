"""The policy: what to do about a cluster. Pure: same arguments, same answer, and the answer says why.

It speaks of people, not of messages. Every reason is a sentence with its numbers; it stands in the ticket, in
`groundswell why` and in the decisions table, word for word.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from pipeline.settings import PolicySettings

Mode = Literal["shadow", "approve", "auto"]


class Action(StrEnum):
    """What the sink does."""

    SKIP = "skip"
    PROPOSE = "propose"
    """It would open, but the space's mode leaves that to a person (`groundswell promote`)."""
    OPEN = "open"
    UPDATE = "update"


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """What the policy knows of a cluster; times are event time, `now` is the space's clock."""

    number: int
    kind: str
    """Kind of the cluster: the most probable over all its messages."""
    people: int
    """Distinct authors, ever."""
    people_in_window: int
    """Distinct authors within the policy's window before the cluster's newest message."""
    messages: int
    platforms: tuple[str, ...]
    first_at: datetime
    last_at: datetime
    now: datetime
    established: bool
    """Two fits found it, and it is no near neighbour of an older cluster."""
    held_by: int | None
    """Number of the established cluster it is too close to."""
    merged_into: int | None
    muted: bool
    promoted: bool
    tags: tuple[str, ...]
    name: str | None = None
    """What people call it."""
    rejected: bool = False
    """A person said that it is no feedback."""


@dataclass(frozen=True, slots=True)
class Filed:
    """What the ledger says of a cluster's ticket."""

    people: int
    """People when the ticket was opened or last updated."""
    platforms: tuple[str, ...]
    updated_at: datetime
    """Event time of that."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, by which rule, and why in words; `due_at` (event time) is when time alone may change the answer."""

    action: Action
    rule: str
    reason: str
    due_at: datetime | None = None


def decide(facts: ClusterFacts, filed: Filed | None, policy: PolicySettings, mode: Mode) -> Decision:
    """Decide about one cluster.

    Parameters
    ----------
    filed : Filed or None
        Its ticket, when it has one.
    """
    if facts.merged_into is not None:
        return Decision(Action.SKIP, "merged", f"merged into #{facts.merged_into}")
    if facts.muted:
        return Decision(Action.SKIP, "muted", "muted by a person")
    if facts.rejected:
        return Decision(Action.SKIP, "rejected", "no feedback, said a person")
    decision = _about_ticket(facts, filed, policy) if filed is not None else _about_opening(facts, policy, mode)
    if mode == "shadow" and decision.action is not Action.SKIP:
        return Decision(Action.SKIP, "shadow", f"shadow mode: would {decision.action} ({decision.reason})")
    return decision


def _about_opening(facts: ClusterFacts, policy: PolicySettings, mode: Mode) -> Decision:
    if facts.promoted:
        return Decision(Action.OPEN, "promoted", f"promoted by a person; {_people(facts)}")
    if facts.kind not in policy.kinds and not facts.tags:
        return Decision(Action.SKIP, "kind", f"mostly of kind {facts.kind}; tickets are for {', '.join(policy.kinds)}")
    if facts.held_by is not None:
        return Decision(Action.SKIP, "held", f"close to #{facts.held_by}, and not surely another matter")
    if facts.people_in_window < policy.min_people:
        reason = f"{facts.people_in_window} of {policy.min_people} people within {_span(policy.window)}"
        return Decision(Action.SKIP, "people", reason)
    if not facts.established:
        return Decision(Action.SKIP, "unconfirmed", "found by one look over all messages; the next one must confirm it")
    if facts.now - facts.first_at < policy.settle:
        return Decision(
            Action.SKIP, "settling", f"first said less than {_span(policy.settle)} ago", facts.first_at + policy.settle
        )
    if facts.now - facts.last_at > policy.window:
        return Decision(Action.SKIP, "quiet", f"nobody has said it for {_span(facts.now - facts.last_at)}")
    reason = (
        f"{facts.people_in_window} people within {_span(policy.window)}, {policy.min_people} needed; {_people(facts)}"
    )
    if mode == "approve":
        return Decision(Action.PROPOSE, "people", f"waits for a person's `promote` ({reason})")
    return Decision(Action.OPEN, "people", reason)


def _about_ticket(facts: ClusterFacts, filed: Filed, policy: PolicySettings) -> Decision:
    grown = facts.people >= policy.update_growth * filed.people
    new_platforms = [platform for platform in facts.platforms if platform not in filed.platforms]
    if not grown and not new_platforms:
        return Decision(Action.SKIP, "filed", f"{facts.people} people, {filed.people} when last written")
    due_at = filed.updated_at + policy.min_update_gap
    if facts.now < due_at:
        return Decision(Action.SKIP, "gap", f"written less than {_span(policy.min_update_gap)} ago", due_at)
    if grown:
        return Decision(Action.UPDATE, "growth", f"grew from {filed.people} to {facts.people} people")
    return Decision(Action.UPDATE, "platform", f"now on {', '.join(new_platforms)} too; {_people(facts)}")


def _people(facts: ClusterFacts) -> str:
    return f"{facts.people} people in {facts.messages} messages on {', '.join(facts.platforms)}"


def _span(span: timedelta) -> str:
    seconds = span.total_seconds()
    if seconds >= 2 * 86_400:
        return f"{seconds / 86_400:.0f} days"
    if seconds >= 2 * 3_600:
        return f"{seconds / 3_600:.0f} hours"
    return f"{seconds / 60:.0f} minutes"
