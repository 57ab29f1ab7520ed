"""`groundswell rebuild`: a space folded again from its journal, under the model and the settings of today.

Embedding goes on beside live workers and is kept in a file cache, so that a killed rebuild goes on where it was. The
rest happens under the owner's lease, and the tables change in one transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import shutil
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from models.embedder import Encoded
from models.language import detect
from models.text import strip_for_embedding
from pipeline.doors import features_of
from pipeline.embed import Reader
from pipeline.errors import FatalError
from pipeline.fitter import Fitter
from pipeline.records import Kinds, MessageRef
from pipeline.refold import Reading, Refolded, refold, replay
from pipeline.state import FoldSettings
from pipeline.store import leases, rebuilding
from pipeline.store.database import Database
from pipeline.store.rebuilding import Differences, Stored
from pipeline.store.spaces import MessageDetails

BATCH: Final = 512
RENEW_S: Final = 8.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a rebuild did."""

    messages: int
    fits: int
    kept: int
    """Clusters that go on under the id that they had."""
    born: int
    merged: int
    """Clusters that are part of another one now, and were not before."""
    gone: int
    """Live before, and not found again."""


async def models_of(database: Database, space: str) -> dict[str, int]:
    """Return how many of a space's vectors each model made."""
    async with database.read() as connection:
        return await rebuilding.models_of(connection, space)


async def check(database: Database, space: str, settings: FoldSettings) -> Differences:
    """Fold the journal as it stands and say how the tables differ; changes nothing."""
    async with database.read() as connection:
        entries = await rebuilding.read_journal(connection, space)
        tables, members = await rebuilding.tables_of(connection, space, settings)
    again = await asyncio.to_thread(replay, entries, space, settings)
    return rebuilding.compare(again, tables, members)


async def repair(database: Database, space: str, settings: FoldSettings) -> Differences:
    """Fold the journal as it stands and write what differs; FatalError while a worker owns the space."""
    async with _owned(database, space) as epoch:
        async with database.read() as connection:
            entries = await rebuilding.read_journal(connection, space)
            tables, members = await rebuilding.tables_of(connection, space, settings)
        again = await asyncio.to_thread(replay, entries, space, settings)
        found = rebuilding.compare(again, tables, members)
        if found.any:
            async with database.write() as connection:
                await leases.hold(connection, space, epoch)
                await rebuilding.repair(connection, again, tables, members, found)
    return found


async def rebuild(
    database: Database,
    space: str,
    settings: FoldSettings,
    reader: Reader,
    fitter: Fitter,
    languages: frozenset[str],
    cache: Path,
    say: Say,
) -> Outcome:
    """Move a space to the reader's model: read every text, fold anew with fresh fits, keep ids where members agree.

    Parameters
    ----------
    cache
        Folder for vectors on the way; removed at the end.

    Raises
    ------
    FatalError
        When a worker owns the space once the texts are embedded; what was embedded is kept for the next call.
    """
    kept = _Cache(cache / re.sub(r"[^\w.@-]", "_", reader.embedder.name))
    async with database.read() as connection:
        texts = await rebuilding.read_texts(connection, space)
        holder = await leases.holder(connection, space)
    if holder is not None:
        say(f"{holder} owns the space: stop it (`groundswell run`) before the texts are embedded, or call this again")
    await _embed(space, texts, reader, kept, say)
    async with _owned(database, space) as epoch:
        async with database.read() as connection:
            texts = await rebuilding.read_texts(connection, space)
            entries = await rebuilding.read_journal(connection, space)
            tables, members = await rebuilding.tables_of(connection, space, settings)
        await _embed(space, texts, reader, kept, say)
        readings, details = await asyncio.to_thread(_read, space, texts, reader, kept, languages)
        say(f"folding {len(entries):,} entries")
        before = rebuilding.before_of(tables, members)
        done = await asyncio.to_thread(
            lambda: refold(
                entries,
                readings,
                before,
                settings,
                lambda vectors: fitter.submit(vectors).result(),
                space=space,
                model=reader.embedder.name,
                dimensions=reader.embedder.dimensions,
                say=lambda count: say(f"folded {count:,} of {len(entries):,} entries"),
            )
        )
        say("writing")
        live = {c.cluster_id for c in tables.clusters.values() if c.live}
        async with database.write() as connection:
            await leases.hold(connection, space, epoch)
            await rebuilding.switch(connection, done, details, before)
    shutil.rmtree(cache, ignore_errors=True)
    return _outcome(done, live, len(texts))


def _outcome(done: Refolded, live: set[str], messages: int) -> Outcome:
    clusters = done.state.clusters
    now = {c.cluster_id for c in clusters.values() if c.live}
    merged = {name for name in live - now if clusters[name].merged_into is not None}
    return Outcome(messages, done.fits, len(live & now), len(now - live), len(merged), len(live - now - merged))


