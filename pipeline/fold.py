"""The fold: one space's clusters as a pure function of its journal.

`SpaceState.apply(entry)` is the only thing that changes a space. It knows no clock, no database and no Kafka; the
same entries give the same clusters, however they were cut into batches. The owner (`pipeline.owner`) feeds it, runs
the fits that it asks for, and writes what `drain` hands out in the transaction that journals the entries.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

import numpy as np

from pipeline import decisions, replies
from pipeline.carrying import apply_rebuilt
from pipeline.entries import (
    AuthorErased,
    Body,
    Commanded,
    Deleted,
    Entry,
    Features,
    Fitted,
    Posted,
    Reacted,
    Rebuilt,
    Ticked,
    Vector,
)
from pipeline.raid import BOT_POSTS
from pipeline.records import CommandName, MessageRef
from pipeline.refit import apply_fit
from pipeline.space import Space, spoken
from pipeline.state import FitRequest, Member, Status


class Needs(NamedTuple):
    """Messages to bring back to memory: by name, by author, and by the command that placed them (`Member.via`)."""

    refs: set[MessageRef]
    authors: set[tuple[str, str]]
    placed: set[str]


class SpaceState(Space):
    """State of one space after `seq` entries."""

    def apply(self, entry: Entry) -> None:
        """Take the next journal entry; ValueError when it is not the next."""
        if entry.seq != self.seq + 1:
            raise ValueError(f"entry {entry.seq} after {self.seq}")
        self.seq, self.came_along = entry.seq, 0
        # A decision carries the time of the person who took it, which says nothing about an archive of last year.
        if self.now is None or not isinstance(entry.body, Commanded):
            self.now = entry.at if self.now is None else max(self.now, entry.at)
        match entry.body:
            case Posted():
                self._posted(entry.body, entry.at)
            case Deleted():
                self._erase(entry.body.ref)
            case AuthorErased():
                self._erase_author(entry.body)
            case Reacted():
                self._touch_cluster_of(entry.body.ref)
            case Commanded():
                self._commanded(entry.body)
            case Fitted():
                self._fitted(entry.body)
            case Rebuilt():
                apply_rebuilt(self, entry.body)
            case Ticked():
                pass
        self._maybe_begin_fit(idle=isinstance(entry.body, Ticked))

    def stale(self, body: Body) -> bool:
        """Tell whether `apply` would change nothing: a repeat, or older than what is known."""
        match body:
            case Posted():
                known = self.members.get(body.ref)
                return known is not None and (
                    known.status is Status.ERASED or (body.revision <= known.revision and not _adds_to(body, known))
                )
            case Deleted():
                known = self.members.get(body.ref)
                return known is not None and known.status is Status.ERASED
            case AuthorErased():
                return (body.platform, body.author) in self.erased_authors
            case Commanded():
                unknown = {body.cluster_id, body.other or body.cluster_id} - self.clusters.keys()
                return body.command_id in self.command_ids or bool(unknown)
            case _:
                return False

    # -- messages -----------------------------------------------------------------------------------------------------

    def _posted(self, posted: Posted, at: datetime) -> None:
        if self.stale(posted):
            return
        known = self.members.get(posted.ref)
        if known is not None and posted.revision <= known.revision:
            self._learn(known, posted, at)
            return
        author = posted.author if posted.author is not None else (known.author if known else "")
        below = replies.beneath(self, posted.ref, known.follows if known else None)
        if known is not None:
            self.leave(known)
            self.stop_following(known)
            self.raids.drop(known.seq)
        reply_to = posted.reply_to or (known.reply_to if known else None)
        features = posted.features
        if features.leans and reply_to is not None:
            features = replace(features, echo=True)
        member = Member(
            ref=posted.ref,
            seq=self.seq,
            author=author,
            at=known.at if known else at,
            revision=posted.revision,
            status=Status.POOL,
            reason=None,
            cluster_id=None,
            features=features,
            vector=posted.vector,
            reply_to=reply_to,
        )
        self.members[posted.ref] = member
        self._changes.members[posted.ref] = member
        if (posted.ref.platform, author) in self.erased_authors:
            replies.forget(self, member)
        elif not replies.answer(self, member, below):
            self._find_place(member, posted.vector)

    def _find_place(self, member: Member, vector: Vector) -> None:
        reason = self._set_aside(member, vector)
        if reason is not None:
            self.place(member, Status.ASIDE, None, reason)
            return
        self.seen_since_fit += 1
        self._join_or_wait(member, vector)

    def _learn(self, known: Member, posted: Posted, at: datetime) -> None:
        """An edit came first and did not say who wrote it, or what it answers; now the message itself comes."""
        known.author, known.at = known.author or posted.author or "", min(known.at, at)
        self.remember(known)
        self._changes.members[known.ref] = known
        if known.cluster_id is not None:
            self.touch(self.clusters[known.cluster_id])
        if (known.ref.platform, known.author) in self.erased_authors:
            replies.forget(self, known)
        elif known.reply_to is None and posted.reply_to is not None:
            known.reply_to = posted.reply_to
            below = replies.beneath(self, known.ref, known.follows)
            if replies.root_of(self, known, below) is not None:
                self.leave(known)
                self.raids.drop(known.seq)
                replies.answer(self, known, below)

    def _join_or_wait(self, member: Member, vector: Vector) -> None:
        cluster = self.centroids.nearest(vector, self.settings.attach_margin)
        if cluster is None:
            self.place(member, Status.POOL, None)
        else:
            self.place(member, Status.CLUSTERED, cluster.cluster_id)

    def _set_aside(self, member: Member, vector: Vector) -> str | None:
        """Return why a message founds and joins nothing, or None."""
        features = member.features
        if self._raid(member, vector):
            return "raid"
        if features.language is not None:
            return f"language {features.language}"
        if self.settings.found_all_kinds:
            return None
        if features.echo:
            return "agreement without a parent"
        if features.form is not None:
            return features.form
        if self.raids.repeats(spoken(member)) >= BOT_POSTS:
            return "one text again and again by one account"
        praise, other = features.kinds[3], features.kinds[4]
        unclear = praise + other > 1 - self.settings.aside_probability
        if not features.clear and features.words < (self.settings.clear_words if unclear else self.settings.min_words):
            return "too few words"
        if max(praise, other) >= self.settings.aside_probability:
            return "praise" if praise >= other else "chatter"
        return None

    def _raid(self, member: Member, vector: Vector) -> bool:
        """Tell whether a message is part of a raid (`pipeline.raid`); sets the earlier ones aside as well."""
        if not self.remember(member):
            return False
        settings = self.settings
        found = self.raids.raid(spoken(member), vector, settings.raid_window, settings.raid_authors)
        for one in found:
            other = self.members.get(one.ref)
            if other is not None and other is not member and other.status in {Status.POOL, Status.CLUSTERED}:
                self.leave(other)
                self.place(other, Status.ASIDE, None, "raid")
        return bool(found)

    def _erase(self, ref: MessageRef) -> None:
        known = self.members.get(ref)
        if known is None:
            assert self.now is not None
            nothing = Features((0.2,) * 5, "unsure", 0, echo=False, fingerprint="")
            known = Member(ref, self.seq, "", self.now, self.now, Status.ERASED, "deleted", None, nothing, None)
            self.members[ref] = known
        replies.forget(self, known)

    def _erase_author(self, erased: AuthorErased) -> None:
        key = (erased.platform, erased.author)
        self.erased_authors.add(key)
        self._changes.erased_authors.add(key)
        mine = [m for m in self.members.values() if (m.ref.platform, m.author) == key]
        for member in sorted(mine, key=lambda m: m.seq):
            replies.forget(self, member)

    def _touch_cluster_of(self, ref: MessageRef) -> None:
        member = self.members.get(ref)
        if member is not None and member.cluster_id is not None:
            self.touch(self.clusters[member.cluster_id])

    # -- people's decisions -------------------------------------------------------------------------------------------

    def _commanded(self, command: Commanded) -> None:
        if not self.stale(command):
            decisions.take(self, command)

    # -- fits ---------------------------------------------------------------------------------------------------------

    @property
    def idle_needed(self) -> int:
        """New messages that make a fit worth its price when nothing else is to be done."""
        return max(self.settings.idle_min_new, int(self.settings.idle_growth * self.fit_size))

    @property
    def unfinished(self) -> bool:
        """Whether a silence would be used: a fit is under way, or enough is new for one."""
        return self.fit is not None or self.seen_since_fit >= self.idle_needed

    def was_silent(self, body: Body, at: datetime) -> bool:
        """Tell whether the space was silent for `idle_gap` before this entry. By event time: an archive has nights too.

        A decision carries a person's time, which says nothing about the community's.
        """
        if self.now is None or isinstance(body, Commanded):
            return False
        return at - self.now >= self.settings.idle_gap

    def _maybe_begin_fit(self, *, idle: bool) -> None:
        if self.fit is not None:
            return
        settings = self.settings
        if idle:
            needed = self.idle_needed
        elif self.centroids.view is None:
            needed = settings.first_fit
        else:
            needed = max(settings.fit_min_new, int(settings.fit_growth * self.fit_size))
        if self.seen_since_fit < needed:
            return
        members = self.fit_members()
        vectors = [m.vector for m in members if m.vector is not None]
        seen, self.seen_since_fit = self.seen_since_fit, 0
        if not vectors:
            return
        self.fit_size = len(members)
        self.fit = FitRequest(
            seen=seen,
            begun_seq=self.seq,
            due_seq=self.seq + max(1, min(needed // 2, settings.fit_lag)),
            refs=tuple(m.ref for m in members),
            vectors=np.stack(vectors),
            oldest=members[0].seq,
        )

    def _fitted(self, fitted: Fitted) -> None:
        self.fit, self.fitted_seq = None, self.seq
        self.floor = fitted.oldest
        apply_fit(self, fitted)
        self.fit_seq = fitted.begun_seq

    # -- memory -------------------------------------------------------------------------------------------------------

    def needs(self, bodies: Iterable[Body]) -> Needs:
        """Return which messages `apply` will look at, to be brought back by `admit`.

        Of the entries that take a command back only the first is answered for: what it takes back must be folded.
        """
        refs: set[MessageRef] = set()
        authors: set[tuple[str, str]] = set()
        placed: set[str] = set()
        for body in bodies:
            match body:
                case Posted():
                    refs.add(body.ref)
                    refs.update(one.ref for one in self.raids.alike(body.features.fingerprint, body.vector))
                    known = self.members.get(body.ref)
                    # an edit that does not repeat what it answers
                    answered = body.reply_to or (known.reply_to if known else None)
                    if answered is not None:
                        refs.add(answered)
                case Deleted() | Reacted():
                    refs.add(body.ref)
                case AuthorErased():
                    authors.add((body.platform, body.author))
                case Commanded(name=CommandName.SPLIT):
                    refs.update(body.messages)
                case Commanded(name=CommandName.UNDO):
                    named = [self.commands.get(body.value)] if body.value else self.commands.values()
                    for command in named:
                        if command is not None and command.name in decisions.MOVERS:
                            placed |= decisions.moved_by(self, command)
                case _:
                    pass
        return Needs(refs, authors, placed)


def _adds_to(posted: Posted, known: Member) -> bool:
    """Tell whether an older revision says what the newer ones did not: who wrote it, or what it answers."""
    names_author = known.author == "" and posted.author is not None
    return names_author or (known.reply_to is None and posted.reply_to is not None)
