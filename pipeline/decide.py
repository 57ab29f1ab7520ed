"""The policy: what to do about a cluster. Pure: same arguments, same answer, and the answer says why.

It speaks of people, not of messages. Every reason is a sentence with its numbers; it stands in the ticket, in
`groundswell why` and in the decisions table, word for word.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

import numpy as np

from models.kind_names import KINDS
from pipeline.settings import PolicySettings
from pipeline.state import Cluster
from pipeline.watch import Rising

Mode = Literal["shadow", "approve", "auto"]


class Action(StrEnum):
    """What the sink does."""

    SKIP = "skip"
    PROPOSE = "propose"
    """It would open, but the space's mode leaves that to a person (`groundswell promote`)."""
    WATCH = "watch"
    """More people say it than before, by more than chance, and it is no ticket yet; nothing is written."""
    OPEN = "open"
    LINK = "link"
    """People filed it already: their issue becomes the cluster's ticket."""
    UPDATE = "update"


@dataclass(frozen=True, slots=True)
class Match:
    """An issue that people filed and that may say what a cluster says."""

    issue_id: str
    key: str
    url: str
    summary: str
    """A person's words: for who asks, never for a ticket."""
    status: str
    done: bool
    score: float | None
    """Likeness, at most 1 (`models.backlog`); None where a person named it."""
    held_by: int | None = None
    """Number of the cluster whose ticket it is already."""


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
    clear_people: int | None = None
    """Distinct authors in the window who said it clearly as what it is; None when nobody counted."""
    repeats: tuple[tuple[int, int], ...] = ()
    """(messages, people): how many people of the window said it how often, those who did more than once."""
    copied: tuple[int, ...] = ()
    """Of each text that several people of the window only repeated word for word: how many they are."""
    reacting: int = 0
    """Distinct people who reacted or voted for it, without those who said it, and the votes of a score."""
    proposed: bool = False
    """The last decision proposed it."""
    rising: Rising | None = None
    """More people said it of late than before, by more than chance."""
    match: Match | None = None
    """What people filed already and is like it."""
    backlog_read: bool = True
    """The tracker's issues were read, as far as that is wanted."""


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
    if filed is not None:
        decision = _about_ticket(facts, filed, policy)
    else:
        decision = _about_match(facts, _about_opening(facts, policy, mode), policy, mode)
    if mode == "shadow" and decision.action not in {Action.SKIP, Action.WATCH}:
        return Decision(Action.SKIP, "shadow", f"shadow mode: would {decision.action} ({decision.reason})")
    return decision


@dataclass(frozen=True, slots=True)
class Weight:
    """How much a cluster counts, in people, and the sum in words."""

    total: float
    words: str
    plain: bool
    """Nothing but people counted."""


def weigh(facts: ClusterFacts, policy: PolicySettings) -> Weight:
    """Return how much a cluster counts: its people, and what the policy lets count beside them."""
    copies = sum(max(0, count - policy.same_text_people) for count in facts.copied)
    total = float(facts.people_in_window - copies)
    terms = [f"{facts.people_in_window - copies} people"]
    if copies:
        terms[0] += f" (without {copies} more who only repeated others word for word)"
    extra = sum(
        people * min(policy.person_cap - 1, policy.repeat_weight * (messages - 1)) for messages, people in facts.repeats
    )
    if extra > 0:
        total += extra
        terms.append(f"{_number(extra)} for repeating it")
    if facts.reacting and policy.reaction_weight:
        most = policy.reaction_share * policy.min_people
        total += min(most, policy.reaction_weight * facts.reacting)
        terms.append(f"{facts.reacting} reactions x {_number(policy.reaction_weight)} (at most {_number(most)})")
    if facts.tags and policy.tag_weight:
        total += policy.tag_weight
        terms.append(f"tag {_number(policy.tag_weight)}")
    words = " + ".join(terms)
    if len(terms) > 1:
        words += f" = {_number(total)}"
    return Weight(total, words, plain=len(terms) == 1 and not copies)


