"""The three stages as real child processes over a real broker and a real database, for tests to feed and to kill.

Nothing here is a stand-in: `pipeline.supervisor` starts `python -m pipeline.worker`, `connectors.run` publishes. The
supervisor has a thread and a loop of its own, so that tests are plain functions that wait for what the database says.
"""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any, Final, TypeVar

from connectors.archive import ArchiveConnector
from connectors.contract import Received
from connectors.outgoing import Tally
from connectors.publisher import Publisher
from connectors.run import run
from pipeline.broker import EmbeddedBroker
from pipeline.broker_view import end_offsets, stage_lags
from pipeline.dead import DeadLetter
from pipeline.dead_letters import read_dead
from pipeline.errors import RetriableError
from pipeline.kafka_edge import await_acks, discard_producer, hand_over, new_producer
from pipeline.settings import STAGES
from pipeline.store.database import Database
from pipeline.supervisor import StageStatus, Supervisor, worker_command
from pipeline.topics import DEAD, EVENTS, delete_topics, ensure_topics
from tests.standins.postgres import PostgresCluster

T = TypeVar("T")
POLL_S: Final = 0.2
ARCHIVE: Final = Path(__file__).parent.parent / "connectors" / "data" / "quillstone.jsonl"
REDELIVERED: Final = "redelivered"


class Slow:
    """The archive connector, so many lines a second."""

    name = ArchiveConnector.name

    def __init__(self, archive: ArchiveConnector, per_second: float) -> None:
        self._archive, self._per_second = archive, per_second

    @property
    def instance(self) -> str:
        """See `Connector.instance`."""
        return self._archive.instance

    async def receive(self, after: Mapping[str, str]) -> AsyncIterator[Received]:
        """See `Connector.receive`."""
        async for item in self._archive.receive(after):
            yield item
            await asyncio.sleep(1.0 / self._per_second)


