"""What a fit does to a space: births, merges, splits, moves, and who waits beside whom.

The second half of the fold (`pipeline.fold` is the first). Online assignment drifts; a fit over the whole window is
the truth that it is brought back to, under ids that stay.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Final

import numpy as np
import numpy.typing as npt

from models.geometry import attach_threshold
from pipeline.carrying import take_name
from pipeline.centroids import unit
from pipeline.constraints import Constraints, bend, whole
from pipeline.entries import KIND_COUNT, Fitted
from pipeline.records import MessageRef
from pipeline.space import Space
from pipeline.state import Cluster, FitReport, Lineage, LineageEvent, Member, Status
from pipeline.tracking import MIN_SHARE, Reconciliation, reconcile

CONFIRMING_FITS: Final = 2
"""Fits that must find a group before it claims its surroundings: the first sight of a group is often two."""


def cluster_name(space: str, founder: MessageRef, born_seq: int) -> str:
    """Return a cluster's id: the same in every run and process."""
    return hashlib.sha256(f"{space}\x1f{founder}\x1f{born_seq}".encode()).hexdigest()[:16]


def apply_fit(state: Space, fitted: Fitted) -> None:
    """Reconcile a fit with the clusters there are."""
    members, found = _still_there(state, fitted)
    previous = [m.cluster_id for m in members]
    order = {cluster_id: cluster.number for cluster_id, cluster in state.clusters.items()}
    constraints = state.constraints()
    bent = bend(found, previous, order, constraints)
    labels = bent.labels
    plan = whole(reconcile(labels, previous, order), constraints)
    established = {c.cluster_id for c in state.clusters.values() if c.live and c.established_seq is not None}
    state.cause = ("fit", None)
    targets = dict(plan.continued)
    for label, source in plan.born.items():
        # Named after the first message that was fitted, erased by now or not: a rebuild must find the same name.
        founder = next(ref for ref, own in zip(fitted.refs, fitted.labels.tolist(), strict=True) if own == label)
        if label in bent.divided:
            founder = next(m.ref for m, own in zip(members, labels.tolist(), strict=True) if own == label)
        targets[label] = bear(state, founder, source, len(fitted.mean)).cluster_id
    for ended, into in plan.merged.items():
        survivor = state.survivor(targets[into] if isinstance(into, int) else into)
        if ended != survivor.cluster_id and not constraints.parted(ended, survivor.cluster_id):
            join(state, state.clusters[ended], survivor)
    targets = {label: state.survivor(one).cluster_id for label, one in targets.items()}
    for member, label in zip(members, labels.tolist(), strict=True):
        if label < 0 or member.cluster_id == targets[label] or member.via is not None:
            continue
        if not constraints.parted(member.cluster_id or "", targets[label]):
            parted = member.cluster_id is not None and plan.born.get(label) == member.cluster_id
            state.cause = ("split" if parted else "fit", None)
            state.leave(member)
            state.place(member, Status.CLUSTERED, targets[label])
    state.cause = ("fit", None)
    continued = [state.survivor(one) for one in plan.continued.values()]
    for cluster in {one.cluster_id: one for one in continued}.values():
        cluster.fits += 1
        state.refitted(cluster)
        if cluster.fits <= CONFIRMING_FITS:
            state.touch(cluster)
    for label, name in fitted.names:
        if label in targets:
            take_name(state, targets[label], name)
    state.centroids.rebuild(state.clusters.values(), fitted.mean)
    _set_thresholds(state, members)
    loose = [
        member
        for index, (member, label) in enumerate(zip(members, labels.tolist(), strict=True))
        if label < 0 and index not in bent.stays and member.via is None
    ]
    _settle_loose(state, loose, constraints)
    _expire(state, members)
    _hold(state, state.constraints())
    state.centroids.rebuild(state.clusters.values(), fitted.mean)
    state.cause = ("joined", None)
    _report(state, fitted, plan, dict(zip((m.ref for m in members), previous, strict=True)), established)


