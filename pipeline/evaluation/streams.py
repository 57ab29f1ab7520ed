"""Labelled messages as a stream of its own, and what the fold makes of it: one process a seed."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from connectors.archive_file import read_lines
from connectors.archive_format import UNTIMED_FROM
from models import baselines
from models.clusterer import DensityClusterer
from models.geometry import Labels, centroids
from models.novelty import held
from pipeline.doors import Arrival, arrival_of
from pipeline.dry_run import ALL_KINDS
from pipeline.embed import Reader
from pipeline.entries import Posted
from pipeline.errors import FatalError
from pipeline.evaluation.measures import Measures, Raised, measure
from pipeline.records import Event, EventType, MessageData, MessageRef, Origin
from pipeline.settings import Settings
from pipeline.trial import trying

SPACE: Final = "evaluation"
PLATFORM: Final = "data"
CHUNK: Final = 512


@dataclass(frozen=True, slots=True)
class Data:
    """Labelled messages, as read by the embed stage."""

    gold: list[str | None]
    """None: noise."""
    arrivals: list[Arrival]

    def vectors(self) -> npt.NDArray[np.float32]:
        """Return (n, d) unit rows."""
        return np.stack([one.body.vector for one in self.arrivals if isinstance(one.body, Posted)])


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run over the data."""

    seed: int
    measures: Measures
    moved: float
    """Messages of ticketed clusters that a fit moved outside merges and splits: mean share a fit."""
    to_pool: float
    seconds: float


def read_data(path: Path, reader: Reader, noise_label: str, progress: Callable[[int, int], None]) -> Data:
    """Read an archive with labels; a line without a text is left out.

    Raises
    ------
    FatalError
        When it cannot be read, or holds no label.
    """
    rows = [row for row in _rows(path) if isinstance(row.get("text"), str) and row["text"].strip()]
    gold = [None if row.get("label") in {None, "", noise_label} else str(row["label"]) for row in rows]
    if not any(gold):
        raise FatalError(f"{path} has no message with a label: evaluate needs the gold group of each in `label`")
    arrivals: list[Arrival] = []
    for start in range(0, len(rows), CHUNK):
        events = [
            _event(start + number, row["text"][:40_000]) for number, row in enumerate(rows[start : start + CHUNK])
        ]
        origins = [Origin(partition=0, offset=0)] * len(events)
        signals = reader.signals(events, origins, reader.vectors(events))
        arrivals += [
            replace(arrival_of(one, frozenset({one.language or "en"})), record=None, origin=None) for one in signals
        ]
        progress(len(arrivals), len(rows))
    return Data(gold, arrivals)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for line in read_lines(path):
        try:
            row = json.loads(line.raw) if line.fault is None and line.raw.strip() else None
        except ValueError as exc:
            raise FatalError(f"{path}:{line.number}: broken JSON: {exc}") from exc
        if isinstance(row, dict):
            yield row


def _event(number: int, text: str) -> Event:
    data = MessageData(platform=PLATFORM, message_id=str(number), text=text, author=f"author {number}")
    return Event(
        id=str(number),
        source="evaluate",
        type=EventType.CREATED,
        time=UNTIMED_FROM,
        space=SPACE,
        container="-",
        data=data,
    )


def for_stream(settings: Settings, threshold: int) -> Settings:
    """Return the settings of the measured stream: all kinds, T people, no settling."""
    clusters = settings.clusters.model_copy(update={"all_kinds": True})
    policy = settings.policy.model_copy(update={"kinds": ALL_KINDS, "min_people": threshold, "settle": timedelta(0)})
    return settings.model_copy(update={"clusters": clusters, "policy": policy})


def run_stream(data: Data, settings: Settings, threshold: int, seed: int) -> Outcome:
    """Shuffle the messages, each by an author of its own and a second after the one before, and run them."""
    began = time.monotonic()
    order = list(range(len(data.gold)))
    random.Random(seed).shuffle(order)
    arrivals = [_at(data.arrivals[which], place) for place, which in enumerate(order)]
    place_of = {MessageRef(PLATFORM, str(which)): place for place, which in enumerate(order)}
    fold = replace(settings.clusters.fold(), raid_window=timedelta(0))
    clusterer = DensityClusterer(min_cluster_size=settings.clusters.min_cluster_size)

    async def main() -> Outcome:
        async with trying(SPACE, fold, settings.policy, clusterer) as trial:
            await trial.feed(arrivals)
            tried = await trial.end()
        found: list[str | None] = [None] * len(order)
        members: dict[str, list[int]] = {}
        for one in tried.assignments:
            found[place_of[one.ref]] = one.cluster_id
            if one.cluster_id is not None:
                members.setdefault(one.cluster_id, []).append(place_of[one.ref])
        raised = [
            Raised(
                ticket.opened_after,
                tuple(place_of[ref] for ref in ticket.members),
                () if ticket.merged_into else tuple(members.get(ticket.cluster_id, ())),
            )
            for ticket in tried.tickets
        ]
        moves = [one for one in tried.moves if one.messages]
        return Outcome(
            seed=seed,
            measures=measure([data.gold[which] for which in order], found, raised, threshold),
            moved=float(np.mean([one.moved / one.messages for one in moves])) if moves else 0.0,
            to_pool=float(np.mean([one.to_pool / one.messages for one in moves])) if moves else 0.0,
            seconds=time.monotonic() - began,
        )

    return asyncio.run(main())