class Walk:
    """Stages that run until `stop`.

    Parameters
    ----------
    stages : sequence of str
        "cluster", or "cluster:1" for a second worker of a stage; others by `command`.
    settings : mapping
        `GROUNDSWELL_*` variables without that prefix.
    server : PostgresCluster, optional
        Where a new database is made; without one, a SQLite file in `folder` is.
    """

    def __init__(
        self,
        bootstrap: str,
        prefix: str,
        folder: Path,
        *,
        stages: Iterable[str] = STAGES,
        settings: Mapping[str, str] | None = None,
        command: Callable[[str], list[str]] | None = None,
        server: PostgresCluster | None = None,
    ) -> None:
        self.bootstrap, self.prefix, self.folder, self._server = bootstrap, prefix, folder, server
        self.database_file = folder / "groundswell.db"
        self._database = "" if server is None else server.create()
        self._url = f"sqlite+aiosqlite:///{self.database_file}" if server is None else server.url(self._database)
        wanted = {
            "KAFKA__BOOTSTRAP": bootstrap,
            "KAFKA__PREFIX": prefix,
            "DATA_DIR": str(folder),
            "DATABASE__URL": self._url,
            "MODEL__THREADS": "1",
        } | dict(settings or {})
        self._supervisor = Supervisor(
            list(stages),
            environment={f"GROUNDSWELL_{name}": value for name, value in wanted.items()},
            logs=folder,
            command=lambda stage: (command or stage_command)(stage),
            back_off_s=(0.2,),
            grace_s=30.0,
        )
        self._thread = threading.Thread(target=self._supervise, daemon=True, name="supervisor")
        self._loop: asyncio.AbstractEventLoop | None = None
        self.failed: BaseException | None = None

    def start(self) -> Walk:
        """Migrate the database and start the stages; return at once."""
        asyncio.run(self._migrate())
        self._thread.start()
        return self

    def stop(self) -> dict[str, int | None]:
        """End the stages by SIGTERM; return their exit codes."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._supervisor.stop)
        self._thread.join(60.0)
        if self.failed is not None:
            raise self.failed
        return {status.stage: status.last_exit for status in self._supervisor.status()}

    def status(self, stage: str) -> StageStatus:
        """How a stage stands."""
        return next(status for status in self._supervisor.status() if status.stage == stage)

    def pid(self, stage: str) -> int:
        """Return the process of a stage, waiting for its restart."""
        return self.until(lambda: self.status(stage).pid, f"stage {stage} runs", 60.0)

    # -- in ---------------------------------------------------------------------------------------------------

    def publish(
        self, lines: Iterable[Mapping[str, Any]] | Path, space: str, *, per_second: float | None = None
    ) -> Tally:
        """Publish an archive to its end, through `connectors.run`; lines become a file of their own first."""
        if isinstance(lines, Path):
            path = lines
        else:
            path = self.folder / f"{space}-{time.monotonic_ns()}.jsonl"
            path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

        async def main() -> Tally:
            async with Publisher(self.bootstrap, self.prefix) as publisher:
                archive = ArchiveConnector(path, space)
                connector = archive if per_second is None else Slow(archive, per_second)
                return await run(connector, publisher, resume=False)

        return asyncio.run(main())

    def produce(self, topic: str, values: Iterable[bytes | None], key: bytes | None = b"raw") -> None:
        """Put raw bytes on a topic, None for a tombstone, and return when the broker has them."""
        producer = new_producer(self.bootstrap, [self.prefix + topic])
        try:
            futures = [hand_over(producer, self.prefix + topic, key, value, []) for value in values]  # type: ignore[arg-type]
            assert await_acks(futures, 30.0) == (len(futures), None)
        finally:
            discard_producer(producer)

    # -- out --------------------------------------------------------------------------------------------------

    def rows(self, query: str, *values: Any) -> list[Any]:
        """Return the rows of a query on the database, read only; its values are ? in it."""
        if self._server is not None:
            numbers = count(1)
            return self._server.ask(re.sub(r"\?", lambda _: f"${next(numbers)}", query), values, self._database)
        with closing(sqlite3.connect(f"file:{self.database_file}?mode=ro", uri=True, timeout=30)) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(query, values).fetchall()

    def one(self, query: str, *values: Any) -> Any:
        """Return the one value of a query."""
        return self.rows(query, *values)[0][0]

    def tables(self) -> list[str]:
        """Return the names of the database's tables."""
        own = "SELECT name FROM sqlite_master WHERE type = 'table'"
        if self._server is not None:
            own = "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'"
        return [row["name"] for row in self.rows(own)]

    def taken(self, space: str) -> Counter[str]:
        """Return the account of a space, over all partitions."""
        counts: Counter[str] = Counter()
        for row in self.rows("SELECT counts FROM accounts WHERE space = ?", space):
            counts.update(json.loads(row["counts"]))
        return counts

    def dead(self) -> list[DeadLetter]:
        """Return the dead letters, oldest first."""
        return sorted(read_dead(self.bootstrap, self.prefix + DEAD.name), key=lambda letter: letter.offset)

    def published(self) -> int:
        """Return how many records `community.events` has."""
        return sum(end_offsets(self.bootstrap, self.prefix + EVENTS.name).values())

    def lags(self) -> dict[str, int]:
        """Return how many records are before each stage."""
        lags: Counter[str] = Counter(dict.fromkeys(STAGES, 0))
        for lag in stage_lags(self.bootstrap, self.prefix):
            lags[lag.stage] += lag.records
        return dict(lags)

    def quiet(self) -> bool:
        """Whether nothing is left to do: every group at its end, every wake-up sent and every change decided on."""
        undecided = """SELECT count(*) FROM clusters c LEFT JOIN decisions d USING (space, cluster_id)
            WHERE c.merged_into IS NULL AND c.count > 0 AND (d.version IS NULL OR d.version < c.version)"""
        try:
            if any(self.lags().values()):
                return False
        except RetriableError:
            return False
        waiting = "SELECT count(*) FROM tickets WHERE state <> 'open'"
        return not any(self.one(q) for q in ("SELECT count(*) FROM outbox", undecided, waiting))

    def settle(self, timeout_s: float = 120.0) -> None:
        """Return when `quiet` holds, and still holds after the fold's clock had time to begin and end a fit."""

        def still() -> bool:
            seq = self.rows("SELECT space, seq FROM spaces ORDER BY space")
            since = time.monotonic()
            while time.monotonic() - since < 10.0:
                if not self.quiet() or self.rows("SELECT space, seq FROM spaces ORDER BY space") != seq:
                    return False
                time.sleep(1.0)
            return True

        self.until(still, "everything settled", timeout_s)

    def until(self, condition: Callable[[], T | None], what: str, timeout_s: float = 60.0) -> T:
        """Poll until `condition` gives something true, and return that; AssertionError with the state when late."""
        deadline = time.monotonic() + timeout_s
        while not (found := condition()):
            if self.failed is not None:
                raise self.failed
            assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}\n{self.describe()}"
            time.sleep(POLL_S)
        return found

    def describe(self) -> str:
        """Return what helps to see why something did not happen."""
        stages = [
            f"{s.stage}: pid {s.pid}, {s.restarts} restarts, last exit {s.last_exit}" for s in self._supervisor.status()
        ]
        tables = ("messages", "clusters", "outbox", "tickets", "decisions", "journal")
        counts = {table: self.one(f"SELECT count(*) FROM {table}") for table in tables}
        tails = [
            f"--- {path.name}\n{path.read_text(errors='replace')[-1500:]}" for path in sorted(self.folder.glob("*.log"))
        ]
        try:
            lags: object = self.lags()
        except RetriableError as exc:
            lags = exc
        return "\n".join([*stages, f"lags {lags}", f"rows {counts}", *tails])

    # -- inside -----------------------------------------------------------------------------------------------

    async def _migrate(self) -> None:
        database = Database(self._url)
        await database.migrate()
        await database.close()

    def _supervise(self) -> None:
        async def main() -> None:
            self._loop = asyncio.get_running_loop()
            await self._supervisor.run()

        try:
            asyncio.run(main())
        except BaseException as exc:  # noqa: BLE001 (raised in the test's thread)
            self.failed = exc