def could_open(cluster: Cluster, messages: int, policy: PolicySettings) -> bool:
    """Tell from what the fold knows whether `decide` could open a ticket for a cluster: never False when it would.

    Cheap, for who looks at each cluster after each message (`pipeline.dry_run`).

    Parameters
    ----------
    messages : int
        Messages in the cluster, echoes included.
    """
    if cluster.merged_into is not None or cluster.muted or cluster.rejected:
        return False
    if cluster.promoted:
        return True
    # A person counts for one, and each message more for less: with all that may be added, it is at most this.
    most = messages + policy.reaction_share * policy.min_people + (policy.tag_weight if cluster.tags else 0.0)
    needed = policy.min_people * (policy.hold_release if cluster.held_by is not None else 1.0)
    if policy.watch.opens and cluster.held_by is None:
        needed = min(needed, policy.watch.min_people)
    if cluster.established_seq is None or most < needed:
        return False
    return bool(cluster.tags) or KINDS[int(np.argmax(cluster.log_kinds))] in policy.kinds


def _about_opening(facts: ClusterFacts, policy: PolicySettings, mode: Mode) -> Decision:
    if facts.promoted:
        return Decision(Action.OPEN, "promoted", f"promoted by a person; {_people(facts)}")
    weight = weigh(facts, policy)
    if (barred := _barred(facts, policy, weight)) is not None:
        return barred
    decision = _ripe(facts, policy, mode, weight)
    rising = facts.rising
    if decision.action is not Action.SKIP or decision.rule == "quiet" or rising is None:
        return decision
    if facts.now - facts.last_at >= rising.window:
        return decision
    if policy.watch.opens and facts.established:
        if mode == "approve":
            return Decision(Action.PROPOSE, "watch", f"waits for a person's `promote` ({_rise(rising, facts)})")
        return Decision(Action.OPEN, "watch", f"{_rise(rising, facts)}; {_people(facts)}")
    due_at = min(facts.last_at + rising.window, decision.due_at or facts.last_at + rising.window)
    return Decision(Action.WATCH, "rising", f"{_rise(rising, facts)}; no ticket yet: {decision.reason}", due_at)


def _about_match(facts: ClusterFacts, opening: Decision, policy: PolicySettings, mode: Mode) -> Decision:
    """Return what to do instead of opening when people filed it already; a person's `promote` stands."""
    if opening.action not in {Action.OPEN, Action.PROPOSE} or facts.promoted:
        return opening
    if not facts.backlog_read:
        reason = f"waits until the tracker's issues are read ({opening.reason})"
        return Decision(Action.SKIP, "backlog", reason, facts.now)
    match = facts.match
    if match is None:
        return opening
    score = match.score or 0.0
    found, own = f"{match.key} (likeness {score:.2f}", f"`promote {facts.number}` opens one of its own"
    if match.held_by is not None:
        way = f"the ticket of #{match.held_by}: `merge {match.held_by} {facts.number}`, or {own}"
        return Decision(Action.PROPOSE, "match", f"perhaps the same as {found}), {way} ({opening.reason})")
    link = policy.backlog.link
    if link is not None and score >= link and mode != "approve" and not match.done:
        reason = f"people filed it already: {found}, linked from {_number(link)} on); {opening.reason}"
        return Decision(Action.LINK, "match", reason)
    found += f", proposed from {_number(policy.backlog.propose)} on{', done' if match.done else ''})"
    way = f"`jira link {facts.number} {match.key}` links it, {own}"
    return Decision(Action.PROPOSE, "match", f"perhaps people filed it already: {found}; {way} ({opening.reason})")


def _rise(rising: Rising, facts: ClusterFacts) -> str:
    rise = rising.rise
    odds = f"1 in {1 / rise.chance:,.0f}" if rise.chance > 1e-9 else "less than 1 in a billion"
    words = f"{rise.recent} people within {span(rising.window)}, {_number(rise.expected)} expected (chance {odds})"
    if rising.release is not None and rising.release_at is not None:
        words += f", rises since release {rising.release}, {span(facts.last_at - rising.release_at)} ago"
    if rising.new_platforms:
        words += f", now on {', '.join(rising.new_platforms)} too"
    return words


