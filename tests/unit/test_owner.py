"""The owner on real SQLite: batch edges, restarts and evictions change nothing."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.doors import Arrival
from pipeline.fitter import InlineFitter
from pipeline.owner import Owner
from pipeline.store.database import Database
from tests.standins.space_stream import (
    SMALL,
    SPACE,
    Stream,
    clusterer,
    cuts,
    of_state,
    received,
    tables,
)

LENGTH = 200


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "groundswell.db"

    async def make() -> None:
        database = Database(f"sqlite+aiosqlite:///{path}")
        await database.migrate()
        await database.close()

    asyncio.run(make())
    return path


def copy_of(template: Path, folder: Path) -> Database:
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("space.db*"):
        old.unlink()
    shutil.copy(template, folder / "space.db")
    return Database(f"sqlite+aiosqlite:///{folder / 'space.db'}")


def new_owner(database: Database) -> Owner:
    return Owner("one", database, SMALL, InlineFitter(clusterer()))


async def feed(
    database: Database, arrivals: Sequence[Arrival], edges: Sequence[int], restarts: frozenset[int] = frozenset()
) -> Owner:
    owner = new_owner(database)
    for start, end in cuts(len(arrivals), [*edges, *restarts]):
        assert await owner.take(received(arrivals[start:end])) == []
        if end in restarts and owner._held[SPACE].state.fit is None:
            owner.close()
            owner = new_owner(database)
    return owner


EXAMPLES = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
EDGES = st.lists(st.integers(1, LENGTH), max_size=40)


@EXAMPLES
@given(seed=st.integers(0, 2**16), edges=EDGES, restarts=st.frozensets(st.integers(1, LENGTH), max_size=6))
def test_batch_edges_and_restarts_change_nothing(
    template: Path, tmp_path: Path, seed: int, edges: list[int], restarts: frozenset[int]
) -> None:
    stream = Stream(seed).run(LENGTH)
    expected = of_state(stream.oracle.state)

    async def run() -> None:
        database = copy_of(template, tmp_path)
        owner = await feed(database, stream.arrivals, edges, restarts)
        members, clusters = await tables(database, SMALL)
        owner.close()
        await database.close()
        assert members == expected[0]
        assert clusters == expected[1]

    asyncio.run(run())
