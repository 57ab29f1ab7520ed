"""A space in memory: who stands where, what changed, and what may be forgotten.

What every step of the fold shares. `pipeline.fold` takes messages and decisions in, `pipeline.refit` applies fits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Final

import numpy as np

from models.geometry import View
from pipeline.answers import Calibration
from pipeline.centroids import CentroidIndex
from pipeline.constraints import Constraints, constraints_of
from pipeline.entries import Commanded
from pipeline.raid import RAID_MIN_WORDS, RAID_SPAN, RaidGuard, Spoken
from pipeline.records import CommandName, MessageRef
from pipeline.state import (
    Changes,
    Cluster,
    Effect,
    FitReport,
    FitRequest,
    FoldSettings,
    Lineage,
    LineageEvent,
    Member,
    Move,
    Status,
)

LOG_FLOOR: Final = 1e-6
_PASSED_ON: Final = frozenset({CommandName.MUTE, CommandName.NOT_FEEDBACK})
"""Decisions about a cluster that hold for what a fit splits off from it too: no ticket may come of a part."""


class Space:
    """The state of one space.

    Members outside the window leave memory (`evict`); the owner brings back those that a batch touches (`admit`).
    """

    def __init__(self, space: str, settings: FoldSettings) -> None:
        self.space = space
        self.settings = settings
        self.seq = 0
        self.now: datetime | None = None
        self.seen_since_fit = 0
        self.fit_size = 0
        self.next_number = 1
        self.members: dict[MessageRef, Member] = {}
        self.followers: dict[MessageRef, set[MessageRef]] = {}
        self.clusters: dict[str, Cluster] = {}
        self.erased_authors: set[tuple[str, str]] = set()
        self.commands: dict[str, Commanded] = {}
        """Those in force, by id, in the order in which they were taken."""
        self.effects: dict[str, Effect] = {}
        """What each of them did."""
        self.command_ids: set[str] = set()
        """Those ever applied: one that was undone must not come back when it is delivered again."""
        self.fit: FitRequest | None = None
        self.fit_seq = 0
        """Entry at which the last applied fit began: what is older than it, that fit looked at."""
        self.fitted_seq = 0
        """Entry of the latest fit's result, since loading."""
        self.carried: set[str] = set()
        """In a rebuild: the clusters that there were before it."""
        self.floor = 0
        """Entry before which no fit looks any more."""
        self.raids = RaidGuard(settings.raid_near)
        self.came_along = 0
        """Echoes that went with another message in the latest entry."""
        self.centroids = CentroidIndex()
        self.calibration = Calibration(settings.hold, settings.merge)
        """The space's own thresholds, as people's answers have it."""
        self.cause: tuple[str, str | None] = ("joined", None)
        """Why messages move just now, and by which command."""
        self._left: dict[MessageRef, str] = {}
        self._changes = Changes()

    @property
    def hold_threshold(self) -> float:
        """Cosine to an established cluster from which on another one waits beside it."""
        return self.calibration.hold

    @property
    def merge_threshold(self) -> float:
        """Cosine from which on two clusters are one for sure."""
        return self.calibration.merge

    def drain(self) -> Changes:
        """Hand out what changed since the last call."""
        changes, self._changes = self._changes, Changes()
        return changes

    def touched(self, since: int) -> list[Cluster]:
        """Return the clusters that entries after `since` changed, of those that `drain` has yet to hand out."""
        return [cluster for cluster in self._changes.clusters.values() if cluster.version > since]

    # -- what changed -------------------------------------------------------------------------------------------------

    def changed(self, member: Member) -> None:
        """Note that a member changed."""
        self._changes.members[member.ref] = member

    def record(self, event: LineageEvent) -> None:
        """Note a step in a cluster's history."""
        self._changes.lineage.append(event)

    def report(self, fit: FitReport) -> None:
        """Note how much a fit moved."""
        self._changes.fits.append(fit)

    def moved(self, member: Member, origin: str | None) -> None:
        """Note that a message came from `origin` to where it stands now."""
        why, detail = self.cause
        match member.status:
            case Status.ERASED:
                return
            case Status.POOL:
                why = "returned"
            case Status.EXPIRED | Status.ASIDE:
                why, detail = member.status.value, member.reason
            case Status.CLUSTERED:
                pass
        self._changes.moves.append(Move(self.seq, member.ref, origin, member.cluster_id, why, detail))

    def touch(self, cluster: Cluster) -> None:
        """Note that a cluster changed: its version is the entry that did it."""
        cluster.version = self.seq
        self._changes.clusters[cluster.cluster_id] = cluster

    def renamed(self, old_id: str, new_id: str) -> None:
        """Note that nothing was ever written under `old_id`: what was noted about it is of `new_id`."""
        for noted in (self._changes.clusters, self._changes.refitted):
            noted.pop(old_id, None)
        self._changes.lineage = [
            replace(
                event,
                cluster_id=new_id if event.cluster_id == old_id else event.cluster_id,
                other=new_id if event.other == old_id else event.other,
            )
            for event in self._changes.lineage
        ]
        self._changes.moves = [
            replace(
                move,
                from_cluster=new_id if move.from_cluster == old_id else move.from_cluster,
                to_cluster=new_id if move.to_cluster == old_id else move.to_cluster,
            )
            for move in self._changes.moves
        ]

    def refitted(self, cluster: Cluster) -> None:
        """Note that a fit changed what only the fold goes by."""
        self._changes.refitted[cluster.cluster_id] = cluster

    # -- places -------------------------------------------------------------------------------------------------------

    def place(self, member: Member, status: Status, cluster_id: str | None, reason: str | None = None) -> None:
        """Put a message that stands nowhere into its place, and its echoes with it."""
        origin, before = self._left.pop(member.ref, member.cluster_id), member.status
        member.status, member.cluster_id, member.reason = status, cluster_id, reason
        if origin != cluster_id or (cluster_id is None and before is not status):
            self.moved(member, origin)
        if cluster_id is not None and member.follows is None and member.vector is not None:
            cluster = self.clusters[cluster_id]
            cluster.total += member.vector
            cluster.count += 1
            cluster.log_kinds += np.log(np.maximum(member.features.kinds, LOG_FLOOR))
        if cluster_id is not None:
            self.touch(self.clusters[cluster_id])
        self._changes.members[member.ref] = member
        for ref in sorted(self.followers.get(member.ref, ())):
            if (follower := self.members.get(ref)) is not None:
                self.follow_along(follower)

    def leave(self, member: Member) -> None:
        """Take a message out of its cluster, if it stands in one."""
        if member.cluster_id is None:
            return
        cluster = self.clusters[member.cluster_id]
        if member.follows is None and member.vector is not None:
            cluster.total -= member.vector
            cluster.count -= 1
            cluster.log_kinds -= np.log(np.maximum(member.features.kinds, LOG_FLOOR))
            if cluster.count == 0:
                self.centroids.drop(cluster)
            if cluster.count == 0 and cluster.merged_into is None:
                self._changes.lineage.append(LineageEvent(self.seq, cluster.cluster_id, Lineage.EMPTIED))
        self._left[member.ref] = cluster.cluster_id
        member.cluster_id = member.via = None
        self.touch(cluster)

    def take_place_of_parent(self, member: Member) -> None:
        """Put an echo where its parent stands now."""
        parent = self.members[member.follows] if member.follows in self.members else None
        if parent is None:
            self.place(member, Status.ASIDE, None, "agreement with a message not seen yet")
        elif parent.status is Status.ERASED:
            self.place(member, Status.ASIDE, None, "echo of a message that is gone")
        elif parent.status is Status.ASIDE:
            self.place(member, Status.ASIDE, None, "echo of a message set aside")
        else:
            self.place(member, parent.status, parent.cluster_id)

    def stop_following(self, member: Member) -> None:
        """Let a message be an echo no longer."""
        if member.follows is not None:
            self.followers.get(member.follows, set()).discard(member.ref)
            member.follows = None

    def follow_along(self, follower: Member) -> None:
        """Put an echo where its parent went."""
        self.came_along += 1
        if follower.cluster_id is not None:
            self.touch(self.clusters[follower.cluster_id])
        self.take_place_of_parent(follower)

    def forget(self, member: Member) -> None:
        """Erase a message: nothing of it stays but that there was one."""
        self.leave(member)
        self.stop_following(member)
        self.raids.drop(member.seq)
        member.vector = member.reply_to = None
        member.author = ""
        self.place(member, Status.ERASED, None, "deleted")
        self._changes.erased.add(member.ref)

    def survivor(self, cluster_id: str) -> Cluster:
        """Return the cluster, or the one that it is part of now: a decision about it sticks to that."""
        cluster = self.clusters[cluster_id]
        while cluster.merged_into is not None:
            cluster = self.clusters[cluster.merged_into]
        return cluster

    # -- people's decisions -------------------------------------------------------------------------------------------

    def constraints(self) -> Constraints:
        """Return what people decided about which clusters are one, and which are not."""
        return constraints_of(self.commands.values(), self.effects, self.clusters)

    def decided(self, cluster: Cluster) -> list[Commanded]:
        """Return the commands in force about a cluster, or about one that is part of it now, in their order."""
        return [c for c in self.commands.values() if self.survivor(c.cluster_id) is cluster]

    def passed_on(self, cluster: Cluster) -> list[str]:
        """Return the decisions about a cluster which hold for its parts too: its own, and those it has so itself."""
        if not self.commands:
            return []
        family = (c for c in self.clusters.values() if c.inherited and self.survivor(c.cluster_id) is cluster)
        handed_down = [one for c in family for one in c.inherited if one in self.commands]
        own = [c.command_id for c in self.decided(cluster) if c.name in _PASSED_ON]
        return list(dict.fromkeys((*handed_down, *own)))

    def reflag(self, cluster: Cluster) -> None:
        """Let a cluster be what the commands in force say of it."""
        mine = self.decided(cluster)
        names = [c for c in mine if c.name is CommandName.RENAME]
        # Of two names that met in a merge the survivor's own counts; else the newest.
        names.sort(key=lambda c: c.cluster_id == cluster.cluster_id)
        bound = {self.commands[one].name for one in self.passed_on(cluster)}
        flags = (
            CommandName.MUTE in bound,
            CommandName.NOT_FEEDBACK in bound,
            any(c.name is CommandName.PROMOTE for c in mine),
            tuple(dict.fromkeys(c.value or "tagged" for c in mine if c.name is CommandName.TAG)),
            (names[-1].value or "").strip() if names else None,
        )
        if flags != (cluster.muted, cluster.rejected, cluster.promoted, cluster.tags, cluster.name):
            cluster.muted, cluster.rejected, cluster.promoted, cluster.tags, cluster.name = flags
            self.touch(cluster)

    # -- memory -------------------------------------------------------------------------------------------------------

    def fit_members(self) -> list[Member]:
        """Return what a fit looks at: the newest messages with a place of their own, oldest first."""
        eligible = [
            m
            for m in self.members.values()
            if m.vector is not None
            and m.follows is None
            and m.status in {Status.POOL, Status.CLUSTERED}
            and m.seq >= self.floor
        ]
        eligible.sort(key=lambda m: m.seq)
        return eligible[-self.settings.window :]

    def remember(self, member: Member) -> bool:
        """Let the raid guard remember a message; False when it is not one that it looks at."""
        lately = member.seq > self.seq - RAID_SPAN and member.follows is None and member.status is not Status.ERASED
        if not lately or member.features.words < RAID_MIN_WORDS or member.vector is None:
            return False
        self.raids.add(spoken(member), member.vector)
        return True

    def admit(self, members: Iterable[Member]) -> None:
        """Bring back members that left memory; what memory has is newer and stays."""
        for member in members:
            if member.ref not in self.members:
                self.members[member.ref] = member
                if member.follows is not None:
                    self.followers.setdefault(member.follows, set()).add(member.ref)

    def restore(self, view: View | None) -> None:
        """Lay out, after loading, the centroids, and derive what is not stored: the raid guard's memory."""
        self.centroids.rebuild(self.clusters.values(), view)
        for member in sorted(self.members.values(), key=lambda m: m.seq):
            self.remember(member)

    def evict(self) -> None:
        """Let go of what no fit will look at again. Never changes a result: `needs` brings back what matters."""
        kept = {
            m.ref
            for m in self.members.values()
            if m.follows is None and (m.status is Status.POOL or (m.status is Status.CLUSTERED and m.seq >= self.floor))
        }
        # A fit may move a message, and its echoes with it: they stay as long as it does.
        self.followers = {ref: own for ref, own in self.followers.items() if ref in kept and own}
        self.members = {m.ref: m for m in self.members.values() if m.ref in kept or m.follows in kept}


def spoken(member: Member) -> Spoken:
    """Return what the raid guard knows of a message."""
    return Spoken(member.seq, member.ref, member.author, member.at, member.features.fingerprint)
