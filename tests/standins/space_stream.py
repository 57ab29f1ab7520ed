"""A community in small, for tests of the fold and its owner: random arrivals, and the fold without memory limits."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import select

from models.clusterer import DensityClusterer
from pipeline.doors import Arrival, arrival_of
from pipeline.entries import Body, Entry, Fitted, Ticked
from pipeline.fitter import InlineFitter
from pipeline.fold import SpaceState
from pipeline.received import Received
from pipeline.records import Command, CommandName, Event, EventType, Kinds, MessageData, Origin, Signal, pack_vector
from pipeline.state import Cluster, FoldSettings, Member
from pipeline.store import schema
from pipeline.store.database import Database

SPACE = "quillstone"
T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
DIMENSIONS = 12
SMALL = FoldSettings(
    window=40,
    first_fit=20,
    fit_growth=0.3,
    fit_min_new=8,
    pool_ttl=timedelta(hours=6),
    established_size=3,
    confirming_fits=2,  # few messages and rough groups: what is sure in a real space never is here
    least_overlap=0.0,
    roomy_cohesion=-1.0,
    crowded_cohesion=-1.0,
    raid_authors=3,
    raid_near=1.01,  # these vectors are nearer to each other than those of real texts
    raid_window=timedelta(minutes=40),
)
RAID_TEXT = "free followers visit casino winners today"
_WORDS = ("export", "login", "dark", "crash", "sync", "editor", "price", "upload", "search", "theme")


def clusterer() -> DensityClusterer:
    """Return one that finds groups among few messages."""
    return DensityClusterer(min_cluster_size=3, min_samples=2)


def near(centre: npt.NDArray[np.float64], rng: np.random.Generator, spread: float) -> npt.NDArray[np.float32]:
    """Return a unit vector around `centre`."""
    vector = centre + spread * rng.standard_normal(len(centre)) / np.sqrt(len(centre))
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


@dataclass
class Stream:
    """Draws arrivals, and folds them as it goes, so that commands can name clusters that exist."""

    seed: int
    settings: FoldSettings = SMALL
    forgetting: bool = True
    commands_weight: float = 8
    arrivals: list[Arrival] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.centres = np.eye(DIMENSIONS)[:5] + 0.3
        self.oracle = Oracle(self.settings)
        self.minutes = 0.0
        self.offset = 0
        self.count = 0
        self.commands: list[Command] = []

    def run(self, length: int) -> Stream:
        """Draw `length` arrivals."""
        makers = [self.post, self.echo, self.edit, self.delete, self.react, self.erase_author, self.command, self.again]
        weights = np.array([60, 12, 9, 4 * self.forgetting, 5, 0.7 * self.forgetting, self.commands_weight, 5])
        while len(self.arrivals) < length:
            maker = makers[int(self.rng.choice(len(makers), p=weights / weights.sum()))]
            record = maker()
            if record is not None:
                self.add(record)
        return self

    def add(self, record: Signal | Command) -> Arrival:
        """Append a record's arrival."""
        arrival = arrival_of(record, frozenset({"en"}))
        self.arrivals.append(arrival)
        self.oracle.take(arrival)
        return arrival

    def signal(self, kind: EventType, data: dict[str, Any], at: datetime, **reading: Any) -> Signal:
        """Return a signal with the next origin."""
        self.offset += 1
        event = Event(
            id=f"e{self.offset}",
            source="//test",
            type=kind,
            time=at,
            space=SPACE,
            container="general",
            data=MessageData(**data),
        )
        return Signal(event=event, origin=Origin(cluster="k", partition=0, offset=self.offset), **reading)

    def clock(self) -> datetime:
        """Let some time pass; one in eight is late."""
        self.minutes += float(self.rng.exponential(6.0))
        late = self.rng.uniform(0, 300) if self.rng.random() < 0.12 else 0.0
        return T0 + timedelta(minutes=max(0.0, self.minutes - late))

    def reading(self, vector: npt.NDArray[np.float32], *, praise: float = 0.0) -> dict[str, Any]:
        """Return what the embed stage would have read."""
        rest = (1.0 - praise) / 4
        kinds = Kinds(complaint=rest, idea=rest, question=rest, praise=praise, other=rest, kind="complaint")
        language = "ru" if self.rng.random() < 0.03 else "en"
        return {"kinds": kinds, "language": language, "model": "m", "vector": pack_vector(vector)}

    def author(self) -> str:
        """Return one of few."""
        return f"author{self.rng.integers(18)}"

    def known(self) -> str:
        """Return a message id: mostly one of the last, sometimes an old one, or one yet to come."""
        last = max(1, self.count)
        low = 0 if self.rng.random() < 0.3 else max(0, last - 15)
        return f"m{self.rng.integers(low, last + (2 if self.rng.random() < 0.1 else 0))}"

    def _text(self) -> tuple[str, npt.NDArray[np.float32]]:
        group = int(self.rng.integers(8))
        if group == 7:
            return RAID_TEXT, near(self.centres[0], self.rng, 0.1)
        words = " ".join(self.rng.choice(_WORDS, 4, replace=False))
        if group >= 5:
            return f"{words} s{self.count}", near(self.rng.standard_normal(DIMENSIONS), self.rng, 0.1)
        return f"{words} s{self.count}", near(self.centres[group], self.rng, 0.35)

    def post(self) -> Signal:
        """Say something."""
        text, vector = self._text()
        data = {"platform": "discord", "message_id": f"m{self.count}", "text": text, "author": self.author()}
        self.count += 1
        praise = 0.8 if self.rng.random() < 0.08 else 0.0
        return self.signal(EventType.CREATED, data, self.clock(), **self.reading(vector, praise=praise))

    def echo(self) -> Signal:
        """Agree with something."""
        data = {"platform": "discord", "message_id": f"m{self.count}", "text": "same here", "author": self.author()}
        data["reply_to"] = self.known()
        self.count += 1
        vector = near(self.rng.standard_normal(DIMENSIONS), self.rng, 0.1)
        return self.signal(EventType.CREATED, data, self.clock(), **self.reading(vector))

    def edit(self) -> Signal:
        """Change something: its words, into an echo, or an echo into words."""
        text, vector = self._text()
        data: dict[str, Any] = {"platform": "discord", "message_id": self.known(), "text": text}
        if self.rng.random() < 0.3:
            data |= {"text": "same here", "reply_to": self.known()}
        if self.rng.random() < 0.5:
            data["author"] = self.author()
        return self.signal(EventType.EDITED, data, self.clock(), **self.reading(vector))

    def delete(self) -> Signal:
        """Delete a message, known or yet to come."""
        return self.signal(EventType.DELETED, {"platform": "discord", "message_id": self.known()}, self.clock())

    def react(self) -> Signal:
        """Set or take a reaction."""
        data = {"platform": "discord", "message_id": self.known(), "author": self.author(), "emoji": "+1"}
        return self.signal(EventType.REACTION_SET, data | {"present": self.rng.random() < 0.7}, self.clock())

    def erase_author(self) -> Signal:
        """Forget someone."""
        return self.signal(EventType.AUTHOR_ERASED, {"platform": "discord", "author": self.author()}, self.clock())

    def command(self) -> Command | None:
        """Decide something about a cluster."""
        ids = sorted(self.oracle.state.clusters)
        if not ids:
            return None
        cluster_id = str(self.rng.choice(ids))
        name = list(CommandName)[int(self.rng.integers(len(CommandName)))]
        more: dict[str, Any] = {}
        match name:
            case CommandName.TAG | CommandName.RENAME:
                more = {"value": f"t{self.rng.integers(3)}"}
            case CommandName.UNDO if self.commands and self.rng.random() < 0.7:
                taken = self.commands[int(self.rng.integers(len(self.commands)))]
                cluster_id, more = taken.cluster_id, {"value": taken.id}
            case CommandName.MERGE | CommandName.SEPARATE:
                more = {"other": str(self.rng.choice(ids))}
            case CommandName.SPLIT:
                own = [m.ref for m in self.oracle.state.members.values() if m.cluster_id == cluster_id]
                picked = [ref for ref in own if self.rng.random() < 0.4]
                if not picked:
                    return None
                more = {"messages": tuple(picked)}
        made = Command(
            id=f"c{len(self.commands)}", space=SPACE, name=name, cluster_id=cluster_id, by="kim", time=self.clock(),
            **more,
        )  # fmt: skip
        self.commands.append(made)
        return made

    def again(self) -> Signal | Command | None:
        """Deliver something a second time."""
        if not self.arrivals:
            return None
        arrival = self.arrivals[int(self.rng.integers(len(self.arrivals)))]
        if isinstance(arrival.record, Command):
            return arrival.record
        assert isinstance(arrival.record, Event)
        self.arrivals.append(arrival)
        self.oracle.take(arrival)
        return None


