"""The local tracker on a real file: several processes, and a database that is not as it should be."""

from __future__ import annotations

import multiprocessing
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from pipeline.errors import FatalError, RetriableError
from pipeline.trackers import local_engines
from pipeline.trackers.local import LocalTracker
from pipeline.trackers.port import IssueDraft

if TYPE_CHECKING:
    from pathlib import Path

    from tests.standins.postgres import PostgresCluster

DRAFT = IssueDraft("Login loops", "- 12 people", "complaint", "c0ffee")


def create_many(url: str, number: int) -> None:
    tracker = LocalTracker(url)
    for _ in range(number):
        ref = tracker.create(DRAFT)
        tracker.update("1", replace(DRAFT, labels=(f"by-{ref.id}",)))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "groundswell.db"


@pytest.fixture
def tracker(file: Path) -> LocalTracker:
    one = LocalTracker(f"sqlite:///{file}")
    one.ensure()
    one.ensure()
    return one


def test_two_processes_write_at_once(file: Path, tracker: LocalTracker) -> None:
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=create_many, args=(f"sqlite:///{file}", 25)) for _ in range(2)]
    for worker in workers:
        worker.start()
    create_many(f"sqlite:///{file}", 25)
    for worker in workers:
        worker.join(60)

    assert [worker.exitcode for worker in workers] == [0, 0]
    assert [ref.key for ref in tracker.find("c0ffee")] == [f"GS-{number}" for number in range(1, 76)]
    first = tracker.read("1")
    assert first is not None
    assert set(first.labels) == {"c0ffee", *(f"by-{number}" for number in range(1, 76))}


def test_a_locked_database_is_worth_another_try(
    file: Path, tracker: LocalTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker.close()
    monkeypatch.setattr(local_engines, "BUSY_TIMEOUT_S", 0)
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(RetriableError, match="locked"):
        tracker.create(DRAFT)
    other.execute("ROLLBACK")
    other.close()

    assert tracker.create(DRAFT).key == "GS-1"


def test_an_update_waits_for_another_writer_and_sees_what_it_wrote(file: Path, tracker: LocalTracker) -> None:
    ref = tracker.create(DRAFT)
    waiting = Event()

    def on_statement(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith(("BEGIN IMMEDIATE", "UPDATE")):
            waiting.set()

    assert isinstance(tracker._engine, local_engines.FileEngine)
    sa.event.listen(tracker._engine.engine, "before_cursor_execute", on_statement)
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.execute("""UPDATE local_issues SET labels = '["c0ffee", "by-hand"]'""")
    with ThreadPoolExecutor(1) as pool:
        update = pool.submit(tracker.update, ref.id, replace(DRAFT, labels=("android",)))
        assert waiting.wait(10)
        other.execute("COMMIT")
        update.result(10)
    other.close()

    state = tracker.read(ref.id)
    assert state is not None
    assert state.labels == ("c0ffee", "by-hand", "android")


def test_a_failing_write_leaves_nothing(file: Path, tracker: LocalTracker) -> None:
    ref = tracker.create(DRAFT)
    with sqlite3.connect(file) as other:
        other.execute("CREATE TRIGGER full BEFORE UPDATE ON local_issues BEGIN SELECT RAISE(ABORT, 'disk full'); END")

    with pytest.raises(FatalError, match="disk full"):
        tracker.update(ref.id, DRAFT)

    state = tracker.read(ref.id)
    assert state is not None
    assert state.description == "- 12 people"


def test_missing_tables_are_a_problem_with_a_remedy(file: Path) -> None:
    tracker = LocalTracker(f"sqlite:///{file}")

    assert tracker.check() == [
        "table local_comments is missing: run the database migration",
        "table local_issues is missing: run the database migration",
    ]
    with pytest.raises(FatalError, match="no such table"):
        tracker.create(DRAFT)


def test_a_file_that_is_no_database_is_a_problem(file: Path) -> None:
    file.write_bytes(b"no database " * 100)

    assert LocalTracker(f"sqlite:///{file}").check() == [
        "local tracker: file is not a database. Check the database file"
    ]


def test_on_a_server_workers_wait_for_one_another(postgres: PostgresCluster) -> None:
    """Each update reads the labels and writes them back: none is lost."""
    url = postgres.url(postgres.create())
    one = LocalTracker(url)
    one.create(DRAFT)

    def update(worker: int) -> None:
        own = LocalTracker(url)
        for number in range(10):
            own.update("1", replace(DRAFT, labels=(f"by-{worker}-{number}",)))
        own.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(update, range(4)))

    state = one.read("1")
    assert state is not None
    assert set(state.labels) == {"c0ffee", *(f"by-{worker}-{number}" for worker in range(4) for number in range(10))}
    one.close()


def test_a_server_that_is_away_is_worth_another_try_and_its_password_is_not_shown() -> None:
    tracker = LocalTracker("postgresql+asyncpg://u:secret@127.0.0.1:1/groundswell")

    with pytest.raises(RetriableError, match="cannot reach") as caught:
        tracker.create(DRAFT)

    assert "secret" not in f"{caught.value} {tracker!r} {tracker.check()}"
    tracker.close()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite+aiosqlite:///:memory:"])
def test_a_database_in_memory_is_refused(url: str) -> None:
    with pytest.raises(FatalError, match="needs a database file"):
        LocalTracker(url)


def test_journal_is_wal(file: Path, tracker: LocalTracker) -> None:
    tracker.create(DRAFT)

    with sqlite3.connect(file) as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
