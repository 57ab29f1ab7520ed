"""From one fit's labels to stable cluster ids: matching, births, merges, splits.

A fit numbers its groups afresh. Matching new groups to old clusters by the members they share keeps a cluster's
id, and with it its ticket, for as long as a quarter of its messages stay together. Hungarian assignment after
Kuhn (1955), as used for cluster tracking over time by MONIC (Spiliopoulou et al., KDD 2006).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

MIN_SHARED: Final = 3
"""Fewer common messages are coincidence."""
MIN_SHARE: Final = 0.25
"""Of the smaller side; below it, old and new have too little in common to be the same thing."""
MERGE_SHARE: Final = 0.5
"""An old cluster most of whose messages went to one other cluster has merged into it."""

Id = TypeVar("Id", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Reconciliation(Generic[Id]):
    """What a fit means for the clusters there were."""

    continued: dict[int, Id] = field(default_factory=dict)
    """label → the old cluster that it goes on."""
    born: dict[int, Id | None] = field(default_factory=dict)
    """label without a past → the old cluster that most of its messages left (a split), or None."""
    merged: dict[Id, Id | int] = field(default_factory=dict)
    """Old cluster that ended → the old cluster (Id) or the new label (int) that took most of its messages."""
    whole: frozenset[Id] = frozenset()
    """Anchored clusters most of whose messages one other cluster would take: they keep all that they have."""


def reconcile(
    labels: npt.NDArray[np.int32],
    previous: Sequence[Id | None],
    order: Mapping[Id, int],
    anchors: Mapping[Id, Collection[int]] | None = None,
) -> Reconciliation[Id]:
    """Match the groups of a fit with the clusters that its messages belonged to.

    Parameters
    ----------
    labels : array (n,) of int
        The fit's labels, −1 for noise.
    previous : sequence of n cluster ids or None
        Where each message stood before.
    order : mapping
        Rank of each old cluster, lowest first: ties go to the older one.
    anchors : mapping, optional
        Old clusters that take every group that is mostly theirs, not only the best one, → the labels that lie near
        enough for that. They end in no other cluster.

    Returns
    -------
    Reconciliation
        Every label ≥ 0 is in exactly one of `continued` and `born`; old clusters that are neither continued nor
        merged keep their id and whatever members still belong to them.
    """
    shared: dict[Id, Counter[int]] = {}
    sizes: Counter[int] = Counter(int(label) for label in labels if label >= 0)
    for label, cluster in zip(labels.tolist(), previous, strict=True):
        if cluster is not None:
            shared.setdefault(cluster, Counter())[label] += 1
    if not sizes:
        return Reconciliation()
    names = sorted(sizes)
    old = sorted(shared, key=lambda cluster: order[cluster])
    anchors = anchors or {}
    continued = _take_whole(names, [cluster for cluster in old if cluster in anchors], shared, sizes, anchors)
    kept = set(continued.values())
    rest = [label for label in names if label not in continued]
    continued |= _match(rest, [cluster for cluster in old if cluster not in kept], shared, sizes)
    taken = {cluster: label for label, cluster in continued.items()}
    born = {label: _left(label, old, shared, sizes[label]) for label in names if label not in continued}
    merged: dict[Id, Id | int] = {}
    whole: set[Id] = set()
    for cluster in old:
        if cluster in taken:
            continue
        total = shared[cluster].total()
        label, count = max(
            ((name, n) for name, n in shared[cluster].items() if name >= 0),
            key=lambda pair: (pair[1], -pair[0]),
            default=(-1, 0),
        )
        if count >= MIN_SHARED and count >= MERGE_SHARE * total:
            if cluster in anchors:
                whole.add(cluster)
            else:
                merged[cluster] = continued.get(label, label)
    return Reconciliation(continued, born, merged, frozenset(whole))


def _take_whole(
    names: list[int],
    anchored: list[Id],
    shared: Mapping[Id, Counter[int]],
    sizes: Mapping[int, int],
    anchors: Mapping[Id, Collection[int]],
) -> dict[int, Id]:
    """Give groups to the anchored clusters that most of their messages with a past belong to."""
    with_past: Counter[int] = Counter()
    for counts in shared.values():
        with_past.update(counts)
    taken: dict[int, Id] = {}
    for label in names:
        near = [cluster for cluster in anchored if label in anchors[cluster]]
        best = max(near, key=lambda cluster: shared[cluster][label], default=None)
        if best is None:
            continue
        count = shared[best][label]
        if count >= MIN_SHARED and 2 * count >= with_past[label] and count >= MIN_SHARE * sizes[label]:
            taken[label] = best
    return taken


def _match(
    names: list[int], old: list[Id], shared: Mapping[Id, Counter[int]], sizes: Mapping[int, int]
) -> dict[int, Id]:
    score = np.zeros((len(old), len(names)))
    for row, cluster in enumerate(old):
        total = shared[cluster].total()
        for column, label in enumerate(names):
            count = shared[cluster][label]
            smaller = min(total, sizes[label])
            if count >= MIN_SHARED and count >= MIN_SHARE * smaller:
                score[row, column] = count / smaller * np.sqrt(count)
    rows, columns = linear_sum_assignment(score, maximize=True)
    return {
        names[column]: old[row]
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
        if score[row, column] > 0
    }


def _left(label: int, old: list[Id], shared: Mapping[Id, Counter[int]], size: int) -> Id | None:
    source, count = max(
        ((cluster, shared[cluster][label]) for cluster in old), key=lambda pair: pair[1], default=(None, 0)
    )
    return source if count >= MERGE_SHARE * size else None
