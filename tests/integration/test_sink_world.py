"""The world that the sink's tests share: a SQLite file with clusters in it, a tracker, and a worker to be killed.

Run as a module it is a sink in a process of its own, which may kill itself at a named step.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import numpy as np
from pydantic import SecretStr
from sqlalchemy import insert, select, update

from models.kinds import KINDS
from pipeline.decide import Mode
from pipeline.file_issues import Sink
from pipeline.settings import PolicySettings
from pipeline.store import ledger, schema
from pipeline.store.database import Database
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
    """A space whose rows are written as the owner writes them."""

    path: Path
    seq: int = 0
    now: datetime = START
    database: Database = field(init=False)

    def __post_init__(self) -> None:
        self.database = Database(self.url)

    @property
    def url(self) -> str:
        """The database's URL."""
        return f"sqlite+aiosqlite:///{self.path}"

    async def begin(self) -> World:
        """Make the tables and the space."""
        await self.database.migrate()
        space = {"space": SPACE, "seq": 0, "now": START, "seen_since_fit": 0, "next_number": 1}
        await self.write(insert(schema.spaces).values(space))
        return self

    async def cluster(self, cluster_id: str, number: int = 1, *, kind: str = "complaint", people: int = 4) -> None:
        """Found an established cluster in which `people` have spoken, two hours ago."""
        log_kinds = np.array([0.0 if name == kind else -3.0 for name in KINDS])
        row = {"space": SPACE, "cluster_id": cluster_id, "number": number, "version": 1, "born_seq": 1}
        row |= {"total": np.ones(4).tobytes(), "count": people, "log_kinds": log_kinds.tobytes(), "threshold": 0.5}
        row |= {"fits": 2, "established_seq": 1, "muted": False, "promoted": False, "tags": []}
        await self.write(insert(schema.clusters).values(row))
        for person in range(people):
            await self.say(cluster_id, f"{cluster_id}-m{person}", f"person{person}", TEXTS[person % len(TEXTS)])
        await self.let_pass(timedelta(hours=2))

    async def say(self, cluster_id: str, message_id: str, author: str, text: str, **changes: Any) -> None:
        """Let someone say something in a cluster."""
        self.seq += 1
        vector = np.array([1.0, 0.01 * (self.seq % 7), 0.0, 0.0])
        row: dict[str, Any] = {"space": SPACE, "platform": "discord", "message_id": message_id, "seq": self.seq}
        row |= {"revision": self.now, "author": author, "posted_at": self.now, "text": text, "kinds": [0.2] * 5}
        row |= {"kind": "complaint", "cues": [], "words": 5, "echo": False, "fingerprint": message_id, "fits": 0}
        row |= {"status": "clustered", "cluster_id": cluster_id, "permalink": f"https://chat.test/{message_id}"}
        row |= changes
        own = {"space": SPACE, "seq": self.seq, "platform": row["platform"], "message_id": message_id, "model": "m"}
        await self.write(
            insert(schema.messages).values(row),
            insert(schema.vectors).values(own | {"vector": vector.astype("<f2").tobytes()}),
        )
        await self.change(cluster_id)

    async def change(self, cluster_id: str, **changes: Any) -> None:
        """Change a cluster's row; its version is the entry that did it."""
        self.seq += 1
        table = schema.clusters
        where = (table.c.space == SPACE) & (table.c.cluster_id == cluster_id)
        await self.write(update(table).where(where).values(version=self.seq, **changes))

    async def edit(self, message_id: str, text: str) -> None:
        """Let an author edit a message: it comes with a new entry."""
        self.seq += 1
        messages, vectors = schema.messages, schema.vectors
        await self.write(
            update(messages).where(messages.c.message_id == message_id).values(text=text, seq=self.seq),
            update(vectors).where(vectors.c.message_id == message_id).values(seq=self.seq),
        )

    async def erase(self, message_id: str) -> None:
        """Let an author delete a message: a tombstone is left."""
        table = schema.messages
        gone = {"status": "erased", "text": "", "author": "", "cluster_id": None}
        await self.write(
            update(table).where(table.c.message_id == message_id).values(gone),
            schema.vectors.delete().where(schema.vectors.c.message_id == message_id),
        )

    async def let_pass(self, span: timedelta) -> None:
        """Move the space's clock."""
        self.now += span
        await self.write(update(schema.spaces).values(now=self.now))

    async def write(self, *statements: Any) -> None:
        """Run statements in one transaction."""
        async with self.database.write() as connection:
            for statement in statements:
                await connection.execute(statement)

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
            return set((await connection.scalars(select(table.c.message_id).where(table.c.cluster_id == cluster_id))))

    def sink(self, tracker: Tracker, *, mode: Mode = "auto", patience_s: float = 60.0, **policy: Any) -> Sink:
        """Return a sink on this database."""
        settings = PolicySettings(**(POLICY.model_dump() | policy))
        return Sink(self.database, tracker, settings, mode, patience=timedelta(seconds=patience_s))

    def local(self) -> LocalTracker:
        """Return the local tracker in the same file."""
        tracker = LocalTracker(self.url)
        tracker.ensure()
        return tracker


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
    world: World, clusters: Sequence[str], server: JiraServer | None, step: str | None = None, **more: Any
) -> Any:
    """Start a process whose sink considers `clusters` and sweeps; it kills itself at `step`."""
    order: dict[str, Any] = {"path": str(world.path), "clusters": list(clusters), "step": step} | more
    if server is not None:
        settings = server.settings(label_prefix="")
        order["jira"] = settings.model_dump(mode="json") | {"token": settings.token.get_secret_value()}
    here = Path(__file__).parents[2]
    command = [sys.executable, "-m", "tests.integration.test_sink_world", json.dumps(order)]
    return subprocess.Popen(command, cwd=here)


async def _work(order: dict[str, Any]) -> None:
    world = World(Path(order["path"]))
    inner: LocalTracker | JiraTracker
    if "jira" in order:
        inner = JiraTracker(JiraSettings(**(order["jira"] | {"token": SecretStr(order["jira"]["token"])})))
        inner.search_lag_s = (0.0, 0.1, 0.2)
    else:
        inner = world.local()
    sink = world.sink(cast(Tracker, Deadly(inner, order["step"])))
    go = order.get("go")
    if go is not None:
        Path(f"{go}.{os.getpid()}").touch()
        while not Path(go).exists():
            time.sleep(0.001)
    for cluster_id in order["clusters"]:
        await sink.consider(SPACE, cluster_id)
        await sink.sweep()
    await world.database.close()


if __name__ == "__main__":
    asyncio.run(_work(json.loads(sys.argv[1])))
