"""A simulated community manager: at most N answers, taken from gold, to what a manager sees on the board. Pure.

The answers are commands like any person's, so constraints and the space's thresholds follow from them as live. What
is seen are live clusters: those held beside another, and those with a ticket. A cluster is of the group that at least
70 % of its messages are of; one without such a group is mixed.

| seen | answer |
|---|---|
| a ticket is mixed | `split`: the biggest part of another group leaves; `not-feedback` where no part is big enough |
| a cluster waits beside another | `merge` where both are of one group, else `separate`; if mixed, nothing |
| two tickets are of one group | `merge` into the older one |

The rows come in this order, each with the biggest first: what is filed wrongly, what keeps people waiting, what is
filed twice. At most `PER_LOOK` answers a look keep the budget from being spent on the first day.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from pipeline.evaluation.measures import PURITY
from pipeline.records import COMMAND_MESSAGES_MAX, Command, CommandName, MessageRef
from pipeline.tried import OnBoard

PER_LOOK: Final = 2
LEAST_PART: Final = 4
"""Messages that a part must have to be worth a cluster of its own: as many as a fit's smallest group."""
NAME: Final = "simulated manager"


@dataclass(slots=True)
class Manager:
    """One manager of one space.

    Parameters
    ----------
    gold : mapping
        Group of each message; None for noise.
    budget : int
        Answers at most.
    people : int
        Messages from which on a held cluster is looked at: fewer would open no ticket anyway.
    """

    space: str
    gold: Mapping[MessageRef, str | None]
    budget: int
    people: int
    given: list[Command] = field(default_factory=list)

    def answer(self, board: Sequence[OnBoard], at: datetime) -> Command | None:
        """Return the next answer to what is on the board, or None."""
        if len(self.given) >= self.budget:
            return None
        seen = sorted((_Seen.of(one, self.gold) for one in board), key=lambda one: (-one.size, one.shown.number))
        asked = {(c.name, c.cluster_id, c.other) for c in self.given}
        for name, cluster_id, other, messages in self._wishes(seen):
            if name is not CommandName.SPLIT and (name, cluster_id, other) in asked:
                continue
            command = Command(
                id=f"answer-{len(self.given) + 1}",
                space=self.space,
                name=name,
                cluster_id=cluster_id,
                by=NAME,
                time=at,
                other=other,
                messages=tuple(messages),
            )
            self.given.append(command)
            return command
        return None

    def counts(self) -> dict[str, int]:
        """Return how many answers of which name were given."""
        return dict(sorted(Counter(command.name.value for command in self.given).items()))

    def _wishes(self, seen: Sequence[_Seen]) -> Iterator[_Wish]:
        tickets = [one for one in seen if one.shown.ticket]
        for one in tickets:
            if one.group is None:
                part = one.part()
                name = CommandName.SPLIT if len(part) >= LEAST_PART else CommandName.NOT_FEEDBACK
                yield name, one.shown.cluster_id, None, part if name is CommandName.SPLIT else ()
        first: dict[str, _Seen] = {}
        for one in sorted(tickets, key=lambda one: one.shown.number):
            if one.group is not None:
                first.setdefault(one.group, one)
        by_id = {one.shown.cluster_id: one for one in seen}
        for one in seen:
            holder = by_id.get(one.shown.held_by or "")
            if holder is None or one.shown.ticket or one.size < self.people or one.group is None:
                continue
            name = CommandName.MERGE if holder.most == one.group else CommandName.SEPARATE
            yield name, holder.shown.cluster_id, one.shown.cluster_id, ()
        for one in sorted(tickets, key=lambda one: one.shown.number):
            if one.group is not None and first[one.group] is not one:
                yield CommandName.MERGE, first[one.group].shown.cluster_id, one.shown.cluster_id, ()


_Wish = tuple[CommandName, str, str | None, Iterable[MessageRef]]


@dataclass(frozen=True, slots=True)
class _Seen:
    """A cluster and what the manager makes of it."""

    shown: OnBoard
    groups: tuple[tuple[str | None, int], ...]
    """Gold groups and their messages, biggest first."""
    by_group: Mapping[str | None, tuple[MessageRef, ...]]

    @classmethod
    def of(cls, shown: OnBoard, gold: Mapping[MessageRef, str | None]) -> _Seen:
        """Look at a cluster."""
        parts: dict[str | None, list[MessageRef]] = {}
        for ref in shown.messages:
            parts.setdefault(gold.get(ref), []).append(ref)
        sizes = sorted(((name, len(own)) for name, own in parts.items()), key=lambda pair: (-pair[1], pair[0] or ""))
        return cls(shown, tuple(sizes), {name: tuple(own) for name, own in parts.items()})

    @property
    def size(self) -> int:
        return len(self.shown.messages)

    @property
    def most(self) -> str | None:
        """The commonest group; None for noise, and for nothing."""
        return self.groups[0][0] if self.groups else None

    @property
    def group(self) -> str | None:
        """The group that the cluster is of; None where it is mixed, or noise."""
        return self.most if self.groups and self.groups[0][1] >= PURITY * self.size else None

    def part(self) -> tuple[MessageRef, ...]:
        """Return the biggest part of another group than the commonest, at most what a command can name."""
        others = [name for name, _ in self.groups[1:] if name is not None]
        return self.by_group[others[0]][:COMMAND_MESSAGES_MAX] if others and self.most is not None else ()
