"""When a cluster is sure enough to open a ticket and to claim its surroundings, and when no longer.

Sure is what several fits found again, of a piece, and most probably no matter of another that is open.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from models.geometry import Floats, centroids, cohesion
from models.novelty import LEAST_NEW, chance_new
from models.sureness import cohesion_needed
from pipeline.constraints import Constraints
from pipeline.space import Space
from pipeline.state import Cluster, Member

STABLE_FITS: Final = 2
"""Latest fits that must agree about a cluster before it is established."""
TAKE_COSINE: Final = 0.7
"""Of a group's centroid to an established cluster's, from which on the cluster takes it whole."""
LOOSENED: Final = 0.03
"""By how much an established cluster may fall below the cohesion that a new one needs before it is looked at anew."""


def firm(state: Space, rows: Floats, previous: Sequence[str | None], established: Collection[str]) -> set[str]:
    """Return the established clusters that are still of a piece; the more a space knows, the more mixtures show."""
    needed = _cohesion_needed(state) - LOOSENED
    places: dict[str, list[int]] = {}
    for index, cluster in enumerate(previous):
        if cluster is not None and cluster in established:
            places.setdefault(cluster, []).append(index)
    return {cluster for cluster, own in places.items() if cohesion(rows[own]) >= needed}


def _cohesion_needed(state: Space) -> float:
    live = sum(c.live for c in state.clusters.values())
    return cohesion_needed(live, state.settings.roomy_cohesion, state.settings.crowded_cohesion)


def anchors_of(
    rows: Floats, labels: npt.NDArray[np.int32], previous: Sequence[str | None], established: Collection[str]
) -> dict[str, frozenset[int]]:
    """Return, by established cluster, the labels whose groups lie near enough to it to be taken whole."""
    names = sorted(cluster for cluster in {c for c in previous if c is not None} if cluster in established)
    if not names or labels.max(initial=-1) < 0:
        return {}
    place = {cluster: index for index, cluster in enumerate(names)}
    groups = centroids(rows, labels, int(labels.max()) + 1)
    own = centroids(rows, np.array([place.get(c or "", -1) for c in previous], np.int32), len(names))
    near = own.astype(np.float64) @ groups.astype(np.float64).T >= TAKE_COSINE
    return {cluster: frozenset(np.nonzero(near[index])[0].tolist()) for cluster, index in place.items()}


def count_fits(
    state: Space, found_again: Collection[str], members: list[Member], homes: Sequence[Cluster | None]
) -> None:
    """Count the fits that found a cluster, and how much of it each found again.

    Of the messages that the fit before looked at too: those both in it now and before, to those in it now or before
    (Jaccard). What joins a growing cluster anew is no sign that it is unsure.
    """
    before, after, both = Counter[str](), Counter[str](), Counter[str]()
    for member, home in zip(members, homes, strict=True):
        if member.seq > state.fit_seq:
            continue
        now = member.cluster_id
        old = state.survivor(home.cluster_id).cluster_id if home is not None else None
        if old is not None:
            before[old] += 1
        if now is not None:
            after[now] += 1
        if now is not None and now == old:
            both[now] += 1
    for cluster_id in sorted(found_again):
        cluster = state.clusters[cluster_id]
        if not cluster.live:
            continue
        if cluster.born_seq < state.seq:
            cluster.fits += 1
        union = before[cluster_id] + after[cluster_id] - both[cluster_id]
        cluster.overlaps = (*cluster.overlaps, both[cluster_id] / union if union else 0.0)[-STABLE_FITS:]
        state.refitted(cluster)
        if cluster.established_seq is None:
            state.touch(cluster)


def establish(state: Space, constraints: Constraints, pieces: Mapping[str, float]) -> None:
    """Establish what is sure: found again and again, of a piece, and most probably no matter of an established one."""
    live = [c for c in state.clusters.values() if c.live]
    established = sorted(
        (c for c in live if c.established_seq is not None), key=lambda c: (c.established_seq, c.number)
    )
    needed = _cohesion_needed(state)
    ripe = sorted(
        (
            c
            for c in live
            if c.established_seq is None and pieces.get(c.cluster_id, 0.0) >= needed and _steady(state, c)
        ),
        key=lambda c: (-c.count, c.number),
    )
    waiting = {c.cluster_id for c in ripe}
    for cluster in state.clusters.values():
        if cluster.held_by is not None and cluster.cluster_id not in waiting:
            cluster.held_by = None
            state.touch(cluster)
    for cluster in ripe:
        holder = holder_of(state, cluster, established, constraints)
        held_by = holder.cluster_id if holder is not None else None
        if held_by is None:
            cluster.established_seq = state.seq
            established.append(cluster)
        if held_by != cluster.held_by or held_by is None:
            state.touch(cluster)
        cluster.held_by = held_by


def _steady(state: Space, cluster: Cluster) -> bool:
    return (
        cluster.count >= state.settings.established_size
        and cluster.fits >= state.settings.confirming_fits
        and len(cluster.overlaps) == STABLE_FITS
        and min(cluster.overlaps) >= state.settings.least_overlap
    )


def holder_of(
    state: Space, cluster: Cluster, established: Sequence[Cluster], constraints: Constraints
) -> Cluster | None:
    """Return the established cluster beside which one must wait, or None when it is probably a matter of its own."""
    near = [
        (state.centroids.cosine(cluster, other), -other.number, other)
        for other in established
        if other.centroid is not None and not constraints.parted(cluster.cluster_id, other.cluster_id)
    ]
    if not near or chance_new(np.array([cosine for cosine, _, _ in near]), state.hold_threshold) >= LEAST_NEW:
        return None
    return max(near, key=lambda item: item[:2])[2]