class Oracle:
    """The fold as the design states it: one entry after another, nothing evicted, nothing stored, fits on time."""

    def __init__(self, settings: FoldSettings) -> None:
        self.state = SpaceState(SPACE, settings)
        self.entries: list[Entry] = []
        self._fitter = InlineFitter(clusterer())

    def take(self, arrival: Arrival) -> None:
        """Fold one arrival."""
        body = arrival.body
        if body is None or self.state.stale(body):
            return
        request = self.state.fit
        if self.state.was_silent(body, arrival.at) and self.state.unfinished:
            self._silence()
        elif request is not None and self.state.seq >= request.due_seq:
            self._apply(self.fit(), self.state.now)
        self._apply(body, arrival.at)

    def _silence(self) -> None:
        """Time passes: the fit under way ends, and another follows when enough is new."""
        assert self.state.now is not None
        at = self.state.now + self.state.settings.idle_gap
        for _ in range(2):
            if self.state.fit is not None:
                self._apply(self.fit(), self.state.now)
                self._apply(Ticked(), at)
            elif self.state.seen_since_fit >= self.state.idle_needed:
                self._apply(Ticked(), at)

    def fit(self) -> Fitted:
        """Return the result of the fit that is due."""
        request = self.state.fit
        assert request is not None
        fit = self._fitter.submit(request.vectors).result()
        return request.result(fit.labels, fit.view)

    def _apply(self, body: Body, at: datetime | None) -> None:
        assert at is not None
        entry = Entry(self.state.seq + 1, at, body)
        self.state.apply(entry)
        self.entries.append(entry)


