"""Labelled messages as a stream of its own, and what the fold makes of it: one process a seed."""

from __future__ import annotations

import asyncio
import os
import pickle
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from connectors.archive_format import UNTIMED_FROM
from models import baselines
from models.clusterer import DensityClusterer
from models.geometry import Labels, centroids
from models.novelty import held
from pipeline.doors import Arrival, arrival_of
from pipeline.dry_run import ALL_KINDS
from pipeline.entries import Posted
from pipeline.evaluation.manager import PER_LOOK, Manager
from pipeline.evaluation.measures import Measures, Raised, measure, raised_in
from pipeline.evaluation.reading import PLATFORM, SPACE, Data
from pipeline.records import MessageRef
from pipeline.settings import Settings
from pipeline.trial import Trial, trying

LOOK_EVERY: Final = 25
"""Messages after which the simulated manager looks at the board again."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run over the data."""

    seed: int
    measures: Measures
    moved: float
    """Messages of ticketed clusters that a fit moved outside merges and splits: mean share a fit."""
    to_pool: float
    seconds: float
    budget: int = 0
    """Answers that a simulated manager might give."""
    answers: dict[str, int] = field(default_factory=dict)
    """Those it gave, by command."""
    hold: float | None = None
    """The space's thresholds at the end."""
    merge: float | None = None


def for_stream(settings: Settings, threshold: int) -> Settings:
    """Return the settings of the measured stream: all kinds, T people, no settling."""
    clusters = settings.clusters.model_copy(update={"all_kinds": True})
    policy = settings.policy.model_copy(update={"kinds": ALL_KINDS, "min_people": threshold, "settle": timedelta(0)})
    return settings.model_copy(update={"clusters": clusters, "policy": policy})


def run_stream(data: Data, settings: Settings, threshold: int, seed: int, answers: int = 0) -> Outcome:
    """Shuffle the messages, each by an author of its own and a second after the one before, and run them.

    Parameters
    ----------
    answers : int
        Of a simulated manager, at most (`pipeline.evaluation.manager`); 0: there is none.
    """
    began = time.monotonic()
    order = list(range(len(data.gold)))
    random.Random(seed).shuffle(order)
    arrivals = [_at(data.arrivals[which], place) for place, which in enumerate(order)]
    place_of = {MessageRef(PLATFORM, str(which)): place for place, which in enumerate(order)}
    fold = replace(settings.clusters.fold(), raid_window=timedelta(0))
    clusterer = DensityClusterer(min_cluster_size=settings.clusters.min_cluster_size)

    gold = {ref: data.gold[order[place]] for ref, place in place_of.items()}
    manager = Manager(SPACE, gold, answers, threshold)

    async def main() -> Outcome:
        async with trying(SPACE, fold, settings.policy, clusterer) as trial:
            if answers:
                await _feed_answered(trial, arrivals, manager)
            else:
                await trial.feed(arrivals)
            tried = await trial.end()
            thresholds = trial.thresholds()
        found: list[str | None] = [None] * len(order)
        for one in tried.assignments:
            found[place_of[one.ref]] = one.cluster_id
        raised = raised_in(tried, place_of)
        moves = [one for one in tried.moves if one.messages]
        return Outcome(
            seed=seed,
            measures=measure([data.gold[which] for which in order], found, raised, threshold),
            moved=float(np.mean([one.moved / one.messages for one in moves])) if moves else 0.0,
            to_pool=float(np.mean([one.to_pool / one.messages for one in moves])) if moves else 0.0,
            seconds=time.monotonic() - began,
            budget=answers,
            answers=manager.counts(),
            hold=thresholds.hold if thresholds is not None else None,
            merge=thresholds.merge if thresholds is not None else None,
        )

    return asyncio.run(main())


async def _feed_answered(trial: Trial, arrivals: Sequence[Arrival], manager: Manager) -> None:
    """Feed a trial, and let the manager look at the board from time to time."""
    for start in range(0, len(arrivals), LOOK_EVERY):
        part = arrivals[start : start + LOOK_EVERY]
        await trial.feed(part)
        for _ in range(PER_LOOK):
            command = manager.answer(trial.board(), part[-1].at)
            if command is None:
                break
            await trial.feed([arrival_of(command, frozenset())])


def _at(arrival: Arrival, place: int) -> Arrival:
    at = UNTIMED_FROM + timedelta(seconds=place)
    assert isinstance(arrival.body, Posted)
    return replace(arrival, at=at, body=replace(arrival.body, revision=at))


def run_streams(
    data: Data,
    settings: Settings,
    threshold: int,
    seeds: Sequence[int],
    folder: Path,
    done: Callable[[Outcome], None],
    answers: Sequence[int] = (0,),
) -> list[Outcome]:
    """Run every seed in a spawned process, as many at once as cores but one; again for each of `answers`, in turn."""
    file = folder / "data.pickle"
    file.write_bytes(pickle.dumps(data, protocol=pickle.HIGHEST_PROTOCOL))
    workers = max(1, min(len(seeds), (os.cpu_count() or 2) - 1))
    with ProcessPoolExecutor(max_workers=workers, mp_context=get_context("spawn"), initializer=_begin) as pool:
        futures = [pool.submit(_run_from_file, file, settings, threshold, seed, n) for n in answers for seed in seeds]
        for future in as_completed(futures):
            done(future.result())
    return [future.result() for future in futures]


def _begin() -> None:
    from pipeline.cli.logs import log_for_people

    log_for_people()
    threadpool_limits(1)


def _run_from_file(file: Path, settings: Settings, threshold: int, seed: int, answers: int) -> Outcome:
    return run_stream(pickle.loads(file.read_bytes()), settings, threshold, seed, answers)  # written by this program


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
