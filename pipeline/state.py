"""What a space's state is made of: members, clusters, and the record of what changed.

Plain values, changed only by `pipeline.fold`; the store reads and writes them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from models.geometry import View
from pipeline.entries import Features, Fitted, Vector
from pipeline.records import MessageRef

FloatVector = npt.NDArray[np.float64]


class Status(StrEnum):
    """Where a message stands; every message has exactly one."""

    POOL = "pool"
    CLUSTERED = "clustered"
    ASIDE = "aside"
    EXPIRED = "expired"
    ERASED = "erased"


@dataclass(frozen=True, slots=True)
class FoldSettings:
    """Knobs of online assignment and of when to fit. Times are event time."""

    window: int = 20_000
    """Messages, newest first, that a fit looks at."""
    first_fit: int = 60
    """Messages before the first fit."""
    fit_growth: float = 0.15
    fit_min_new: int = 60
    """A fit follows after `max(fit_min_new, fit_growth * messages of the last fit)` new messages."""
    fit_lag: int = 32
    """Entries after which a begun fit is applied, and waited for if late: speed changes no result."""
    idle_gap: timedelta = timedelta(minutes=10)
    """A space that was silent for so long is brought up to date before it goes on."""
    idle_min_new: int = 10
    idle_growth: float = 0.05
    """A silence begins a fit after `max(idle_min_new, idle_growth * messages of the last fit)` new messages."""
    attach_floor: float = 0.65
    """Least cosine, in the last fit's view, at which a message joins a cluster; a cluster's own spread may ask more."""
    attach_margin: float = 0.05
    """By how much the best cluster must beat the second best; else the message waits in the pool."""
    pool_ttl: timedelta = timedelta(days=45)
    min_words: int = 2
    """Content words below which a message says nothing on its own."""
    clear_words: int = 3
    """Content words below which it must be a clear complaint, idea or question to count."""
    aside_probability: float = 0.6
    """From this probability on, praise and chatter found and join nothing."""
    found_all_kinds: bool = False
    """Let praise and chatter found clusters too: for texts that are not a community's chat."""
    established_size: int = 10
    """Members from which on a cluster may be established: sure enough to open, and to claim its surroundings."""
    confirming_fits: int = 4
    """Fits that must have found it: the first sight of a group is often two."""
    least_overlap: float = 0.75
    """Of it, how much each of the latest two fits must have found again: a group that is redrawn is none yet."""
    roomy_cohesion: float = 0.6
    """How much of a piece it must be (`models.geometry.cohesion`) where a space has few clusters …"""
    crowded_cohesion: float = 0.78
    """… and where it has many (`models.sureness`)."""
    hold: float = 0.55
    """Cosine at which two clusters are as likely one matter as two; one that is probably the matter of an established
    cluster waits beside it ("close to #12") and opens no ticket of its own (`models.novelty`)."""
    merge: float = 0.85
    """Cosine of two clusters from which on they are one for sure. Both thresholds are where a space begins:
    people's answers move them (`pipeline.answers`)."""
    raid_authors: int = 5
    raid_window: timedelta = timedelta(minutes=10)
    """This many accounts with one text within the window are a raid (`pipeline.raid`)."""
    raid_near: float = 0.95
    """Cosine from which on texts of new accounts are one: the same but for a name, a number or a link."""


@dataclass(slots=True)
class Member:
    """A message as the fold sees it."""

    ref: MessageRef
    seq: int
    """Entry that brought the current revision; orders fits and names the stored vector."""
    author: str
    at: datetime
    revision: datetime
    status: Status
    reason: str | None
    cluster_id: str | None
    features: Features
    vector: Vector | None
    follows: MessageRef | None = None
    """The message whose place this one takes, known yet or not: it is an echo (`pipeline.replies`)."""
    reply_to: MessageRef | None = None
    """What it answers, as its platform says."""
    fits: int = 0
    """Fits that looked at it while it waited in the pool."""
    via: str | None = None
    """The command by which a person put it where it is: no fit moves it away from there."""