def received(arrivals: Sequence[Arrival]) -> list[Received[Arrival]]:
    """Return the arrivals as the agent hands them on."""
    return [Received(arrival, 0, offset, 0.0) for offset, arrival in enumerate(arrivals)]


def cuts(length: int, edges: Sequence[int]) -> list[tuple[int, int]]:
    """Return the (start, end) of batches of `length` arrivals cut at `edges`."""
    marks = sorted({0, length, *(edge for edge in edges if 0 < edge < length)})
    return list(itertools.pairwise(marks))


def member_key(member: Member) -> tuple[Any, ...]:
    """Return all of a member that must not depend on how the journal was cut."""
    return (
        member.seq, member.author, member.at, member.status, member.reason, member.cluster_id, member.follows,
        member.reply_to, member.via, member.fits if member.status == "pool" else None,
    )  # fmt: skip


def cluster_key(cluster: Cluster) -> tuple[Any, ...]:
    """Return all of a cluster, arrays by their bytes."""
    return tuple(
        value.tobytes() if isinstance(value, np.ndarray) else value
        for value in (getattr(cluster, name) for name in Cluster.__dataclass_fields__)
    )


async def tables(database: Database, settings: FoldSettings) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """Return members and clusters by name, as `member_key` and `cluster_key` give them, from the tables."""
    from pipeline.store.spaces import _members, load_state

    async with database.read() as connection:
        members = await _members(connection, SPACE, schema.messages.c.space == SPACE)
        state = await load_state(connection, SPACE, settings)
    return {m.ref: member_key(m) for m in members}, {c.cluster_id: cluster_key(c) for c in state.clusters.values()}


def of_state(state: SpaceState) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """Return the same of a state that evicted nothing."""
    members = {m.ref: member_key(m) for m in state.members.values()}
    return members, {c.cluster_id: cluster_key(c) for c in state.clusters.values()}


async def rows(database: Database, table: Any) -> list[Any]:
    """Return all rows of a table."""
    async with database.read() as connection:
        return list((await connection.execute(select(table))).all())
