"""What people decided about which messages belong together, as bounds on every fit.

Two constraints of constrained clustering (Wagstaff & Cardie, ICML 2000), between clusters instead of single messages,
so that what joined later falls under them too. They follow a cluster's lineage: whom it merged into, what split from
it. A fit's labels are bent to them before they are matched with the clusters there are (`pipeline.tracking`).

- *must-link*: what a person merged is one cluster; a fit pulls nothing of it out as a cluster of its own.
- *cannot-link*: between two clusters that a person separated (or split) no fit moves a message, nor merges them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.entries import Commanded
from pipeline.records import CommandName
from pipeline.state import Cluster, Effect
from pipeline.tracking import MIN_SHARE, MIN_SHARED, Reconciliation

NOISE: Final = -1


@dataclass(frozen=True, slots=True)
class Constraints:
    """The constraints in force, between clusters as they are now."""

    linked: frozenset[str] = frozenset()
    """Clusters that a person merged something into."""
    apart: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Cluster → those that it must never be one with; symmetric."""

    def parted(self, one: str, other: str) -> bool:
        """Tell whether a person keeps two clusters apart."""
        return other in self.apart.get(one, ())


def constraints_of(
    commands: Iterable[Commanded], effects: Mapping[str, Effect], clusters: Mapping[str, Cluster]
) -> Constraints:
    """Return the constraints that the commands in force make.

    A `separate` or `split` of two clusters that a person merged afterwards is void for as long as they are one.
    """
    linked: set[str] = set()
    apart: dict[str, set[str]] = {}
    parts: dict[str, list[str]] = {}
    for cluster in clusters.values():
        if cluster.split_from is not None:
            parts.setdefault(cluster.split_from, []).append(cluster.cluster_id)
    for command in commands:
        effect = effects.get(command.command_id)
        if effect is None:
            continue
        if command.name is CommandName.MERGE:
            linked.add(_chain(command.cluster_id, clusters)[-1])
        elif command.name in {CommandName.SEPARATE, CommandName.SPLIT}:
            second = command.other if command.name is CommandName.SEPARATE else effect.cluster
            assert second is not None
            if _chain(command.cluster_id, clusters)[-1] == _chain(second, clusters)[-1]:
                continue
            ones = _descent(command.cluster_id, effect.seq, clusters, parts)
            others = _descent(second, effect.seq, clusters, parts)
            for one in ones - others:
                for other in others - ones:
                    apart.setdefault(one, set()).add(other)
                    apart.setdefault(other, set()).add(one)
    return Constraints(frozenset(linked), {one: frozenset(others) for one, others in apart.items()})


def _chain(cluster_id: str, clusters: Mapping[str, Cluster]) -> list[str]:
    """Return a cluster and all that it merged into, the one that is left last."""
    chain = [cluster_id]
    while (into := clusters[chain[-1]].merged_into) is not None:
        chain.append(into)
    return chain


def _descent(
    cluster_id: str, since: int, clusters: Mapping[str, Cluster], parts: Mapping[str, Sequence[str]]
) -> set[str]:
    """Return what became of a cluster since an entry: whom it merged into, and what split off from any of these."""
    found: set[str] = set()
    seen: set[str] = set()
    waiting = [cluster_id]
    while waiting:
        chain = [one for one in _chain(waiting.pop(), clusters) if one not in seen]
        if not chain:
            continue
        seen.update(chain)
        if clusters[chain[-1]].merged_into is None:
            found.add(chain[-1])
        waiting += [part for one in chain for part in parts.get(one, ()) if clusters[part].born_seq > since]
    return found


@dataclass(frozen=True, slots=True)
class Bent:
    """A fit's labels, bent to the constraints."""

    labels: npt.NDArray[np.int32]
    stays: frozenset[int]
    """Indexes of messages that stay where they are, whatever the fit says of them."""
    divided: frozenset[int]
    """Labels that hold only a part of what the fit put under one label."""


