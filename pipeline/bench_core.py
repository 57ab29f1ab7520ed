"""How fast the core is: where a message goes among many live clusters, and how long a fit takes.

Vectors are synthetic and of real length: some groups around directions of their own, the rest alone, all pulled to
one side as sentences are.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from models.clusterer import Clusterer
from models.geometry import unit_rows, view_of
from pipeline.centroids import CentroidIndex
from pipeline.entries import KIND_COUNT
from pipeline.fitter import WARM_UP, ProcessFitter
from pipeline.state import Cluster, FoldSettings

DIMENSIONS: Final = 384
AXES: Final = 64
DAMPING: Final = 0.3
CLUSTERS: Final = 20_000
LOOKED_UP: Final = 20_000
BATCH: Final = 500
FIT_SIZES: Final = (13_000, 20_000, 50_000, 100_000, 200_000)
LOOSE: Final = 0.5
"""Share of messages that belong to no group."""
GROUP: Final = 40
"""Messages of a group, on average."""


@dataclass(frozen=True, slots=True)
class AssignResult:
    """Messages per second, on one thread: in batches as the owner looks them up, and one by one."""

    clusters: int
    messages: int
    joined: int
    batch_per_s: float
    single_per_s: float
    load: float
    """The machine's load average over a minute, at the end."""


@dataclass(frozen=True, slots=True)
class FitTime:
    """Wall-clock seconds of one fit in a spawned process, its start left out, the way of the vectors included."""

    messages: int
    seconds: float
    groups: int
    load: float


def assign_rate(settings: FoldSettings, clusters: int = CLUSTERS, messages: int = LOOKED_UP) -> AssignResult:
    """Measure how many messages a second find their cluster, or none, among so many live ones.

    From a message's vector to the cluster that it joins: the view, the nearest two centroids, threshold and margin.
    """
    rng = np.random.default_rng(0)
    # unlike any two texts: the time does not depend on where the clusters lie
    middles = _pulled(rng.standard_normal((clusters, DIMENSIONS)).astype(np.float32), rng)
    index = CentroidIndex()
    index.rebuild((), view_of(middles, AXES, DAMPING))
    live = [_cluster(number, vector, settings.attach_floor) for number, vector in enumerate(middles)]
    for cluster in live:
        index.settle(cluster)
    index.rebuild(live, index.view)
    own = middles[rng.integers(clusters, size=messages)]
    vectors = list(unit_rows(own + 0.05 * rng.standard_normal(own.shape, dtype=np.float32)))
    with threadpool_limits(1):
        joined = 0
        started = time.perf_counter()
        for start in range(0, messages, BATCH):
            batch = vectors[start : start + BATCH]
            index.foresee(batch)
            joined += sum(index.nearest(vector, settings.attach_margin) is not None for vector in batch)
        together = messages / (time.perf_counter() - started)
        index.foresee(())
        started = time.perf_counter()
        alone = vectors[: min(messages, BATCH)]
        for vector in alone:
            index.nearest(vector, settings.attach_margin)
        single = len(alone) / (time.perf_counter() - started)
    return AssignResult(clusters, messages, joined, together, single, os.getloadavg()[0])


def fit_times(clusterer: Clusterer, sizes: Iterable[int], say: Callable[[str], None]) -> list[FitTime]:
    """Measure one fit of each size, in the process that the owner's fits run in."""
    fitter = ProcessFitter(clusterer)
    try:
        fitter.submit(np.eye(WARM_UP, dtype=np.float32)).result()
        found = []
        for size in sizes:
            vectors = community(size)
            say(f"fitting {size:,} messages")
            started = time.perf_counter()
            fit = fitter.submit(vectors).result()
            seconds = time.perf_counter() - started
            found.append(FitTime(size, seconds, int(fit.labels.max(initial=-1)) + 1, os.getloadavg()[0]))
        return found
    finally:
        fitter.close()


def community(count: int) -> npt.NDArray[np.float32]:
    """Return the vectors, (count, 384) unit rows, of a community of so many messages; always the same."""
    rng = np.random.default_rng(count)
    groups = max(1, int((1 - LOOSE) * count / GROUP))
    directions = rng.standard_normal((groups, DIMENSIONS), dtype=np.float32)
    noise = rng.standard_normal((count, DIMENSIONS), dtype=np.float32)
    share = rng.pareto(1.5, groups) + 0.1
    group = rng.choice(groups, count, p=share / share.sum())
    grouped = rng.random(count) >= LOOSE
    noise[grouped] = directions[group[grouped]] + 0.6 * noise[grouped]
    return _pulled(noise, rng)


def _pulled(rows: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    return unit_rows(rows + 0.7 * rng.standard_normal(DIMENSIONS, dtype=np.float32))


def _cluster(number: int, vector: npt.NDArray[np.float32], threshold: float) -> Cluster:
    total = vector.astype(np.float64)
    return Cluster(str(number), number, 1, total, 1, np.zeros(KIND_COUNT), threshold)
