"""A space moved to another model, on real databases, with real models: ids, decisions and texts come along."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import update

from models.clusterer import DensityClusterer
from models.embedder import SentenceEmbedder, model_name
from models.kinds import RECIPE_VERSION, train_kinds
from pipeline import rebuild
from pipeline.doors import Arrival, arrival_of
from pipeline.embed import Reader
from pipeline.errors import FatalError
from pipeline.fitter import InlineFitter
from pipeline.owner import Owner
from pipeline.records import Command, CommandName, Event, EventType, MessageData, Origin
from pipeline.store import schema
from pipeline.store.database import Database
from tests.standins.space_stream import SMALL, SPACE, T0, received, rows
from tests.standins.tiny_model import tiny_model

TOPICS = {
    "export": "the csv export loses my notes every single time",
    "login": "login fails with wrong password after update",
    "dark": "please add dark theme for night reading",
}
WORDS = sorted(
    {word for text in TOPICS.values() for word in text.split()} | {"today", "again", "really", "still", "now"}
)
SETTINGS = replace(SMALL, window=400, found_all_kinds=True, pool_ttl=timedelta(days=400))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two models of other lengths and weights."""
    home = tmp_path_factory.mktemp("models")
    return tiny_model(home / "old", WORDS, hidden=32), tiny_model(home / "new", WORDS, hidden=48, seed=7)


@pytest.fixture(scope="module")
def readers(folders: tuple[Path, Path]) -> tuple[Reader, Reader]:
    old, new = (SentenceEmbedder.load(folder, device="cpu") for folder in folders)
    assert new.name == model_name(folders[1])
    return Reader(old, train_kinds(old)), Reader(new, train_kinds(new))


def posts(reader: Reader, numbers: Sequence[int], at: int = 0) -> list[Arrival]:
    rng = np.random.default_rng(at)
    events = []
    for number in numbers:
        topic = list(TOPICS)[number % 3]
        words = [TOPICS[topic], *rng.choice(["today", "again", "really", "still", "now"], 2)]
        data = MessageData(
            platform="discord", message_id=f"m{number}", text=" ".join(words), author=f"by{number}", channel="general"
        )
        events.append(
            Event(
                id=f"e{number}", source="//t", type=EventType.CREATED, time=T0 + timedelta(minutes=number), space=SPACE,
                container="c", data=data,
            )
        )  # fmt: skip
    origins = [Origin(cluster="k", partition=0, offset=number) for number in numbers]
    return [arrival_of(s, frozenset({"en"})) for s in reader.signals(events, origins, reader.encoded(events))]


def command(name: CommandName, cluster_id: str, number: int, **more: object) -> Arrival:
    made = Command(
        id=f"c{number}", space=SPACE, name=name, cluster_id=cluster_id, by="kim", time=T0 + timedelta(hours=9), **more
    )
    return arrival_of(made, frozenset({"en"}))


async def homes(database: Database) -> dict[str, str | None]:
    return {row.message_id: row.cluster_id for row in await rows(database, schema.messages)}


def owner_of(database: Database) -> Owner:
    return Owner("one", database, SETTINGS, InlineFitter(DensityClusterer(min_cluster_size=10)))


async def told(database: Database, reader: Reader) -> dict[str, str]:
    """Tell a space of three topics, with decisions; return topic → cluster."""
    owner = owner_of(database)
    await owner.take(received(posts(reader, range(90))))
    await owner.tick()
    await owner.tick()
    where = await homes(database)
    found = {}
    for place, topic in enumerate(TOPICS):
        common = Counter(where[f"m{n}"] for n in range(place, 90, 3) if where[f"m{n}"]).most_common(1)
        found[topic] = str(common[0][0])
    assert len(set(found.values())) == 3
    await owner.take(
        received(
            [
                command(CommandName.MUTE, found["export"], 1),
                command(CommandName.RENAME, found["login"], 2, value="Login"),
                command(CommandName.TAG, found["dark"], 3, value="design"),
            ]
        )
    )
    await owner.take(received(posts(reader, range(90, 120), at=1)))
    await owner.release()
    owner.close()
    return found


async def moved(database: Database, reader: Reader, cache: Path, said: list[str]) -> rebuild.Outcome:
    return await rebuild.rebuild(
        database,
        SPACE,
        SETTINGS,
        reader,
        InlineFitter(DensityClusterer(min_cluster_size=10)),
        frozenset({"en"}),
        cache,
        said.append,
    )


async def test_a_space_goes_over_to_a_model_of_another_length_under_its_old_ids(
    readers: tuple[Reader, Reader], database_url: str, tmp_path: Path
) -> None:
    old, new = readers
    database = Database(database_url)
    found = await told(database, old)
    before = {row.cluster_id: row for row in await rows(database, schema.clusters)}
    versions = max(row.version for row in before.values())

    outcome = await moved(database, new, tmp_path / "cache", [])

    assert outcome.messages == 120
    assert outcome.kept >= 3
    after = {row.cluster_id: row for row in await rows(database, schema.clusters)}
    for topic, cluster_id in found.items():
        assert after[cluster_id].number == before[cluster_id].number
        assert after[cluster_id].count >= 10, topic
        assert len(after[cluster_id].total) == 48 * 8
    assert after[found["export"]].muted
    assert after[found["login"]].name == "Login"
    assert after[found["dark"]].tags == ["design"]
    assert min(row.version for row in after.values()) > versions
    where = await homes(database)
    for place, topic in enumerate(TOPICS):
        own = Counter(where[f"m{n}"] for n in range(place, 120, 3))
        assert own.most_common(1)[0][0] == found[topic], (topic, own)
    vectors = await rows(database, schema.vectors)
    assert {(row.model, len(row.vector)) for row in vectors} == {(new.embedder.name, 96)}
    assert {row.seq for row in vectors} == {row.seq for row in await rows(database, schema.messages)}
    assert all(row.text.startswith(tuple(TOPICS.values())) for row in await rows(database, schema.messages))
    assert "rebuilt" in {row.what for row in await rows(database, schema.lineage)}
    assert not (tmp_path / "cache").exists()

    # the journal written anew says the same as the tables
    differences = await rebuild.check(database, SPACE, SETTINGS)
    assert not differences.any, differences

    # workers go on with the new model; what the old one embedded is refused by name
    owner = owner_of(database)
    assert await owner.take(received(posts(new, range(120, 126), at=2))) == []
    (refusal,) = await owner.take(received(posts(old, [126], at=3)))
    assert old.embedder.name in refusal.reason
    assert new.embedder.name in refusal.reason
    joined = [
        cluster_id for name, cluster_id in (await homes(database)).items() if name in {f"m{n}" for n in range(120, 126)}
    ]
    assert len(joined) == 6
    assert set(joined) & set(found.values())
    owner.close()
    await database.close()


