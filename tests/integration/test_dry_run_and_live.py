"""A dry run says what live does: the shipped archive through Kafka and all stages, and without any of them.

One partition, so that both see one order of messages; with more, live reads several orders into one. And a pace at
which the sink keeps up: of an archive that is published as fast as can be, it may look at a cluster when that is past.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.broker import EmbeddedBroker
from pipeline.dry_run import dry_run, load_reader
from pipeline.fold import SpaceState
from pipeline.records import MessageRef
from pipeline.settings import ClusterSettings, PolicySettings, Settings
from pipeline.store import schema
from pipeline.store.assignments import assignments
from pipeline.store.database import Database
from pipeline.store.journal import entry_of
from pipeline.topics import delete_topics, ensure_topics
from pipeline.tried import Tried
from tests.standins.space_stream import rows
from tests.walk import ARCHIVE, Walk

pytestmark = pytest.mark.timeout(600)
SPACE = "quillstone"
PER_SECOND = 15.0
Place = dict[tuple[str, str], str | None]


@pytest.fixture(scope="module")
def live(broker: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    """The stages, after the archive."""
    prefix = f"dry-{uuid.uuid4().hex[:8]}."
    ensure_topics(broker.bootstrap, prefix, partitions=1)
    folder = tmp_path_factory.mktemp("live")
    # Small batches: no pause between two of them is as long as a silence.
    settings = {"SPACE": SPACE, "MODEL__BATCH": "32", "POLICY__MODE": "auto"}
    walk = Walk(broker.bootstrap, prefix, folder, settings=settings).start()
    # Until the model is loaded, what is published would wait, and then come all at once.
    walk.publish([{"id": "1", "text": "Is anybody here yet?"}], "warm-up")
    walk.until(lambda: walk.taken("warm-up").total(), "the stages work", 200.0)
    published = walk.publish(ARCHIVE, SPACE, per_second=PER_SECOND).published.total()
    walk.until(lambda: sum(walk.taken(SPACE).values()) >= published, "all taken", 300.0)
    walk.settle(200.0)
    yield walk
    walk.stop()
    delete_topics(broker.bootstrap, prefix)


@pytest.fixture(scope="module")
def dry(tmp_path_factory: pytest.TempPathFactory) -> Tried:
    """The dry run."""
    settings = Settings(
        space=SPACE, cache_dir=tmp_path_factory.mktemp("cache"), clusters=ClusterSettings(), policy=PolicySettings()
    )
    return asyncio.run(dry_run(settings, ARCHIVE, load_reader(settings))).tried


def partners(one: Place, other: Place) -> dict[str | None, str | None]:
    """Return for each cluster the cluster of the other run that has most of its messages."""
    counts: dict[str, Counter[str]] = {}
    for key, cluster_id in one.items():
        if cluster_id is not None and (theirs := other[key]) is not None:
            counts.setdefault(cluster_id, Counter())[theirs] += 1
    return {None: None} | {name: own.most_common(1)[0][0] for name, own in counts.items()}


def test_messages_and_tickets_agree(live: Walk, dry: Tried) -> None:
    told = {
        (row["platform"], row["message_id"]): row["cluster_id"] if row["status"] == "clustered" else None
        for row in live.rows("SELECT * FROM messages WHERE space = ?", SPACE)
    }
    tried = {(one.ref.platform, one.ref.message_id): one.cluster_id for one in dry.assignments}
    assert told.keys() == tried.keys()
    assert len(told) > 900
    assert sum(cluster_id is not None for cluster_id in told.values()) > 200
    there, back = partners(tried, told), partners(told, tried)
    apart = [key for key in told if there.get(tried[key]) != told[key] or back.get(told[key]) != tried[key]]
    assert len(apart) <= 0.01 * len(told), apart

    filed = {row["cluster_id"]: row["kind"] for row in live.rows("SELECT * FROM tickets WHERE space = ?", SPACE)}
    assert len(filed) >= 8
    # A ticket whose cluster has nobody left has no partner; its name is the same when founder and entry are.
    ours = [(there.get(one.cluster_id, one.cluster_id), one.kind) for one in dry.tickets]
    assert sorted(ours, key=str) == sorted(filed.items())


async def test_from_one_journal_the_result_is_identical(live: Walk) -> None:
    database = Database(f"sqlite+aiosqlite:///{live.database_file}")
    stored = [row for row in await rows(database, schema.vectors) if row.space == SPACE]
    vectors = {row.seq: np.frombuffer(row.vector, "<f2") for row in stored}
    state = SpaceState(SPACE, ClusterSettings().fold())
    journal = [row for row in await rows(database, schema.journal) if row.space == SPACE]
    for row in sorted(journal, key=lambda row: row.seq):
        vector = vectors.get(row.seq)
        state.apply(entry_of(row, None if vector is None else vector.astype(np.float32)))
    told = {one.ref: (one.cluster_id, one.status) for one in await assignments(database, SPACE)}
    await database.close()
    folded = {ref: (member.cluster_id, member.status.value) for ref, member in state.members.items()}
    # A message that left the pool by its age is no member of the state any more; live it is counted as expired.
    # A raid is known by its messages together: where one is erased since, who folds again may not know the others.
    raids = {
        MessageRef(row["platform"], row["message_id"])
        for row in live.rows("SELECT * FROM messages WHERE space = ? AND reason = 'raid'", SPACE)
    }
    apart = {ref for ref, place in folded.items() if told[ref] != place}
    assert apart <= raids
    assert len(apart) <= 1
    assert told.keys() >= folded.keys()


def test_a_second_dry_run_is_the_same_to_the_last_word(dry: Tried, tmp_path: Path) -> None:
    settings = Settings(space=SPACE, cache_dir=tmp_path, clusters=ClusterSettings(), policy=PolicySettings())
    again = asyncio.run(dry_run(settings, ARCHIVE, load_reader(settings))).tried
    assert again.assignments == dry.assignments
    assert again.tickets == dry.tickets
