"""The outbox goes to `clusters.changed`: at least once; readers look the state up, so repeats are harmless."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Final

from pipeline.errors import SkippableError
from pipeline.store import outbox
from pipeline.store.database import Database

BATCH: Final = 500
POLL_S: Final = 1.0
"""How long a line written by another process waits at most; our own commits wake the relay at once."""

Send = Callable[[str, bytes], Awaitable[None]]


def wake_up(note: outbox.Note) -> bytes:
    """Return the value of `clusters.changed`: which cluster to look at."""
    return json.dumps({"space": note.space, "cluster_id": note.cluster_id, "version": note.version}).encode()


def decode_wake_up(value: bytes) -> tuple[str, str]:
    """Return space and cluster id; SkippableError when it is no wake-up."""
    try:
        fields = json.loads(value)
        space, cluster_id = str(fields["space"]), str(fields["cluster_id"])
        # Half a surrogate pair is no name, and no database takes it; nor does PostgreSQL take NUL.
        if b"\x00" in f"{space}{cluster_id}".encode():
            raise ValueError("NUL in a name")
        return space, cluster_id
    except (ValueError, TypeError, KeyError, RecursionError) as exc:
        raise SkippableError(f"not a wake-up of clusters.changed: {exc}") from exc


async def relay(database: Database, committed: asyncio.Event, send: Send, should_stop: Callable[[], bool]) -> None:
    """Publish the outbox in order until told to stop.

    Parameters
    ----------
    send : callable
        Publishes (space, value) and returns once the broker has it.
    """
    while not should_stop():
        committed.clear()
        async with database.read() as connection:
            notes = await outbox.oldest(connection, BATCH)
        if not notes:
            try:
                await asyncio.wait_for(committed.wait(), POLL_S)
            except TimeoutError:
                continue
            continue
        newest = {(note.space, note.cluster_id): note for note in notes}
        await asyncio.gather(*(send(note.space, wake_up(note)) for note in newest.values()))
        async with database.write() as connection:
            await outbox.remove(connection, notes)
