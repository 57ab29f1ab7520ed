"""Early warning in a trial: which clusters are on watch, and since when.

Whether one is on watch says the sink, by the rule that runs live (`pipeline.watch`, `pipeline.store.rates`). It would
have to be asked after every message; so the rule's cheap question, how a cluster's own rate rose, is asked of the
book first, and the sink only where the answer may be yes.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from pipeline.book import Book
from pipeline.decide import Action, Decision
from pipeline.drafting import Drafts
from pipeline.records import MessageRef
from pipeline.settings import PolicySettings
from pipeline.state import Member
from pipeline.store.database import Database
from pipeline.store.facts import cluster_facts
from pipeline.store.rates import people_per_window
from pipeline.tried import TriedWatch
from pipeline.watch import Counts, rises


class Voice(NamedTuple):
    """Who said something when."""

    platform: str
    author: str
    posted_at: datetime


class Lookout:
    """The watches of one trial."""

    def __init__(self, space: str, database: Database, policy: PolicySettings, book: Book) -> None:
        self.watches: list[TriedWatch] = []
        self._space = space
        self._database = database
        self._policy = policy
        self._book = book
        self._drafts = Drafts(database)
        self._clusters = 0
        self._arrived: dict[str, list[Voice]] = {}
        """Since the last commit, by cluster."""
        self._until: dict[str, datetime] = {}
        """On watch → until when, if nothing more comes."""

    def arrived(self, member: Member) -> None:
        """Note a message that is not committed yet."""
        if member.cluster_id is not None:
            voice = Voice(member.ref.platform, member.author, member.at)
            self._arrived.setdefault(member.cluster_id, []).append(voice)

    def committed(self, clusters: int) -> None:
        """Note that the book is up to date again, and how many live clusters there are."""
        self._clusters = clusters
        self._arrived.clear()

    def may_rise(self, cluster_id: str) -> bool:
        """Tell whether the sink may see a rise; erased messages aside, never False where it would."""
        settings, arrived = self._policy.watch, self._arrived.get(cluster_id, [])
        if settings.false_alarms == 0 or self._book.oldest is None:
            return False
        newest = max((voice.posted_at for voice in arrived), default=None)
        lately = self._book.lately(cluster_id, settings.window, newest)
        if lately + len(arrived) < settings.min_people:
            return False
        said = [Voice(*author, at) for author, at in self._book.said(cluster_id)] + arrived
        last_at = max(voice.posted_at for voice in said)
        windows = min(settings.baseline, (last_at - self._book.oldest) // settings.window - 1)
        if windows < settings.min_history:
            return False
        own = people_per_window(said, last_at, settings.window, windows)
        counts = Counts(own[0], own[1:], 1, (1,) * windows)
        clusters = max(1, self._clusters)
        return rises(counts, settings.window, settings.false_alarms, clusters, settings.min_people) is not None

    async def decided(self, cluster_id: str, decision: Decision | None, now: datetime) -> None:
        """Note what the sink decided: a watch begins, goes on or ends."""
        until = self._until.pop(cluster_id, None)
        if decision is None or decision.action is not Action.WATCH:
            return
        self._until[cluster_id] = decision.due_at or now
        if until is not None and now <= until:
            return
        async with self._database.read() as connection:
            found = await cluster_facts(connection, self._space, cluster_id, self._policy)
        if found is None or found[0].rising is None:
            return
        facts, rising = found[0], found[0].rising
        draft, quoted = await self._drafts.draft(self._space, cluster_id, facts, decision)
        self.watches.append(
            TriedWatch(
                cluster_id=cluster_id,
                watched_as=cluster_id,
                kind=facts.kind,
                summary=draft.summary,
                at=now,
                at_message=self._book.newest,
                after=self._book.posted,
                messages=facts.messages,
                authors=facts.people,
                platforms=facts.platforms,
                recent=rising.rise.recent,
                expected=rising.rise.expected,
                chance=rising.rise.chance,
                window=rising.window,
                new_platforms=rising.new_platforms,
                release=rising.release,
                reason=decision.reason,
                quotes=tuple(one.text for one in quoted),
            )
        )


def newest_of(members: dict[MessageRef, Member], seq: int) -> Member | None:
    """Return the message that entry `seq` brought, where it is new: it stands last."""
    last = next(reversed(members.values()), None)
    return last if last is not None and last.seq == seq else None
