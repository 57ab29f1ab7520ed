"""The guard against raids: many accounts, one text, within minutes. Pure and bounded.

It remembers the messages of the last `RAID_SPAN` journal entries, and calls a message a raid with those like it when

* `authors` accounts posted one text, whoever they are: the same words but for what `models.text` normalises; or
* as many posted near-identical ones (cosine `near` or more), and most of these accounts were not seen here before.

People who report one outage use words of their own (paraphrases stay below .95) or are known here, so a burst of
honest complaints is none. What is remembered follows from the messages alone: forgetting what lies beyond the span,
cutting the journal into other batches, or loading the space anew changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.entries import Vector
from pipeline.records import MessageRef

RAID_MIN_WORDS: Final = 4
"""Content words from which on a text can be a raid's: short ones are alike by chance."""
RAID_SPAN: Final = 1_000
"""Entries for which a message is remembered: more than any community sees within minutes."""
BOT_POSTS: Final = 3
"""From this one on, the copies of one text by one account are a bot's, or say nothing new; the first ones stay."""
NEW_SHARE: Final = 0.5
"""Part of the accounts, more than which must be new."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """What is remembered of a message."""

    seq: int
    ref: MessageRef
    author: str
    at: datetime
    fingerprint: str

    @property
    def account(self) -> tuple[str, str]:
        """Who said it: an author on a platform."""
        return self.ref.platform, self.author


class RaidGuard:
    """The messages of the last `RAID_SPAN` entries, and who of them is alike."""

    def __init__(self, near: float) -> None:
        self._near = near
        self._spoken: dict[int, Spoken] = {}
        self._vectors: npt.NDArray[np.float32] = np.zeros((0, 0), np.float32)

    def add(self, spoken: Spoken, vector: Vector) -> None:
        """Remember a message; entries come in any order, and what one span later takes its place was forgotten."""
        if self._vectors.shape[1] != len(vector):
            self._vectors = np.zeros((RAID_SPAN, len(vector)), np.float32)
        old = self._spoken.get(spoken.seq % RAID_SPAN)
        if old is None or old.seq <= spoken.seq:
            self._spoken[spoken.seq % RAID_SPAN] = spoken
            self._vectors[spoken.seq % RAID_SPAN] = vector

    def drop(self, seq: int) -> None:
        """Forget what an entry brought: it was erased, or edited since."""
        spoken = self._spoken.get(seq % RAID_SPAN)
        if spoken is not None and spoken.seq == seq:
            del self._spoken[seq % RAID_SPAN]
            self._vectors[seq % RAID_SPAN] = 0

    def alike(self, fingerprint: str, vector: Vector) -> list[Spoken]:
        """Return the remembered messages with the same text or nearly so, oldest entry first."""
        if not self._spoken:
            return []
        near = set(np.flatnonzero(self._vectors @ vector >= self._near).tolist()) if self._fits(vector) else set()
        found = [one for slot, one in self._spoken.items() if slot in near or one.fingerprint == fingerprint]
        return sorted(found, key=lambda one: one.seq)

    def repeats(self, last: Spoken) -> int:
        """Return how many of the remembered messages have the text and the account of `last`, itself included."""
        if not last.author:
            return 0
        own = (one for one in self._spoken.values() if one.fingerprint == last.fingerprint)
        return sum(one.account == last.account and last.seq - RAID_SPAN < one.seq <= last.seq for one in own)

    def raid(self, last: Spoken, vector: Vector, window: timedelta, authors: int) -> list[Spoken]:
        """Return the messages that are a raid together with `last`, itself included; none when it is no raid.

        Parameters
        ----------
        last : Spoken
            The newest message; to be remembered already.
        window : timedelta
            Time before it within which the others came.
        authors : int
            Accounts that make a raid.
        """
        group = [
            one
            for one in self.alike(last.fingerprint, vector)
            if last.seq - RAID_SPAN < one.seq <= last.seq and last.at - window <= one.at <= last.at
        ]
        same = [one for one in group if one.fingerprint == last.fingerprint]
        if len(_accounts(same)) >= authors:
            return same
        accounts = _accounts(group)
        if len(accounts) < authors:
            return []
        known = {
            one.account
            for one in self._spoken.values()
            if last.seq - RAID_SPAN < one.seq <= last.seq and one.at < last.at - window
        }
        return group if len(accounts - known) > NEW_SHARE * len(accounts) else []

    def _fits(self, vector: Vector) -> bool:
        return bool(self._vectors.shape[1] == len(vector))


def _accounts(spoken: Iterable[Spoken] | Sequence[Spoken]) -> set[tuple[str, str]]:
    return {one.account for one in spoken}