async def test_a_killed_rebuild_goes_on_where_it_was_and_a_live_owner_is_not_robbed(
    readers: tuple[Reader, Reader], database_url: str, tmp_path: Path
) -> None:
    old, new = readers
    database = Database(database_url)
    await told(database, old)
    owner = owner_of(database)
    await owner.take(received(posts(old, [120])))
    said: list[str] = []
    with pytest.raises(FatalError, match=r"owned by one .* `groundswell run`"):
        await moved(database, new, tmp_path / "cache", said)
    assert {row.model for row in await rows(database, schema.vectors)} == {old.embedder.name}
    assert any("embedding" in line for line in said)
    await owner.release()
    owner.close()

    said.clear()
    await moved(database, new, tmp_path / "cache", said)
    assert not any("embedding" in line for line in said)
    assert {row.model for row in await rows(database, schema.vectors)} == {new.embedder.name}
    (lease,) = await rows(database, schema.leases)
    assert (lease.owner, lease.expires_at) == ("one", 0.0)
    await database.close()


async def test_what_the_very_model_and_classifier_read_is_not_read_again(
    readers: tuple[Reader, Reader], database_url: str, tmp_path: Path
) -> None:
    database = Database(database_url)
    await told(database, readers[0])
    vectors = {row.message_id: row.vector for row in await rows(database, schema.vectors)}
    before = {row.message_id: row.kinds for row in await rows(database, schema.messages)}
    said: list[str] = []
    await moved(database, readers[0], tmp_path / "cache", said)
    assert not any("embedding" in line for line in said)

    # An older classifier had called one message praise: it is read again, and its vector stays.
    async with database.write() as connection:
        table = schema.messages
        praise = {"kinds": [0.0, 0.0, 0.0, 1.0, 0.0], "kind": "praise", "recipe": "kinds-0"}
        await connection.execute(update(table).where(table.c.message_id == "m3").values(praise))
    await moved(database, readers[0], tmp_path / "cache", said)
    assert next((line for line in said if "embedding" in line), "").startswith("embedding 1 texts")
    after = {row.message_id: row for row in await rows(database, schema.messages)}
    assert after["m3"].recipe == RECIPE_VERSION
    np.testing.assert_allclose(after["m3"].kinds, before["m3"], atol=1e-3)
    assert {name: row.kinds for name, row in after.items() if name != "m3"} == {
        name: kinds for name, kinds in before.items() if name != "m3"
    }
    assert {row.message_id: row.vector for row in await rows(database, schema.vectors)} == vectors
    await database.close()


async def test_check_finds_what_repair_mends(readers: tuple[Reader, Reader], database_url: str) -> None:
    database = Database(database_url)
    found = await told(database, readers[0])
    assert not (await rebuild.check(database, SPACE, SETTINGS)).any
    async with database.write() as connection:
        table = schema.messages
        await connection.execute(update(table).where(table.c.message_id == "m3").values(cluster_id=None, status="pool"))
        clusters = schema.clusters
        await connection.execute(
            update(clusters).where(clusters.c.cluster_id == found["export"]).values(muted=False, count=1)
        )
    differences = await rebuild.check(database, SPACE, SETTINGS)
    assert [ref.message_id for ref in differences.messages] == ["m3"]
    assert differences.clusters == (found["export"],)
    await rebuild.repair(database, SPACE, SETTINGS)
    assert (await homes(database))["m3"] == found["export"]
    assert {r.cluster_id for r in await rows(database, schema.clusters) if r.muted} == {found["export"]}
    await database.close()


async def test_people_who_were_erased_stay_erased(
    readers: tuple[Reader, Reader], database_url: str, tmp_path: Path
) -> None:
    database = Database(database_url)
    await told(database, readers[0])
    owner = owner_of(database)
    data = MessageData(platform="discord", message_id="m4")
    gone = Event(
        id="g", source="//t", type=EventType.DELETED, time=T0 + timedelta(days=1), space=SPACE, container="c", data=data
    )
    (signal,) = readers[0].signals([gone], [Origin(cluster="k", partition=0, offset=500)], readers[0].encoded([gone]))
    await owner.take(received([arrival_of(signal, frozenset({"en"}))]))
    await owner.release()
    owner.close()
    await moved(database, readers[1], tmp_path / "cache", [])
    message = next(row for row in await rows(database, schema.messages) if row.message_id == "m4")
    assert (message.status, message.text, message.author) == ("erased", "", "")
    assert "m4" not in {row.message_id for row in await rows(database, schema.vectors)}
    await database.close()