def _at(arrival: Arrival, place: int) -> Arrival:
    at = UNTIMED_FROM + timedelta(seconds=place)
    assert isinstance(arrival.body, Posted)
    return replace(arrival, at=at, body=replace(arrival.body, revision=at))


def run_streams(
    data: Data, settings: Settings, threshold: int, seeds: Sequence[int], folder: Path, done: Callable[[Outcome], None]
) -> list[Outcome]:
    """Run every seed in a spawned process, as many at once as cores but one."""
    file = folder / "data.pickle"
    file.write_bytes(pickle.dumps(data, protocol=pickle.HIGHEST_PROTOCOL))
    workers = max(1, min(len(seeds), (os.cpu_count() or 2) - 1))
    with ProcessPoolExecutor(max_workers=workers, mp_context=get_context("spawn"), initializer=_begin) as pool:
        futures = [pool.submit(_run_from_file, file, settings, threshold, seed) for seed in seeds]
        for future in as_completed(futures):
            done(future.result())
    return [future.result() for future in futures]


def _begin() -> None:
    from pipeline.cli.logs import log_for_people

    log_for_people()
    threadpool_limits(1)


def _run_from_file(file: Path, settings: Settings, threshold: int, seed: int) -> Outcome:
    return run_stream(pickle.loads(file.read_bytes()), settings, threshold, seed)  # written by this program


def run_batch(data: Data, settings: Settings, threshold: int) -> Measures:
    """One fit over everything, and the hold rule."""
    vectors = data.vectors()
    fit = DensityClusterer(min_cluster_size=settings.clusters.min_cluster_size).fit(vectors)
    count = int(fit.labels.max(initial=-1)) + 1
    sizes = np.bincount(fit.labels[fit.labels >= 0], minlength=count)
    middles = centroids(fit.view.of(vectors), fit.labels, count)
    ripe = [name for name in range(count) if sizes[name] >= threshold]
    waits = held(middles[ripe], sizes[ripe], midpoint=settings.clusters.hold) if ripe else np.zeros(0, np.int32)
    opened = {name for name, other in zip(ripe, waits.tolist(), strict=True) if other < 0}
    return of_labels(data.gold, fit.labels, threshold, opened)


def of_labels(gold: Sequence[str | None], labels: Labels, threshold: int, opened: set[int] | None = None) -> Measures:
    """Measure groups of which each (or each of `opened`) of at least T messages is a ticket, opened at the end."""
    members: dict[int, list[int]] = {}
    for place, label in enumerate(labels.tolist()):
        if label >= 0:
            members.setdefault(label, []).append(place)
    raised = [
        Raised(len(gold), tuple(own), tuple(own))
        for name, own in members.items()
        if len(own) >= threshold and (opened is None or name in opened)
    ]
    return measure(gold, [str(label) if label >= 0 else None for label in labels.tolist()], raised, threshold)


def run_baselines(data: Data, threshold: int, seed: int, say: Callable[[str], None]) -> dict[str, Measures]:
    """Measure the plain ways; one whose library is missing is named through `say` and left out."""
    vectors = data.vectors()
    order = np.random.default_rng(seed).permutation(len(vectors))
    gold, rows = [data.gold[which] for which in order], vectors[order]
    sizes: dict[str, int] = {}
    for group in gold:
        if group is not None:
            sizes[group] = sizes.get(group, 0) + 1
    told = sum(size >= threshold for size in sizes.values())
    ways: dict[str, Callable[[], Labels]] = {
        "k-means, told the number": lambda: baselines.k_means(rows, max(1, told), seed),
        "HDBSCAN": lambda: baselines.density(rows),
        "UMAP + HDBSCAN": lambda: baselines.umap_density(rows, seed),
        "leader, cosine .7": lambda: baselines.leader(rows),
    }
    found = {}
    for name, way in ways.items():
        try:
            found[name] = of_labels(gold, way(), threshold)
        except baselines.BaselineMissingError as exc:
            say(str(exc))
    return found
