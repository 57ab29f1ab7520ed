"""kill -9 of publisher, workers, broker and database while messages flow; then the books must balance.

The short form is what `.ci/run` has time for; `GROUNDSWELL_CHAOS=long` kills at least 20 times among 5,000 messages,
and stops the owner for six minutes. `GROUNDSWELL_CHAOS_SEED` repeats a run's choices.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from pathlib import Path

import pytest

from pipeline.broker import EmbeddedBroker
from pipeline.broker_jars import default_cache_dir
from pipeline.settings import STAGES
from pipeline.topics import ensure_topics
from tests.conftest import postgres_programs
from tests.standins.postgres import PostgresCluster, running_cluster
from tests.walk import ARCHIVE, REDELIVERED, Walk, check_books, python, stage_command

LONG = os.environ.get("GROUNDSWELL_CHAOS") == "long"
MESSAGES = 5_000 if LONG else 1_200
KILLS = 20 if LONG else 6
PER_SECOND = 20.0
STILL_S = 360.0 if LONG else 30.0
SPACE, PREFIX = "chaos", "chaos."
MESSAGES_STORED = "SELECT count(*) FROM messages"
DIFFERENT = 60
"""Texts that all messages vary: so many concerns of many people."""

SETTINGS = {
    # Every concern becomes a cluster, and every cluster a ticket: the more there is to be done twice.
    "CLUSTERS__ALL_KINDS": "true",
    "POLICY__KINDS": '["complaint", "idea", "question", "praise", "other", "unsure"]',
    "POLICY__MIN_PEOPLE": "4",
    "SPACE": SPACE,
}

pytestmark = pytest.mark.timeout(1_800 if LONG else 360)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    """A broker that may be killed."""
    one = EmbeddedBroker(tmp_path / "broker", default_cache_dir())
    one.start()
    ensure_topics(one.bootstrap, PREFIX, partitions=3)
    yield one
    one.stop()


def chat(messages: int) -> list[dict[str, str]]:
    """Return so many lines of an archive, each by an author of its own and a minute after the one before."""
    with ARCHIVE.open(encoding="utf-8") as lines:
        found = (json.loads(line) for line in lines)
        texts = [one["text"] for one in found if one.get("text") and one.get("label") not in {"chatter", "spam"}]
    start = datetime(2026, 6, 1, tzinfo=UTC)
    ends = ("please", "again", "today", "for weeks", "here too", "as ever", "sadly")
    return [
        {
            "id": f"m{number}",
            "source": ("discord", "telegram", "reddit")[number % 3],
            "channel": f"room{number % 7}",
            "author": f"author{number}",
            "time": (start + timedelta(minutes=number)).isoformat(),
            "text": f"{text} {ends[number % len(ends)]} {number}",
        }
        for number, text in enumerate(islice(cycle(texts[:DIFFERENT]), messages))
    ]


def flow(
    broker: EmbeddedBroker,
    folder: Path,
    lines: list[dict[str, str]],
    stages: tuple[str, ...] = STAGES,
    server: PostgresCluster | None = None,
) -> Walk:
    """Return running stages, with a publisher of `lines` that has just begun."""
    file = folder / "chat.jsonl"
    slowly = python(Path(__file__).parent / "publish_slowly.py", broker.bootstrap, PREFIX, str(file), SPACE)

    def command(stage: str) -> list[str]:
        return [*slowly, str(PER_SECOND)] if stage == "publish" else stage_command(stage)

    walk = Walk(
        broker.bootstrap,
        PREFIX,
        folder,
        stages=(*stages, "publish"),
        settings=SETTINGS,
        command=command,
        server=server,
    ).start()
    try:
        # All stages are to be there before the flow begins; this line will be one repeat.
        walk.publish(lines[:1], SPACE)
        walk.until(lambda: walk.one(MESSAGES_STORED) == 1, "the first message is through", 240)
        (folder / "chat.part").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        (folder / "chat.part").rename(file)
        walk.until(lambda: walk.one(MESSAGES_STORED) > 20, "messages flow", 60)
    except BaseException:
        walk.stop()
        raise
    return walk


def balance(walk: Walk, lines: list[dict[str, str]], seconds: float) -> dict[str, int]:
    """Wait until all is done; assert that nothing was lost and nothing counted twice; return the counts."""
    ids = [line["id"] for line in lines]
    walk.until(lambda: walk.status("publish").last_exit == 0, "everything is published", seconds)
    walk.until(lambda: walk.one(MESSAGES_STORED) >= len(ids), "every message is taken", seconds)
    walk.settle(seconds)
    stored = [row["message_id"] for row in walk.rows("SELECT message_id FROM messages WHERE space = ?", SPACE)]
    assert sorted(stored) == sorted(ids)
    taken = walk.taken(SPACE)
    redelivered = taken.pop(REDELIVERED, 0)
    # A publisher that was killed repeats what it had not noted: new records of the topic, known by the message's id.
    assert taken["message.created"] == len(ids)
    assert set(taken) <= {"message.created", "duplicate"}
    assert taken.total() == walk.published()
    assert walk.dead() == []
    books = check_books(walk, SPACE)
    assert books["tickets"] == walk.one("SELECT count(*) FROM local_issues") >= 5
    return books | {"duplicate": taken["duplicate"], "redelivered": redelivered, "published": walk.published()}


def kill(walk: Walk, broker: EmbeddedBroker, target: str) -> None:
    """End the target as a crash would; the broker is started again, the others have their supervisor."""
    if target == "broker":
        broker.kill()
        broker.start()
    else:
        os.kill(walk.pid(target), signal.SIGKILL)


def test_whatever_is_killed_nothing_is_lost_or_done_twice(broker: EmbeddedBroker, tmp_path: Path) -> None:
    seed = int(os.environ.get("GROUNDSWELL_CHAOS_SEED", time.time_ns() % 1_000_000))
    print(f"seed {seed}: {KILLS} kills, {MESSAGES} messages")
    dice = random.Random(seed)
    since = time.monotonic()
    lines = chat(MESSAGES)
    walk = flow(broker, tmp_path, lines)
    killed: Counter[str] = Counter()
    try:
        targets = ["publish", "embed", "cluster", "file", "broker"]
        order = dice.sample(targets, len(targets)) + [dice.choice(targets) for _ in range(KILLS - len(targets))]
        for target in order:
            pause = time.monotonic() + dice.uniform(1.0, 10.0)
            walk.until(lambda until=pause: time.monotonic() >= until, "a moment")  # type: ignore[misc]
            chosen = "embed" if target == "publish" and walk.status("publish").last_exit == 0 else target
            kill(walk, broker, chosen)
            killed[chosen] += 1
        books = balance(walk, lines, 600 if LONG else 180)
    finally:
        exits = walk.stop()
    print(f"killed {dict(killed)}; {books}; {time.monotonic() - since:.0f} s; seed {seed}")
    assert killed.total() == KILLS
    assert exits == dict.fromkeys((*STAGES, "publish"), 0)


def test_an_owner_that_stands_still_for_a_while_loses_nothing(broker: EmbeddedBroker, tmp_path: Path) -> None:
    lines = chat(600)
    walk = flow(broker, tmp_path, lines)
    try:
        pid = walk.pid("cluster")
        os.kill(pid, signal.SIGSTOP)
        until = time.monotonic() + STILL_S
        walk.until(lambda: time.monotonic() >= until, "it stands still", STILL_S + 10)
        os.kill(pid, signal.SIGCONT)
        books = balance(walk, lines, 180)
    finally:
        walk.stop()
    print(f"stood still for {STILL_S:.0f} s; {books}")


@pytest.fixture
def server() -> Iterator[PostgresCluster]:
    """A PostgreSQL that may be killed, as durable as Debian sets it up."""
    yield from running_cluster(postgres_programs(), {})


@pytest.mark.timeout(1_800 if LONG else 600)
def test_a_database_server_that_is_killed_loses_nothing(
    broker: EmbeddedBroker, server: PostgresCluster, tmp_path: Path
) -> None:
    """The stages wait for it and go on, no process restarted: what was acknowledged is there, the rest comes again."""
    seed = int(os.environ.get("GROUNDSWELL_CHAOS_SEED", time.time_ns() % 1_000_000))
    dice = random.Random(seed)
    lines = chat(MESSAGES // 2)
    walk = flow(broker, tmp_path, lines, server=server)
    away = [0.0, dice.uniform(2.0, 5.0), 0.0, dice.uniform(0.0, 2.0), *([0.0] * (KILLS - 4))]
    try:
        for seconds in away:
            pause = time.monotonic() + dice.uniform(1.0, 6.0)
            walk.until(lambda until=pause: time.monotonic() >= until, "a moment")  # type: ignore[misc]
            server.stop("immediate")
            time.sleep(seconds)  # nothing to wait for: that is how long it is away
            server.start()
        books = balance(walk, lines, 300)
        restarts = {stage: walk.status(stage).restarts for stage in STAGES}
    finally:
        walk.stop()
    print(f"killed PostgreSQL {len(away)} times, away for up to {max(away):.1f} s; {books}; {restarts}; seed {seed}")
    assert "automatic recovery" in server.log() or "not properly shut down" in server.log()
    assert restarts == dict.fromkeys(STAGES, 0)


@pytest.mark.skipif(not LONG, reason="takes two minutes: GROUNDSWELL_CHAOS=long")
def test_an_owner_that_was_thought_dead_is_fenced(broker: EmbeddedBroker, tmp_path: Path) -> None:
    lines = chat(1_500)
    walk = flow(broker, tmp_path, lines, ("embed", "cluster:0", "cluster:1", "file"))
    owner = f"SELECT owner FROM leases WHERE space = '{SPACE}' AND expires_at > 0"
    try:
        first = walk.one(owner).removeprefix(PREFIX).replace("-", ":")
        epoch = walk.one("SELECT epoch FROM leases")
        zombie = walk.pid(first)
        os.kill(zombie, signal.SIGSTOP)
        walk.until(lambda: walk.one("SELECT epoch FROM leases") > epoch, "another owner has taken over", 120)
        taken = walk.one(MESSAGES_STORED)
        walk.until(lambda: walk.one(MESSAGES_STORED) > taken, "and goes on", 60)
        os.kill(zombie, signal.SIGCONT)
        books = balance(walk, lines, 240)
    finally:
        walk.stop()
    print(f"{first} was a zombie, epoch {epoch} -> {walk.one('SELECT epoch FROM leases')}; {books}")
