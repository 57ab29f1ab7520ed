"""How much a space takes in the database and in its owner's memory, from a fold of synthetic messages.

Vectors are of real length and texts of a chat message's; groups are known, so that no clustering is waited for.
"""

from __future__ import annotations

import gc
import shutil
import tempfile
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from models.clusterer import ClusterFit
from models.geometry import View
from pipeline.doors import Arrival, arrival_of
from pipeline.fitter import InlineFitter
from pipeline.owner import Owner
from pipeline.received import Received
from pipeline.records import Event, EventType, Kinds, MessageData, Origin, Signal, pack_vector
from pipeline.state import FoldSettings
from pipeline.store.database import Database
from pipeline.store.spaces import load_state

SPACE: Final = "memory"
GROUPS: Final = 200
LOOSE: Final = 0.5
"""Share of messages that belong to no group."""
CHARS: Final = 80
BATCH: Final = 500
MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class MemoryResult:
    """Bytes; what grows with every message, and what the window bounds."""

    messages: int
    dimensions: int
    database_bytes: int
    kept_messages: int
    """In the owner's memory at the end: the window's, and those that wait."""
    kept_bytes: int

    @property
    def database_per_million(self) -> int:
        """Bytes that a million messages take in the database; they stay."""
        return self.database_bytes * MILLION // self.messages

    @property
    def kept_per_message(self) -> int:
        """Bytes of memory for each message in the window; the others take none."""
        return self.kept_bytes // max(1, self.kept_messages)


class _Known:
    """Finds the groups that were drawn: the nearest centre, where it is near."""

    def __init__(self, centres: npt.NDArray[np.float32]) -> None:
        self._centres = centres

    def fit(self, vectors: npt.NDArray[np.float32]) -> ClusterFit:
        similarity = vectors @ self._centres.T
        best = similarity.argmax(1)
        labels = np.where(similarity.max(1) > 0.6, best, -1).astype(np.int32)
        _, dense = np.unique(np.append(labels, -1), return_inverse=True)
        return ClusterFit(dense[:-1].astype(np.int32) - 1, View.plain(vectors.shape[1]))


async def measure(messages: int, dimensions: int, settings: FoldSettings, say: Callable[[str], None]) -> MemoryResult:
    """Fold so many messages into a database of their own, and remove it."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((GROUPS, dimensions)).astype(np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    home = Path(tempfile.mkdtemp(prefix="groundswell-memory-"))
    database = Database(f"sqlite+aiosqlite:///{home / 'groundswell.db'}")
    try:
        await database.migrate()
        empty = _size(home)
        owner = Owner("bench", database, settings, InlineFitter(_Known(centres)))
        for start in range(0, messages, BATCH):
            arrivals = [_arrival(n, centres, rng) for n in range(start, min(start + BATCH, messages))]
            await owner.take([Received(arrival, 0, start + n, 0.0) for n, arrival in enumerate(arrivals)])
            if start % (20 * BATCH) == 0:
                say(f"folded {start:,} of {messages:,}")
        await owner.release()
        owner.close()
        kept, size = await _in_memory(database, settings)
        await database.close()
        return MemoryResult(messages, dimensions, _size(home) - empty, kept, size)
    finally:
        await database.close()
        shutil.rmtree(home, ignore_errors=True)


async def _in_memory(database: Database, settings: FoldSettings) -> tuple[int, int]:
    gc.collect()
    tracemalloc.start()
    try:
        async with database.read() as connection:
            state = await load_state(connection, SPACE, settings)
        state.evict()
        gc.collect()
        return len(state.members), tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def _size(home: Path) -> int:
    return sum(file.stat().st_size for file in home.iterdir())


def _arrival(number: int, centres: npt.NDArray[np.float32], rng: np.random.Generator) -> Arrival:
    noise = np.asarray(rng.standard_normal((centres.shape[1],)), np.float32)
    noise = np.asarray(noise / np.linalg.norm(noise), np.float32)
    vector = noise if rng.random() < LOOSE else centres[rng.integers(len(centres))] + 0.6 * noise
    text = " ".join(rng.choice(["export", "crashes", "login", "after", "update", "please", "theme"], CHARS // 7))
    event = Event(
        id=f"bench:{number}",
        source="bench://memory",
        type=EventType.CREATED,
        time=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number),
        space=SPACE,
        container="bench/0",
        data=MessageData(
            platform="bench", message_id=f"{number:018}", text=f"{text} {number:x}", author=f"{number % 5_000:016x}"
        ),
    )
    kinds = Kinds(complaint=0.8, idea=0.05, question=0.05, praise=0.05, other=0.05, kind="complaint", cues=("crashes",))
    packed = pack_vector(vector / np.linalg.norm(vector))
    origin = Origin(cluster="bench", partition=0, offset=number)
    signal = Signal(event=event, origin=origin, kinds=kinds, language="en", model="bench@0", vector=packed)
    return arrival_of(signal, frozenset({"en"}))
