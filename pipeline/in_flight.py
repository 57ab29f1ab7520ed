"""Closes the account: what is on the broker and not yet in the database."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass

from pipeline.background import in_daemon_thread
from pipeline.broker_view import end_offsets, stage_lags
from pipeline.dead import DeadLetter
from pipeline.dead_letters import read_dead
from pipeline.errors import SkippableError
from pipeline.records import Signal, decode_signal
from pipeline.store.database import Database
from pipeline.store.reports import taken_by_partition
from pipeline.topics import DEAD, EVENTS, SIGNALS, broker_id

_HERE = ("embed", "cluster")


@dataclass(frozen=True, slots=True)
class OnBroker:
    """What the broker knows of events, of all spaces together.

    Every event on the topic is taken (in the database), dead, in flight, or unaccounted for.
    """

    published: int
    """Events ever written to `community.events`."""
    taken: int
    dead: int
    """Events among the dead letters, each once."""
    in_flight: int
    unaccounted: int
    """Neither taken, nor dead, nor before a stage. Dead letters vanish after their retention; else it is a loss."""
    refused: int
    """Refused by a connector, before they were events."""
    parked: int
    """Dead letters that are no events: wake-ups, commands."""
    stages: dict[str, int]
    """Records before each stage."""


async def on_broker(database: Database, bootstrap: str, prefix: str) -> OnBroker:
    """Return where the events are that the broker has.

    Raises
    ------
    RetriableError
        When the broker cannot be reached.
    """

    def ask() -> tuple[str, int, dict[str, int], list[tuple[str, ...]]]:
        lags: Counter[str] = Counter()
        for lag in stage_lags(bootstrap, prefix):
            lags[lag.stage] += lag.records
        published = end_offsets(bootstrap, prefix + EVENTS.name)
        has_dead = bool(end_offsets(bootstrap, prefix + DEAD.name))
        letters = list(read_dead(bootstrap, prefix + DEAD.name)) if has_dead else []
        return broker_id(bootstrap), sum(published.values()), dict(lags), [origin(one, prefix) for one in letters]

    broker, published, lags, letters = await in_daemon_thread(ask)
    taken = sum((await taken_by_partition(database, broker)).values())
    origins = Counter(kind for kind, *_ in set(letters))
    left = max(0, published - taken - origins["event"])
    # A record that is worked off and not yet committed stands in the lag and in `taken`: neither alone is right.
    flying = min(left, sum(lags.get(stage, 0) for stage in _HERE))
    return OnBroker(
        published=published,
        taken=taken,
        dead=origins["event"],
        in_flight=flying,
        unaccounted=left - flying,
        refused=origins["refused"],
        parked=origins["other"],
        stages=lags,
    )


def origin(letter: DeadLetter, prefix: str) -> tuple[str, ...]:
    """Return what names the thing that died, equal for two letters about one: ("event", …), ("refused", …) or other.

    A signal died of the event that it was made of.
    """
    if letter.topic is None:
        return ("refused", letter.where or "", hashlib.sha256(letter.value).hexdigest())
    if letter.topic == prefix + EVENTS.name and letter.stage != "publish":
        return ("event", str(letter.from_partition), str(letter.from_offset))
    if letter.topic == prefix + EVENTS.name:
        return ("refused", letter.where or "", hashlib.sha256(letter.value).hexdigest())
    if letter.topic == prefix + SIGNALS.name:
        try:
            signal = decode_signal(letter.value)
        except SkippableError:
            return ("other", letter.topic, str(letter.from_partition), str(letter.from_offset))
        if isinstance(signal, Signal):
            return ("event", str(signal.origin.partition), str(signal.origin.offset))
    return ("other", letter.topic, str(letter.from_partition), str(letter.from_offset))
