"""Echoes and what they answer: "same here" stands where the message at the root of its chain of replies stands.

An echo keeps the reply it came as (`Member.reply_to`) and the root that this leads to (`Member.follows`), whether
that is known yet or not: of a root that comes later the waiting echoes are found by its name. So the order in which
parent, echo, edit and deletion come changes nothing. Only rings (two echoes edited to answer one another) go by
order; whoever closes one answers nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from pipeline.records import MessageRef
from pipeline.space import Space
from pipeline.state import Member


def beneath(space: Space, ref: MessageRef, follows: MessageRef | None) -> list[Member]:
    """Return the echoes whose chain of replies passes through a message that follows `follows`, by their names."""
    own = [space.members[one] for one in sorted(space.followers.get(follows or ref, ())) if one in space.members]
    if follows is None:
        return own
    answers: defaultdict[MessageRef | None, list[Member]] = defaultdict(list)
    for echo in own:
        answers[echo.reply_to].append(echo)
    found: list[Member] = []
    ends = [ref]
    while ends:
        below = answers.pop(ends.pop(), [])
        found += below
        ends += [echo.ref for echo in below]
    return sorted((echo for echo in found if echo.ref != ref), key=lambda echo: echo.ref)


def root_of(space: Space, member: Member, below: Collection[Member]) -> MessageRef | None:
    """Return the message whose place an echo takes, known or not; None for what is no echo or answers nothing.

    Parameters
    ----------
    below : collection of Member
        The echoes of the message itself: what answers one of them closes a ring.
    """
    parent = member.reply_to
    if not member.features.echo or parent is None or parent == member.ref or any(e.ref == parent for e in below):
        return None
    known = space.members.get(parent)
    return parent if known is None else known.follows or parent


def answer(space: Space, member: Member, below: Collection[Member]) -> bool:
    """Let a message follow what it answers now, and `below` with it; False when it has to find a place of its own."""
    member.follows = root_of(space, member, below)
    if member.follows is None:
        _lead(space, below, member.ref)
        return False
    _lead(space, below, member.follows)
    space.followers.setdefault(member.follows, set()).add(member.ref)
    space.take_place_of_parent(member)
    for echo in below:
        space.follow_along(echo)
    return True


def forget(space: Space, member: Member) -> None:
    """Erase a message; what answered it answers what is gone."""
    below = beneath(space, member.ref, member.follows)
    space.leave(member)
    space.stop_following(member)
    _lead(space, below, member.ref)
    space.forget(member)


def _lead(space: Space, echoes: Collection[Member], root: MessageRef) -> None:
    for echo in echoes:
        space.stop_following(echo)
        echo.follows = root
        space.followers.setdefault(root, set()).add(echo.ref)
        space.changed(echo)