def _ripe(facts: ClusterFacts, policy: PolicySettings, mode: Mode, weight: Weight) -> Decision:
    kept = facts.proposed and mode == "approve" and weight.total >= policy.hysteresis * policy.min_people
    if weight.total < policy.min_people and not kept:
        return Decision(Action.SKIP, "people", _too_few(facts, policy, weight))
    if len(facts.platforms) < policy.min_platforms:
        reason = f"on {len(facts.platforms)} of {policy.min_platforms} platforms; {_people(facts)}"
        return Decision(Action.SKIP, "platforms", reason)
    if not facts.established:
        return Decision(Action.SKIP, "unconfirmed", "found by one look over all messages; the next one must confirm it")
    if facts.now - facts.first_at < policy.settle:
        return Decision(
            Action.SKIP, "settling", f"first said less than {span(policy.settle)} ago", facts.first_at + policy.settle
        )
    if facts.now - facts.last_at > policy.window:
        return Decision(Action.SKIP, "quiet", f"nobody has said it for {span(facts.now - facts.last_at)}")
    reason = f"{_enough(policy, weight)}; {_people(facts)}"
    if mode == "approve":
        return Decision(Action.PROPOSE, "people", f"waits for a person's `promote` ({reason})")
    return Decision(Action.OPEN, "people", reason)


def _barred(facts: ClusterFacts, policy: PolicySettings, weight: Weight) -> Decision | None:
    """Return why no number of people opens it, or None."""
    if facts.kind not in policy.kinds and not facts.tags:
        return Decision(Action.SKIP, "kind", f"mostly of kind {facts.kind}; tickets are for {', '.join(policy.kinds)}")
    if facts.held_by is not None and weight.total < policy.hold_release * policy.min_people:
        return Decision(Action.SKIP, "held", f"close to #{facts.held_by}, and not surely another matter")
    # Who lets the unsure make tickets too asks nobody to be clear.
    clear = facts.clear_people if "unsure" not in policy.kinds else None
    if clear is not None and clear < max(1, policy.clear_share * facts.people_in_window) and not facts.tags:
        reason = f"{clear} of {facts.people_in_window} people said it so clearly that its kind is sure"
        return Decision(Action.SKIP, "unsure", reason)
    return None


def _too_few(facts: ClusterFacts, policy: PolicySettings, weight: Weight) -> str:
    if weight.plain:
        return f"{facts.people_in_window} of {policy.min_people} people within {span(policy.window)}"
    return f"{weight.words} of {policy.min_people} needed within {span(policy.window)}"


def _enough(policy: PolicySettings, weight: Weight) -> str:
    if weight.plain and weight.total >= policy.min_people:
        return f"{weight.words} within {span(policy.window)}, {policy.min_people} needed"
    if weight.total < policy.min_people:
        floor = _number(policy.hysteresis * policy.min_people)
        return f"{weight.words} of {policy.min_people} needed within {span(policy.window)}, kept from {floor} on"
    return f"{weight.words} of {policy.min_people} needed within {span(policy.window)}"


def _about_ticket(facts: ClusterFacts, filed: Filed, policy: PolicySettings) -> Decision:
    needed = max(policy.update_growth * filed.people, filed.people + policy.update_people)
    grown = facts.people >= needed
    new_platforms = [platform for platform in facts.platforms if platform not in filed.platforms]
    if not grown and not new_platforms:
        return Decision(Action.SKIP, "filed", f"{facts.people} people, {filed.people} when last written")
    due_at = filed.updated_at + policy.min_update_gap
    if facts.now < due_at:
        return Decision(Action.SKIP, "gap", f"written less than {span(policy.min_update_gap)} ago", due_at)
    if grown:
        return Decision(Action.UPDATE, "growth", f"grew from {filed.people} to {facts.people} people")
    return Decision(Action.UPDATE, "platform", f"now on {', '.join(new_platforms)} too; {_people(facts)}")


def _people(facts: ClusterFacts) -> str:
    return f"{facts.people} people in {facts.messages} messages on {', '.join(facts.platforms)}"


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def span(length: timedelta) -> str:
    """Return a length of time in words."""
    seconds = length.total_seconds()
    if seconds >= 2 * 86_400:
        return f"{seconds / 86_400:.0f} days"
    if seconds >= 2 * 3_600:
        return f"{seconds / 3_600:.0f} hours"
    return f"{seconds / 60:.0f} minutes"
