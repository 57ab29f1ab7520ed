"""What a product team feels, measured. Pure.

A ticket is right when at least 70 % of its messages are of one gold group of at least T messages, of the same one at
its opening and at the end. The first right ticket of a group counts, later ones are duplicates. A ticket whose cluster
merged into one that has a ticket of its own still counts, and has no messages at the end. ticket F1 = 2 x groups
rightly ticketed / (tickets + groups).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from models.agreement import agreement
from pipeline.records import MessageRef
from pipeline.tried import Tried

PURITY: Final = 0.7


@dataclass(frozen=True, slots=True)
class Raised:
    """A ticket: messages by their place in the stream, counted from 0."""

    opened_after: int
    """How many messages had come when it opened."""
    at_opening: tuple[int, ...]
    at_end: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Measures:
    """See the module's docstring; shares are 0 to 1, delays in multiples of T."""

    ticket_f1: float
    precision: float
    """Right tickets, duplicates among them, of all tickets."""
    recall: float
    duplicates: float
    """Of the right tickets, those that repeat a group."""
    tickets: int
    groups: int
    false_tickets: int
    pure_at_opening: float
    delay_median: float
    """Messages of a group seen when its first right ticket opened, ÷ T; over all groups, infinite without one."""
    delay_p90: float
    coverage: float
    """Labelled messages that stand in a cluster."""
    noise_rejected: float | None
    """Noise that stands in none; None without noise."""
    ari: float
    """Over labelled messages; those in no cluster are one group."""
    ami: float


def measure(
    gold: Sequence[str | None], found: Sequence[str | None], raised: Sequence[Raised], threshold: int
) -> Measures:
    """Measure one stream.

    Parameters
    ----------
    gold : sequence of n
        Gold group of each message, in order of arrival; None for noise.
    found : sequence of n
        Cluster of each message at the end, or None.
    raised : sequence of Raised
        The tickets.
    threshold : int
        T, messages.
    """
    sizes = Counter(group for group in gold if group is not None)
    groups = {group for group, size in sizes.items() if size >= threshold}
    first: dict[str, Raised] = {}
    right = pure = 0
    for ticket in sorted(raised, key=lambda one: one.opened_after):
        opening = subject(ticket.at_opening, gold, groups)
        pure += opening is not None
        if opening is not None and opening == subject(ticket.at_end, gold, groups):
            right += 1
            first.setdefault(opening, ticket)
    labelled = [place for place, group in enumerate(gold) if group is not None]
    noise = [place for place, group in enumerate(gold) if group is None]
    delays = [
        sum(group == name for group in gold[: first[name].opened_after]) / threshold if name in first else math.inf
        for name in sorted(groups)
    ]
    ari, ami = (
        agreement([gold[place] for place in labelled], [found[place] for place in labelled]) if labelled else (0.0, 0.0)
    )
    return Measures(
        ticket_f1=_share(2 * len(first), len(raised) + len(groups)),
        precision=_share(right, len(raised)),
        recall=_share(len(first), len(groups)),
        duplicates=_share(right - len(first), right),
        tickets=len(raised),
        groups=len(groups),
        false_tickets=len(raised) - right,
        pure_at_opening=_share(pure, len(raised)),
        delay_median=median(delays) if delays else math.inf,
        delay_p90=quantile(delays, 0.9),
        coverage=_share(sum(found[place] is not None for place in labelled), len(labelled)),
        noise_rejected=_share(sum(found[place] is None for place in noise), len(noise)) if noise else None,
        ari=ari,
        ami=ami,
    )


def raised_in(tried: Tried, place_of: Mapping[MessageRef, int]) -> list[Raised]:
    """Return the tickets of a trial, in their order; `place_of` says where in the stream each message stands."""
    at_end: dict[str, list[int]] = {}
    for one in tried.assignments:
        if one.cluster_id is not None:
            at_end.setdefault(one.cluster_id, []).append(place_of[one.ref])
    return [
        Raised(
            ticket.opened_after,
            tuple(place_of[ref] for ref in ticket.members if ref in place_of),
            () if ticket.merged_into else tuple(at_end.get(ticket.cluster_id, ())),
        )
        for ticket in tried.tickets
    ]


def subject(members: Sequence[int], gold: Sequence[str | None], groups: Collection[str]) -> str | None:
    """Return the one group of `groups` that at least 70 % of the members are of, or None."""
    counts = Counter(gold[place] for place in members)
    if not counts:
        return None
    name, count = max(counts.items(), key=lambda pair: (pair[1], str(pair[0])))
    return name if name in groups and count >= PURITY * len(members) else None


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of all do not exceed; infinite for none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.inf


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