@contextlib.asynccontextmanager
async def _owned(database: Database, space: str) -> AsyncIterator[int]:
    """Own the space for the block."""
    name = f"rebuild-{socket.gethostname()}-{os.getpid()}"
    try:
        async with database.write() as connection:
            before = await leases.last_owner(connection, space)
            epoch = await leases.acquire(connection, space, name)
    except leases.LeaseLostError as exc:
        raise FatalError(
            f"{exc}: stop its worker (Ctrl-C of `groundswell run`), then call `groundswell rebuild` again; what was "
            f"embedded is kept. A worker that was killed loses the space after {leases.LEASE_S:.0f} s"
        ) from exc

    async def renew() -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            async with database.write() as connection:
                await leases.hold(connection, space, epoch)

    renewing = asyncio.create_task(renew())
    try:
        yield epoch
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
        async with database.write() as connection:
            await leases.release(connection, space, epoch, to=before)


# -- texts --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Cache:
    """Vectors and hidden states by text, in files of one batch each: whole or not there."""

    folder: Path
    vectors: dict[bytes, npt.NDArray[np.float16]] = field(default_factory=dict)
    hidden: dict[bytes, npt.NDArray[np.float16]] = field(default_factory=dict)
    _files: int = 0

    def load(self) -> None:
        """Read what an earlier call left."""
        for file in sorted(self.folder.glob("deep-*.npz")):
            with np.load(file, allow_pickle=False) as found:
                keys = [row.tobytes() for row in found["keys"]]
                self.vectors.update(zip(keys, found["vectors"], strict=True))
                self.hidden.update(zip(keys, found["hidden"], strict=True))
            self._files += 1

    def add(self, keys: Sequence[bytes], encoded: Encoded) -> None:
        """Keep a batch."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"deep-{self._files:06}.npz"
        vectors, hidden = encoded.vectors.astype(np.float16), encoded.hidden.astype(np.float16)
        packed_keys = np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), -1)
        part = path.with_suffix(".part")
        with part.open("wb") as stream:
            np.savez(stream, keys=packed_keys, vectors=vectors, hidden=hidden)
        part.replace(path)
        self._files += 1
        self.vectors.update(zip(keys, vectors, strict=True))
        self.hidden.update(zip(keys, hidden, strict=True))


def _key(stripped: str) -> bytes:
    return hashlib.sha256(stripped.encode("utf-8", "surrogatepass")).digest()


def _stands(stored: Stored, space: str, reader: Reader) -> bool:
    """Whether the very model and the very classifier read this message when it came."""
    made_by = (stored.model, stored.kinds.recipe)
    return stored.vector is not None and made_by == (reader.embedder.name, reader.recipe(space))


async def _embed(space: str, texts: Sequence[Stored], reader: Reader, cache: _Cache, say: Say) -> None:
    """Embed what the cache has not, apart from messages that stand as they were read."""
    if not cache.vectors:
        cache.load()
    again = (strip_for_embedding(stored.text) for stored in texts if not _stands(stored, space, reader))
    missing = {_key(text): text for text in again}
    todo = [(key, text) for key, text in missing.items() if key not in cache.vectors]
    if todo:
        say(f"embedding {len(todo):,} texts with {reader.embedder.name}; {len(missing) - len(todo):,} are done")
    for start in range(0, len(todo), BATCH):
        batch = todo[start : start + BATCH]
        encoded = await asyncio.to_thread(reader.embedder.encode_deep, [text for _, text in batch])
        await asyncio.to_thread(cache.add, [key for key, _ in batch], encoded)
        say(f"embedded {min(start + BATCH, len(todo)):,} of {len(todo):,}")


def _read(
    space: str, texts: Sequence[Stored], reader: Reader, cache: _Cache, languages: frozenset[str]
) -> tuple[dict[MessageRef, Reading], dict[MessageRef, MessageDetails]]:
    readings: dict[MessageRef, Reading] = {}
    details: dict[MessageRef, MessageDetails] = {}
    for start in range(0, len(texts), BATCH):
        batch = texts[start : start + BATCH]
        kinds = _kinds(space, batch, reader, cache)
        for stored, own in zip(batch, kinds, strict=True):
            # A vector of the very model is taken as it stands: what was compared with it before was compared with it.
            vector = stored.vector if stored.model == reader.embedder.name else None
            if vector is None:
                vector = cache.vectors[_key(strip_for_embedding(stored.text))].astype(np.float32)
            code = detect(stored.text).code
            readings[stored.ref] = Reading(features_of(stored.text, own, code, languages), vector)
            details[stored.ref] = MessageDetails(
                text=stored.text,
                channel=stored.channel,
                permalink=stored.permalink,
                release=stored.release,
                cues=own.cues,
                model=reader.embedder.name,
                recipe=own.recipe,
            )
    return readings, details


def _kinds(space: str, batch: Sequence[Stored], reader: Reader, cache: _Cache) -> list[Kinds]:
    """Return the kinds of each message of a batch: as they stand, or by its hidden state in the cache."""
    again = [stored for stored in batch if not _stands(stored, space, reader)]
    found: dict[MessageRef, Kinds] = {}
    if again:
        packed = np.stack([cache.hidden[_key(strip_for_embedding(stored.text))] for stored in again])
        platforms, texts = [stored.ref.platform for stored in again], [stored.text for stored in again]
        kinds = reader.read(space, platforms, texts, np.asarray(packed, np.float32))
        found = {stored.ref: own for stored, own in zip(again, kinds, strict=True)}
    return [found[stored.ref] if stored.ref in found else stored.kinds for stored in batch]
