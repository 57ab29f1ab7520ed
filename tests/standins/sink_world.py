"""The world that the sink's tests share: a database with clusters in it, a tracker, and a worker to be killed."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, cast

import numpy as np
import sklearn.feature_extraction.text  # type: ignore[import-untyped]  # noqa: F401 (for the fork server)
from sqlalchemy import select

from models.kind_names import KINDS
from pipeline.backlog import KnownIssues
from pipeline.decide import Mode
from pipeline.entries import Entry, Features, Posted
from pipeline.file_issues import Sink
from pipeline.fold import SpaceState
from pipeline.records import MessageRef
from pipeline.settings import PolicySettings
from pipeline.state import Changes, Cluster, FoldSettings, Member, Status
from pipeline.store import ledger, schema
from pipeline.store.database import Database
from pipeline.store.spaces import MessageDetails, save
from pipeline.trackers.jira import JiraSettings, JiraTracker
from pipeline.trackers.local import LocalTracker
from pipeline.trackers.port import IssueDraft, IssueRef, Tracker
from tests.standins.jira_server import JiraServer

SPACE = "demo"
START = datetime(2026, 1, 5, 12, tzinfo=UTC)
POLICY = PolicySettings(min_people=3)
TEXTS = (
    "the dark mode button is broken since the update and it makes me furious",
    "my dark mode button is broken and support never answered",
    "the dark mode button is broken again on my old tablet",
    "why is the dark mode button broken, I paid for this",
)
"""Each holds words of its own beside "dark mode button is broken"."""


@dataclass
class World:
    """A space, written as the owner writes it: with `spaces.save`, only without a fold."""

    url: str
    """Of a migrated database."""
    database: Database = field(init=False)
    state: SpaceState = field(init=False)
    members: dict[str, Member] = field(default_factory=dict)
    details: dict[str, MessageDetails] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.database = Database(self.url)
        self.state = SpaceState(SPACE, FoldSettings())
        self.state.now = START

    @property
    def now(self) -> datetime:
        """The space's clock."""
        assert self.state.now is not None
        return self.state.now

    async def begin(self) -> World:
        """Make the space."""
        await self._save(Changes())
        return self

    async def cluster(self, cluster_id: str, number: int = 1, *, kind: str = "complaint", people: int = 4) -> None:
        """Found an established cluster in which `people` have spoken, two hours ago."""
        log_kinds = np.array([0.0 if name == kind else -3.0 for name in KINDS])
        founded = Cluster(cluster_id, number, 1, np.ones(4), people, log_kinds, 0.5, fits=2, established_seq=1)
        self.state.clusters[cluster_id] = founded
        await self.change(cluster_id)
        for person in range(people):
            await self.say(cluster_id, f"{cluster_id}-m{person}", f"person{person}", TEXTS[person % len(TEXTS)])
        await self.let_pass(timedelta(hours=2))

    async def say(
        self,
        cluster_id: str,
        message_id: str,
        author: str,
        text: str,
        *,
        platform: str = "discord",
        release: str | None = None,
        follows: MessageRef | None = None,
        at: datetime | None = None,
        words: int = 5,
        fingerprint: str | None = None,
        kind: str = "complaint",
    ) -> None:
        """Let someone say something in a cluster."""
        self.state.seq += 1
        vector = np.array([1.0, 0.01 * (self.state.seq % 7), 0.0, 0.0], np.float32)
        member = Member(
            ref=MessageRef(platform, message_id),
            seq=self.state.seq,
            author=author,
            at=at or self.now,
            revision=self.now,
            status=Status.CLUSTERED,
            reason=None,
            cluster_id=cluster_id,
            features=Features((0.2,) * 5, kind, words, echo=follows is not None, fingerprint=fingerprint or message_id),
            vector=vector,
            follows=follows,
        )
        self.members[message_id] = member
        link = f"https://chat.test/{message_id}"
        self.details[message_id] = MessageDetails(text, None, link, release, (), "model")
        await self._post(member)

    async def edit(self, message_id: str, text: str) -> None:
        """Let an author edit a message: the revision comes with an entry of its own."""
        self.state.seq += 1
        member = self.members[message_id]
        member.seq = self.state.seq
        self.details[message_id] = replace(self.details[message_id], text=text)
        await self._post(member)

    async def erase(self, message_id: str) -> None:
        """Let an author delete a message: a tombstone is left."""
        self.state.seq += 1
        member, cluster_id = self.members[message_id], self.members[message_id].cluster_id
        del self.details[message_id]
        member.status, member.author, member.cluster_id, member.vector = Status.ERASED, "", None, None
        await self._save(Changes(members={member.ref: member}, erased={member.ref}), cluster_id)

    async def set_aside(self, message_id: str) -> None:
        """Find that a message was part of a raid."""
        self.state.seq += 1
        member, cluster_id = self.members[message_id], self.members[message_id].cluster_id
        member.status, member.reason, member.cluster_id = Status.ASIDE, "raid", None
        await self._save(Changes(members={member.ref: member}), cluster_id)

    async def change(self, cluster_id: str, **changes: Any) -> None:
        """Change a cluster, as commands and fits do."""
        self.state.seq += 1
        for name, value in changes.items():
            setattr(self.state.clusters[cluster_id], name, value)
        await self._save(Changes(), cluster_id)

    async def let_pass(self, span: timedelta) -> None:
        """Move the space's clock."""
        self.state.now = self.now + span
        await self._save(Changes())

    async def _post(self, member: Member) -> None:
        assert member.vector is not None
        posted = Posted(member.ref, member.author, member.revision, member.features, member.vector)
        entry = Entry(member.seq, self.now, posted)
        await self._save(Changes(members={member.ref: member}), member.cluster_id, entry)

    async def _save(self, changes: Changes, cluster_id: str | None = None, *entries: Entry) -> None:
        if cluster_id is not None:
            cluster = self.state.clusters[cluster_id]
            cluster.version = self.state.seq
            changes.clusters[cluster_id] = cluster
        # only of new revisions: what merely changed its place comes without
        details = {entry.seq: self.details[_ref(entry).message_id] for entry in entries}
        async with self.database.write() as connection:
            await save(connection, self.state, changes, entries, details)

    async def ticket(self, cluster_id: str = "c1") -> Any:
        """Return the ledger's row."""
        async with self.database.read() as connection:
            row = await ledger.ticket(connection, SPACE, cluster_id)
        assert row is not None, f"no ticket of {cluster_id}"
        return row

    async def tickets(self) -> int:
        """Count the ledger's rows."""
        async with self.database.read() as connection:
            return len((await connection.execute(select(schema.tickets.c.cluster_id))).all())

    async def decision(self, cluster_id: str = "c1") -> Any:
        """Return the last decision."""
        table = schema.decisions
        async with self.database.read() as connection:
            return (await connection.execute(select(table).where(table.c.cluster_id == cluster_id))).one()

    async def quoted(self, cluster_id: str = "c1") -> set[str]:
        """Return the ids of the messages that the ledger knows as quoted."""
        table = schema.quotes
        async with self.database.read() as connection:
            return set(await connection.scalars(select(table.c.message_id).where(table.c.cluster_id == cluster_id)))

    def sink(
        self,
        tracker: Tracker,
        *,
        mode: Mode = "auto",
        patience_s: float = 60.0,
        known: KnownIssues | None = None,
        **policy: Any,
    ) -> Sink:
        """Return a sink on this database."""
        settings = PolicySettings(**(POLICY.model_dump() | policy))
        return Sink(self.database, tracker, settings, mode, patience=timedelta(seconds=patience_s), known=known)

    def local(self) -> LocalTracker:
        """Return the local tracker in the same database."""
        tracker = LocalTracker(self.url)
        tracker.ensure()
        return tracker


