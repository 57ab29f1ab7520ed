"""Known groups planted into a community's chatter: are they found, and what else becomes a ticket? Pure.

What is planted: some groups of labelled messages, drawn by seed. Each is a burst of some weeks at a time of its own
within the span of the chatter; its messages come at times drawn within the burst, on the platform that spoke last then,
by people with new names, a few of whom say it twice. All goes in the order of time through a dry run with the settings
as they are: kinds, people, settling, guard against raids. Nothing is shuffled.

A ticket is *planted* when at least half of its messages, as it opened, were planted; ticket F1 and its like are of
these. All other tickets are counted per 10,000 messages. They may well be matters of that community: they are listed
to be read, not called false.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from pipeline.errors import FatalError
from pipeline.evaluation.measures import Measures, measure, raised_in, subject
from pipeline.records import MessageRef
from pipeline.tried import Tried, TriedTicket

GROUPS: Final = 40
MESSAGES: Final = 15
SHORTEST: Final = timedelta(weeks=2)
LONGEST: Final = timedelta(weeks=6)
AGAIN: Final = 0.1
"""Chance that a planted message is by somebody who said it before."""
ID: Final = "planted"
"""How the ids of planted messages begin."""


@dataclass(frozen=True, slots=True)
class Said:
    """One message of the chatter; what is None is not known."""

    id: str
    text: str
    at: datetime
    author: str | None
    source: str

    def row(self) -> dict[str, Any]:
        """Return it as a line of an archive."""
        row = {"id": self.id, "text": self.text, "time": self.at.isoformat(), "source": self.source}
        return row if self.author is None else row | {"author": self.author}


@dataclass(frozen=True, slots=True)
class Garden:
    """A stream with planted groups, in order of time."""

    messages: list[Said]
    gold: dict[str, str]
    """Id of each planted message → its group."""


@dataclass(frozen=True, slots=True)
class Missed:
    """A planted group that got no right ticket, and where its messages stand at the end."""

    group: str
    clustered: int
    """In the cluster that has most of them."""
    aside: dict[str, int]
    """Set aside, by reason."""
    kinds: dict[str, int]


@dataclass(frozen=True, slots=True)
class Harvest:
    """What came of one seed."""

    seed: int
    planted: Measures
    all_tickets_f1: float
    """Ticket F1 when the others count as wrong tickets too."""
    others: list[TriedTicket]
    messages: int
    missed: list[Missed]
    seconds: float

    @property
    def others_per_10k(self) -> float:
        """Other tickets per 10,000 messages."""
        return 10_000 * len(self.others) / self.messages if self.messages else 0.0


def plant(chatter: Sequence[Said], groups: Mapping[str, Sequence[str]], seed: int) -> Garden:
    """Plant groups, each some texts of one matter, into the chatter.

    Raises
    ------
    FatalError
        When there are too few groups of `MESSAGES` texts, or the chatter is shorter than the longest burst.
    """
    rng = random.Random(seed)
    big = sorted(name for name, texts in groups.items() if len(texts) >= MESSAGES)
    if len(big) < GROUPS:
        raise FatalError(f"{len(big)} groups with {MESSAGES} messages or more; {GROUPS} are planted")
    soil = sorted(chatter, key=lambda one: one.at)
    if not soil or soil[-1].at - soil[0].at < LONGEST:
        raise FatalError(f"the messages to plant into span less than {LONGEST.days} days")
    times = [one.at for one in soil]
    seeds, gold = [], {}
    for number, name in enumerate(rng.sample(big, GROUPS)):
        length = rng.uniform(SHORTEST / LONGEST, 1) * LONGEST
        start = times[0] + rng.random() * (times[-1] - times[0] - length)
        authors: list[str] = []
        for place, text in enumerate(rng.sample(list(groups[name]), MESSAGES)):
            at = start + rng.random() * length
            again = bool(authors) and rng.random() < AGAIN
            authors.append(rng.choice(authors) if again else f"{ID}-{rng.getrandbits(32):08x}")
            source = soil[max(0, bisect_right(times, at) - 1)].source
            seeds.append(Said(f"{ID}-{number}-{place}", text, at, authors[-1], source))
            gold[seeds[-1].id] = name
    return Garden(sorted([*soil, *seeds], key=lambda one: one.at), gold)


def harvest(garden: Garden, tried: Tried, threshold: int, seed: int, seconds: float) -> Harvest:
    """Measure a dry run over a garden.

    Parameters
    ----------
    threshold : int
        T: messages from which on a group deserves a ticket.
    """
    place_of = {one.ref: place for place, one in enumerate(tried.assignments)}
    gold = [garden.gold.get(one.ref.message_id) for one in tried.assignments]
    found = [one.cluster_id for one in tried.assignments]
    raised = raised_in(tried, place_of)
    shares = [_planted_share(one.members, garden.gold) for one in tried.tickets]
    own = [one for one, share in zip(raised, shares, strict=True) if share >= 0.5]
    others = [one for one, share in zip(tried.tickets, shares, strict=True) if share < 0.5]
    measures = measure(gold, found, own, threshold)
    everything = measure(gold, found, raised, threshold)
    groups = set(garden.gold.values())
    right = {
        opening
        for one in own
        if (opening := subject(one.at_opening, gold, groups)) is not None
        and opening == subject(one.at_end, gold, groups)
    }
    return Harvest(
        seed=seed,
        planted=measures,
        all_tickets_f1=everything.ticket_f1,
        others=others,
        messages=len(tried.assignments),
        missed=[_missed(group, gold, tried) for group in sorted(groups - right)],
        seconds=seconds,
    )


def _planted_share(members: Sequence[MessageRef], gold: Mapping[str, str]) -> float:
    return sum(ref.message_id in gold for ref in members) / len(members) if members else 0.0


def _missed(group: str, gold: Sequence[str | None], tried: Tried) -> Missed:
    own = [one for name, one in zip(gold, tried.assignments, strict=True) if name == group]
    together = Counter(one.cluster_id for one in own if one.cluster_id is not None)
    return Missed(
        group=group,
        clustered=max(together.values(), default=0),
        aside=dict(Counter(one.reason or one.status for one in own if one.cluster_id is None)),
        kinds=dict(Counter(one.kind for one in own)),
    )
