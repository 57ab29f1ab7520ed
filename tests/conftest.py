"""What all tests share: markers by folder, a real Kafka broker, and databases of both kinds."""

from __future__ import annotations

import importlib
import os
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog

from pipeline.broker import EmbeddedBroker
from pipeline.broker_jars import default_cache_dir
from pipeline.store.database import Database
from pipeline.topics import delete_topics, ensure_topics
from tests.standins.postgres import PostgresCluster, in_a_thread, programs, running_cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FOLDERS = {
    "unit": "pure code: no network, no broker",
    "contract": "one suite for every implementation of a seam",
    "integration": "a real broker, database or browser",
    "chaos": "what is left after something was killed",
}


def pytest_configure(config: pytest.Config) -> None:
    """Declare the folders' markers."""
    for name, meaning in _FOLDERS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")


@pytest.fixture(scope="session", autouse=True)
def _models_are_imported_by_the_main_thread() -> None:
    """CPython 3.11 may fail where two threads parse source at once (gh-106905), and torch parses some when imported."""
    importlib.import_module("sentence_transformers")


@pytest.fixture(autouse=True)
def _logs_go_to_no_closed_stream() -> Iterator[None]:
    """A logger that a test bound to its captured output outlives the test."""
    yield
    structlog.reset_defaults()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test the marker of its folder."""
    here = Path(__file__).parent
    for item in items:
        folder = item.path.relative_to(here).parts[0] if item.path.is_relative_to(here) else ""
        if folder in _FOLDERS:
            item.add_marker(folder)


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    """One running broker for all tests that do not stop it; if it cannot start, they fail with its error."""
    one = EmbeddedBroker(tmp_path_factory.mktemp("broker"), default_cache_dir())
    one.start()
    yield one
    one.stop()


@pytest.fixture
def bootstrap(broker: EmbeddedBroker) -> str:
    """Address of the session's broker."""
    return broker.bootstrap


@pytest.fixture
def topics(bootstrap: str) -> Iterator[str]:
    """Prefix of this test's own topics: `topics + EVENTS.name`. They have 2 partitions each."""
    prefix = f"test-{uuid.uuid4().hex[:8]}."
    ensure_topics(bootstrap, prefix, partitions=2)
    yield prefix
    delete_topics(bootstrap, prefix)


def postgres_programs() -> Path:
    """Return where PostgreSQL's programs are; without them the test is skipped, but fails in CI, which has them."""
    found = programs()
    if found is not None:
        return found
    reason = "no PostgreSQL here, so nothing is tested on it: apt-get install postgresql"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresCluster]:
    """One running PostgreSQL for all tests that do not stop it."""
    yield from running_cluster(postgres_programs())


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to be copied."""
    path = tmp_path_factory.mktemp("template") / "groundswell.db"

    async def migrate() -> None:
        database = Database(f"sqlite+aiosqlite:///{path}")
        await database.migrate()
        await database.close()

    in_a_thread(migrate)
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def new_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Make migrated databases, of each kind in turn: a call returns the URL of a new one."""
    if request.param == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")

        def new_file() -> str:
            path = tmp_path / f"{uuid.uuid4().hex[:8]}.db"
            shutil.copy(template, path)
            return f"sqlite+aiosqlite:///{path}"

        yield new_file
        return
    cluster: PostgresCluster = request.getfixturevalue("postgres")
    made: list[str] = []

    def new_on_server() -> str:
        made.append(cluster.create())
        return cluster.url(made[-1])

    yield new_on_server
    for name in made:
        cluster.drop(name)


@pytest.fixture
def database_url(new_database_url: Callable[[], str]) -> str:
    """URL of this test's own migrated database, of each kind in turn."""
    return new_database_url()