def _still_there(state: Space, fitted: Fitted) -> tuple[list[Member], npt.NDArray[np.int32]]:
    """Leave out what was erased, edited or set aside since the fit began."""
    members: list[Member] = []
    labels: list[int] = []
    for ref, label in zip(fitted.refs, fitted.labels.tolist(), strict=True):
        member = state.members.get(ref)
        if (
            member is not None
            and member.seq <= fitted.begun_seq
            and member.vector is not None
            and member.follows is None
            and member.status in {Status.POOL, Status.CLUSTERED}
        ):
            members.append(member)
            labels.append(label)
    return members, np.array(labels, np.int32)


def bear(
    state: Space, founder: MessageRef, source: str | None, dimensions: int, command_id: str | None = None
) -> Cluster:
    """Found a cluster, empty yet; `command_id` is that of the person who split it off, None where a fit found it."""
    cluster = Cluster(
        cluster_id=cluster_name(state.space, founder, state.seq),
        number=state.next_number,
        born_seq=state.seq,
        total=np.zeros(dimensions),
        count=0,
        log_kinds=np.zeros(KIND_COUNT),
        threshold=state.settings.attach_floor,
        split_from=source,
    )
    state.next_number += 1
    state.clusters[cluster.cluster_id] = cluster
    state.touch(cluster)
    if source is not None and command_id is None:
        cluster.inherited = tuple(state.passed_on(state.clusters[source]))
        state.reflag(cluster)
    what = Lineage.BORN if source is None else Lineage.SPLIT
    state.record(LineageEvent(state.seq, cluster.cluster_id, what, source, command_id))
    return cluster


def join(state: Space, ended: Cluster, survivor: Cluster, command_id: str | None = None, *, pins: bool = False) -> None:
    """Make one cluster part of another.

    Parameters
    ----------
    command_id : str, optional
        Of the command that does it; None where a fit does.
    pins : bool
        Whether the members stay in the survivor, whatever fits say.
    """
    survivor.total += ended.total
    survivor.count += ended.count
    survivor.log_kinds += ended.log_kinds
    survivor.fits = max(survivor.fits, ended.fits)
    if ended.established_seq is not None:
        survivor.established_seq = min(ended.established_seq, survivor.established_seq or ended.established_seq)
        survivor.held_by = None
    ended.total, ended.count, ended.log_kinds = np.zeros_like(ended.total), 0, np.zeros_like(ended.log_kinds)
    ended.merged_into, ended.held_by = survivor.cluster_id, None
    before, state.cause = state.cause, ("merge", command_id)
    for member in state.members.values():
        if member.cluster_id == ended.cluster_id:
            member.cluster_id = survivor.cluster_id
            if pins and member.follows is None and member.via is None:
                member.via = command_id
            state.changed(member)
            state.moved(member, ended.cluster_id)
    state.cause = before
    for cluster in (ended, survivor):
        state.touch(cluster)
    state.reflag(survivor)
    state.record(LineageEvent(state.seq, ended.cluster_id, Lineage.MERGED, survivor.cluster_id, command_id, pins))


def _set_thresholds(state: Space, members: list[Member]) -> None:
    """A cluster asks of newcomers what nine tenths of its own members meet."""
    rows: dict[str, list[npt.NDArray[np.float32]]] = {}
    for member in members:
        if member.cluster_id is not None and member.vector is not None:
            rows.setdefault(member.cluster_id, []).append(member.vector)
    mean = state.centroids.mean
    assert mean is not None
    for cluster_id, vectors in rows.items():
        cluster = state.clusters[cluster_id]
        similarity = unit(np.stack(vectors) - mean) @ state.centroids.of(cluster)
        cluster.threshold = attach_threshold(similarity, floor=state.settings.attach_floor)
        state.refitted(cluster)


