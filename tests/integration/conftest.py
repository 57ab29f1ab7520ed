"""What the tests of the sink share: a space with a cluster in a database, and Jira's stand-in in both its kinds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.standins.jira_server import JiraServer
from tests.standins.sink_world import World


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    one = await World(database_url).begin()
    await one.cluster("c1")
    yield one
    await one.database.close()


@pytest.fixture(params=["cloud", "datacenter"])
def server(request: pytest.FixtureRequest) -> Iterator[JiraServer]:
    with JiraServer(request.param) as one:
        yield one
