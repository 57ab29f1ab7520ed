"""What people filed already: read from the tracker, kept as vectors, and compared with what the community says.

A pass reads everything that is open or recent, or what changed since the pass before, with an overlap that outlasts
the lag of the tracker's index. Each page is written as it comes; that the pass ended is written last. So a pass that
is cut short is begun again, and no text is turned into a vector twice.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt
import structlog

from models.backlog import Encoder, Shelf, count_words, issue_text, pack, said_by, unpack
from pipeline.decide import Match
from pipeline.errors import PipelineError, RetriableError
from pipeline.issue_text import LABEL_PREFIX
from pipeline.settings import BacklogSettings
from pipeline.store import backlog
from pipeline.store.backlog import Seen, Verdict
from pipeline.store.database import Database
from pipeline.store.facts import evidence
from pipeline.store.ledger import CREATED
from pipeline.trackers.port import IssueState, Tracker

log = structlog.get_logger()

OVERLAP: Final = timedelta(minutes=15)
"""Changes younger than this at the pass before are asked for again: Jira's index lags by minutes."""
CANDIDATES: Final = 5
"""Issues that are looked at in the tracker, the likest first, until one is still there."""
DRIFT: Final = 0.05
"""Part of the issues that may come, change or go before what is usual for each is found out anew."""
FATAL_WAIT: Final = timedelta(minutes=5)
"""After an error that a person must mend."""
FRESH: Final = timedelta(minutes=1)
"""Before something is decided by what people filed, it was read at most so long ago, where the tracker answers."""


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A space's issues in memory, and of which `changes` they are."""

    changes: int
    ids: tuple[str, ...]
    shelf: Shelf
    whole: int
    """How many issues there were when what is usual for each was last found out for all."""

    def usual_of(self, stored: backlog.Backlog) -> npt.NDArray[np.float32] | None:
        """Return what is known to be usual for issues that are there still, NaN for the others; None: find out anew."""
        places = {issue_id: place for place, issue_id in enumerate(self.ids)}
        usual = np.full(len(stored.ids), np.nan, np.float32)
        for row, issue_id in enumerate(stored.ids):
            place = places.get(issue_id)
            if place is not None and np.array_equal(self.shelf.vectors[place], stored.vectors[row]):
                usual[row] = self.shelf.usual[place]
        changed = abs(len(stored.ids) - self.whole) + int(np.isnan(usual).sum())
        return usual if changed <= DRIFT * self.whole else None


