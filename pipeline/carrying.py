"""How clusters keep their ids through a rebuild: the ones that there were wait, empty, until a new one takes a name.

While they wait people's decisions about them apply as they did, and hold for whoever takes the name.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.entries import KIND_COUNT, Rebuilt
from pipeline.space import Space
from pipeline.state import Cluster, Lineage, LineageEvent


def apply_rebuilt(state: Space, rebuilt: Rebuilt) -> None:
    """Begin a rebuild, or end it."""
    if rebuilt.clusters or not state.carried:
        _begin(state, rebuilt)
    for new, name in rebuilt.names:
        take_name(state, new, name)
    for ended, into in rebuilt.merged:
        cluster = state.clusters[ended]
        if cluster.count == 0 and ended != into:
            cluster.merged_into = into
            state.touch(cluster)
            state.record(LineageEvent(state.seq, ended, Lineage.MERGED, into))
    state.centroids.rebuild(state.clusters.values(), state.centroids.view)


def _begin(state: Space, rebuilt: Rebuilt) -> None:
    state.next_number = max(state.next_number, rebuilt.next_number)
    state.carried = {cluster_id for cluster_id, _, _ in rebuilt.clusters}
    for cluster_id, number, born_seq in rebuilt.clusters:
        state.clusters[cluster_id] = Cluster(
            cluster_id=cluster_id,
            number=number,
            born_seq=born_seq,
            total=np.zeros(rebuilt.dimensions),
            count=0,
            log_kinds=np.zeros(KIND_COUNT),
            threshold=state.settings.attach_floor,
            fits=0,
        )
        state.touch(state.clusters[cluster_id])


def waits(state: Space, cluster_id: str) -> bool:
    """Tell whether a cluster from before the rebuild has not been found again, so that its name can be taken."""
    cluster = state.clusters.get(cluster_id)
    return cluster is not None and cluster_id in state.carried and cluster.count == 0 and cluster.merged_into is None


def take_name(state: Space, new_id: str, name: str) -> None:
    """Let a cluster that the rebuild found go on as one that there was; one that has such a name keeps it."""
    if new_id in state.carried or not waits(state, name):
        return
    found, waiting = state.clusters.pop(new_id), state.clusters[name]
    found.cluster_id, found.number, found.born_seq = name, waiting.number, waiting.born_seq
    found.muted, found.promoted = found.muted or waiting.muted, found.promoted or waiting.promoted
    found.rejected, found.name = found.rejected or waiting.rejected, waiting.name or found.name
    found.tags = tuple(dict.fromkeys((*waiting.tags, *found.tags)))
    found.inherited = tuple(dict.fromkeys((*waiting.inherited, *found.inherited)))
    state.clusters[name] = found
    for member in state.members.values():
        if member.cluster_id == new_id:
            member.cluster_id = name
            state.changed(member)
    for cluster in state.clusters.values():
        for link in ("merged_into", "held_by", "split_from"):
            if getattr(cluster, link) == new_id:
                setattr(cluster, link, name)
                state.touch(cluster)
    for command_id, effect in state.effects.items():
        if new_id in (effect.cluster, *effect.established):
            established = tuple(name if one == new_id else one for one in effect.established)
            cluster_id = name if effect.cluster == new_id else effect.cluster
            state.effects[command_id] = replace(effect, cluster=cluster_id, established=established)
    state.renamed(new_id, name)
    state.touch(found)
    state.record(LineageEvent(state.seq, name, Lineage.REBUILT))