def _ref(entry: Entry) -> MessageRef:
    assert isinstance(entry.body, Posted)
    return entry.body.ref


def jira(server: JiraServer, lag_s: tuple[float, ...] = (0.0, 0.0, 0.0), **changes: Any) -> JiraTracker:
    """Return a tracker on the stand-in, labels as the factory sets them, with short waits."""
    tracker = JiraTracker(server.settings(**({"label_prefix": "", "timeout_s": (5.0, 1.0)} | changes)))
    tracker.search_lag_s = lag_s
    return tracker


def comments(server: JiraServer) -> list[str]:
    """Return the text of every comment of every issue."""
    return [str(comment["body"]) for issue in server.state.issues.values() for comment in issue.comments]


# -- a sink in a process of its own -----------------------------------------------------------------------------------

STEPS = ("reserved", "created", "confirmed", "commented")


class Deadly:
    """A tracker in whose call the process kills itself, before or after the call has taken effect."""

    def __init__(self, inner: LocalTracker | JiraTracker, step: str | None) -> None:
        self._inner, self._step = inner, step
        self.name, self.search_lag_s = inner.name, inner.search_lag_s
        self.find, self.read, self.update, self.check = inner.find, inner.read, inner.update, inner.check

    def _die(self, step: str) -> None:
        if step == self._step:
            os.kill(os.getpid(), signal.SIGKILL)

    def create(self, draft: IssueDraft) -> IssueRef:
        self._die("reserved")
        ref = self._inner.create(draft)
        self._die("created")
        return ref

    def put_comment(self, issue_id: str, comment_id: str | None, text: str) -> str:
        self._die("confirmed")
        written = self._inner.put_comment(issue_id, comment_id, text)
        self._die("commented")
        return written


def start(
    world: World, clusters: Sequence[str], server: JiraServer | None, step: str | None = None, go: Path | None = None
) -> BaseProcess:
    """Start a process whose sink considers `clusters` and sweeps; it kills itself at `step`, begins at `go`."""
    settings = None if server is None else server.settings(label_prefix="")
    context = get_context("forkserver")  # one process pays for the imports; the others are forked from it
    context.set_forkserver_preload([__name__])
    worker = context.Process(target=_run, args=(world.url, list(clusters), settings, step, go))
    worker.start()
    return worker


async def ended(worker: BaseProcess) -> int | None:
    """Wait for the process's end and return its exit code, negative for a signal."""
    await asyncio.to_thread(worker.join, 60)
    return worker.exitcode


def _run(url: str, clusters: list[str], settings: JiraSettings | None, step: str | None, go: Path | None) -> None:
    asyncio.run(_work(url, clusters, settings, step, go))


async def _work(
    url: str, clusters: list[str], settings: JiraSettings | None, step: str | None, go: Path | None
) -> None:
    world = World(url)
    inner: LocalTracker | JiraTracker = world.local() if settings is None else JiraTracker(settings)
    if settings is not None:
        inner.search_lag_s = (0.0, 0.1, 0.2)
    sink = world.sink(cast(Tracker, Deadly(inner, step)), patience_s=60.0 if step is None else 0.0)
    if go is not None:
        Path(f"{go}.{os.getpid()}").touch()
        while not go.exists():
            time.sleep(0.001)
    for cluster_id in clusters:
        await sink.consider(SPACE, cluster_id)
        await sink.sweep()
    await world.database.close()