class KnownIssues:
    """The tracker's issues, as far as they were read.

    Parameters
    ----------
    embedder : Encoder
        The one whose vectors the space's messages have.
    """

    def __init__(self, database: Database, tracker: Tracker, embedder: Encoder, settings: BacklogSettings) -> None:
        self._database = database
        self._tracker = tracker
        self._embedder = embedder
        self._settings = settings
        self._place = tracker.place[:255]
        self._loaded: dict[str, _Loaded] = {}
        self._lock = asyncio.Lock()
        self._not_before = datetime.min.replace(tzinfo=UTC)
        self._looked: dict[str, tuple[datetime, IssueState | None]] = {}

    # -- reading --------------------------------------------------------------------------------------------------

    async def refresh(self, space: str, at_most_old: timedelta | None = None) -> None:
        """Read what changed, when the last pass is older than that and none is under way.

        It never raises for the tracker's sake: tickets do not stop because their like cannot be looked for anew.
        """
        if self._lock.locked():
            return
        async with self._lock:
            async with self._database.read() as connection:
                before = await backlog.read_state(connection, space, self._place)
            now = datetime.now(UTC)
            if now < self._not_before:
                return
            if before is not None and now - before.read_at < (at_most_old or self._settings.refresh):
                return
            full = before is None or now - before.full_at >= self._settings.full
            window = self._settings.recent if full or before is None else now - before.read_at + OVERLAP
            try:
                await self._pass(space, now, window, full=full)
            except PipelineError as exc:
                wait = timedelta(seconds=exc.retry_after_s) if isinstance(exc, RetriableError) else FATAL_WAIT
                self._not_before = datetime.now(UTC) + wait
                log.warning("cannot read the tracker's issues", place=self._place, reason=str(exc))

    async def _pass(self, space: str, began: datetime, window: timedelta, *, full: bool) -> None:
        page: str | None = None
        read = new = 0
        while True:
            found = await asyncio.to_thread(self._tracker.list_issues, window, page, and_open=full)
            new += await self._keep(space, found.issues, began)
            read += len(found.issues)
            page = found.next_page
            if page is None:
                break
        async with self._database.write() as connection:
            await backlog.end_pass(connection, space, self._place, began, full=full)
        if new or full:
            log.info("read the tracker's issues", place=self._place, issues=read, new_texts=new, full=full)

    async def _keep(self, space: str, issues: Sequence[IssueState], began: datetime) -> int:
        """Write a page; return how many texts in it are new."""
        unique = {issue.ref.id: issue for issue in issues}
        async with self._database.read() as connection:
            known = await backlog.hashes(connection, space, self._place, sorted(unique))
        texts = {number: issue_text(issue.summary, issue.description) for number, issue in unique.items()}
        hashed = {number: self._hash(text) for number, text in texts.items()}
        new = [number for number in unique if known.get(number) != hashed[number]]
        read = await asyncio.to_thread(self._read, [texts[number] for number in new]) if new else ()
        fresh = dict(zip(new, read, strict=True))
        seen = [
            Seen(
                issue,
                LABEL_PREFIX in issue.labels,
                hashed[number],
                self._embedder.name,
                *fresh.get(number, (None, None)),
            )
            for number, issue in unique.items()
        ]
        if seen:
            async with self._database.write() as connection:
                await backlog.keep(connection, space, self._place, seen, began)
        return len(new)

    def _read(self, texts: Sequence[str]) -> list[tuple[npt.NDArray[np.float32], bytes]]:
        return list(zip(self._embedder.encode(texts), pack(count_words(texts)), strict=True))

    def _hash(self, text: str) -> str:
        return hashlib.sha256(f"{self._embedder.name}\x1f{text}".encode("utf-8", "surrogatepass")).hexdigest()

    # -- comparing ------------------------------------------------------------------------------------------------

    async def known(self, space: str) -> bool:
        """Tell whether everything open and recent was read once."""
        async with self._database.read() as connection:
            return await backlog.read_state(connection, space, self._place) is not None

    async def match(self, space: str, cluster_id: str) -> Match | None:
        """Return the issue that may say what a cluster says, or None; keep it for who asks why.

        Raises
        ------
        RetriableError, FatalError
            When the tracker cannot be asked whether it is still there.
        """
        async with self._database.read() as connection:
            said = await evidence(connection, space, cluster_id)
            rows = await backlog.verdicts(connection, space, cluster_id)
            model = await backlog.model_of(connection, space, said[0].seq) if said else None
        known = await self._load(space)
        distinct = {row.issue_id for row in rows if row.verdict == Verdict.DISTINCT}
        heard = [(item.vector, item.text) for item in said if item.vector is not None]
        found = None
        if heard and known.ids and model == self._embedder.name:
            scores = await asyncio.to_thread(_compare, known.shelf, heard)
            found = await self._best(space, known, scores, distinct)
        async with self._database.write() as connection:
            await backlog.note_likely(connection, space, cluster_id, found, datetime.now(UTC))
        return found

    async def _best(
        self, space: str, known: _Loaded, scores: npt.NDArray[np.float32], distinct: set[str]
    ) -> Match | None:
        best = np.argsort(-scores, kind="stable")
        wanted = [int(place) for place in best[: CANDIDATES + len(distinct)] if known.ids[place] not in distinct]
        wanted = [place for place in wanted if scores[place] >= self._settings.propose][:CANDIDATES]
        async with self._database.read() as connection:
            ids = [known.ids[place] for place in wanted]
            held = await backlog.holders(connection, space, ids, self._tracker.name) if ids else {}
        for place in wanted:
            issue_id = known.ids[place]
            number, origin = held.get(issue_id, (None, None))
            if origin == CREATED:
                continue
            issue = await self._look(space, issue_id)
            if issue is None:
                continue
            return Match(
                issue_id=issue_id,
                key=issue.ref.key,
                url=issue.ref.url,
                summary=issue.summary,
                status=issue.status,
                done=issue.done,
                score=float(scores[place]),
                held_by=number,
            )
        return None

    async def _look(self, space: str, issue_id: str) -> IssueState | None:
        """Return an issue as it is now, or was a minute ago; forget it when people deleted it."""
        now = datetime.now(UTC)
        at, issue = self._looked.get(issue_id, (now - 2 * FRESH, None))
        if now - at < FRESH:
            return issue
        issue = await asyncio.to_thread(self._tracker.read, issue_id)
        self._looked = {one: seen for one, seen in self._looked.items() if now - seen[0] < FRESH}
        self._looked[issue_id] = (now, issue)
        if issue is None:
            async with self._database.write() as connection:
                await backlog.forget(connection, space, self._place, issue_id)
        return issue

    async def _load(self, space: str) -> _Loaded:
        async with self._database.read() as connection:
            state = await backlog.read_state(connection, space, self._place)
            changes = -1 if state is None else state.changes
            kept = self._loaded.get(space)
            if kept is not None and kept.changes == changes:
                return kept
            stored = await backlog.load(connection, space, self._place, self._embedder.name)
        usual = None if kept is None else kept.usual_of(stored)
        shelf = await asyncio.to_thread(lambda: Shelf.of(stored.vectors, unpack(stored.words), usual))
        whole = len(stored.ids) if kept is None or usual is None else kept.whole
        self._loaded[space] = _Loaded(changes, stored.ids, shelf, whole)
        return self._loaded[space]


def _compare(shelf: Shelf, heard: Sequence[tuple[npt.NDArray[np.float32], str]]) -> npt.NDArray[np.float32]:
    return shelf.likeness(said_by(np.stack([vector for vector, _ in heard]), [text for _, text in heard]))