def _settle_loose(state: Space, loose: list[Member], constraints: Constraints) -> None:
    """What the fit calls noise stays where online assignment would put it, or waits."""
    for member in loose:
        assert member.vector is not None
        near = state.centroids.nearest(member.vector, 0.0 if member.cluster_id else state.settings.attach_margin)
        cluster_id = near.cluster_id if near is not None else None
        kept_from = cluster_id is not None and member.cluster_id is not None
        if kept_from and constraints.parted(member.cluster_id or "", cluster_id or ""):
            continue
        if cluster_id != member.cluster_id:
            state.leave(member)
            state.place(member, Status.CLUSTERED if cluster_id else Status.POOL, cluster_id)


def _expire(state: Space, members: list[Member]) -> None:
    assert state.now is not None
    in_window = {m.ref for m in state.fit_members()}
    waiting = [m for m in state.members.values() if m.status is Status.POOL and m.follows is None]
    looked_at = {m.ref for m in members}
    for member in waiting:
        member.fits += member.ref in looked_at
        state.changed(member)
        old = member.fits >= CONFIRMING_FITS and state.now - member.at > state.settings.pool_ttl
        if old or member.ref not in in_window:
            state.place(member, Status.EXPIRED, None, "found no company")


def _hold(state: Space, constraints: Constraints) -> None:
    """Open when sure, merge when sure, keep the rest visible: a cluster next to an established one waits beside it."""
    established = sorted(
        (c for c in state.clusters.values() if c.live and c.established_seq is not None),
        key=lambda c: (c.established_seq, c.number),
    )
    ripe = sorted(
        (
            c
            for c in state.clusters.values()
            if c.live
            and c.established_seq is None
            and c.count >= state.settings.established_size
            and c.fits >= CONFIRMING_FITS
        ),
        key=lambda c: (-c.count, c.number),
    )
    for cluster in state.clusters.values():
        if cluster.held_by is not None and cluster not in ripe:
            cluster.held_by = None
            state.touch(cluster)
    for cluster in ripe:
        own = state.centroids.of(cluster)
        near = [
            (float(own @ state.centroids.of(other)), -other.number, other)
            for other in established
            if not constraints.parted(cluster.cluster_id, other.cluster_id)
        ]
        best = max(near, default=None, key=lambda item: item[:2])
        held_by = best[2].cluster_id if best is not None and best[0] >= state.hold_threshold else None
        if held_by is None:
            cluster.established_seq = state.seq
            established.append(cluster)
        if held_by != cluster.held_by or held_by is None:
            state.touch(cluster)
        cluster.held_by = held_by


def _report(
    state: Space,
    fitted: Fitted,
    plan: Reconciliation[str],
    before: dict[MessageRef, str | None],
    established: set[str],
) -> None:
    """Count what a fit did to the messages that stood in a cluster before it."""
    assert state.now is not None
    sizes = Counter(cluster for cluster in before.values() if cluster is not None)
    after = {ref: state.members[ref].cluster_id for ref in before}
    left = Counter(
        (cluster, after[ref]) for ref, cluster in before.items() if cluster is not None and after[ref] != cluster
    )
    moved, to_pool, blocks = Counter[bool](), Counter[bool](), 0
    for (cluster, target), count in left.items():
        if target is None:
            to_pool[cluster in established] += count
        elif (
            cluster in plan.merged
            or state.clusters[target].born_seq == state.seq
            or count >= MIN_SHARE * sizes[cluster]
        ):
            blocks += count
        else:
            moved[cluster in established] += count
    state.report(
        FitReport(
            seq=state.seq,
            at=state.now,
            begun_seq=fitted.begun_seq,
            messages=len(before),
            clustered=sizes.total(),
            moved=moved.total(),
            to_pool=to_pool.total(),
            in_blocks=blocks,
            established=sum(count for cluster, count in sizes.items() if cluster in established),
            established_moved=moved[True],
            established_to_pool=to_pool[True],
            born=sum(source is None for source in plan.born.values()),
            merged=len(plan.merged),
            split=sum(source is not None for source in plan.born.values()),
        )
    )