def bend(
    labels: npt.NDArray[np.int32],
    previous: Sequence[str | None],
    order: Mapping[str, int],
    constraints: Constraints,
) -> Bent:
    """Return the labels of a fit, with those joined that a person merged and those divided that a person separated.

    Parameters
    ----------
    labels : array (n,) of int
        The fit's labels, −1 for noise.
    previous : sequence of n cluster ids or None
        Where each message stands.
    order : mapping
        Rank of each cluster, lowest first: ties go to the older one.

    Returns
    -------
    Bent
        Of the messages under a label that holds clusters kept apart, those of the largest keep it, those of another
        get a label of their own, and those that stood nowhere become noise: online assignment places them.
    """
    if not constraints.linked and not constraints.apart:
        return Bent(labels, frozenset(), frozenset())
    joined, homes = _join(labels, previous, order, constraints)
    return _divide(joined, homes, previous, order, constraints)


def keep_whole(plan: Reconciliation[str], constraints: Constraints) -> Reconciliation[str]:
    """Let what would split from a linked cluster be that cluster itself, whichever label goes on as it."""
    kept = {label: source for label, source in plan.born.items() if source in constraints.linked}
    if not kept:
        return plan
    born = {label: source for label, source in plan.born.items() if label not in kept}
    continued = plan.continued | {label: source for label, source in kept.items() if source is not None}
    return replace(plan, continued=continued, born=born)


def _join(
    labels: npt.NDArray[np.int32], previous: Sequence[str | None], order: Mapping[str, int], constraints: Constraints
) -> tuple[npt.NDArray[np.int32], dict[str, int]]:
    """Give one label to all groups that would continue one linked cluster or split from it; return these too."""
    first: dict[str, int] = {}
    renamed: dict[int, int] = {}
    sizes = Counter(labels.tolist())
    for label, held in sorted(_holdings(labels, previous).items()):
        source, count = max(held.items(), key=lambda pair: (pair[1], -order[pair[0]]))
        part = 2 * count >= sizes[label]
        same = 2 * count >= held.total() and count >= MIN_SHARED and count >= MIN_SHARE * sizes[label]
        if source in constraints.linked and (part or same):
            renamed[label] = first.setdefault(source, label)
    return np.array([renamed.get(label, label) for label in labels.tolist()], np.int32), first


def _divide(
    labels: npt.NDArray[np.int32],
    homes: Mapping[str, int],
    previous: Sequence[str | None],
    order: Mapping[str, int],
    constraints: Constraints,
) -> Bent:
    """Take apart the groups that hold messages of clusters which are kept apart."""
    holdings = _holdings(labels, previous)
    best: dict[str, tuple[int, int]] = {}
    for label, held in sorted(holdings.items()):
        for cluster, count in held.items():
            if count > best.get(cluster, (0, label))[0]:
                best[cluster] = (count, label)
    moved_to: dict[tuple[int, str | None], int] = {}
    stay: set[tuple[int, str | None]] = set()
    divided: set[int] = set()
    fresh = int(labels.max(initial=NOISE)) + 1
    for label, held in sorted(holdings.items()):
        kept: list[str] = []
        for cluster in sorted(held, key=lambda one: (-held[one], order[one])):
            if not any(constraints.parted(cluster, other) for other in kept):
                kept.append(cluster)
                continue
            divided.add(label)
            moved_to[label, None] = NOISE
            if cluster in homes:
                moved_to[label, cluster] = homes[cluster]
            elif best[cluster][1] == label and held[cluster] >= MIN_SHARED:
                moved_to[label, cluster] = fresh
                divided.add(fresh)
                fresh += 1
            else:
                moved_to[label, cluster] = NOISE
                stay.add((label, cluster))
    pairs = list(zip(labels.tolist(), previous, strict=True))
    return Bent(
        labels=np.array([moved_to.get(pair, pair[0]) for pair in pairs], np.int32),
        stays=frozenset(index for index, pair in enumerate(pairs) if pair in stay),
        divided=frozenset(divided),
    )


def _holdings(labels: npt.NDArray[np.int32], previous: Sequence[str | None]) -> dict[int, Counter[str]]:
    """Return, by label, how many messages of which cluster it holds."""
    found: dict[int, Counter[str]] = {}
    for label, cluster in zip(labels.tolist(), previous, strict=True):
        if label >= 0 and cluster is not None:
            found.setdefault(label, Counter())[cluster] += 1
    return found
