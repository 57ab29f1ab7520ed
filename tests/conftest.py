"""What all tests share: markers by folder, and a real Kafka broker."""

from __future__ import annotations

import importlib
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog

from pipeline.broker import EmbeddedBroker
from pipeline.broker_jars import default_cache_dir
from pipeline.topics import delete_topics, ensure_topics

if TYPE_CHECKING:
    from collections.abc import Iterator

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
