"""A consumer that its group lost is noticed: on a real broker, by the real client's own state."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer  # type: ignore[import-untyped]

from pipeline.broker import EmbeddedBroker
from pipeline.shape import group_failure
from pipeline.topics import EVENTS, delete_topics, ensure_topics

PREFIX = "group."


@pytest.mark.parametrize("broken", [False, True])
async def test_a_coordination_that_ended_with_an_error_is_told(
    broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch, *, broken: bool
) -> None:
    ensure_topics(broker.bootstrap, PREFIX, partitions=1)
    consumer = AIOKafkaConsumer(PREFIX + EVENTS.name, bootstrap_servers=broker.bootstrap, group_id="a-group")
    assert group_failure(consumer) is None  # not started yet
    looked_up = asyncio.Event()
    lookup = consumer._client.coordinator_lookup

    async def fail(*args: Any) -> Any:
        looked_up.set()
        if broken:
            raise AssertionError("Did we not perform bootstrap?")
        return await lookup(*args)

    monkeypatch.setattr(consumer._client, "coordinator_lookup", fail)
    starting = asyncio.ensure_future(consumer.start())
    try:
        await asyncio.wait_for(looked_up.wait(), 30)
        task = consumer._coordinator._coordination_task
        if broken:
            await asyncio.wait([task], timeout=30)
            assert "Did we not perform bootstrap?" in str(group_failure(consumer))
        else:
            await asyncio.wait_for(starting, 30)
            assert group_failure(consumer) is None
            assert not task.done()
    finally:
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        monkeypatch.undo()
        await asyncio.gather(consumer.stop(), return_exceptions=True)
        delete_topics(broker.bootstrap, PREFIX)
