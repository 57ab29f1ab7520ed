"""Drives one connector: receive, publish, checkpoint, until it ends or is stopped."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Final

import structlog

from connectors.checkpoints import checkpoint_key
from connectors.contract import Connector, Published, Received
from connectors.outgoing import Tally
from connectors.publisher import Publisher
from pipeline.errors import PipelineError

_GRACE_S: Final = 10.0
"""For saving what is acknowledged when a run is cancelled or fails."""

log = structlog.get_logger(__name__)


async def run(
    connector: Connector,
    publisher: Publisher,
    on_progress: Callable[[Tally], None] | None = None,
    *,
    every_records: int = 1_000,
    every_s: float = 5.0,
    resume: bool = True,
) -> Tally:
    """Publish all that a connector receives; return the publisher's tally when it ends (it counts over all its runs).

    A checkpoint is written, and `on_progress` called, after `every_records` items, every `every_s` seconds,
    and at the end: also, for what is acknowledged by then, when this is cancelled or fails.

    resume : False reads every partition from its beginning, whatever the checkpoints say.

    Raises
    ------
    PipelineError
        What the connector or the broker raised; after a RetriableError run again, it goes on where it was.
    """
    after = await publisher.load_checkpoints(connector.name, connector.instance) if resume else {}

    async def save() -> None:
        await publisher.checkpoint()
        if on_progress is not None:
            on_progress(publisher.tally)

    async def save_now_and_then() -> None:
        while True:
            await asyncio.sleep(every_s)
            await save()

    items = connector.receive(after)
    try:
        async with asyncio.TaskGroup() as tasks:
            # A task of its own, for a live source can be silent for hours after its last message.
            saving = tasks.create_task(save_now_and_then())
            fresh = 0
            async for item in items:
                await _pass_on(connector, publisher, item)
                fresh += 1
                if item.settle or fresh >= every_records:
                    await save()
                    fresh = 0
            saving.cancel()
        await save()
    except BaseExceptionGroup as group:
        await _save_quickly(publisher)
        first = group.exceptions[0]
        raise first from first.__cause__
    except asyncio.CancelledError:
        await _save_quickly(publisher)
        raise
    finally:
        if isinstance(items, AsyncGenerator):
            await items.aclose()
    return publisher.tally


async def _pass_on(connector: Connector, publisher: Publisher, item: Received) -> None:
    mark = (checkpoint_key(connector.name, connector.instance, item.partition), item.cursor)
    if isinstance(item, Published):
        await publisher.publish(item.event, mark)
    else:
        await publisher.refuse(item, mark)


async def _save_quickly(publisher: Publisher) -> None:
    """Checkpoint what the broker acknowledges within the grace; the rest is received again next time."""
    try:
        async with asyncio.timeout(_GRACE_S):
            await publisher.checkpoint()
    except (TimeoutError, PipelineError) as exc:
        log.warning("stopped before all was acknowledged, the next run repeats it", why=str(exc) or "no answer")
