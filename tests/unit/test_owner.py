"""The owner on real databases: batch edges, restarts and evictions change nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from models.text import fingerprint
from pipeline.doors import Arrival, arrival_of
from pipeline.fitter import InlineFitter
from pipeline.fold import SpaceState
from pipeline.owner import Owner
from pipeline.records import EventType, pack_vector
from pipeline.store import schema
from pipeline.store.database import Database
from pipeline.store.journal import entry_of
from pipeline.store.leases import LeaseLostError
from tests.standins.space_stream import (
    SMALL,
    SPACE,
    T0,
    Stream,
    clusterer,
    cuts,
    near,
    of_state,
    received,
    rows,
    tables,
)

LENGTH = 200
NewUrl = Callable[[], str]


def new_owner(database: Database) -> Owner:
    return Owner("one", database, SMALL, InlineFitter(clusterer()), quiet=timedelta(0))


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
@example(seed=7, edges=[], restarts=frozenset(range(1, LENGTH)))  # loaded before every single arrival
@example(seed=7, edges=[], restarts=frozenset())
@given(seed=st.integers(0, 2**16), edges=EDGES, restarts=st.frozensets(st.integers(1, LENGTH), max_size=6))
def test_batch_edges_and_restarts_change_nothing(
    new_database_url: NewUrl, seed: int, edges: list[int], restarts: frozenset[int]
) -> None:
    stream = Stream(seed).run(LENGTH)
    expected = of_state(stream.oracle.state)

    async def run() -> None:
        database = Database(new_database_url())
        owner = await feed(database, stream.arrivals, edges, restarts)
        members, clusters = await tables(database, SMALL)
        owner.close()
        await database.close()
        assert members == expected[0]
        assert clusters == expected[1]

    asyncio.run(run())


@EXAMPLES
@given(seed=st.integers(0, 2**16), edges=EDGES)
def test_the_journal_read_back_folds_to_the_tables(new_database_url: NewUrl, seed: int, edges: list[int]) -> None:
    stream = Stream(seed, forgetting=False).run(LENGTH)

    async def run() -> None:
        database = Database(new_database_url())
        owner = await feed(database, stream.arrivals, edges)
        vectors = {row.seq: np.frombuffer(row.vector, "<f2") for row in await rows(database, schema.vectors)}
        state = SpaceState(SPACE, SMALL)
        for row in sorted(await rows(database, schema.journal), key=lambda row: row.seq):
            vector = vectors.get(row.seq)
            state.apply(entry_of(row, None if vector is None else vector.astype(np.float32)))
        assert of_state(state) == await tables(database, SMALL)
        assert {row.command_id for row in await rows(database, schema.commands) if row.in_force} == set(state.commands)
        owner.close()
        await database.close()

    asyncio.run(run())


async def messages_of(database: Database) -> dict[str, Any]:
    return {row.message_id: row for row in await rows(database, schema.messages)}


async def everything(database: Database) -> str:
    found = []
    for table in schema.metadata.sorted_tables:
        found += [str(tuple(row)) for row in await rows(database, table)]
    return "\n".join(found)


def story(order: str) -> list[Arrival]:
    """One message by ann with a reaction, and her deletion or erasure, in the order of the letters."""
    stream = Stream(0)
    vector = near(stream.centres[0], stream.rng, 0.1)
    said = {"platform": "discord", "message_id": "m1", "text": "secret words of ann", "author": "ann-the-author"}
    makers = {
        "m": lambda: stream.signal(EventType.CREATED, said, T0, **stream.reading(vector)),
        "r": lambda: stream.signal(
            EventType.REACTION_SET,
            {"platform": "discord", "message_id": "m1", "author": "bob-who-reacts", "emoji": "x", "present": True},
            T0,
        ),
        "d": lambda: stream.signal(EventType.DELETED, {"platform": "discord", "message_id": "m1"}, T0),
        "a": lambda: stream.signal(EventType.AUTHOR_ERASED, {"platform": "discord", "author": "ann-the-author"}, T0),
    }
    for letter in order:
        stream.add(makers[letter]())
    return stream.arrivals


@pytest.mark.parametrize("together", [True, False], ids=["one batch", "a batch each"])
@pytest.mark.parametrize("order", ["mrd", "dmr", "mdrd", "dd", "rmd", "mrdm", "mra", "amr", "maa", "mram", "rda"])
async def test_what_was_erased_leaves_nothing(new_database_url: NewUrl, order: str, together: bool) -> None:  # noqa: FBT001
    database = Database(new_database_url())
    arrivals = story(order)
    owner = await feed(database, arrivals, [] if together else range(len(arrivals)))
    content = await everything(database)
    assert "secret words" not in content
    assert "bob-who-reacts" not in content
    assert fingerprint("secret words of ann") not in content
    assert await rows(database, schema.vectors) == []
    message = (await messages_of(database))["m1"]
    assert (message.status, message.text, message.author) == ("erased", "", "")
    if "a" not in order:
        assert "ann-the-author" not in content
    owner.close()
    await database.close()


async def test_a_newer_reaction_is_not_overwritten_by_an_older_one(new_database_url: NewUrl) -> None:
    database = Database(new_database_url())
    stream = Stream(0)
    data = {"platform": "discord", "message_id": "m1", "author": "bob", "emoji": "x"}
    stream.add(stream.signal(EventType.REACTION_SET, data | {"present": False}, T0 + timedelta(hours=1)))
    stream.add(stream.signal(EventType.REACTION_SET, data | {"present": True}, T0))
    owner = await feed(database, stream.arrivals, [1])
    assert [row.present for row in await rows(database, schema.reactions)] == [False]
    owner.close()
    await database.close()


@pytest.mark.parametrize("length", [60, 120])
async def test_every_arrival_is_accounted_for(new_database_url: NewUrl, length: int) -> None:
    database = Database(new_database_url())
    stream = Stream(5).run(length)
    owner = await feed(database, stream.arrivals, range(0, length, 7))
    (account,) = await rows(database, schema.accounts)
    events = [arrival for arrival in stream.arrivals if arrival.origin is not None]
    assert sum(account.counts.values()) == len(events)
    assert sum(n for name, n in account.counts.items() if name != "redelivered") == stream.offset == account.offset
    assert len(await messages_of(database)) == len(stream.oracle.state.members)
    owner.close()
    await database.close()


async def test_a_fit_lost_in_a_restart_is_begun_again(new_database_url: NewUrl) -> None:
    """Where a fit was in flight: nothing is lost, the fit follows the next entry, the clusters come a little later."""
    database = Database(new_database_url())
    stream = Stream(3)
    while stream.oracle.state.fit is None:
        stream.add(stream.post())
    owner = await feed(database, stream.arrivals, [])
    assert owner._held[SPACE].state.fit is not None
    owner.close()
    again = new_owner(database)
    stream.add(stream.post())
    await again.take(received(stream.arrivals[-1:]))
    request = again._held[SPACE].state.fit
    assert request is not None
    assert request.begun_seq == again._held[SPACE].state.seq
    await again.tick()
    assert len(await rows(database, schema.clusters)) > 0
    again.close()
    await database.close()


async def test_what_a_restart_left_unfitted_is_fitted_without_a_signal(new_database_url: NewUrl) -> None:
    """The archive was at its end when the worker stopped: nothing comes any more that would wake the space."""
    database = Database(new_database_url())
    stream = Stream(3)
    while (request := stream.oracle.state.fit) is None or request.seen < SMALL.idle_min_new:
        stream.add(stream.post())
    owner = await feed(database, stream.arrivals, [])
    owner.close()
    (before,) = await rows(database, schema.spaces)
    assert before.seen_since_fit >= SMALL.idle_min_new

    again = new_owner(database)
    for _ in range(4):
        await again.tick()

    (after,) = await rows(database, schema.spaces)
    assert after.seen_since_fit == 0
    assert len(await rows(database, schema.clusters)) > 0
    # its signals may come to another worker now: that one need not wait
    (lease,) = await rows(database, schema.leases)
    assert (lease.expires_at, again._held) == (0.0, {})
    again.close()
    await database.close()


async def test_another_owner_waits_and_a_fenced_one_writes_nothing(new_database_url: NewUrl) -> None:
    database = Database(new_database_url())
    stream = Stream(1).run(30)
    first = new_owner(database)
    await first.take(received(stream.arrivals[:10]))
    second = Owner("two", database, SMALL, InlineFitter(clusterer()))
    waiting = asyncio.create_task(second.take(received(stream.arrivals[10:20])))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await first.release()
    await waiting
    journal = len(await rows(database, schema.journal))
    # the first one stalled, and does not know that the second took over
    stalled = new_owner(database)
    async with database.write() as connection:
        await connection.execute(schema.leases.update().values(owner="one"))
    await stalled.take(received(stream.arrivals[:1]))
    async with database.write() as connection:
        await connection.execute(schema.leases.update().values(owner="two", epoch=99, expires_at=0.0))
    with pytest.raises(LeaseLostError):
        await stalled.take(received(stream.arrivals[20:30]))
    assert len(await rows(database, schema.journal)) == journal
    # what memory held is void: the agent's next try takes the lease, reads anew and applies the batch
    await stalled.take(received(stream.arrivals[20:30]))
    assert (await tables(database, SMALL)) == of_state(stream.oracle.state)
    for owner in (first, second, stalled):
        owner.close()
    await database.close()


@pytest.mark.parametrize("restart", [False, True])
async def test_a_message_of_another_model_is_refused_by_name(new_database_url: NewUrl, restart: bool) -> None:  # noqa: FBT001
    """Of the same length, too: two models of 384 numbers have nothing in common."""
    database = Database(new_database_url())
    stream = Stream(1)
    stream.add(stream.post())
    owner = await feed(database, stream.arrivals, [])
    if restart:
        owner.close()
        owner = new_owner(database)
    odd = arrival_of(stream.post().model_copy(update={"model": "bge-m3@0123456789ab"}), frozenset({"en"}))
    (refusal,) = await owner.take(received([odd]))
    for part in ("bge-m3@0123456789ab", f"space {SPACE} is of m:", "groundswell rebuild", "dead retry"):
        assert part in refusal.reason
    assert len(await messages_of(database)) == 1
    owner.close()
    await database.close()


async def test_two_models_in_a_space_without_a_fit_are_refused(new_database_url: NewUrl) -> None:
    database = Database(new_database_url())
    stream = Stream(1)
    stream.add(stream.post())
    alien = stream.post().model_copy(update={"vector": pack_vector(np.ones(5, np.float32))})
    odd = arrival_of(alien, frozenset({"en"}))
    owner = new_owner(database)
    refusals = await owner.take(received([*stream.arrivals, odd]))
    (refusal,) = refusals
    assert "m (5 numbers), and space quillstone is of m of 12" in refusal.reason
    owner.close()
    await database.close()


async def test_silence_is_the_same_live_and_in_an_archive(new_database_url: NewUrl) -> None:
    """What a tick does once the wall clock says so, the next arrival does when the event times say so."""
    tables_of = {}
    for name in ("live", "archive"):
        database = Database(new_database_url())
        stream = Stream(5)
        early, late = [stream.post() for _ in range(16)], stream.post()
        owner = new_owner(database)
        for number, signal in enumerate([*early, late]):
            # a minute apart, so that nothing is silent but the time before the last
            minute = number if signal is not late else 16 + SMALL.idle_gap / timedelta(minutes=1)
            at = T0 + timedelta(minutes=minute)
            signal = signal.model_copy(update={"event": signal.event.model_copy(update={"time": at})})
            if name == "live" and number == 16:
                await owner.tick()
                assert owner._held[SPACE].state.fit is not None
                await owner.tick()
            await owner.take(received([arrival_of(signal, frozenset({"en"}))]))
        tables_of[name] = await tables(database, SMALL)
        ticks = [row for row in await rows(database, schema.journal) if row.type in {"ticked", "fitted"}]
        assert [row.type for row in ticks] == ["ticked", "fitted", "ticked"]
        owner.close()
        await database.close()
    assert tables_of["live"] == tables_of["archive"]
    assert len(tables_of["live"][1]) > 0


async def test_a_tick_leaves_a_fit_alone_that_messages_will_apply(new_database_url: NewUrl) -> None:
    """Speed changes no result: only a silence applies a fit before the entry that it is due at."""
    database = Database(new_database_url())
    stream = Stream(3)
    while stream.oracle.state.fit is None:
        stream.add(stream.post())
    owner = Owner("one", database, SMALL, InlineFitter(clusterer()), quiet=timedelta(hours=1))
    await owner.take(received(stream.arrivals))
    before = await rows(database, schema.journal)
    await owner.tick()
    assert len(await rows(database, schema.journal)) == len(before)
    owner._quiet = timedelta(0)
    await owner.tick()
    assert len(await rows(database, schema.journal)) > len(before)
    owner.close()
    await database.close()