@dataclass(slots=True)
class Cluster:
    """A live or ended cluster. `total` and `count` hold the members with a vector, beyond the window too."""

    cluster_id: str
    number: int
    born_seq: int
    total: FloatVector
    count: int
    log_kinds: FloatVector
    """Sum over members of the log-probability of each kind."""
    threshold: float
    centroid: Vector | None = None
    """(k,) float32, unit length, in the last fit's view; it stands still until the next fit or a person moves it."""
    overlaps: tuple[float, ...] = ()
    """How much of the cluster each of the latest fits found again, 0 to 1, newest last."""
    fits: int = 1
    """Fits that found it again, its birth included."""
    established_seq: int | None = None
    held_by: str | None = None
    merged_into: str | None = None
    split_from: str | None = None
    muted: bool = False
    promoted: bool = False
    tags: tuple[str, ...] = ()
    version: int = 0
    name: str | None = None
    """What people call it; None while its words name it."""
    rejected: bool = False
    """A person said that it is no feedback."""
    inherited: tuple[str, ...] = ()
    """Commands about the cluster that it split from which hold for it as well: what was muted stays muted in parts."""

    @property
    def live(self) -> bool:
        """Whether messages may still join."""
        return self.merged_into is None and self.count > 0


class Lineage(StrEnum):
    """What happened to a cluster."""

    BORN = "born"
    SPLIT = "split"
    MERGED = "merged"
    REVIVED = "revived"
    """A merge was taken back: the cluster is one of its own again."""
    EMPTIED = "emptied"
    REBUILT = "rebuilt"


@dataclass(frozen=True, slots=True)
class LineageEvent:
    """One step in a cluster's history."""

    seq: int
    cluster_id: str
    what: Lineage
    other: str | None = None
    command_id: str | None = None
    """The command that did it; None when a fit did."""
    pins: bool = False
    """Whether the members of a merged cluster stay in the other one, whatever fits say (`Member.via`)."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What a command in force did when it was taken."""

    seq: int
    cluster: str | None = None
    """The cluster that `merge` ended, or that `split` made."""
    cosine: float | None = None
    """Of the two clusters that an answer is about, by their centroids then."""
    established: tuple[str, ...] = ()
    """Clusters that it released from waiting beside another."""


@dataclass(frozen=True, slots=True)
class Move:
    """A message left its place for another; `None` is the pool, or none at all."""

    seq: int
    ref: MessageRef
    from_cluster: str | None
    to_cluster: str | None
    why: str
    """joined, fit, split, merge, command, returned (to the pool), expired, aside."""
    detail: str | None = None
    """The command that did it, or why it was set aside."""


@dataclass(frozen=True, slots=True)
class FitReport:
    """How much a fit moved; counts of messages with a place of their own, echoes left out."""

    seq: int
    at: datetime
    begun_seq: int
    messages: int
    """Looked at, and still there."""
    clustered: int
    """Of these, in a cluster before."""
    moved: int
    """Of these, now in another cluster, outside of merges, splits and blocks."""
    to_pool: int
    in_blocks: int
    """Of these, moved together with a quarter or more of their cluster: parts of a merge or a split in effect."""
    established: int
    """In an established cluster before; the next two are of these."""
    established_moved: int
    established_to_pool: int
    born: int
    merged: int
    split: int


@dataclass(frozen=True, slots=True)
class FitRequest:
    """What a fit is to look at, frozen when it begins; apply its result at `due_seq` at the latest."""

    seen: int
    """New messages that made it due; a restart that loses the fit must know of them."""
    begun_seq: int
    due_seq: int
    refs: tuple[MessageRef, ...]
    vectors: npt.NDArray[np.float32]
    oldest: int

    def result(self, labels: npt.NDArray[np.int32], view: View) -> Fitted:
        """Return the journal entry's body for what the fit found."""
        return Fitted(self.begun_seq, self.refs, labels, view, self.oldest)


@dataclass(slots=True)
class Changes:
    """What to write after a batch: the newest state of all that changed, and what happened."""

    members: dict[MessageRef, Member] = field(default_factory=dict)
    clusters: dict[str, Cluster] = field(default_factory=dict)
    refitted: dict[str, Cluster] = field(default_factory=dict)
    """To be written too; nobody who reads clusters would see a difference."""
    lineage: list[LineageEvent] = field(default_factory=list)
    erased: set[MessageRef] = field(default_factory=set)
    erased_authors: set[tuple[str, str]] = field(default_factory=set)
    moves: list[Move] = field(default_factory=list)
    fits: list[FitReport] = field(default_factory=list)