def running_walk(
    broker: EmbeddedBroker, folder: Path, settings: Mapping[str, str], server: PostgresCluster | None = None
) -> Iterator[Walk]:
    """Yield running stages under topics of their own: the body of a fixture."""
    prefix = f"walk-{uuid.uuid4().hex[:8]}."
    ensure_topics(broker.bootstrap, prefix, partitions=2)
    walk = Walk(broker.bootstrap, prefix, folder, settings=settings, server=server).start()
    yield walk
    walk.stop()
    delete_topics(broker.bootstrap, prefix)


def stage_command(stage: str) -> list[str]:
    """Return the command of "cluster" or of "cluster:1", its second worker."""
    name, _, instance = stage.partition(":")
    return [*worker_command(name), *(["--instance", instance] if instance else [])]


def check_books(walk: Walk, space: str) -> dict[str, int]:
    """Assert what must hold of a space's database whenever nothing is in flight; return the counts."""
    stored = walk.one("SELECT count(*) FROM messages WHERE space = ?", space)
    known = "'pool', 'clustered', 'aside', 'expired', 'erased'"
    assert walk.one(f"SELECT count(*) FROM messages WHERE space = ? AND status IN ({known})", space) == stored
    seqs = [row["seq"] for row in walk.rows("SELECT seq FROM journal WHERE space = ? ORDER BY seq", space)]
    assert seqs == list(range(1, len(seqs) + 1))
    assert walk.one("SELECT seq FROM spaces WHERE space = ?", space) == len(seqs)
    members = """SELECT c.cluster_id, c.count, count(m.message_id) AS members FROM clusters c LEFT JOIN messages m
        ON m.space = c.space AND m.cluster_id = c.cluster_id AND m.status = 'clustered' AND m.follows_id IS NULL
        WHERE c.space = ? AND c.merged_into IS NULL GROUP BY c.cluster_id, c.count"""
    assert [tuple(row) for row in walk.rows(members, space) if row["count"] != row["members"]] == []
    opened = walk.rows("SELECT label, issue_id, state FROM tickets WHERE space = ?", space)
    assert {row["state"] for row in opened} <= {"open"}
    labels = {row["label"]: row["issue_id"] for row in opened}
    issues = [
        (json.loads(row["labels"])[0], str(row["number"]))
        for row in walk.rows("SELECT number, labels FROM local_issues ORDER BY number")
    ]
    mine = [(label, number) for label, number in issues if label in labels]
    assert sorted(mine) == sorted(labels.items())
    return {"messages": stored, "journal": len(seqs), "tickets": len(opened)}


def python(script: Path, *arguments: str) -> list[str]:
    """Return the command of a script of the tests."""
    return [sys.executable, str(script), *arguments]
